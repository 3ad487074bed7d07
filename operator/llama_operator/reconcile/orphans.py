"""Ends what a deleted LlamaDeployment left behind without an owner. Called by `reconcile.deployment` when there is no deployment."""

import contextlib

from llama_operator.api.meta import ANNOTATION_TRAFFIC_SINCE, LABEL_DEPLOYMENT, LABEL_REVISION, rfc3339
from llama_operator.api.readings import mappings
from llama_operator.decide.observed import RayServiceFacts, TrafficFacts
from llama_operator.decide.rollout.ending import NO_REVISION
from llama_operator.decide.rollout.orphans import OrphansEnd, orphans_end
from llama_operator.kube import kinds
from llama_operator.kube.json_patch import segment
from llama_operator.kube.port import (
    Cluster,
    ConflictError,
    JsonPatch,
    NotFoundError,
    Object,
    Preconditions,
    Propagation,
    Ref,
)
from llama_operator.observe import children
from llama_operator.reconcile.ports import Ports
from llama_operator.status.events import orphan_events


async def end_orphans(ports: Ports, ref: Ref) -> float | None:
    """Bring what is labeled with the deployment at `ref`, which is gone, nearer to its end.

    Returns:
        Seconds until the next step; None if there is none, or nothing was left behind.

    Raises:
        KubeError: If Kubernetes failed.
        EvidenceError: If the end could not be recorded.
    """
    left = [service for service in await _ray_services(ports.cluster, ref) if not _owned(service)]
    if not left:
        return None
    now = ports.now().replace(microsecond=0)
    service = await _service(ports.cluster, ref)
    traffic = None if service is None else children.traffic_facts(service, ref.name)
    since = None if traffic is None else traffic.since
    cut_ago = None if since is None else ports.ages.look(ref, (since,), now)[since]
    end = orphans_end(ports.unreadable.all(left, children.ray_service_facts), traffic, cut_ago)
    await ports.evidence.orphaned(ref, tuple(obj["metadata"]["name"] for obj in left), now)
    if end.cut and traffic is not None:
        await _cut(ports.cluster, ref, traffic, rfc3339(now))
    for gone in end.remove:
        await _remove(ports.cluster, ref, gone)
    await _tell(ports, left, end)
    return end.next_check


async def _ray_services(cluster: Cluster, ref: Ref) -> tuple[Object, ...]:
    try:
        labels = {LABEL_DEPLOYMENT: ref.name}
        return tuple((await cluster.list(kinds.RAY_SERVICE, namespace=ref.namespace, labels=labels)).items)
    except NotFoundError:
        # KubeRay is not installed.
        return ()


def _owned(service: Object) -> bool:
    """Whether an owner stands in it: then Kubernetes' garbage collection deletes it with that owner."""
    return any(owner.get("controller") for owner in mappings(service["metadata"].get("ownerReferences")))


async def _service(cluster: Cluster, ref: Ref) -> Object | None:
    try:
        service = await cluster.get(Ref(kinds.SERVICE, ref.namespace, ref.name))
    except NotFoundError:
        return None
    return None if _owned(service) else service


async def _cut(cluster: Cluster, ref: Ref, traffic: TrafficFacts, since: str) -> None:
    """Let the Service select no pod, if it still selects what it did."""
    selected = f"/spec/selector/{segment(LABEL_REVISION)}"
    operations = [JsonPatch("test", selected, traffic.revision), JsonPatch("replace", selected, NO_REVISION)]
    if traffic.since is None:
        live = await cluster.get(Ref(kinds.SERVICE, ref.namespace, ref.name))
        if not live["metadata"].get("annotations"):
            operations.append(JsonPatch("add", "/metadata/annotations", {}))
    operations.append(JsonPatch("add", f"/metadata/annotations/{segment(ANNOTATION_TRAFFIC_SINCE)}", since))
    with contextlib.suppress(NotFoundError, ConflictError):
        await cluster.patch(Ref(kinds.SERVICE, ref.namespace, ref.name), operations)


async def _remove(cluster: Cluster, ref: Ref, gone: RayServiceFacts) -> None:
    with contextlib.suppress(NotFoundError, ConflictError):
        await cluster.delete(
            Ref(kinds.RAY_SERVICE, ref.namespace, gone.name),
            preconditions=Preconditions(uid=gone.uid or None),
            propagation=Propagation.FOREGROUND,
        )


async def _tell(ports: Ports, left: list[Object], end: OrphansEnd) -> None:
    removed = {gone.name for gone in end.remove}
    for service in left:
        regarding = {key: service[key] for key in ("apiVersion", "kind", "metadata")}
        for facts in orphan_events(
            service["metadata"]["name"], cut=end.cut, removed=service["metadata"]["name"] in removed
        ):
            await ports.events.record(regarding, facts)
