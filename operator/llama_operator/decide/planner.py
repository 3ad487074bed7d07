"""The planner: which precision, tensor and pipeline parallel size hold the model and its context on the fewest GPUs.

Called by `decide.decision`. Every candidate passes an ordered list of named checks; the first that fails rejects it
with its numbers and the nearest change that would make it fit.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from llama_operator.api.reasons import Reason
from llama_operator.catalog.accelerators import Accelerator
from llama_operator.catalog.models import Model, Variant
from llama_operator.decide.memory import GIB, Memory, Sharding, estimate, longest_context, tokens_needed

MAX_REPLICA_NODES = 8
"""Pipelines over more nodes are not searched: no Llama needs them."""

_INT4_GROUP = 128
"""Group size of AWQ/GPTQ weights: row-parallel shards must hold whole groups."""

_TYPICAL_TOKENS = 1024
"""Prompt and answer of a usual chat request (Azure's 2023 conversation trace: 1,155 + 211 on average); the default of
max_num_seqs assumes it, so that a replica takes as many requests as its KV cache is likely to hold."""

_MAX_NUM_SEQS = 256
"""Beyond this, decoding gets slower per request faster than throughput grows."""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What is to be planned."""

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
    """Named by the user: no other is tried."""
    pipeline: int | None = None
    max_num_seqs: int | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to shard one replica."""

    variant: Variant
    accelerator: Accelerator
    sharding: Sharding
    gpus_per_node: int
    memory: Memory

    @property
    def nodes(self) -> int:
        """Nodes of one replica."""
        return -(-self.sharding.ranks // self.gpus_per_node)

    @property
    def label(self) -> str:
        """Short name for tables and messages."""
        return f"{self.variant.precision} {self.accelerator.name} TP{self.sharding.tensor} PP{self.sharding.pipeline}"


@dataclass(frozen=True, slots=True)
class Rejection:
    """A candidate that does not fit."""

    candidate: Candidate
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Outcome of the search."""

    chosen: Candidate | None
    alternatives: tuple[Candidate, ...]
    """Other candidates that fit, best first."""
    rejected: tuple[Rejection, ...]
    """In the order of the search: fewest GPUs first."""
    max_num_seqs: int = 0


Verdict = tuple[Reason, str] | None
Check = Callable[[PlanRequest, Candidate], Verdict]


def precision_supported(request: PlanRequest, candidate: Candidate) -> Verdict:
    """The card can hold weights of this precision (FP8 needs units for it, or at least kernels that unpack it)."""
    accelerator = candidate.accelerator
    if candidate.variant.precision != "FP8" or accelerator.fp8 != "None":
        return None
    return (
        Reason.PRECISION_NOT_SUPPORTED,
        f"{accelerator.name} has no FP8 kernels in vLLM; use another precision or accelerator",
    )


def heads_divide(request: PlanRequest, candidate: Candidate) -> Verdict:
    """Tensor size divides the attention heads, and divides or is a multiple of the KV heads (vLLM's own check)."""
    heads, kv_heads = request.model.architecture.num_attention_heads, request.model.architecture.num_key_value_heads
    tensor = candidate.sharding.tensor
    if heads % tensor == 0 and (kv_heads % tensor == 0 or tensor % kv_heads == 0):
        return None
    sizes = ", ".join(str(size) for size in valid_tensor_sizes(request.model, 64))
    return (
        Reason.HEADS_NOT_DIVISIBLE,
        (
            f"tensor parallel size {tensor} does not divide {heads} attention heads and {kv_heads} KV heads evenly; "
            f"possible sizes: {sizes}"
        ),
    )


def device_pipelines(request: PlanRequest, candidate: Candidate) -> Verdict:
    """Pipeline stages need a GPU: vLLM's eager mode, the only one used on CPU, fails at the first request with them."""
    stages = candidate.sharding.pipeline
    if stages == 1 or candidate.accelerator.device == "GPU":
        return None
    return Reason.PIPELINE_NOT_SUPPORTED, f"{stages} pipeline stages on CPU; use pipeline 1 there"


def shards_align(request: PlanRequest, candidate: Candidate) -> Verdict:
    """Row-parallel shards of a group-quantized layer hold whole groups, and every shard has whole columns."""
    architecture, tensor = request.model.architecture, candidate.sharding.tensor
    unit = _INT4_GROUP if candidate.variant.precision == "INT4" else 1
    for name, width in (
        ("intermediate size", architecture.intermediate_size),
        ("attention width", architecture.num_attention_heads * architecture.head_dim),
    ):
        if width % (tensor * unit):
            return (
                Reason.SHARD_NOT_ALIGNED,
                f"{name} {width} cannot be cut into {tensor} shards of whole groups of {unit}; use a smaller tensor size",
            )
    return None


def layers_divide(request: PlanRequest, candidate: Candidate) -> Verdict:
    """Every pipeline stage has a layer."""
    layers, stages = request.model.architecture.num_hidden_layers, candidate.sharding.pipeline
    if stages <= layers:
        return None
    return Reason.LAYERS_NOT_DIVISIBLE, f"{stages} pipeline stages for {layers} layers; use at most {layers}"


def spans_whole_nodes(request: PlanRequest, candidate: Candidate) -> Verdict:
    """A replica over several nodes fills them: tensor inside each node, pipeline across."""
    del request
    sharding, per_node = candidate.sharding, candidate.gpus_per_node
    if sharding.ranks <= per_node or (sharding.tensor == per_node and sharding.ranks % per_node == 0):
        return None
    return (
        Reason.PARALLELISM_SPANS_NODES,
        (
            f"{sharding.ranks} GPUs do not fit into one node of {per_node}; across nodes the tensor size must be {per_node} "
            f"and the pipeline size the number of nodes"
        ),
    )


def weights_fit(request: PlanRequest, candidate: Candidate) -> Verdict:
    """Weights and reserve leave something for the KV cache."""
    memory = candidate.memory
    if memory.left_for_kv > 0:
        return None
    fewest = -(-memory.weights * candidate.sharding.ranks // max(1, memory.budget - memory.reserve))
    return (
        Reason.WEIGHTS_DO_NOT_FIT,
        (
            f"weights {_gib(memory.weights)} + reserve {_gib(memory.reserve)} exceed the {_gib(memory.budget)} that the engine "
            f"may use of each {candidate.accelerator.name}; needs at least {fewest} of them"
        ),
    )


def context_fits(request: PlanRequest, candidate: Candidate) -> Verdict:
    """The KV cache holds `concurrent_sequences` sequences of `max_model_length`."""
    needed = tokens_needed(request.max_model_length, request.concurrent_sequences)
    held = candidate.memory.kv_tokens
    if held >= needed:
        return None
    shorter = longest_context(held, request.concurrent_sequences)
    advice = f"fits with maxModelLength {shorter:,}" if shorter else "use more GPUs"
    if request.concurrent_sequences > 1 and (fewer := (held - 16) // tokens_needed(request.max_model_length, 1)) >= 1:
        advice += f", or with concurrentSequences {fewer:,}"
    return (
        Reason.KV_CACHE_TOO_SMALL,
        (
            f"KV cache {_gib(candidate.memory.left_for_kv)} per GPU holds {held:,} tokens, "
            f"{request.concurrent_sequences} × {request.max_model_length:,} need {needed:,}; {advice}"
        ),
    )


def within_max_gpus(request: PlanRequest, candidate: Candidate) -> Verdict:
    """All replicas together stay within hardware.maxGPUs."""
    limit, each = request.max_gpus, candidate.sharding.ranks
    if limit is None or each * request.max_replicas <= limit:
        return None
    held = limit // each
    advice = f"lower scaling.maxReplicas to {held}" if held else "use a lower precision or a larger GPU"
    return (
        Reason.MAX_GPUS_EXCEEDED,
        f"{request.max_replicas} × {each} GPUs exceed maxGPUs {limit}; raise maxGPUs to {each * request.max_replicas} or {advice}",
    )


CHECKS: tuple[Check, ...] = (
    precision_supported,
    heads_divide,
    layers_divide,
    device_pipelines,
    shards_align,
    spans_whole_nodes,
    weights_fit,
    context_fits,
    within_max_gpus,
)
"""What a candidate must pass, in the order in which a rejection is most useful to read."""


def plan(request: PlanRequest) -> Plan:
    """Search all candidates; the fewest GPUs win, then quality, then the preferred accelerator."""
    fitting: list[Candidate] = []
    rejected: list[Rejection] = []
    for candidate in sorted(_candidates(request), key=lambda c: c.sharding.ranks):
        failure = next((found for check in CHECKS if (found := check(request, candidate)) is not None), None)
        if failure is None:
            fitting.append(candidate)
        else:
            rejected.append(Rejection(candidate, *failure))
    if not fitting:
        return Plan(None, (), tuple(rejected))
    chosen = fitting[0]
    return Plan(chosen, tuple(fitting[1:]), tuple(rejected), max_num_seqs=_max_num_seqs(request, chosen))


def valid_tensor_sizes(model: Model, largest: int) -> tuple[int, ...]:
    """Tensor parallel sizes up to `largest` that divide the heads of `model`."""
    heads, kv_heads = model.architecture.num_attention_heads, model.architecture.num_key_value_heads
    return tuple(
        size for size in range(1, largest + 1) if heads % size == 0 and (kv_heads % size == 0 or size % kv_heads == 0)
    )


def _candidates(request: PlanRequest) -> Iterator[Candidate]:
    for variant in request.variants:
        for accelerator in request.accelerators:
            per_node = request.gpus_per_node or accelerator.gpus_per_node
            for sharding in _shardings(request, per_node, accelerator.device):
                memory = estimate(
                    request.model,
                    variant,
                    accelerator,
                    sharding,
                    utilization_percent=request.utilization_percent,
                    kv_element_bytes=request.kv_element_bytes,
                )
                yield Candidate(variant, accelerator, sharding, per_node, memory)


def _shardings(request: PlanRequest, per_node: int, device: str) -> Iterable[Sharding]:
    if request.tensor is not None:
        return [Sharding(request.tensor, request.pipeline or 1)]
    inside = [Sharding(size, 1) for size in _powers_of_two(per_node)]
    across = [Sharding(per_node, nodes) for nodes in range(2, MAX_REPLICA_NODES + 1)]
    return inside if device == "CPU" else [*inside, *across]


def _powers_of_two(largest: int) -> list[int]:
    sizes = [1]
    while sizes[-1] * 2 <= largest:
        sizes.append(sizes[-1] * 2)
    return sizes


def _max_num_seqs(request: PlanRequest, chosen: Candidate) -> int:
    if request.max_num_seqs is not None:
        return request.max_num_seqs
    likely = chosen.memory.kv_tokens // min(_TYPICAL_TOKENS, request.max_model_length)
    return max(request.concurrent_sequences, min(_MAX_NUM_SEQS, likely))


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
