"""The admission policies on a real API server: who may write what belongs to a LlamaDeployment, and what others are told.

Everybody here has all rights by RBAC, so that the policies alone decide. Most writes are dry runs: admission sees them
as it sees any other.
"""

import copy
import json

import pytest
import yaml

pytestmark = pytest.mark.control_plane

TEAM = "admission"
CLUSTER = "chat-1-abcde"
LABEL = "llama-operator.io/deployment"
RBAC = "rbac.authorization.k8s.io"

OPERATOR = "system:serviceaccount:llama-system:llama-operator"
KUBERAY = "system:serviceaccount:kuberay-system:kuberay-operator"
COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"
AUTOSCALER = f"system:serviceaccount:{TEAM}:{CLUSTER}"
OTHER_AUTOSCALER = f"system:serviceaccount:{TEAM}:other-1-abcde"
BACKUP = "system:serviceaccount:backup:velero"
PERSON = "mallory"
EVERYBODY = (OPERATOR, KUBERAY, COLLECTOR, AUTOSCALER, OTHER_AUTOSCALER, BACKUP, PERSON)


def sample(root, kind):
    """Object of `kind` that the operator makes of the largest sample; what it costs to compare is the most there is."""
    golden = root / "tests" / "golden" / "samples" / "llama-3.1-405b-bf16-h100.output.yaml"
    (found,) = [o for o in yaml.safe_load(golden.read_text())["apply"] if o["kind"] == kind]
    found["metadata"] = {"name": f"chat-{kind.lower()}", "namespace": TEAM, "labels": {LABEL: "chat"}}
    return found


@pytest.fixture(scope="module")
def objects(root):
    """One of each guarded kind, and one of each that is nobody's."""
    service = sample(root, "RayService")
    cluster = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": service["metadata"] | {"name": CLUSTER},
        "spec": service["spec"]["rayClusterConfig"],
    }
    guarded = {"rayservice": service, "raycluster": cluster, "controllerrevision": sample(root, "ControllerRevision")}
    free = {f"free-{name}": copy.deepcopy(each) for name, each in guarded.items()}
    for name, each in free.items():
        each["metadata"] = {"name": name, "namespace": TEAM}
    return guarded | free


@pytest.fixture(scope="module")
def guarded(bare_plane, helm, root, objects, eventually, tmp_path_factory):
    """The plane with the policies of the chart, all objects, and a namespace in which everybody may do everything."""
    values = tmp_path_factory.mktemp("values") / "values.json"
    values.write_text(json.dumps({"admission": {"trustedUsers": [BACKUP], "breakGlassGroups": ["firefighters"]}}))
    chart = root / "charts" / "llama-operator"
    rendered = helm("template", "llama-operator", chart, "--namespace", "llama-system", "--values", values).stdout
    policies = [o for o in yaml.safe_load_all(rendered) if o and o["kind"].startswith("ValidatingAdmissionPolicy")]
    people = [{"apiGroup": RBAC, "kind": "User", "name": user} for user in EVERYBODY]
    bare_plane.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TEAM}},
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "admission-test"},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": people,
        },
        *objects.values(),
    )
    bare_plane.apply(*policies)
    guard = Guard(bare_plane)
    eventually(lambda: all(guard.said(PERSON, "delete", name, CHANGED[name]) for name in CHANGED))
    yield guard
    leftovers = {"apiVersion": "v1", "kind": "List", "items": policies}
    bare_plane.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=json.dumps(leftovers))
    bare_plane.kubectl("delete", "clusterrolebinding", "admission-test")
    bare_plane.kubectl("delete", "namespace", TEAM, "--ignore-not-found", "--wait=false")


CHANGED = {"rayservice": "chat-rayservice", "raycluster": CLUSTER, "controllerrevision": "chat-controllerrevision"}
"""Names of the guarded objects by resource."""


class Guard:
    """Tries writes as somebody, without making them."""

    def __init__(self, plane):
        self.plane = plane

    def said(self, user, *arguments, stdin=None, groups=()):
        """The refusal; empty when the write is let through."""
        as_groups = [f"--as-group={group}" for group in groups]
        done = self.plane.kubectl(
            *arguments, "-n", TEAM, "--dry-run=server", f"--as={user}", *as_groups, stdin=stdin, check=False
        )
        assert done.returncode == 0 or "ValidatingAdmissionPolicy" in done.stderr, done.stderr
        return "" if done.returncode == 0 else done.stderr

    def may(self, *arguments, stdin=None, users=EVERYBODY):
        return {user for user in users if not self.said(user, *arguments, stdin=stdin)}

    def may_patch(self, resource, name, patch, *more, users=EVERYBODY):
        return self.may("patch", resource, name, "--type=merge", "-p", json.dumps(patch), *more, users=users)

    def may_create(self, obj, name):
        return self.may("create", "-f", "-", stdin=json.dumps(obj | {"metadata": obj["metadata"] | {"name": name}}))


def test_only_the_operator_creates_rayservices_and_pinned_plans(guarded, objects):
    assert guarded.may_create(objects["rayservice"], "new") == {OPERATOR, BACKUP}
    assert guarded.may_create(objects["controllerrevision"], "new") == {OPERATOR, BACKUP}


def test_only_kuberay_creates_rayclusters(guarded, objects):
    assert guarded.may_create(objects["raycluster"], "new") == {KUBERAY, BACKUP}


def test_only_the_operator_changes_rayservices_and_kuberay_their_finalizers(guarded):
    change = {"spec": {"rayClusterConfig": {"rayVersion": "2.0.0"}}}
    assert guarded.may_patch("rayservice", "chat-rayservice", change) == {OPERATOR, KUBERAY, BACKUP, COLLECTOR}
    assert guarded.may_patch("controllerrevision", "chat-controllerrevision", {"revision": 9}) == {
        OPERATOR,
        BACKUP,
        COLLECTOR,
    }


