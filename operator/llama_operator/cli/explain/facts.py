"""What `kubectl llama explain` knows: the input of its chain of checks. Gathered by `cli.explain.gather`, by hand in tests.

What may not be read is `Unknown` with the reason: a missing right must not hide the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus
from llama_operator.cli.explain.events import WarningFacts
from llama_operator.cli.shared.connection import Unknown
from llama_operator.decide.observed import NodeFacts, RayClusterFacts, RayServiceFacts, RevisionFacts
from llama_operator.decide.placement.shape import Amounts, Room
from llama_operator.decide.pods import AwayNode, PodFacts
from llama_operator.errors import FieldProblem


@dataclass(frozen=True, slots=True)
class LeaseFacts:
    """Who leads, and when he last said so."""

    namespace: str
    holder: str
    renewed: datetime | None
    seconds: int
    """How long a renewal holds."""
    listed: datetime | None = None
    """When the operator last listed all that it watches; None for one that does not say."""
    lists_again: datetime | None = None
    """When it does so again, at the latest."""

    def alive(self, now: datetime) -> bool:
        """Whether the holder still leads at `now`."""
        return bool(self.holder) and self.renewed is not None and now - self.renewed <= timedelta(seconds=self.seconds)


@dataclass(frozen=True, slots=True)
class HeldFacts:
    """What pods of the whole cluster hold."""

    by_node: Mapping[str, int]
    """Accelerators."""
    by_namespace: Mapping[str, int]
    """Accelerators."""
    amounts: Mapping[str, Amounts] = field(default_factory=dict)
    """All that is held of each node."""
    pods: Mapping[str, int] = field(default_factory=dict)
    """Pods on each node."""

    def left(self, room: Room) -> Room:
        """What is left of a node."""
        return room.less(self.amounts.get(room.node, Amounts()), self.pods.get(room.node, 0))


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the chain of checks rests on."""

    namespace: str
    name: str
    now: datetime
    generation: int
    deleted_at: datetime | None
    finalizers: tuple[str, ...]
    deployment: LlamaDeployment | None
    """The spec; None if it breaks a rule."""
    problems: tuple[FieldProblem, ...]
    """The rules that it breaks."""
    status: LlamaDeploymentStatus
    lease: LeaseFacts | Unknown | None = None
    acceptances: tuple[LicenseAcceptance, ...] | Unknown = ()
    allowed: frozenset[str] = frozenset()
    """Names of those under which the license chain would allow the deployment; not looked for while it does."""
    revisions: tuple[RevisionFacts, ...] | Unknown = ()
    nodes: tuple[NodeFacts, ...] | Unknown = ()
    away: tuple[AwayNode, ...] = ()
    """Nodes that take no pods."""
    held: HeldFacts | Unknown | None = None
    """None when there was nothing to count: every pod has a node."""
    pods: tuple[PodFacts, ...] | Unknown = ()
    services: tuple[RayServiceFacts, ...] | Unknown = ()
    clusters: tuple[RayClusterFacts, ...] | Unknown = ()
    keys: int | Unknown | None = None
    """How many API keys the ConfigMap of what serves has, 0 if there is no such object; None where keys are in a Secret, which is not
    read, or where none are asked for."""
    warnings: tuple[WarningFacts, ...] = ()
    """What Kubernetes warned of, as far as it may be read."""
