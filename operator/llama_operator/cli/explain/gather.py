"""Reads from a cluster what `kubectl llama explain` looks at. Called by `cli.explain.command` and, for the Lease, by `doctor`."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from llama_operator import catalog
from llama_operator.api.manifest import parse_as
from llama_operator.api.meta import LABEL_DEPLOYMENT, LABEL_REVISION
from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus
from llama_operator.cli.explain.facts import ConditionFacts, Facts, HeldFacts, LeaseFacts, PodFacts, RayFacts
from llama_operator.cli.shared import revisions
from llama_operator.cli.shared.connection import Connection, Unknown, facts_of, readable
from llama_operator.cli.shared.output import moment
from llama_operator.errors import FieldProblem, InvalidManifestError
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, Object
from llama_operator.observe import children
from llama_operator.observe.gather import node_facts

_LEASE = "llama-operator"
"""Name of the Lease that the leading operator holds, or the end of it where a release has another name."""


async def gather(connection: Connection, live: Object) -> Facts:
    """Read what may matter to the deployment `live`."""
    cluster, metadata = connection.cluster, live["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    own = {LABEL_DEPLOYMENT: name}
    known, status = catalog.load(), _status(live)
    deployment, problems = _parsed(live)
    lease, records = await asyncio.gather(
        readable(lease_of(cluster)), readable(revisions.read(cluster, namespace, name))
    )
    acceptances, nodes = await asyncio.gather(
        facts_of(cluster, kinds.LICENSE_ACCEPTANCE, _acceptance),
        facts_of(cluster, kinds.NODE, lambda item: node_facts(item, known)),
    )
    pods, services, clusters = await asyncio.gather(
        facts_of(cluster, kinds.POD, pod_facts, namespace, own),
        facts_of(cluster, kinds.RAY_SERVICE, _service, namespace, own),
        facts_of(cluster, kinds.RAY_CLUSTER, _ray, namespace, own),
    )
    return Facts(
        namespace=namespace,
        name=name,
        now=connection.now(),
        generation=metadata.get("generation", 0),
        deleted_at=moment(metadata.get("deletionTimestamp")),
        finalizers=tuple(metadata.get("finalizers") or ()),
        deployment=deployment,
        problems=problems,
        status=status,
        lease=lease,
        acceptances=acceptances,
        records=records,
        nodes=nodes,
        held=await _held_if_needed(cluster, pods, _resource(known, status)),
        pods=pods,
        services=services,
        clusters=clusters,
    )


def _parsed(live: Object) -> tuple[LlamaDeployment | None, tuple[FieldProblem, ...]]:
    try:
        return parse_as(LlamaDeployment, live), ()
    except InvalidManifestError as error:
        return None, error.problems


def _status(live: Object) -> LlamaDeploymentStatus:
    try:
        return LlamaDeploymentStatus.model_validate(live.get("status") or {})
    except ValidationError:
        return LlamaDeploymentStatus()


def _acceptance(item: Object) -> LicenseAcceptance | None:
    try:
        return parse_as(LicenseAcceptance, item)
    except InvalidManifestError:
        return None


async def lease_of(cluster: Cluster) -> LeaseFacts | None:
    """Read the Lease of the operator, wherever it is installed; None for none."""
    listing = await cluster.list(kinds.LEASE)
    found = [lease_facts(item) for item in listing.items if item["metadata"]["name"].endswith(_LEASE)]
    # An abandoned one of an earlier installation may lie beside it.
    return max(found, key=lambda lease: lease.renewed.timestamp() if lease.renewed else 0.0, default=None)


def lease_facts(obj: Object) -> LeaseFacts:
    """What a Lease says."""
    spec = obj.get("spec") or {}
    return LeaseFacts(
        namespace=obj["metadata"].get("namespace", ""),
        holder=spec.get("holderIdentity") or "",
        renewed=moment(spec.get("renewTime")),
        seconds=int(spec.get("leaseDurationSeconds") or 15),
    )


def pod_facts(obj: Object) -> PodFacts:
    """What a Pod says about why it does not run."""
    metadata, status = obj["metadata"], obj.get("status") or {}
    labels: Mapping[str, str] = metadata.get("labels") or {}
    conditions: Iterable[Object] = status.get("conditions") or ()
    by_type = {found.get("type"): found for found in conditions}
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    waiting: Object = next(
        (found["state"]["waiting"] for found in containers if (found.get("state") or {}).get("waiting")), {}
    )
    scheduled = by_type.get("PodScheduled", {})
    return PodFacts(
        name=metadata["name"],
        revision=labels.get(LABEL_REVISION, ""),
        role=labels.get("ray.io/node-type", ""),
        phase=status.get("phase", "Pending"),
        ready=by_type.get("Ready", {}).get("status") == "True",
        unschedulable=scheduled.get("message", "") if scheduled.get("status") == "False" else "",
        waiting=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        last_exit=_last_exit(containers),
    )


def _last_exit(containers: Iterable[Object]) -> str:
    for container in containers:
        for state in (container.get("state") or {}, container.get("lastState") or {}):
            if ended := state.get("terminated"):
                reason: str = ended.get("reason") or f"exit code {ended.get('exitCode')}"
                return "" if reason == "Completed" else reason
    return ""


def _ray(obj: Object) -> RayFacts:
    conditions: Iterable[Object] = (obj.get("status") or {}).get("conditions") or ()
    return RayFacts(
        name=obj["metadata"]["name"],
        revision=(obj["metadata"].get("labels") or {}).get(LABEL_REVISION, ""),
        conditions=tuple(
            ConditionFacts(
                found.get("type", ""), found.get("status", ""), found.get("reason", ""), found.get("message", "")
            )
            for found in conditions
        ),
    )


def _service(obj: Object) -> RayFacts:
    found = _ray(obj)
    return RayFacts(found.name, found.revision, found.conditions, children.ray_service_facts(obj))


async def _held_if_needed(
    cluster: Cluster, own: tuple[PodFacts, ...] | Unknown, resource: str
) -> HeldFacts | Unknown | None:
    # All pods of a large cluster are many megabytes: they are read only when a pod of ours waits for a node.
    if isinstance(own, Unknown) or not any(pod.unschedulable for pod in own):
        return None
    everywhere = await readable(cluster.list(kinds.POD))
    return everywhere if isinstance(everywhere, Unknown) else _held(everywhere.items, resource)


def _resource(known: catalog.Catalog, status: LlamaDeploymentStatus) -> str:
    """Extended resource that the plan asks for; empty where there is none to count."""
    chosen = status.plan.chosen if status.plan else None
    if chosen is None or chosen.accelerator not in known.accelerator_names:
        return ""
    accelerator = known.accelerator(chosen.accelerator)
    return accelerator.resource_name if accelerator.device == "GPU" else ""


def _held(pods: Iterable[Object], resource: str) -> HeldFacts:
    by_node: dict[str, int] = {}
    by_namespace: dict[str, int] = {}
    for pod in pods:
        spec = pod.get("spec") or {}
        node, count = spec.get("nodeName"), _requested(spec, resource)
        if not node or not count or (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}:
            continue
        namespace = pod["metadata"].get("namespace", "")
        by_node[node] = by_node.get(node, 0) + count
        by_namespace[namespace] = by_namespace.get(namespace, 0) + count
    return HeldFacts(by_node, by_namespace)


def _requested(spec: Mapping[str, Any], resource: str) -> int:
    containers: Iterable[Object] = spec.get("containers") or ()
    # Accelerators cannot be overcommitted: requests and limits are the same.
    return sum(int(((found.get("resources") or {}).get("limits") or {}).get(resource, 0)) for found in containers)
