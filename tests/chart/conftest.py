"""Helm, and a control plane without nodes on which the charts are installed."""

import json
import socket
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from support import admission

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "llama-operator"
CRD_CHART = ROOT / "charts" / "llama-operator-crds"
NAMESPACE = "llama-system"
NEEDS = "needs Helm and a control plane: make control-plane"


@pytest.fixture(scope="session")
def binaries():
    """Folder with helm, kubectl and the control plane."""
    return pytest.importorskip("control_plane.binaries", reason=NEEDS).ensure()


@pytest.fixture(scope="session")
def helm(binaries, tmp_path_factory):
    """Run Helm with nothing of the user's own configuration; returns the finished process."""
    home = tmp_path_factory.mktemp("helm")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home)}

    def run(*arguments, check=True):
        done = subprocess.run(
            [str(binaries / "helm"), *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture
def render(helm, tmp_path):
    """Objects of the chart, rendered with the values given as a dictionary."""

    def run(values=None, *, chart=CHART, release="llama-operator", namespace=NAMESPACE):
        path = tmp_path / "values.json"
        path.write_text(json.dumps(values or {}))
        done = helm("template", release, chart, "--namespace", namespace, "--values", path)
        return [found for found in yaml.safe_load_all(done.stdout) if found]

    return run


@pytest.fixture
def refusal(helm, tmp_path):
    """What Helm says when it refuses values."""

    def run(values):
        path = tmp_path / "refused.json"
        path.write_text(json.dumps(values))
        done = helm("template", "llama-operator", CHART, "--values", path, check=False)
        assert done.returncode != 0, "these values must be refused"
        return done.stderr

    return run


@pytest.fixture(scope="module")
def bare_plane(bare_server, root):
    """A control plane with our CRDs and KubeRay's, and nobody who acts on them.

    The module before may have installed or uninstalled our CRDs: this one has them, whatever came before.
    """
    crds = [yaml.safe_load(path.read_text()) for path in sorted((root / "manifests" / "crds").glob("*.yaml"))]
    bare_server.apply(*crds)
    names = [crd["metadata"]["name"] for crd in crds]
    bare_server.kubectl("wait", "--for=condition=Established", "crd", *names, "--timeout=240s")
    # Established is not yet served: this waits until it is.
    bare_server.api.list(",".join(names))
    return bare_server


@pytest.fixture
def free_port():
    """A port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="session")
def eventually():
    """Ask again until the answer is true, or fail with what it was last."""

    def ask(question, seconds=240):
        end = time.monotonic() + seconds
        while not (answer := question()):
            assert time.monotonic() < end, f"still {answer!r} after {seconds} s"
            time.sleep(0.3)
        return answer

    return ask


@pytest.fixture(scope="session")
def licenses_are_held(eventually):
    """Wait until all license policies of a plane work: the API server tells them of new definitions every 30 seconds."""

    def wait(plane, namespace):
        def refusal(model):
            asked = {
                "apiVersion": "llama-operator.io/v1alpha1",
                "kind": "LlamaDeployment",
                "metadata": {"name": "asked", "namespace": namespace},
                "spec": {"model": {"name": model}},
            }
            dry_run = ("apply", "--server-side", "--dry-run=server", "-f", "-")
            return plane.kubectl(*dry_run, stdin=json.dumps(asked), check=False).stderr

        eventually(lambda: "must be accepted" in refusal("llama-3.3-70b-instruct"))
        eventually(lambda: not refusal("tiny-random-llama"))

    return wait


@pytest.fixture(scope="module")
def everything_installed(bare_plane, root):
    """The plane with everything that manifests/install.yaml holds; the definitions stay when the rest goes.

    A server is busy for a quarter of a minute with definitions that go and come again.
    """
    manifest = (root / "manifests" / "install.yaml").read_text()
    bare_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifest)
    yield bare_plane
    rest = [obj for obj in yaml.safe_load_all(manifest) if obj and obj["kind"] != "CustomResourceDefinition"]
    leftovers = {"apiVersion": "v1", "kind": "List", "items": rest}
    bare_plane.kubectl("delete", "--ignore-not-found", "--timeout=240s", "-f", "-", stdin=json.dumps(leftovers))


@pytest.fixture(scope="module")
def objects(root):
    """One of each guarded kind, and one of each that is nobody's."""
    return admission.guarded_objects(root)


@pytest.fixture(scope="module")
def guarded(bare_plane, helm, root, objects, eventually, tmp_path_factory):
    """The plane with the policies of the chart, all objects, and a namespace in which everybody may do everything."""
    values = tmp_path_factory.mktemp("values") / "values.json"
    chosen = {
        "trustedUsers": [admission.BACKUP],
        "breakGlassGroups": ["firefighters"],
        "podServiceAccounts": ["weights-reader"],
    }
    values.write_text(json.dumps({"admission": chosen}))
    rendered = helm("template", "llama-operator", CHART, "--namespace", NAMESPACE, "--values", values).stdout
    policies = [o for o in yaml.safe_load_all(rendered) if o and o["kind"].startswith("ValidatingAdmissionPolicy")]
    group = admission.RBAC
    bare_plane.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": admission.TEAM}},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "admission-test"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": group, "kind": "User", "name": user} for user in admission.EVERYBODY],
        },
        admission.deployment(root),
        *objects.values(),
    )
    bare_plane.apply(*policies)
    guard = admission.Guard(bare_plane)
    eventually(guard.is_up)
    yield guard
    leftovers = {"apiVersion": "v1", "kind": "List", "items": policies}
    bare_plane.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=json.dumps(leftovers))
    bare_plane.kubectl("delete", "clusterrolebinding", "admission-test")
    bare_plane.kubectl("delete", "namespace", admission.TEAM, "--ignore-not-found", "--timeout=240s")
