"""Input and output of the planner: request, candidates, rejections, plan. Frozen values, no rules.

Made by `decide.plan.request` and `decide.plan.planner`; read by `decide.plan.checks`, `desired`, `status` and the command line.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from llama_operator.api.reasons import Reason
from llama_operator.catalog.accelerators import Accelerator
from llama_operator.catalog.models import Model, Variant
from llama_operator.decide.plan.adapters import Places
from llama_operator.decide.plan.memory import Memory, Sharding
from llama_operator.decide.plan.performance import Limits, Performance, Workload


@dataclass(frozen=True, slots=True)
class Objectives:
    """What the plan must reach: a load, and the latencies at that load."""

    workload: Workload
    limits: Limits


@dataclass(frozen=True, slots=True)
class GuardShare:
    """A guard that takes a part of the model's cards: one rank, on one card of a replica, with a KV cache of a fixed size.

    The model has the same size on all its ranks, so it loses as much on each of its cards.
    """

    name: str
    """Guard and precision, for messages."""
    on: Mapping[str, "Candidate"]
    """What it takes, by card. Its budget is what it needs. Cards that have no kernels for it are not there."""

    def bytes_of(self, accelerator: Accelerator) -> int:
        """What it takes of one card; nothing of one that it cannot run on."""
        candidate = self.on.get(accelerator.name)
        return 0 if candidate is None else candidate.memory.budget


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What to plan. Lengths are in tokens."""

    model: Model
    variants: tuple[Variant, ...]
    """Allowed variants, best quality first."""
    accelerators: tuple[Accelerator, ...]
    """Allowed accelerators, preferred first."""
    gpus_per_node: int | None
    max_gpus: int | None
    max_replicas: int
    max_model_length: int
    concurrent_sequences: int
    utilization_percent: int
    kv_element_bytes: int
    tensor: int | None = None
    """Set by the user: no other size is tried."""
    pipeline: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    graphs: bool = True
    """Whether the engine captures graphs."""
    objectives: Objectives | None = None
    adapters: Places | None = None
    """Room for LoRA adapters; None for none."""
    guard: GuardShare | None = None
    """The guard on the same cards; None without one, or where it has cards of its own."""
    most_from: str = "scaling.maxReplicas"
    """Field of the spec that says `max_replicas`."""
    max_nodes: int | None = None
    """Nodes that a replica may take; None for as many as the search knows."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to shard one replica."""

    variant: Variant
    accelerator: Accelerator
    sharding: Sharding
    gpus_per_node: int
    memory: Memory
    replicas: int = 1
    """Replicas that the rate of the objectives needs; 1 without a rate."""
    replicas_counted: bool = False
    """Whether `replicas` follows from a rate of the objectives."""
    performance: Performance | None = None
    """Estimated speed of one replica; None if it was not needed or is not known."""
    usd_micros_per_hour: int = 0
    """Price of one replica for one hour, in millionths of a US dollar; 0 if the accelerator has no price."""

    @property
    def nodes(self) -> int:
        """Nodes of one replica."""
        return -(-self.sharding.ranks // self.gpus_per_node)

    @property
    def devices_per_pod(self) -> int:
        """Accelerators of one worker pod: the replica, or the whole node if the replica spans several."""
        return self.sharding.ranks if self.nodes == 1 else self.gpus_per_node

    @property
    def gpus(self) -> int:
        """Accelerators of all replicas that the objectives need."""
        return self.sharding.ranks * self.replicas

    @property
    def tensor_crosses_nodes(self) -> bool:
        """Whether the shards of a layer lie on several nodes, so that every layer waits for the network."""
        return self.sharding.shards_cross_nodes(self.gpus_per_node)

    @property
    def label(self) -> str:
        """Short name for tables and messages."""
        return f"{self.variant.precision} {self.accelerator.name} {sizes(self.sharding)}"


@dataclass(frozen=True, slots=True)
class Rejection:
    """A candidate that does not fit."""

    candidate: Candidate
    reason: Reason
    message: str
    """The failed check's numbers and `nearest`, in one sentence."""
    nearest: str = ""
    """Nearest change that would make it fit."""


@dataclass(frozen=True, slots=True)
class Change:
    """One field of the spec with a value that makes the rest fit."""

    field: str
    """API path."""
    value: str | int
    gives: str = ""
    """What it is planned as then, where the field does not say it."""

    @property
    def text(self) -> str:
        """The change for people, without `spec`."""
        value = f"{self.value:,}" if isinstance(self.value, int) else self.value
        return f"{self.field.removeprefix('spec.')} {value}" + (f" ({self.gives})" if self.gives else "")


@dataclass(frozen=True, slots=True)
class Plan:
    """Outcome of the search."""

    chosen: Candidate | None
    alternatives: tuple[Candidate, ...]
    """Other candidates that fit, best first."""
    rejected: tuple[Rejection, ...]
    """Nearest to fitting first; candidates that are larger than the chosen one come last."""
    max_num_seqs: int = 0
    changes: tuple[Change, ...] = ()
    """If nothing fits: the smallest change of every kind with which something does."""


def sizes(sharding: Sharding) -> str:
    """Write tensor and pipeline size in short, for example `TP8 PP2`."""
    return f"TP{sharding.tensor} PP{sharding.pipeline}"
