"""Reads what a pod asks for from its own spec: of pods that run, and of templates that a revision pins.

Called by `observe.nodes` and `placement.count`. It counts as kube-scheduler counts: containers together, init containers each by
itself unless they go on running, and the overhead of a runtime class.
"""

import functools
import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from llama_operator.api import readings
from llama_operator.api.readings import mapping, mappings, text
from llama_operator.decide.placement.requests import AUTOSCALER
from llama_operator.decide.placement.shape import Amounts, PodShape, PodShapes, Requirement, Toleration
from llama_operator.errors import LlamaOperatorError

_CORE, _ALWAYS = 1000, "Always"
_SHOWN = 40
"""Characters of a value in a message."""


class AmountError(LlamaOperatorError):
    """An amount that is none."""


def amounts_of(written: Mapping[str, Any]) -> Amounts:
    """Read requests, limits or what a node offers.

    Raises:
        AmountError: If an amount is none.
    """
    # Pods are counted apart, and attachable volumes by other means.
    devices = {name: _number(written, name) for name in written if "/" in name or name.startswith("hugepages-")}
    return Amounts(
        _number(written, "cpu", _CORE), _number(written, "memory"), _number(written, "ephemeral-storage"), devices
    )


def asked(spec: Mapping[str, Any]) -> Amounts:
    """What a pod asks of its node.

    Args:
        spec: Its `spec`.

    Raises:
        AmountError: If it says an amount that is none.
    """
    running = _sum(map(_requests, mappings(spec.get("containers"))))
    most = beside = Amounts()
    for container in mappings(spec.get("initContainers")):
        own = _requests(container)
        most = _larger(most, beside + own)
        if container.get("restartPolicy") == _ALWAYS:
            # It goes on beside those that come after it.
            beside += own
    running += beside
    both = _larger(running, most)
    whole = mapping(mapping(spec.get("resources")).get("requests"))
    if whole:
        # Requests of the pod as a whole stand for those of its containers.
        both = _replaced(both, whole)
    return both + amounts_of(mapping(spec.get("overhead")))


def shapes_of(cluster: Mapping[str, Any], per_replica: int) -> PodShapes | None:
    """Read the shapes of the pods of a pinned `rayClusterConfig`; None if its templates cannot be read.

    Args:
        cluster: The config.
        per_replica: Workers that make one replica.
    """
    groups = mappings(cluster.get("workerGroupSpecs"))
    head = mapping(mapping(cluster.get("headGroupSpec")).get("template"))
    if not groups or not head:
        return None
    try:
        beside = _autoscaler(cluster)
        return PodShapes(
            _shape("head", head, beside), _shape("worker", mapping(groups[0].get("template")), Amounts()), per_replica
        )
    except AmountError:
        return None


def _autoscaler(cluster: Mapping[str, Any]) -> Amounts:
    if not cluster.get("enableInTreeAutoscaling"):
        return Amounts()
    written = mapping(mapping(cluster.get("autoscalerOptions")).get("resources"))
    return _requests({"resources": written}) if written else AUTOSCALER


def _shape(role: Any, template: Mapping[str, Any], beside: Amounts) -> PodShape:
    spec = mapping(template.get("spec"))
    affinity = mapping(mapping(spec.get("affinity")).get("nodeAffinity"))
    terms = mappings(mapping(affinity.get("requiredDuringSchedulingIgnoredDuringExecution")).get("nodeSelectorTerms"))
    sets = [tuple(map(_requirement, mappings(term.get("matchExpressions")))) for term in terms]
    return PodShape(
        role,
        asked(spec),
        tolerations=tuple(map(_toleration, mappings(spec.get("tolerations")))),
        node_selector={name: str(value) for name, value in mapping(spec.get("nodeSelector")).items()},
        alternatives=tuple(sets),
        needs_other_pods=_needs_other_pods(spec),
        beside=beside,
    )


def _needs_other_pods(spec: Mapping[str, Any]) -> bool:
    affinity = mapping(spec.get("affinity"))
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    near = any(mapping(affinity.get(kind)).get(required) for kind in ("podAffinity", "podAntiAffinity"))
    spread = mappings(spec.get("topologySpreadConstraints"))
    return near or any(one.get("whenUnsatisfiable") == "DoNotSchedule" for one in spread)


def _requirement(written: Mapping[str, Any]) -> Requirement:
    values = written.get("values")
    listed = values if isinstance(values, list | tuple) else ()
    return Requirement(text(written.get("key")), written.get("operator", "In"), tuple(map(str, listed)))


def _toleration(written: Mapping[str, Any]) -> Toleration:
    return Toleration(
        text(written.get("key")),
        written.get("operator", "Equal"),
        text(written.get("value")),
        written.get("effect", ""),
    )


def _requests(container: Mapping[str, Any]) -> Amounts:
    resources = mapping(container.get("resources"))
    # The API server copies limits into requests that are not there.
    return amounts_of({**mapping(resources.get("limits")), **mapping(resources.get("requests"))})


def _replaced(amounts: Amounts, whole: Mapping[str, Any]) -> Amounts:
    said = amounts_of(whole)
    return Amounts(
        said.cpu_millicores if "cpu" in whole else amounts.cpu_millicores,
        said.memory_bytes if "memory" in whole else amounts.memory_bytes,
        amounts.ephemeral_storage_bytes,
        amounts.devices,
    )


def _sum(parts: Iterable[Amounts]) -> Amounts:
    return sum(parts, Amounts())


def _larger(one: Amounts, other: Amounts) -> Amounts:
    names = (*one.devices, *other.devices)
    return Amounts(
        max(one.cpu_millicores, other.cpu_millicores),
        max(one.memory_bytes, other.memory_bytes),
        max(one.ephemeral_storage_bytes, other.ephemeral_storage_bytes),
        {name: max(one.devices.get(name, 0), other.devices.get(name, 0)) for name in names},
    )


def _number(amounts: Mapping[str, Any], name: str, factor: int = 1) -> int:
    """An amount in whole units of `1 / factor`, rounded up as Kubernetes does; 0 if it is not there."""
    written = amounts.get(name, 0)
    amount = _units(written, factor) if isinstance(written, str) else _rounded(readings.quantity(written), factor)
    if amount is None:
        raise AmountError(f"{name}: {str(written)[:_SHOWN]!r} is no amount")
    return amount


@functools.lru_cache(maxsize=4096)
def _units(written: str, factor: int) -> int | None:
    """Nodes of a kind and pods of a kind say the same: a pass over a thousand nodes reads few texts."""
    return _rounded(readings.quantity(written), factor)


def _rounded(amount: Fraction | None, factor: int) -> int | None:
    return None if amount is None or amount < 0 or amount > readings.EXACT else math.ceil(amount * factor)
