"""What hardware there is, and how much of it no pod holds. Called by `observe.gather`, the CLI and the handlers."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from llama_operator.api import readings
from llama_operator.api.readings import mapping, mappings
from llama_operator.catalog import Catalog
from llama_operator.catalog.accelerators import Accelerator
from llama_operator.decide.observed import NodeFacts
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, Object
from llama_operator.observe.unreadable import Unreadable, UnreadableError

_REPEL = frozenset({"NoSchedule", "NoExecute"})
_ENDED = frozenset({"Succeeded", "Failed"})
_SHOWN = 40
"""Characters of a value in a message."""


def node_facts(node: Object, catalog: Catalog) -> NodeFacts | None:
    """What a Node offers; None when it takes no new pods.

    Raises:
        UnreadableError: If it says an amount that is none: then it offers nothing.
    """
    spec, status = mapping(node.get("spec")), mapping(node.get("status"))
    if spec.get("unschedulable") or not _ready(status):
        return None
    name: str = node["metadata"]["name"]
    allocatable = status.get("allocatable") or {}
    if not isinstance(allocatable, Mapping):
        raise UnreadableError("status.allocatable is no table of amounts")
    accelerator = catalog.identify(readings.labels(node))
    if _repels(mappings(spec.get("taints")), "" if accelerator is None else accelerator.resource_name):
        return None
    if accelerator is None:
        return NodeFacts(name, catalog.accelerator("CPU").name, _amount(allocatable, "cpu"))
    return NodeFacts(name, accelerator.name, _amount(allocatable, accelerator.resource_name))


def _ready(status: Mapping[str, Any]) -> bool:
    """Whether the kubelet says that the node is ready; also where no condition says anything about it."""
    told = (one.get("status") for one in mappings(status.get("conditions")) if one.get("type") == "Ready")
    return next(told, None) in {None, "True"}


def _repels(taints: Iterable[Mapping[str, Any]], resource: str) -> bool:
    """Whether a taint keeps our pods off: those for an accelerator tolerate the taint of its own resource."""
    return any(one.get("effect") in _REPEL and one.get("key") != resource for one in taints)


async def free_accelerators(
    cluster: Cluster, nodes: Iterable[Object], catalog: Catalog, unreadable: Unreadable
) -> Mapping[str, tuple[int, ...]]:
    """Count the accelerators that no pod holds on each node that takes new pods, by accelerator.

    Asked only when a rollout has to choose between a second copy and downtime; pods are not watched for it. Of a node with
    a pod that cannot be read nothing counts as free.
    """
    usable: dict[str, tuple[Accelerator, int]] = {}
    for node in nodes:
        accelerator = catalog.identify(readings.labels(node))
        facts = unreadable.one(node, partial(node_facts, catalog=catalog))
        if accelerator is not None and facts is not None:
            usable[facts.name] = accelerator, facts.gpus
    free: dict[str, tuple[int, ...]] = {}
    # Node by node: a cluster has many more pods than those on GPU nodes, which need not all be in memory.
    for name, (accelerator, gpus) in usable.items():
        pods = (await cluster.list(kinds.POD, fields={"spec.nodeName": name})).items
        counts = [unreadable.one(pod, partial(held, resource=accelerator.resource_name)) for pod in pods]
        left = max(0, gpus - sum(gpus if count is None else count for count in counts))
        free[accelerator.name] = (*free.get(accelerator.name, ()), left)
    return free


def held(pod: Object, resource: str) -> int:
    """How many of an extended resource a pod holds; none if it has ended.

    Extended resources cannot be overcommitted: the API server copies limits into requests, and refuses other requests.

    Raises:
        UnreadableError: If it says an amount that is none.
    """
    if mapping(pod.get("status")).get("phase") in _ENDED:
        return 0
    asked = [mapping(one.get("resources")) for one in mappings(mapping(pod.get("spec")).get("containers"))]
    amounts = [{**mapping(one.get("limits")), **mapping(one.get("requests"))} for one in asked]
    return sum(_amount(amount, resource) for amount in amounts)


def _amount(amounts: Mapping[str, object], resource: str) -> int:
    """Whole units of a resource."""
    written = amounts.get(resource, 0)
    units = readings.units(written)
    if units is None:
        raise UnreadableError(f"{resource}: {str(written)[:_SHOWN]!r} is no amount")
    return units
