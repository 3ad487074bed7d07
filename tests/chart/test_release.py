"""Install, upgrade and uninstall by the real Helm on a real control plane, and what the operator may do then.

No kubelet runs here: pods are admitted and stay Pending, so nothing waits for them.
"""

import itertools
import json
import shutil

import pytest
import yaml

pytestmark = [pytest.mark.control_plane, pytest.mark.timeout(600)]

NAMESPACE = "llama-system"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:llama-operator"
TEAM = "release-team"


@pytest.fixture(scope="module")
def charts(root, tmp_path_factory):
    """Copies of the charts, to be changed as a next version would be."""
    folder = tmp_path_factory.mktemp("charts")
    shutil.copytree(root / "charts", folder, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def plane(bare_plane, root):
    """The plane without CRDs of ours, with the namespace that the manifests make, and one for a team."""
    bare_plane.kubectl("delete", "--ignore-not-found", "-f", root / "manifests" / "crds")
    bare_plane.kubectl("apply", "-f", root / "manifests" / "namespace" / "namespace.yaml")
    bare_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}})
    yield bare_plane
    bare_plane.kubectl("delete", "namespace", TEAM, NAMESPACE, "--timeout=240s")


@pytest.fixture(scope="module")
def release(helm, plane, charts):
    """Helm on the plane, with the operator's namespace."""

    def run(*arguments, check=True):
        return helm(*arguments, "--namespace", NAMESPACE, "--kubeconfig", plane.kubeconfig, check=check).stdout

    return run


@pytest.fixture(scope="module")
def installed(release, charts, plane):
    """Both charts, installed with their defaults."""
    release("install", "llama-operator-crds", charts / "llama-operator-crds")
    notes = release("install", "llama-operator", charts / "llama-operator")
    plane.kubectl("wait", "--for=condition=Established", "crd", "llamadeployments.llama-operator.io", "--timeout=240s")
    return notes


POLICIES = 16
"""Admission policies of the chart."""


def get(plane, *arguments):
    return json.loads(plane.kubectl("get", *arguments, "-o", "json").stdout)


def test_the_notes_say_what_runs_and_what_to_do_next(installed):
    assert f"is installed in namespace {NAMESPACE} (2 replicas, one of them writes)" in installed
    assert "MISSING" not in installed
    assert "kubectl llama doctor" in installed


def test_the_notes_name_what_is_missing(helm):
    dry = ["install", "llama-operator", "charts/llama-operator", "--dry-run=client"]
    said = helm(*dry, "--set", "admission.enabled=false").stdout
    assert "MISSING: the custom resource definitions" in said
    assert "MISSING: KubeRay" in said
    assert "WARNING: admission.enabled is false" in said


def test_restricted_pod_security_admits_the_pods(installed, plane, eventually):
    labels = get(plane, "namespace", NAMESPACE)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    pods = eventually(lambda: get(plane, "pods", "-n", NAMESPACE)["items"])
    eventually(lambda: len(get(plane, "pods", "-n", NAMESPACE)["items"]) == 2)
    assert {pod["spec"]["serviceAccountName"] for pod in pods} == {"llama-operator"}
    (deployment,) = get(plane, "deployments", "-n", NAMESPACE)["items"]
    assert "ReplicaFailure" not in {c["type"] for c in deployment["status"].get("conditions", [])}


def test_the_policies_are_understood_by_the_api_server(installed, plane, eventually):
    def checked():
        found = get(plane, "validatingadmissionpolicies", "-l", "app.kubernetes.io/instance=llama-operator")["items"]
        return found if len(found) == POLICIES and all("typeChecking" in p.get("status", {}) for p in found) else None

    for policy in eventually(checked):
        assert policy["status"]["typeChecking"] == {}, policy["metadata"]["name"]