def test_only_kuberay_writes_status(guarded):
    status = {"status": {"observedGeneration": 7}}
    for resource, name in (("rayservice", "chat-rayservice"), ("raycluster", CLUSTER)):
        assert guarded.may_patch(resource, name, status, "--subresource=status") - {COLLECTOR} == {KUBERAY, BACKUP}


def test_nobody_gets_rid_of_the_rule_by_taking_the_label_away(guarded):
    for resource, name in CHANGED.items():
        assert PERSON not in guarded.may_patch(resource, name, {"metadata": {"labels": {LABEL: None}}})


def test_nobody_slips_an_object_under_a_deployment_by_setting_the_label(guarded):
    for resource in CHANGED:
        label = {"metadata": {"labels": {LABEL: "chat"}}}
        assert PERSON not in guarded.may_patch(resource, f"free-{resource}", label)


def test_an_owner_alone_puts_an_object_under_the_rule(guarded, objects):
    owner = {"apiVersion": "llama-operator.io/v1alpha1", "kind": "LlamaDeployment", "name": "chat", "uid": "1"}
    owned = copy.deepcopy(objects["free-rayservice"])
    owned["metadata"]["ownerReferences"] = [owner]
    assert guarded.may_create(owned, "owned") == {OPERATOR, BACKUP}


def test_only_the_operator_and_kubernetes_delete(guarded):
    for resource in ("rayservice", "controllerrevision"):
        assert guarded.may("delete", resource, CHANGED[resource]) == {OPERATOR, BACKUP, COLLECTOR}
        assert guarded.may("delete", resource, "-l", LABEL) == {OPERATOR, BACKUP, COLLECTOR}
    assert guarded.may("delete", "raycluster", CLUSTER) == {KUBERAY, BACKUP, COLLECTOR}


def test_the_operator_sets_bounds_on_a_raycluster(guarded):
    bounds = [{"op": "replace", "path": "/spec/workerGroupSpecs/0/maxReplicas", "value": 40}]
    assert guarded.may("patch", "raycluster", CLUSTER, "--type=json", "-p", json.dumps(bounds)) == {
        OPERATOR,
        KUBERAY,
        BACKUP,
        COLLECTOR,
    }


def test_the_autoscaler_of_a_cluster_changes_how_many_workers_run_and_which_go(guarded):
    counts = [
        {"op": "replace", "path": "/spec/workerGroupSpecs/0/replicas", "value": 6},
        {"op": "add", "path": "/spec/workerGroupSpecs/0/scaleStrategy", "value": {"workersToDelete": ["a-worker"]}},
    ]
    assert guarded.may("patch", "raycluster", CLUSTER, "--type=json", "-p", json.dumps(counts)) == {
        OPERATOR,
        KUBERAY,
        BACKUP,
        COLLECTOR,
        AUTOSCALER,
    }


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/spec/workerGroupSpecs/0/maxReplicas", 40),
        ("/spec/workerGroupSpecs/0/template/spec/containers/0/image", "evil"),
        ("/spec/workerGroupSpecs/0/template/spec/serviceAccountName", "admin"),
        ("/spec/workerGroupSpecs/0/rayStartParams/num-cpus", "9"),
        ("/spec/headGroupSpec/template/spec/serviceAccountName", "admin"),
        ("/spec/autoscalerOptions/image", "evil"),
        ("/spec/authOptions", {"mode": "disabled"}),
        ("/spec/suspend", True),
        ("/metadata/labels/mine", "yes"),
    ],
    ids=str,
)
def test_the_autoscaler_of_a_cluster_changes_nothing_else(guarded, path, value):
    patch = json.dumps([{"op": "add", "path": path, "value": value}])
    assert guarded.said(AUTOSCALER, "patch", "raycluster", CLUSTER, "--type=json", "-p", patch)


def test_ray_objects_of_others_are_nobodys_business(guarded, objects):
    for resource in CHANGED:
        name = f"free-{resource}"
        assert guarded.may("delete", resource, name) == set(EVERYBODY)
        assert guarded.may_create(objects[name], "another") == set(EVERYBODY)


def test_the_break_glass_group_may_do_all(guarded):
    for resource, name in CHANGED.items():
        assert guarded.said(PERSON, "delete", resource, name, groups=["system:authenticated"])
        assert not guarded.said(PERSON, "delete", resource, name, groups=["system:authenticated", "firefighters"])


def test_who_is_refused_is_told_what_to_do_instead(guarded):
    said = guarded.said(PERSON, "delete", "rayservice", "chat-rayservice")
    assert "rayservices" in said
    assert "kubectl edit llamadeployment chat -n admission" in said
    assert "docs/install.md" in said
    said = guarded.said(PERSON, "delete", "raycluster", CLUSTER)
    assert "kubectl edit llamadeployment chat -n admission" in said


def test_a_namespace_with_guarded_objects_can_be_deleted(guarded, objects, eventually):
    plane = guarded.plane
    doomed = [copy.deepcopy(objects[name]) for name in CHANGED]
    for each in doomed:
        each["metadata"]["namespace"] = "admission-doomed"
    plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "admission-doomed"}})
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": doomed})
    as_firefighter = ["--as=me", "--as-group=system:masters", "--as-group=firefighters"]
    plane.kubectl("create", *as_firefighter, "-f", "-", stdin=manifest)
    plane.kubectl("delete", "namespace", "admission-doomed", "--wait=false")
    eventually(lambda: plane.kubectl("get", "namespace", "admission-doomed", check=False).returncode)
