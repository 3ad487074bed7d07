"""What is left out of the cache is read by nobody."""

from llama_operator.handlers.watched import slim
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
        "status": {"state": "ready"},
    }
    kept = slim(kinds.RAY_CLUSTER, cluster)
    assert ray_cluster_facts(kept) == ray_cluster_facts(cluster)
    assert "acme/ray" not in str(kept)
    assert "status" not in kept