ALLOWED = {
    ("llama-operator.io", "llamadeployments"): "get list watch",
    ("llama-operator.io", "llamadeployments/status"): "patch update",
    ("llama-operator.io", "llamadeployments/finalizers"): "patch update",
    ("llama-operator.io", "llamadeployments/scale"): "",
    ("llama-operator.io", "licenseacceptances"): "get list watch",
    ("llama-operator.io", "licenseacceptances/status"): "patch",
    ("llama-operator.io", "licensepolicies"): "get list watch",
    ("llama-operator.io", "licensepolicies/status"): "patch",
    ("llama-operator.io", "accelerators"): "get list watch",
    ("llama-operator.io", "llamamodels"): "get list watch",
    ("llama-operator.io", "llamamodels/status"): "patch",
    ("ray.io", "rayservices"): "get list watch create patch delete",
    ("ray.io", "rayservices/status"): "",
    ("ray.io", "rayclusters"): "get list watch patch",
    ("ray.io", "rayjobs"): "",
    ("", "services"): "get list watch create patch",
    ("", "services/proxy"): "",
    ("", "nodes"): "get list watch",
    ("", "pods"): "list watch",
    ("", "pods/exec"): "",
    ("", "secrets"): "",
    ("", "configmaps"): "",
    ("", "serviceaccounts"): "",
    ("", "serviceaccounts/token"): "",
    ("", "namespaces"): "",
    ("", "events"): "",
    ("apps", "controllerrevisions"): "get list watch create patch delete",
    ("apps", "deployments"): "",
    ("batch", "jobs"): "get list watch create patch delete",
    ("batch", "cronjobs"): "",
    ("networking.k8s.io", "networkpolicies"): "get list watch create patch",
    ("policy", "poddisruptionbudgets"): "get list watch create patch",
    ("", "persistentvolumeclaims"): "get list watch create patch delete",
    ("", "persistentvolumes"): "",
    ("", "pods/eviction"): "",
    ("kueue.x-k8s.io", "localqueues"): "get",
    ("kueue.x-k8s.io", "workloads"): "",
    ("networking.k8s.io", "ingresses"): "get list watch create patch delete",
    ("networking.k8s.io", "ingressclasses"): "",
    ("gateway.networking.k8s.io", "httproutes"): "get list watch create patch delete",
    ("gateway.networking.k8s.io", "gateways"): "",
    ("gateway.networking.k8s.io", "referencegrants"): "",
    ("events.k8s.io", "events"): "create patch",
    ("coordination.k8s.io", "leases"): "",
    ("rbac.authorization.k8s.io", "clusterroles"): "",
    ("rbac.authorization.k8s.io", "rolebindings"): "",
    ("apiextensions.k8s.io", "customresourcedefinitions"): "",
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"): "",
}
"""All that the operator may do in a team's namespace."""
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "bind", "escalate")


def asked(plane, questions, user, groups):
    """Answers of the API server's authorizer to (group, resource, verb, namespace, name)."""
    reviews = []
    for group, resource, verb, namespace, name in questions:
        main, _, sub = resource.partition("/")
        attributes = {"group": group, "resource": main, "subresource": sub, "verb": verb, "namespace": namespace}
        spec = {"user": user, "groups": groups, "resourceAttributes": attributes | {"name": name, "version": "*"}}
        reviews.append({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec})
    listing = json.dumps({"apiVersion": "v1", "kind": "List", "items": reviews})
    answers = plane.kubectl("create", "-f", "-", "-o", "json", stdin=listing).stdout
    return [answer["status"].get("allowed", False) for answer in documents(answers)]


def documents(text):
    """JSON documents one after the other, as kubectl prints what it creates."""
    found, decoder = [], json.JSONDecoder()
    while text := text.lstrip():
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:]
    return found


