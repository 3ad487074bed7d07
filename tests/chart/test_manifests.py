"""The manifests for those who install without Helm: fresh, complete, and the same as what Helm installs."""

import subprocess

import kubernetes_validate
import pytest
import yaml

from generate import install_manifests

OVERLAYS = ("development", "namespaced", "production")


def load(text):
    return [found for found in yaml.safe_load_all(text) if found]


def identity(obj):
    return obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"]


@pytest.fixture(scope="module")
def installed(root):
    return {identity(each): each for each in load((root / "manifests" / "install.yaml").read_text())}


@pytest.fixture(scope="module")
def kustomize(binaries, root):
    def run(folder):
        command = [str(binaries / "kubectl"), "kustomize", str(root / "manifests" / folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return {identity(each): each for each in load(done.stdout)}

    return run


def test_the_charts_have_not_changed_since_the_manifests_were_generated(root):
    text = (root / "manifests" / "install.yaml").read_text()
    assert f"{install_manifests.DIGEST}{install_manifests.digest()}\n" in text, "stale: make generate"


def test_the_chart_of_the_definitions_holds_them_all(root):
    for path, content in install_manifests.chart_files():
        assert path.read_text() == content, f"{path.relative_to(root)} is stale: make generate"
    charted = {path.name for path in (root / "charts/llama-operator-crds/templates").glob("*.yaml")}
    assert charted == {path.name for path in (root / "manifests" / "crds").glob("*.yaml")}


def test_nothing_of_a_helm_release_is_left_in_the_manifests(root, installed):
    assert "helm" not in (root / "manifests" / "install.yaml").read_text().replace("Helm", "").lower()
    assert "RELEASE-NAME" not in str(installed)


def test_install_yaml_brings_definitions_namespace_operator_and_policies(installed):
    kinds = {kind for kind, *_ in installed}
    assert {"Namespace", "CustomResourceDefinition", "Deployment", "ValidatingAdmissionPolicyBinding"} <= kinds
    assert next(iter(installed))[0] == "Namespace"
    for each in installed.values():
        kubernetes_validate.validate(each, "1.37", strict=True)


@pytest.mark.control_plane
def test_the_manifests_are_what_helm_renders(binaries, root):
    for path, content in install_manifests.rendered_files(binaries / "helm"):
        assert path.read_text() == content, f"{path.relative_to(root)} is stale: make generate"


@pytest.mark.control_plane
def test_base_and_policies_together_are_install_yaml(kustomize, installed):
    found = kustomize("namespace") | kustomize("base") | kustomize("policies")
    optional = ("NetworkPolicy", "llama-system", "llama-operator-egress")
    assert {key: each for key, each in found.items() if key != optional} == installed


@pytest.mark.control_plane
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_overlay_builds_valid_objects(kustomize, overlay):
    for each in kustomize(f"overlays/{overlay}").values():
        kubernetes_validate.validate(each, "1.37", strict=True)


@pytest.mark.control_plane
def test_the_overlays_do_what_they_say(kustomize):
    deployment = ("Deployment", "llama-system", "llama-operator")
    development = kustomize("overlays/development")
    assert development[deployment]["spec"]["replicas"] == 1
    assert not {"PodDisruptionBudget", "ValidatingAdmissionPolicy"} & {kind for kind, *_ in development}
    production = kustomize("overlays/production")[deployment]["spec"]["template"]["spec"]
    assert production["priorityClassName"] == "system-cluster-critical"
    assert production["topologySpreadConstraints"][0]["whenUnsatisfiable"] == "DoNotSchedule"
    namespaced = kustomize("overlays/namespaced")
    assert ("RoleBinding", "team-a", "llama-operator") in namespaced
    assert ("ClusterRoleBinding", None, "llama-operator") not in namespaced
    assert ("ClusterRoleBinding", None, "llama-operator-cluster") in namespaced
    (container,) = namespaced[deployment]["spec"]["template"]["spec"]["containers"]
    assert {"name": "LLAMA_OPERATOR_NAMESPACES", "value": "team-a"} in container["env"]


def test_a_check_without_helm_notices_a_changed_chart(monkeypatch):
    monkeypatch.setattr(install_manifests, "find_helm", lambda: None)
    list(install_manifests.files())
    monkeypatch.setattr(install_manifests, "digest", lambda: "of a changed chart")
    with pytest.raises(install_manifests.HelmMissingError, match="make control-plane"):
        list(install_manifests.files())
