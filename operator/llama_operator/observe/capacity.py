"""What hardware there is, and how much of it no pod holds. Called by `observe.gather`, the CLI and the handlers."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from llama_operator.api import readings
from llama_operator.api.readings import mapping, mappings, moment, text
from llama_operator.catalog import Catalog
from llama_operator.catalog.accelerators import Accelerator
from llama_operator.catalog.devices import Devices
from llama_operator.decide.observed import NodeFacts
from llama_operator.decide.pods import AwayNode
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
    devices = devices_on(node, catalog)
    if _repels(mappings(spec.get("taints")), devices) is not None:
        return None
    if devices is None:
        return NodeFacts(name, catalog.accelerator("CPU").name, _amount(allocatable, "cpu"))
    card, count = devices.accelerator, _amount(allocatable, devices.resource)
    if card is None:
        return NodeFacts(name, devices.resource, count, device_problem=devices.problem)
    made = None if card.name in catalog.accelerator_names else card
    return NodeFacts(name, card.name, count, made, devices.problem)


def devices_on(node: Object, catalog: Catalog) -> Devices | None:
    """The accelerators of a Node; None for one that is only a CPU."""
    allocatable = mapping(mapping(node.get("status")).get("allocatable"))
    # What is no amount is there all the same.
    offered = {name: 1 if (units := readings.units(amount)) is None else units for name, amount in allocatable.items()}
    return catalog.devices(readings.labels(node), {name: count for name, count in offered.items() if count})


def away_node(node: Object, catalog: Catalog) -> AwayNode | None:
    """A Node that takes no pods of ours, and why; None when it takes some."""
    spec, status = mapping(node.get("spec")), mapping(node.get("status"))
    devices = devices_on(node, catalog)
    amounts = status.get("allocatable") or {}
    count = readings.units(mapping(amounts).get("cpu" if devices is None else devices.resource, 0))
    lost = not _ready(status)
    repels = _repels(mappings(spec.get("taints")), devices)
    if lost:
        why = "is not ready"
    elif spec.get("unschedulable"):
        why = "is cordoned"
    elif repels is not None:
        why = f"has the taint {_taint(repels)}"
    elif count is None or not isinstance(amounts, Mapping):
        why = "says an amount that is none"
    else:
        return None
    name = catalog.accelerator("CPU").name if devices is None else _name(devices)
    return AwayNode(node["metadata"]["name"], name, count or 0, why, lost, _since(status) if lost else None)


def _name(devices: Devices) -> str:
    return devices.resource if devices.accelerator is None else devices.accelerator.name


def _ready(status: Mapping[str, Any]) -> bool:
    """Whether the kubelet says that the node is ready; also where no condition says anything about it."""
    return _condition(status).get("status") in {None, "True"}


def _since(status: Mapping[str, Any]) -> datetime | None:
    return moment(_condition(status).get("lastTransitionTime"))


def _condition(status: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((one for one in mappings(status.get("conditions")) if one.get("type") == "Ready"), {})


def _repels(taints: Iterable[Mapping[str, Any]], devices: Devices | None) -> Mapping[str, Any] | None:
    """The taint that keeps our pods off, if there is one: those for an accelerator tolerate the usual taints of its nodes."""
    card = None if devices is None else devices.accelerator
    tolerated = () if devices is None else card.taints if card is not None else (devices.resource,)
    return next((one for one in taints if one.get("effect") in _REPEL and one.get("key") not in tolerated), None)


def _taint(taint: Mapping[str, Any]) -> str:
    """A taint as kubectl writes it."""
    key, value = text(taint.get("key")), text(taint.get("value"))
    return f"{key}={value}:{taint.get('effect')}" if value else f"{key}:{taint.get('effect')}"


async def free_accelerators(
    cluster: Cluster, nodes: Iterable[Object], catalog: Catalog, unreadable: Unreadable
) -> Mapping[str, tuple[int, ...]]:
    """Count the accelerators that no pod holds on each node that takes new pods, by accelerator.

    Asked only when a rollout has to choose between a second copy and downtime; pods are not watched for it. Of a node with
    a pod that cannot be read nothing counts as free.
    """
    usable: dict[str, tuple[Accelerator, int]] = {}
    for node in nodes:
        devices = devices_on(node, catalog)
        facts = unreadable.one(node, partial(node_facts, catalog=catalog))
        if devices is not None and devices.accelerator is not None and facts is not None:
            usable[facts.name] = devices.accelerator, facts.gpus
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