def test_the_operator_may_do_this_and_nothing_else(installed, plane):
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}", "system:authenticated"]
    questions = [(*kind, verb, TEAM, "") for kind, verb in itertools.product(ALLOWED, VERBS)]
    answers = asked(plane, questions, ACCOUNT, groups)
    found = {kind: set() for kind in ALLOWED}
    for (group, resource, verb, *_), allowed in zip(questions, answers, strict=True):
        found[group, resource] |= {verb} if allowed else set()
    assert found == {kind: set(verbs.split()) for kind, verbs in ALLOWED.items()}
    leases = [("coordination.k8s.io", "leases", verb, NAMESPACE, "llama-operator") for verb in VERBS]
    allowed = {verb for (*_, verb, _, _), yes in zip(leases, asked(plane, leases, ACCOUNT, groups), strict=True) if yes}
    assert allowed == {"create", "get", "patch", "update"}
    assert asked(plane, [("coordination.k8s.io", "leases", "update", NAMESPACE, "other")], ACCOUNT, groups) == [False]


def test_people_with_the_built_in_roles_have_rights_on_llamadeployments(installed, plane, eventually):
    group = "rbac.authorization.k8s.io"
    for role in ("view", "edit"):
        plane.apply(
            {
                "apiVersion": f"{group}/v1",
                "kind": "RoleBinding",
                "metadata": {"name": role, "namespace": TEAM},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": group, "kind": "User", "name": f"{role}er"}],
            }
        )
    wanted = [("llama-operator.io", "llamadeployments", verb, TEAM, "") for verb in ("get", "create", "delete")]
    scale = ("llama-operator.io", "llamadeployments/scale", "patch", TEAM, "")
    eventually(lambda: asked(plane, [*wanted, scale], "editer", []) == [True, True, True, True])
    assert asked(plane, [*wanted, scale], "viewer", []) == [True, False, False, False]


def test_an_upgrade_of_the_definitions_changes_them(installed, release, charts, plane):
    path = next((charts / "llama-operator-crds" / "templates").glob("llamadeployments*.yaml"))
    definition = yaml.safe_load(path.read_text())
    definition["spec"]["versions"][0]["additionalPrinterColumns"].append(
        {"name": "Added", "type": "string", "jsonPath": ".metadata.uid"}
    )
    path.write_text(yaml.safe_dump(definition))
    release("upgrade", "llama-operator-crds", charts / "llama-operator-crds")
    columns = get(plane, "crd", "llamadeployments.llama-operator.io")["spec"]["versions"][0]["additionalPrinterColumns"]
    assert columns[-1]["name"] == "Added"


def test_an_upgrade_of_the_operator_changes_settings_and_keeps_deployments(
    installed, release, charts, plane, root, licenses_are_held
):
    tiny = yaml.safe_load((root / "manifests" / "samples" / "tiny-cpu.yaml").read_text())
    tiny["metadata"]["namespace"] = TEAM
    licenses_are_held(plane, TEAM)
    plane.apply(tiny)
    before = get(plane, "llamadeployment", "tiny", "-n", TEAM)
    release("upgrade", "llama-operator", charts / "llama-operator", "--set", "replicas=3,settings.workers=4")
    deployment = get(plane, "deployment", "llama-operator", "-n", NAMESPACE)
    assert deployment["spec"]["replicas"] == 3
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {"name": "LLAMA_OPERATOR_WORKERS", "value": "4"} in container["env"]
    assert get(plane, "llamadeployment", "tiny", "-n", TEAM) == before


def test_uninstall_keeps_the_definitions_and_every_deployment(installed, release, plane, eventually):
    release("uninstall", "llama-operator")
    release("uninstall", "llama-operator-crds")
    assert get(plane, "llamadeployment", "tiny", "-n", TEAM)["metadata"]["name"] == "tiny"
    kinds = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings"
    of_release = ["-l", "app.kubernetes.io/instance=llama-operator"]
    assert get(plane, kinds, *of_release)["items"] == []
    eventually(
        lambda: not get(plane, "all,roles,rolebindings,serviceaccounts,pdb", "-n", NAMESPACE, *of_release)["items"]
    )


def test_a_second_install_takes_the_kept_definitions_over(release, charts, plane):
    release("install", "llama-operator-crds", charts / "llama-operator-crds")
    release("uninstall", "llama-operator-crds")
    plane.kubectl("delete", "llamadeployment", "tiny", "-n", TEAM)
