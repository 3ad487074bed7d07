"""What KubeRay says, or does not do: the causes before there are pods. Called by `decide.diagnosis.causes`."""

import re
from collections.abc import Iterator
from typing import Final

from llama_operator.api import readings
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.decide.diagnosis.cause import Cause
from llama_operator.decide.observed import Observed, RayClusterFacts, RayServiceFacts

PATIENCE_SECONDS: Final = 30.0
"""How long KubeRay may take to make a cluster, and its first pod: it takes one or two."""

_RAY_CLUSTERS: Final = "rayclusters.ray.io"
_REFUSED: Final = frozenset({"ValidationFailed", "InitializingTimeout"})
"""Reasons of KubeRay's Ready for a RayService that it does nothing about."""
_REPLICA_FAILURE: Final = "ReplicaFailure"
_WITH_PODS: Final = frozenset({"HeadPodReady", "RayClusterProvisioned"})
"""Conditions that are True once there were pods."""
_GOING: Final = "because it is being terminated"
"""Of a namespace that somebody deletes: all in it goes, and nothing is wrong."""
_NAMED_POD: Final = re.compile(r'\bpods? "[^"]*" is (?:forbidden: )?')
"""The name is drawn anew each time that KubeRay tries."""


def causes(observed: Observed, service: RayServiceFacts) -> Iterator[Cause]:
    """Yield why the cluster of a RayService is not there, or has no pods."""
    ready = next((one for one in service.conditions if one.type == "Ready"), None)
    if ready is not None and ready.reason in _REFUSED and ready.status != "True":
        yield _not_made(f"KubeRay refuses RayService {service.name}: {ready.reason}: {ready.message}")
        return
    if _of_queue(observed, service) > 0:
        return
    clusters = clusters_of(observed, service)
    if not clusters and _overdue(observed, service):
        yield _not_made(f"KubeRay has made no RayCluster for RayService {service.name} within {PATIENCE_SECONDS:.0f} s")
    refused = tuple(dict.fromkeys(text for one in clusters for text in _refusals(one)))
    told = (text for text in refused if _GOING not in text)
    yield from (Cause(Reason.PODS_REFUSED, ConditionType.MODEL_LOADED, text) for text in told)
    if not refused:
        empty = [one for one in clusters if _empty(observed, one)]
        yield from (
            _not_made(f"RayCluster {one.name} had pods and has no pods any more; KubeRay makes none")
            for one in empty
            if _had_pods(one)
        )
        yield from (
            _not_made(f"RayCluster {one.name} has no pods {PATIENCE_SECONDS:.0f} s after it was made")
            for one in empty
            if not _had_pods(one) and _age_left(observed, one) <= 0
        )


def waits(observed: Observed, service: RayServiceFacts) -> Iterator[float]:
    """Yield the seconds after which KubeRay has taken too long."""
    if (left := _of_queue(observed, service)) > 0:
        yield from () if service.waits else (left,)
        return
    clusters = clusters_of(observed, service)
    if not clusters and _may_be_overdue(observed, service) and service.created is not None:
        yield observed.age(service.created).left(PATIENCE_SECONDS)
    yield from (_age_left(observed, one) for one in clusters if _empty(observed, one) and not _had_pods(one))


def clusters_of(observed: Observed, service: RayServiceFacts) -> tuple[RayClusterFacts, ...]:
    """RayClusters of a RayService."""
    return tuple(one for one in observed.ray_clusters if one.revision == service.name)


def bereft(observed: Observed) -> bool:
    """Whether a cluster seems to have lost all its pods: one that was read before its pods may have gone with them."""
    return any(_empty(observed, one) and _had_pods(one) for one in observed.ray_clusters)


def are_seen(observed: Observed) -> bool:
    """Whether RayClusters that are there would be known: not where none is ever made, as on a machine without Kubernetes."""
    unread = {part.kind for part in observed.unknown}
    return not observed.platform.lacks(_RAY_CLUSTERS) and unread.isdisjoint({"rayclusters", "rayservices"})


def _refusals(cluster: RayClusterFacts) -> Iterator[str]:
    for condition in cluster.conditions:
        if condition.type == _REPLICA_FAILURE and condition.status == "True":
            # KubeRay's message begins with its reason, on a line of its own.
            told = " ".join(condition.message.split()).removeprefix(condition.reason).strip()
            yield f"{condition.reason}: {_NAMED_POD.sub('', told)}"


def _overdue(observed: Observed, service: RayServiceFacts) -> bool:
    return (
        _may_be_overdue(observed, service)
        and service.created is not None
        and observed.age(service.created).left(PATIENCE_SECONDS) <= 0
    )


def _may_be_overdue(observed: Observed, service: RayServiceFacts) -> bool:
    """Whether a cluster is missed: not where none is ever made, and not where Serve or endpoints tell of one."""
    return are_seen(observed) and service.endpoints == 0 and not service.application_status


def _of_queue(observed: Observed, service: RayServiceFacts) -> float:
    """Seconds for which nobody can expect pods, because Kueue holds them back or has let them start just now."""
    if service.waits:
        return PATIENCE_SECONDS
    record = observed.pinned(service.name)
    if service.queue is None or record is None:
        return 0
    admitted = readings.moment(record.admitted_at)
    return PATIENCE_SECONDS if admitted is None else observed.age(admitted).left(PATIENCE_SECONDS)


def _empty(observed: Observed, cluster: RayClusterFacts) -> bool:
    pods = observed.pods
    return pods is not None and not cluster.leaving and not any(pod.revision == cluster.revision for pod in pods)


def _had_pods(cluster: RayClusterFacts) -> bool:
    return any(one.type in _WITH_PODS and one.status == "True" for one in cluster.conditions)


def _age_left(observed: Observed, cluster: RayClusterFacts) -> float:
    return PATIENCE_SECONDS if cluster.created is None else observed.age(cluster.created).left(PATIENCE_SECONDS)


def _not_made(message: str) -> Cause:
    return Cause(Reason.CLUSTER_NOT_MADE, ConditionType.MODEL_LOADED, message)
