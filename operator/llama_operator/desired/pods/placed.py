"""Renders the shape of a pod: which nodes may take it, and what it asks of them. Called by `head` and `worker`."""

from typing import Any

from llama_operator.decide.placement.shape import Amounts, PodShape, Requirement, Toleration
from llama_operator.desired.pods.parts import PodParts

_CORE = 1000
_UNITS = (("Gi", 1 << 30), ("Mi", 1 << 20))


def placed(shape: PodShape) -> PodParts:
    """Tolerations, node selector and node affinity of a shape."""
    return PodParts(
        tolerations=tuple(map(_toleration, shape.tolerations)),
        node_selector=dict(shape.node_selector),
        node_requirements=tuple(map(_requirement, shape.requirements)),
        node_alternatives=tuple(tuple(map(_requirement, each)) for each in shape.alternatives),
    )


def steady_resources(amounts: Amounts) -> dict[str, Any]:
    """Requests that equal limits: if an engine is evicted for memory, loading it again takes minutes.

    The disk is requested only: a kubelet ends a pod that writes more than its limit, logs included.
    """
    cores = amounts.cpu_millicores
    steady = {
        "cpu": str(cores // _CORE) if cores % _CORE == 0 else f"{cores}m",
        "memory": _bytes(amounts.memory_bytes),
        **{name: str(count) for name, count in amounts.devices.items()},
    }
    disk = amounts.ephemeral_storage_bytes
    return {"requests": steady | ({"ephemeral-storage": _bytes(disk)} if disk else {}), "limits": dict(steady)}


def _bytes(amount: int) -> str:
    return next((f"{amount // unit}{name}" for name, unit in _UNITS if amount % unit == 0), str(amount))


def _toleration(toleration: Toleration) -> dict[str, Any]:
    said = {
        "key": toleration.key,
        "operator": toleration.operator,
        "value": toleration.value,
        "effect": toleration.effect,
    }
    seconds = {} if toleration.seconds is None else {"tolerationSeconds": toleration.seconds}
    return {name: value for name, value in said.items() if value} | seconds


def _requirement(requirement: Requirement) -> dict[str, Any]:
    values = {"values": list(requirement.values)} if requirement.values else {}
    return {"key": requirement.key, "operator": requirement.operator, **values}
