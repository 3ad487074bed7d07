"""What one pod asks of its node: amounts, and which nodes may take it. Made by `decide.plan`, rendered by `desired.pods`.

It is the only source of requests and constraints: the scheduler sees what was counted, and nothing was counted that the
scheduler does not see.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Amounts:
    """What a pod requests, or what a node has left."""

    cpu_millicores: int = 0
    memory_bytes: int = 0
    ephemeral_storage_bytes: int = 0
    devices: Mapping[str, int] = field(default_factory=dict)
    """Whole units of extended resources by name, as `nvidia.com/gpu`."""


@dataclass(frozen=True, slots=True)
class Toleration:
    """A taint that a pod puts up with. Fields as in Kubernetes; an empty `effect` stands for every effect."""

    key: str = ""
    """Empty with `Exists`: every taint."""
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""


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
