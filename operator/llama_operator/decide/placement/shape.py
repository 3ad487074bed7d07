"""What one pod asks of its node, and what a node has for it. Made by `requests` and `pod_spec`, rendered by `desired.pods`.

It is the only source of requests and constraints: the scheduler sees what was counted, and nothing was counted that the
scheduler does not see.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from typing_extensions import override


@dataclass(frozen=True, slots=True)
class Amounts:
    """What a pod requests, or what a node has left."""

    cpu_millicores: int = 0
    memory_bytes: int = 0
    ephemeral_storage_bytes: int = 0
    devices: Mapping[str, int] = field(default_factory=dict)
    """Whole units of extended resources by name, as `nvidia.com/gpu`."""

    def __add__(self, other: "Amounts") -> "Amounts":
        """Both together."""
        return self._with(other, 1)

    def __sub__(self, other: "Amounts") -> "Amounts":
        """What is left of it; less than nothing where `other` is more."""
        return self._with(other, -1)

    def __mul__(self, count: int) -> "Amounts":
        """So many times as much."""
        return Amounts()._with(self, count)

    def _with(self, other: "Amounts", factor: int) -> "Amounts":
        names = (*self.devices, *(name for name in other.devices if name not in self.devices))
        return Amounts(
            self.cpu_millicores + factor * other.cpu_millicores,
            self.memory_bytes + factor * other.memory_bytes,
            self.ephemeral_storage_bytes + factor * other.ephemeral_storage_bytes,
            {name: self.devices.get(name, 0) + factor * other.devices.get(name, 0) for name in names},
        )


@dataclass(frozen=True, slots=True)
class Toleration:
    """A taint that a pod puts up with. Fields as in Kubernetes; an empty `effect` stands for every effect."""

    key: str = ""
    """Empty with `Exists`: every taint."""
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    seconds: int | None = None
    """How long a pod stays after a taint `NoExecute` was set; None: for ever. The scheduler does not look at it."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """An expression over a label of the node that must hold (node affinity)."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PodShape:
    """One pod as the scheduler sees it."""

    role: Literal["head", "worker", "job"]
    amounts: Amounts
    tolerations: tuple[Toleration, ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    requirements: tuple[Requirement, ...] = ()
    """All of them must hold."""
    alternatives: tuple[tuple[Requirement, ...], ...] = ()
    """Beside them, all of one of these must hold: a card has other labels on the nodes of each provider. None if empty."""
    needs_other_pods: bool = False
    """Whether the scheduler looks at other pods too (pod affinity that is required, a spread that must hold): what fits then
    depends on the order of pods."""
    beside: Amounts = field(default_factory=Amounts)
    """What containers ask for that are not ours: KubeRay puts its autoscaler into the head."""

    @property
    def asked(self) -> Amounts:
        """What the whole pod asks for."""
        return self.amounts + self.beside


@dataclass(frozen=True, slots=True)
class PodShapes:
    """The pods of one revision: a head, and the workers of its replicas."""

    head: PodShape
    worker: PodShape
    per_replica: int = 1
    """Workers that make one replica."""


@dataclass(frozen=True, slots=True)
class Taint:
    """Keeps pods off a node that do not tolerate it."""

    key: str
    effect: str
    value: str = ""

    @override
    def __str__(self) -> str:
        """As kubectl writes it: `sku=gpu:NoSchedule`."""
        return f"{self.key}={self.value}:{self.effect}" if self.value else f"{self.key}:{self.effect}"


@dataclass(frozen=True, slots=True)
class Room:
    """What a node that takes pods has for them."""

    node: str
    """Name of the node."""
    amounts: Amounts
    pods: int
    """Pods that it takes."""
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()

    def less(self, amounts: Amounts, pods: int = 1) -> "Room":
        """The same node with so much less."""
        return replace(self, amounts=self.amounts - amounts, pods=self.pods - pods)
