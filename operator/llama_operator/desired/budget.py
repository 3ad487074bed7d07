"""The PodDisruptionBudgets of a deployment: a drain of nodes takes one replica at a time. Called by `desired.objects`.

It counts the workers of the revision that has the traffic, as an integer that follows the number of replicas: KubeRay's objects have
no scale subresource, so of a share, or of `maxUnavailable`, Kubernetes cannot say how many pods that is, and refuses every eviction.
No two budgets may select one pod, or nobody can evict it: that of the model and that of its guard select by worker group. The head has
none.
"""

from collections.abc import Mapping
from typing import Any

from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.decide.observed import RayClusterFacts, RevisionFacts
from llama_operator.desired import naming
from llama_operator.desired.guard import bounds_of
from llama_operator.desired.pods.pod_settings import peers

API_VERSION = "policy/v1"
KIND = "PodDisruptionBudget"

_GROUP = "ray.io/group"


def build(
    deployment: LlamaDeployment, pinned: RevisionFacts, clusters: tuple[RayClusterFacts, ...]
) -> tuple[dict[str, Any], ...]:
    """Build the budgets: that of the model, and that of the guard where there is one.

    With one replica a budget lets that one go, or a node with it could never be drained: Ray then drains the pod, within its time to end.

    Args:
        deployment: The owner.
        pinned: The revision that has the traffic.
        clusters: RayClusters of all revisions; they say how many replicas the autoscaler wants.
    """
    model, *guards = pinned.cluster["workerGroupSpecs"]
    name = deployment.metadata.name
    replicas = _wanted(model, pinned, clusters)
    if "numOfHosts" not in model:
        replicas //= _nodes(pinned)
    return (
        _budget(deployment, name, _selector(pinned, model, "worker"), replicas, spans_nodes=_nodes(pinned) > 1),
        # No deployment has a name with a dot.
        *(
            _budget(deployment, f"{name}.guard", _selector(pinned, group, "worker"), _wanted(group, pinned, clusters))
            for group in guards
        ),
    )


def _budget(
    deployment: LlamaDeployment, name: str, selector: dict[str, str], replicas: int, *, spans_nodes: bool = False
) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": naming.metadata(deployment, name),
        "spec": {
            # Of a replica over nodes one pod is ready, as KubeRay sees it: the one with Serve's replica.
            "minAvailable": max(0, replicas - 1),
            "selector": {"matchLabels": selector},
            # A pod that does not answer shall not hold up a drain. The other pods of a replica over nodes are never ready, and hold
            # what it computes with: they go as long as the budget is kept.
            "unhealthyPodEvictionPolicy": "IfHealthyBudget" if spans_nodes else "AlwaysAllow",
        },
    }


def _selector(pinned: RevisionFacts, group: Mapping[str, Any], role: str) -> dict[str, str]:
    return {**peers(pinned.name, role), _GROUP: group["groupName"]}


def _wanted(group: Mapping[str, Any], pinned: RevisionFacts, clusters: tuple[RayClusterFacts, ...]) -> int:
    """How many of a group are wanted now, counted as KubeRay does; the fewest while no cluster says."""
    # Not how many there are: then each pod that went would let the next one go.
    known = (
        one
        for cluster in clusters
        if cluster.revision == pinned.name and not cluster.leaving
        for one in cluster.groups
        if one.name == group["groupName"]
    )
    of_cluster = next(known, None)
    if pinned.live is None:
        # It shall not run, or nobody knows between which bounds.
        return 0 if of_cluster is None else of_cluster.wanted
    least, most = bounds_of(group, pinned, pinned.live)
    # As KubeRay does: the autoscaler may not have heard of new bounds yet.
    return least if of_cluster is None else min(max(of_cluster.wanted, least), most)


def _nodes(pinned: RevisionFacts) -> int:
    return pinned.plan.chosen.nodes_per_replica if pinned.plan.chosen is not None else 1
