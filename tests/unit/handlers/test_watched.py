"""What the cache leaves out is never read."""

from llama_operator.handlers.watched import kept
from llama_operator.kube import kinds
from llama_operator.observe.children import ray_cluster_facts


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
