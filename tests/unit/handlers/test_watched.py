"""What the cache leaves out is never read."""

import pytest

from llama_operator.api import paths
from llama_operator.handlers.watched import kept
from llama_operator.kube import kinds
from llama_operator.observe.children import ray_cluster_facts
from llama_operator.observe.pods import pod_facts
from support import recordings


def test_a_ray_cluster_keeps_its_bounds_and_loses_what_repeats_its_ray_service():
    pods = {"spec": {"containers": [{"name": "ray", "image": "acme/ray:1"}]}}
    cluster = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": "chat-1-abcde", "labels": {"llama-operator.io/revision": "chat-1"}},
        "spec": {
            "headGroupSpec": {"template": pods},
            "workerGroupSpecs": [{"groupName": "h100", "minReplicas": 1, "maxReplicas": 3, "template": pods}],
        },
        "status": {
            "state": "ready",
            "lastUpdateTime": "2026-03-02T09:30:00Z",
            "conditions": [
                {
                    "type": "ReplicaFailure",
                    "status": "True",
                    "reason": "FailedCreateHeadPod",
                    "message": "exceeded quota: gpus",
                    "lastTransitionTime": "2026-03-02T09:30:00Z",
                }
            ],
        },
    }
    slim = kept(kinds.RAY_CLUSTER, cluster)
    assert ray_cluster_facts(slim) == ray_cluster_facts(cluster)
    assert "acme/ray" not in str(slim)
    assert ray_cluster_facts(slim).conditions[0].message == "exceeded quota: gpus"
    assert "2026" not in str(slim), "times that move by themselves are no news"


def test_who_owns_which_field_is_left_out():
    metadata = {"name": "web", "managedFields": [{"manager": "kubectl"}]}
    obj = {"apiVersion": "v1", "kind": "Service", "metadata": metadata}
    assert kept(kinds.SERVICE, obj) == obj | {"metadata": {"name": "web"}}
    assert metadata["managedFields"], "the object itself stays as it is"


def test_a_node_loses_its_images():
    node = {"metadata": {"name": "n"}, "status": {"capacity": {"cpu": "1"}, "images": [{"names": ["a"]}]}}
    assert kept(kinds.NODE, node)["status"] == {"capacity": {"cpu": "1"}}


@pytest.mark.parametrize("name", recordings.NAMES)
def test_a_pod_keeps_what_a_diagnosis_needs_and_little_else(name):
    for pod in recordings.objects(name, slim=False):
        if pod["kind"] == "Pod":
            slim = kept(kinds.POD, pod)
            assert pod_facts(slim) == pod_facts(pod)
            assert all(volume.keys() == {"image"} for volume in slim["spec"].get("volumes", ())), "only what is pulled"
            assert "containers" not in slim["spec"]
            assert len(str(slim)) < len(str(pod)) / 2


@pytest.mark.parametrize("part", ["metadata.labels", "spec", "status", "status.conditions", "status.containerStatuses"])
@pytest.mark.parametrize("strange", [None, "x", 1, [], ["x"], {}, {"a": "b"}, [{"state": "x", "lastState": [1]}]])
def test_a_pod_that_nobody_foresaw_is_kept_and_read(part, strange):
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}}
    pod = paths.merged(pod, paths.nested({part: strange}))
    assert pod_facts(kept(kinds.POD, pod)) == pod_facts(pod)
