"""Merges what platform and team want of pods into settings for each role. Called by `decide` for shapes, and by `desired`.

The team's value goes before that of the platform, that of a role before that of all pods. Maps and lists add up; only values for
the same key replace each other. Whether the team may set it was judged before (`allowed`).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from llama_operator.api import readings
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec
from llama_operator.api.v1alpha1.pods import (
    Affinity,
    CABundle,
    EnvironmentVariable,
    HostAlias,
    NodeSelector,
    NodeSelectorTerm,
    PodFields,
    PodResources,
    Proxy,
    SecretName,
    SharedPods,
    TolerationSpec,
    TopologySpread,
    WhenUnsatisfiable,
)
from llama_operator.catalog.accelerators import ImageKind
from llama_operator.decide.placement.images import ARCHITECTURES, USUAL
from llama_operator.decide.placement.platform_pods import BUILT_IN, MemoryLock, PlatformPods
from llama_operator.decide.placement.pod_settings import PodSettings, PodSettingsByRole
from llama_operator.decide.placement.shape import Requirement, Toleration

_M = TypeVar("_M", bound=BaseModel)

_ARCHITECTURE: Final = "kubernetes.io/arch"
_MILLI: Final = 1000
_WHOLE: Final = (CABundle, Proxy)
"""Values that replace each other whole: parts of two make no sense."""
_KEYS: Final[Mapping[type, Callable[[Any], object]]] = {
    EnvironmentVariable: lambda variable: variable.name,
    HostAlias: lambda alias: alias.ip,
    SecretName: lambda secret: secret.name,
    TopologySpread: lambda spread: (spread.topology_key, spread.when_unsatisfiable),
}
"""What items of a list are told apart by, where not by all of them."""


def resolve(spec: LlamaDeploymentSpec, platform: PlatformPods | None, image: ImageKind = USUAL) -> PodSettingsByRole:
    """Merge what platform and team want.

    Args:
        spec: Its `pods` were allowed.
        platform: What the platform says; None where that is not known (a plan without the operator's settings).
        image: Which of the operator's serving images the card of the plan needs.

    Returns:
        Settings of head, workers and Jobs.
    """
    said = platform or PlatformPods()
    given, asked = said.defaults, spec.pods
    architectures = said.architectures if image == USUAL else (ARCHITECTURES[image],)
    if spec.image:
        # An image of the team's own may be built for whatever its nodes are.
        architectures = ()
    account = asked.service_account_name or given.service_account_name or ""
    locks = given.memory_lock is MemoryLock.ENABLED
    jobs = _section(given, asked)
    head = _section(given, given.head, asked, asked.head)
    workers = _section(given, given.workers, asked, asked.workers)
    return PodSettingsByRole(
        head=_settings(head, architectures, merged(given.head.resources, asked.head.resources)),
        workers=_settings(
            workers,
            architectures,
            merged(given.workers.resources, asked.workers.resources),
            account=account,
            lock_memory=locks,
        ),
        jobs=_settings(jobs, architectures, PodResources(), account=account),
    )


def merged(one: _M, other: BaseModel) -> _M:
    """Return `one` with what `other` says, field by field; `other` may have other fields too, or lack some."""
    names = type(one).model_fields
    said = {name: getattr(other, name) for name in names if hasattr(other, name)}
    values = {name: _value(getattr(one, name), said.get(name)) for name in names}
    return type(one).model_construct(**values)


def _section(*sections: PodFields) -> SharedPods:
    """What the sections say together; a later one goes before an earlier one."""
    total = BUILT_IN
    for section in sections:
        total = merged(total, section)
    return total


def _value(one: Any, other: Any) -> Any:
    if one is None or other is None or isinstance(other, _WHOLE):
        return one if other is None else other
    if isinstance(one, dict):
        return {**one, **other}
    if isinstance(one, tuple):
        items: dict[object, Any] = {}
        for item in (*one, *other):
            items[_key(item)] = _joined(items.get(_key(item)), item)
        return tuple(items.values())
    if isinstance(one, NodeSelector):
        # Both must hold, and Kubernetes reads several terms as "one of them".
        terms = (*one.node_selector_terms, *other.node_selector_terms)
        expressions = tuple(dict.fromkeys(each for term in terms for each in term.match_expressions))
        return NodeSelector(node_selector_terms=(NodeSelectorTerm(match_expressions=expressions),))
    return merged(one, other) if isinstance(one, BaseModel) else other


def _joined(before: Any, item: Any) -> Any:
    """One item in place of two with the same key, of which Kubernetes takes only one."""
    if isinstance(before, HostAlias):
        return HostAlias(ip=before.ip, hostnames=tuple(dict.fromkeys((*before.hostnames, *item.hostnames))))
    return item


def _key(item: Any) -> object:
    identity = _KEYS.get(type(item))
    return item.model_dump_json() if identity is None else identity(item)


def _settings(
    section: SharedPods,
    architectures: tuple[str, ...],
    resources: PodResources,
    *,
    account: str = "",
    lock_memory: bool = False,
) -> PodSettings:
    cpu = readings.quantity(resources.cpu)
    requirements = _requirements(section.affinity)
    named = _ARCHITECTURE in section.node_selector or any(each.key == _ARCHITECTURE for each in requirements)
    if architectures and not named:
        requirements = (*requirements, Requirement(_ARCHITECTURE, "In", architectures))
    return PodSettings(
        tolerations=tuple(map(_toleration, section.tolerations)),
        node_selector=section.node_selector,
        requirements=requirements,
        cpu_millicores=None if cpu is None else int(cpu * _MILLI),
        memory_bytes=_bytes(resources.memory),
        ephemeral_storage_bytes=_bytes(resources.ephemeral_storage),
        devices=resources.extended,
        needs_other_pods=_needs_other_pods(section),
        fields=section,
        service_account=account,
        lock_memory=lock_memory,
    )


def _toleration(each: TolerationSpec) -> Toleration:
    return Toleration(
        each.key or "",
        each.operator.value,
        each.value or "",
        each.effect.value if each.effect else "",
        each.toleration_seconds,
    )


def _bytes(written: str | None) -> int | None:
    amount = readings.quantity(written)
    return None if amount is None else int(amount)


def _requirements(affinity: Affinity | None) -> tuple[Requirement, ...]:
    node = None if affinity is None else affinity.node_affinity
    required = None if node is None else node.required_during_scheduling_ignored_during_execution
    if required is None:
        return ()
    return tuple(
        Requirement(each.key, each.operator.value, each.values)
        for term in required.node_selector_terms
        for each in term.match_expressions
    )


def _needs_other_pods(section: SharedPods) -> bool:
    affinity = section.affinity
    sides = () if affinity is None else (affinity.pod_affinity, affinity.pod_anti_affinity)
    return any(side and side.required_during_scheduling_ignored_during_execution for side in sides) or any(
        spread.when_unsatisfiable is WhenUnsatisfiable.DO_NOT_SCHEDULE for spread in section.topology_spread_constraints
    )
