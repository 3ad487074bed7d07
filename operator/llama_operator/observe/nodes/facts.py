"""What a Node offers to pods, or why it takes none. Called by `observe.gather`, the CLI and the handlers."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from llama_operator.api import readings
from llama_operator.api.readings import mapping, mappings, moment, text
from llama_operator.catalog import Catalog
from llama_operator.catalog.devices import Devices
from llama_operator.decide.observed import NodeFacts
from llama_operator.decide.placement.pod_spec import AmountError, amounts_of
from llama_operator.decide.placement.shape import Room, Taint
from llama_operator.decide.pods import CORDONED, AwayNode
from llama_operator.kube.port import Object
from llama_operator.observe.unreadable import UnreadableError

_CPU = "CPU"
_CORE = 1000
_PODS = "pods"
_SHOWN = 40
"""Characters of a value in a message."""


def node_facts(node: Object, catalog: Catalog) -> NodeFacts | None:
    """What a Node offers; None when it takes no new pods, whatever these tolerate.

    Raises:
        UnreadableError: If it says an amount that is none: then it offers nothing.
    """
    spec, status = mapping(node.get("spec")), mapping(node.get("status"))
    if spec.get("unschedulable") or not _ready(status):
        return None
    return _facts(node, catalog)


def away_node(node: Object, catalog: Catalog) -> AwayNode | None:
    """A Node that takes no new pods, whatever these tolerate, and why; None when it takes some."""
    spec, status = mapping(node.get("spec")), mapping(node.get("status"))
    lost, cordoned = not _ready(status), bool(spec.get("unschedulable"))
    try:
        _room(node)
    except UnreadableError:
        count, why = 0, "says an amount that is none"
    else:
        if not lost and not cordoned:
            return None
        count, why = _facts(node, catalog).gpus, CORDONED
    devices = devices_on(node, catalog)
    name = _CPU if devices is None else _name(devices)
    since = _since(status) if lost else None
    return AwayNode(node["metadata"]["name"], name, count, "is not ready" if lost else why, lost, since)


def devices_on(node: Object, catalog: Catalog) -> Devices | None:
    """The accelerators of a Node; None for one that is only a CPU."""
    allocatable = mapping(mapping(node.get("status")).get("allocatable"))
    # What is no amount is there all the same.
    offered = {name: 1 if (units := readings.units(amount)) is None else units for name, amount in allocatable.items()}
    return catalog.devices(readings.labels(node), {name: count for name, count in offered.items() if count})


def _facts(node: Object, catalog: Catalog) -> NodeFacts:
    """What a Node offers, with the accelerators that the catalog knows.

    Raises:
        UnreadableError: If it says an amount that is none.
    """
    room = _room(node)
    devices = catalog.devices(room.labels, {name: count for name, count in room.amounts.devices.items() if count})
    if devices is None:
        return NodeFacts(room.node, _CPU, room.amounts.cpu_millicores // _CORE, room=room)
    card, count = devices.accelerator, room.amounts.devices.get(devices.resource, 0)
    made = None if card is None or card.name in catalog.accelerator_names else card
    return NodeFacts(room.node, _name(devices), count, made, devices.problem, room)


def _name(devices: Devices) -> str:
    return devices.resource if devices.accelerator is None else devices.accelerator.name


def _room(node: Object) -> Room:
    """All that a Node has for pods.

    Raises:
        UnreadableError: If it says an amount that is none.
    """
    allocatable = mapping(node.get("status")).get("allocatable") or {}
    if not isinstance(allocatable, Mapping):
        raise UnreadableError("status.allocatable is no table of amounts")
    try:
        amounts = amounts_of(allocatable)
    except AmountError as error:
        raise UnreadableError(str(error)) from error
    pods = readings.units(allocatable.get(_PODS, 0))
    if pods is None:
        raise UnreadableError(f"{_PODS}: {str(allocatable[_PODS])[:_SHOWN]!r} is no amount")
    taints = tuple(map(_taint, mappings(mapping(node.get("spec")).get("taints"))))
    return Room(node["metadata"]["name"], amounts, pods, readings.labels(node), taints)


def _taint(written: Mapping[str, Any]) -> Taint:
    return Taint(text(written.get("key")), text(written.get("effect")), text(written.get("value")))


def _ready(status: Mapping[str, Any]) -> bool:
    """Whether the kubelet says that the node is ready; also where no condition says anything about it."""
    said = _condition(status).get("status")
    return said is None or said == "True"


def _since(status: Mapping[str, Any]) -> datetime | None:
    return moment(_condition(status).get("lastTransitionTime"))


def _condition(status: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((one for one in mappings(status.get("conditions")) if one.get("type") == "Ready"), {})
