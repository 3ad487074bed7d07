"""The admission policies on a real API server: who may write what belongs to a LlamaDeployment, and what others are told."""

import copy
import json

import pytest
import yaml

from support.admission import (
    AUTOSCALER,
    BACKUP,
    CHANGED,
    CLUSTER,
    COLLECTOR,
    EVERYBODY,
    KUBERAY,
    LABEL,
    OPERATOR,
    PERSON,
    TEAM,
    changed,
)

pytestmark = pytest.mark.control_plane


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
        KUBERAY,
        BACKUP,
        COLLECTOR,
        AUTOSCALER,
    }


def test_the_autoscaler_of_a_cluster_changes_no_other_field_that_kuberay_knows(guarded, kuberay_crds):
    """Fields and values come from KubeRay's definition, so that a field of a later version is tried the day it comes."""
    text = (kuberay_crds / "ray.io_rayclusters.yaml").read_text(encoding="utf-8")
    versions = yaml.load(text, Loader=yaml.CSafeLoader)["spec"]["versions"]
    (schema,) = [each["schema"]["openAPIV3Schema"] for each in versions if each["storage"]]
    live = json.loads(guarded.plane.kubectl("get", "raycluster", CLUSTER, "-n", TEAM, "-o", "json").stdout)
    fields, now = schema["properties"]["spec"]["properties"], live["spec"]
    group = fields.pop("workerGroupSpecs")["items"]["properties"]
    tried = {f"/spec/{name}": changed(field, now.get(name)) for name, field in fields.items()}
    tried["/spec/managedBy"] = "kueue.x-k8s.io/multikueue"  # no other value is allowed by a rule of the definition
    tried |= {
        f"/spec/workerGroupSpecs/0/{name}": changed(field, now["workerGroupSpecs"][0].get(name))
        for name, field in group.items()
    }
    assert len(tried) > 20
    allowed = {
        path for path, value in tried.items() if not guarded.judged(AUTOSCALER, "raycluster", CLUSTER, path, value)
    }
    assert allowed == {"/spec/workerGroupSpecs/0/replicas", "/spec/workerGroupSpecs/0/scaleStrategy"}


def test_the_autoscaler_changes_no_field_that_a_later_kuberay_adds(guarded, eventually):
    """The policy was rendered before anybody knew the fields."""
    spec = "/spec/versions/{index}/schema/openAPIV3Schema/properties/spec/properties"
    definition = json.loads(guarded.plane.kubectl("get", "crd", "rayclusters.ray.io", "-o", "json").stdout)
    (index,) = [number for number, each in enumerate(definition["spec"]["versions"]) if each["storage"]]
    places = [f"{spec}/addedLater", f"{spec}/workerGroupSpecs/items/properties/addedLater"]

    def change(operation, **content):
        patch = [{"op": operation, "path": path.format(index=index), **content} for path in places]
        guarded.plane.kubectl("patch", "crd", "rayclusters.ray.io", "--type=json", "-p", json.dumps(patch))

    change("add", value={"type": "string"})
    try:
        for path in ("/spec/addedLater", "/spec/workerGroupSpecs/0/addedLater"):
            # Until the API server knows the field, it drops it, and nothing has changed.
            eventually(lambda path=path: guarded.judged(AUTOSCALER, "raycluster", CLUSTER, path, "mine"))
    finally:
        change("remove")


REDIS = {"redisAddress": "evil:6379", "redisPassword": {"valueFrom": {"secretKeyRef": {"name": "any", "key": "key"}}}}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/spec/gcsFaultToleranceOptions", REDIS),
        ("/spec/workerGroupSpecs/0/template/spec/containers/0/image", "evil"),
        ("/spec/workerGroupSpecs/0/template/spec/serviceAccountName", "admin"),
        ("/spec/workerGroupSpecs/0/rayStartParams/num-cpus", "9"),
        ("/spec/headGroupSpec/template/spec/serviceAccountName", "admin"),
        ("/spec/autoscalerOptions/image", "evil"),
        ("/spec/workerGroupSpecs/-", {"groupName": "mine", "template": {"spec": {"containers": []}}}),
        ("/metadata/labels/mine", "yes"),
        ("/metadata/annotations", {"ray.io/overwrite-container-cmd": "true"}),
        ("/metadata/finalizers", ["example.com/never"]),
        ("/metadata/ownerReferences", [{"apiVersion": "v1", "kind": "Secret", "name": "a", "uid": "1"}]),
    ],
    ids=str,
)
def test_the_autoscaler_of_a_cluster_changes_nothing_else(guarded, path, value):
    assert guarded.judged(AUTOSCALER, "raycluster", CLUSTER, path, value)


def test_groups_are_not_taken_away_doubled_or_put_in_another_order(guarded, objects):
    (one,) = objects["raycluster"]["spec"]["workerGroupSpecs"]
    for groups in ([], [one, one], [one | {"groupName": "other"}], [one, one | {"groupName": "other"}]):
        assert guarded.judged(AUTOSCALER, "raycluster", CLUSTER, "/spec/workerGroupSpecs", groups)
        assert guarded.judged(OPERATOR, "raycluster", CLUSTER, "/spec/workerGroupSpecs", groups)


def test_an_older_version_of_the_api_is_no_way_around(guarded):
    """KubeRay's v1alpha1 does not know `authOptions`: a write in it takes the field away, and shows that to nobody."""
    counts = json.dumps([{"op": "replace", "path": "/spec/workerGroupSpecs/0/replicas", "value": 6}])
    old = (
        "patch",
        "raycluster.v1alpha1.ray.io",
        CLUSTER,
        "-n",
        TEAM,
        "--dry-run=server",
        "-o",
        "json",
        "--type=json",
        "-p",
    )
    written = json.loads(guarded.plane.kubectl(*old, counts, f"--as={BACKUP}").stdout)
    assert "authOptions" not in written["spec"]
    for resource, allowed in (("raycluster.v1alpha1.ray.io", False), ("raycluster.v1.ray.io", True)):
        said = guarded.said(AUTOSCALER, "patch", resource, CLUSTER, "--type=json", "-p", counts)
        assert bool(said) is not allowed


@pytest.mark.parametrize(("path", "value"), [("/spec/rayVersion", "2.0.0"), ("/metadata/labels/mine", "yes")], ids=str)
def test_the_operator_changes_nothing_but_bounds_of_a_raycluster(guarded, path, value):
    assert guarded.judged(OPERATOR, "raycluster", CLUSTER, path, value)


def test_ray_objects_of_others_are_nobodys_business(guarded, objects):
    for resource in CHANGED:
        name = f"free-{resource}"
        # But for the operator, which touches only what belongs to a deployment.
        others = EVERYBODY if resource == "raycluster" else set(EVERYBODY) - {OPERATOR}
        assert guarded.may("delete", resource, name) == set(others)
        assert guarded.may_create(objects[name], "another") == set(others)


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
