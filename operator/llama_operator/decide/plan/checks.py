"""Named checks that a candidate must pass, each with its numbers and the nearest change that would make it pass.

Called by `decide.plan.planner`, in the order of `CHECKS`. Pure functions of request and candidate. If memory is short, the
planner adds how many GPUs would be enough, because only the search knows that.
"""

from collections.abc import Callable
from dataclasses import dataclass

from llama_operator.api.reasons import Reason
from llama_operator.catalog.formulas import INT4_GROUP
from llama_operator.catalog.models import Model
from llama_operator.catalog.weights import quantization
from llama_operator.decide.plan.candidate import Candidate, PlanRequest
from llama_operator.decide.plan.memory import GIB, KV_BLOCK_TOKENS, Memory, tokens_needed, whole_blocks
from llama_serving.contract.status import version_key

_LARGEST_TENSOR = 64

_LARGEST_SHARE = 95
"""Upper limit of the advised share of a card's memory, in percent: the driver and its monitors need some of it too."""


_OWN_CARD = "give the guard its own card (guard.placement Own)"


@dataclass(frozen=True, slots=True)
class Failure:
    """The check that a candidate fails: its numbers, and the nearest change that would pass."""

    reason: Reason
    numbers: str
    nearest: str


Check = Callable[[PlanRequest, Candidate], Failure | None]


def precision_supported(request: PlanRequest, candidate: Candidate) -> Failure | None:
    """The engine has kernels for this precision on this card (FP8: units for it, or at least kernels that unpack it)."""
    accelerator, precision = candidate.accelerator, candidate.variant.precision
    refused = precision in accelerator.unsupported_precisions
    if not refused and not (precision == "FP8" and accelerator.fp8 == "None"):
        return _method_supported(candidate)
    casts = ["FP16"] if precision == "BF16" else []
    others = [
        p
        for p in dict.fromkeys((*casts, *request.model.precisions))
        if p != precision and p not in accelerator.unsupported_precisions and (p != "FP8" or accelerator.fp8 != "None")
    ]
    return Failure(
        Reason.PRECISION_NOT_SUPPORTED,
        f"vLLM has no {precision} kernels on {accelerator.name}",
        f"use precision {' or '.join(others)}, or another accelerator" if others else "use another accelerator",
    )


def _method_supported(candidate: Candidate) -> Failure | None:
    """The engine has kernels for the method of the weights on this card, by its own table."""
    card, variant = candidate.accelerator, candidate.variant
    method = quantization.method(variant.quantization)
    if method is None or card.device != "GPU":
        return None
    if card.vendor == "AMD":
        if "ROCm" in method.platforms:
            return None
        lacks = "vLLM for ROCm does not have"
    else:
        least = method.precisions.get(variant.precision)
        if (
            least is None
            or card.compute_capability is None
            or version_key(card.compute_capability) >= version_key(least)
        ):
            return None
        lacks = f"vLLM needs compute capability {least} for"
    has = f", {card.name} has {card.compute_capability}" if card.compute_capability else ""
    return Failure(
        Reason.PRECISION_NOT_SUPPORTED,
        f"{lacks} {method.name} weights in {variant.precision}{has}",
        "use weights that are quantized by another method, or another accelerator",
    )


def heads_divide(request: PlanRequest, candidate: Candidate) -> Failure | None:
    """Tensor size divides the attention heads, and divides or is a multiple of the KV heads (vLLM's own check)."""
    shape, tensor = request.model.architecture, candidate.sharding.tensor
    if _divides(request.model, tensor):
        return None
    possible = ", ".join(str(size) for size in valid_tensor_sizes(request.model, _LARGEST_TENSOR))
    return Failure(
        Reason.HEADS_NOT_DIVISIBLE,
        f"tensor parallel size {tensor} does not divide {shape.num_attention_heads} attention heads and "
        f"{shape.num_key_value_heads} KV heads evenly",
        f"possible sizes: {possible}",
    )


def layers_divide(request: PlanRequest, candidate: Candidate) -> Failure | None:
    """Every pipeline stage has a layer."""
    layers, stages = request.model.architecture.num_hidden_layers, candidate.sharding.pipeline
    if stages <= layers:
        return None
    return Failure(
        Reason.LAYERS_NOT_DIVISIBLE, f"{stages} pipeline stages for {layers} layers", f"use pipeline {layers} or less"
    )


def device_pipelines(_: PlanRequest, candidate: Candidate) -> Failure | None:
    """Pipeline stages need a GPU: on a CPU vLLM uses only eager mode, which fails with them at the first request."""
    stages = candidate.sharding.pipeline
    if stages == 1 or candidate.accelerator.device == "GPU":
        return None
    return Failure(Reason.PIPELINE_NOT_SUPPORTED, f"{stages} pipeline stages on CPU", "use pipeline 1 on CPU")


def slices_stay_alone(_: PlanRequest, candidate: Candidate) -> Failure | None:
    """A replica on a slice of a card has that slice only: slices cannot reach each other."""
    ranks = candidate.sharding.ranks
    if ranks == 1 or not candidate.accelerator.alone:
        return None
    numbers = f"{ranks} ranks on {candidate.accelerator.name}, which are slices of cards and cannot reach each other"
    return Failure(Reason.PARALLELISM_SPANS_NODES, numbers, "use tensor 1 and pipeline 1, or whole cards")


def shards_align(request: PlanRequest, candidate: Candidate) -> Failure | None:
    """Row-parallel shards of a group-quantized layer hold whole groups, and every shard holds whole columns."""
    if _aligned(request.model, candidate, candidate.sharding.tensor):
        return None
    shape, tensor = request.model.architecture, candidate.sharding.tensor
    unit = _unit(candidate)
    attention = shape.num_attention_heads * shape.head_dim
    name, width = (
        ("intermediate size", shape.intermediate_size)
        if shape.intermediate_size % (tensor * unit)
        else ("attention width", attention)
    )
    possible = [
        size for size in valid_tensor_sizes(request.model, _LARGEST_TENSOR) if _aligned(request.model, candidate, size)
    ]
    return Failure(
        Reason.SHARD_NOT_ALIGNED,
        f"{name} {width:,} cannot be cut into {tensor} shards of whole groups of {unit}",
        f"possible tensor sizes: {', '.join(map(str, possible))}",
    )


def spans_whole_nodes(request: PlanRequest, candidate: Candidate) -> Failure | None:
    """A replica on several nodes fills them; the search also keeps the shards of a layer inside a node.

    Sizes that a user names may share layers across nodes: a network can be made for it, and the plan warns.
    """
    sharding, per_node = candidate.sharding, candidate.gpus_per_node
    if sharding.ranks <= per_node:
        return None
    whole = sharding.ranks % per_node == 0
    if whole and (request.tensor is not None or not candidate.tensor_crosses_nodes):
        return None
    nodes = -(-sharding.ranks // per_node)
    filled = f"use tensor {per_node} and pipeline {nodes}"
    smaller = max(size for size in range(1, per_node) if sharding.ranks % size == 0) if per_node > 1 else 0
    return Failure(
        Reason.PARALLELISM_SPANS_NODES,
        f"{sharding.ranks} GPUs do not fit into one node of {per_node}, and on several nodes they have to fill them",
        f"{filled}, or set hardware.gpusPerNode to {smaller}" if smaller and not whole else filled,
    )


def guard_shares(request: PlanRequest, candidate: Candidate) -> Failure | None:
    """A guard on the same cards runs on them, and its replica is on one node with that of the model."""
    guard, card = request.guard, candidate.accelerator
    if guard is None:
        return None
    if card.name not in guard.on:
        return Failure(
            Reason.PRECISION_NOT_SUPPORTED,
            f"vLLM has no kernels for the guard {guard.name} on {card.name}, which it would share",
            f"use other weights of the guard, or {_OWN_CARD}",
        )
    if candidate.nodes == 1:
        return None
    return Failure(
        Reason.PARALLELISM_SPANS_NODES,
        f"a guard shares no card with a replica on {candidate.nodes} nodes: it would go whenever one of their pods does",
        f"use a lower precision or a larger GPU, so that it fits one node, or {_OWN_CARD}",
    )


def weights_fit(request: PlanRequest, candidate: Candidate) -> Failure | None:
    """Weights and reserve leave memory for the KV cache."""
    memory = candidate.memory
    if memory.left_for_kv > 0:
        return None
    return Failure(
        Reason.WEIGHTS_DO_NOT_FIT,
        f"weights {gib(memory.weights)} + reserve {gib(memory.reserve)}{_room(memory)} exceed the {gib(memory.budget)} that "
        f"{_users(memory)} may use of each {candidate.accelerator.name}",
        _share(request, candidate),
    )


def context_fits(request: PlanRequest, candidate: Candidate) -> Failure | None:
    """The KV cache holds `concurrent_sequences` sequences of `max_model_length` tokens; vLLM checks one of them at its start."""
    sequences, length = request.concurrent_sequences, request.max_model_length
    needed = tokens_needed(length, sequences)
    held = candidate.memory.kv_tokens_beside(sequences)
    if held >= needed:
        return None
    changes = []
    if shorter := candidate.memory.longest_context(sequences):
        changes.append(f"fits with maxModelLength {shorter:,}")
    one = candidate.memory.kv_tokens_beside(1)
    if sequences > 1 and (fewer := (one - KV_BLOCK_TOKENS) // whole_blocks(length)) >= 1:
        changes.append(f"fits with concurrentSequences {min(fewer, sequences - 1):,}")
    if share := _share(request, candidate):
        changes.append(share)
    beside = f" beside the guard {gib(candidate.memory.guard)}" if candidate.memory.guard else ""
    return Failure(
        Reason.KV_CACHE_TOO_SMALL,
        f"KV cache {gib(candidate.memory.left_for_kv)} per GPU{beside} holds {held:,} tokens, {sequences} × {length:,} need "
        f"{needed:,}",
        ", or ".join(changes),
    )


def larger_share(request: PlanRequest, candidate: Candidate) -> int | None:
    """Return the percentage of the card's memory that would hold everything; None if it left too little for other processes."""
    sequences = request.concurrent_sequences
    tokens = tokens_needed(request.max_model_length, sequences)
    ranks = (candidate.memory, *candidate.memory.others)
    fixed = [rank.weights + rank.reserve + rank.adapters + rank.guard for rank in ranks]
    cache = [sequences * rank.kv_bytes_per_sequence + tokens * rank.kv_bytes_per_token for rank in ranks]
    # Beside a guard all ranks have a KV cache of the same size.
    needed = max(fixed) + max(cache) if candidate.memory.guard else max(map(sum, zip(fixed, cache, strict=True)))
    percent = -(-needed * 100 // candidate.accelerator.usable_memory_bytes)
    return percent if percent <= _LARGEST_SHARE else None


def _share(request: PlanRequest, candidate: Candidate) -> str:
    percent = larger_share(request, candidate)
    return "" if percent is None else f"fits with gpuMemoryUtilizationPercent {percent}"


def within_max_gpus(request: PlanRequest, candidate: Candidate) -> Failure | None:
    """All replicas together stay within hardware.maxGPUs."""
    limit, per_replica = request.max_gpus, candidate.sharding.ranks
    if limit is None or per_replica * request.max_replicas <= limit:
        return None
    held = limit // per_replica
    advice = f"lower {request.most_from} to {held}" if held else "use a lower precision or a larger GPU"
    return Failure(
        Reason.MAX_GPUS_EXCEEDED,
        f"{request.max_replicas} × {per_replica} GPUs exceed maxGPUs {limit}",
        f"raise maxGPUs to {per_replica * request.max_replicas}, or {advice}",
    )


CHECKS: tuple[Check, ...] = (
    precision_supported,
    heads_divide,
    layers_divide,
    device_pipelines,
    slices_stay_alone,
    shards_align,
    spans_whole_nodes,
    guard_shares,
    weights_fit,
    context_fits,
)
"""What a candidate must pass, in the order that makes a rejection most useful to read. `within_max_gpus` and
`meets_objectives` come after them: they judge the deployment, not the replica."""


def meets_objectives(request: PlanRequest, candidate: Candidate) -> Failure | None:
    """The predicted latencies are within the objectives, and scaling.maxReplicas sustains their rate."""
    objectives, speed = request.objectives, candidate.performance
    if objectives is None:
        return None
    if speed is None:
        return Failure(
            Reason.OBJECTIVES_NOT_MET,
            f"there is no speed model for {candidate.accelerator.name}",
            "remove spec.objectives, or use another accelerator",
        )
    first_ms, token_us = objectives.limits.time_to_first_token_ms, objectives.limits.time_per_output_token_us
    missed, loosened = [], []
    if first_ms is not None and speed.time_to_first_token_ms > first_ms:
        missed.append(f"first token after {speed.time_to_first_token_ms:,} ms instead of {first_ms:,}")
        loosened.append(f"timeToFirstTokenMilliseconds {speed.time_to_first_token_ms:,}")
    if token_us is not None and speed.time_per_output_token_us > token_us:
        missed.append(f"{speed.time_per_output_token_us / 1000:,.1f} ms per token instead of {token_us // 1000:,}")
        loosened.append(f"timePerOutputTokenMilliseconds {-(-speed.time_per_output_token_us // 1000):,}")
    if missed:
        return Failure(
            Reason.OBJECTIVES_NOT_MET,
            f"even with {speed.concurrency} at once: {' and '.join(missed)}",
            f"fits with {' and '.join(loosened)}",
        )
    if candidate.replicas > request.max_replicas:
        return Failure(
            Reason.OBJECTIVES_NOT_MET,
            f"a replica sustains {speed.requests_per_minute:,} requests a minute; {candidate.replicas:,} are needed for "
            f"{objectives.workload.requests_per_minute:,}, scaling.maxReplicas allows {request.max_replicas:,}",
            f"fits with scaling.maxReplicas {candidate.replicas:,}",
        )
    return None


def valid_tensor_sizes(model: Model, largest: int) -> tuple[int, ...]:
    """Return the tensor parallel sizes up to `largest` that divide the heads of `model`, the smallest first."""
    return tuple(size for size in range(1, largest + 1) if _divides(model, size))


def gib(size: int) -> str:
    """Write a size in bytes as GiB, for people."""
    return f"{size / GIB:.1f} GiB"


def _room(memory: Memory) -> str:
    adapters = f" + room for adapters {gib(memory.adapters)}" if memory.adapters else ""
    return adapters + (f" + the guard {gib(memory.guard)}" if memory.guard else "")


def _users(memory: Memory) -> str:
    return "both engines" if memory.guard else "the engine"


def _divides(model: Model, tensor: int) -> bool:
    heads, kv_heads = model.architecture.num_attention_heads, model.architecture.num_key_value_heads
    return heads % tensor == 0 and (kv_heads % tensor == 0 or tensor % kv_heads == 0)


def _unit(candidate: Candidate) -> int:
    return INT4_GROUP if candidate.variant.precision == "INT4" else 1


def _aligned(model: Model, candidate: Candidate, tensor: int) -> bool:
    shape, shard = model.architecture, tensor * _unit(candidate)
    return shape.intermediate_size % shard == 0 and (shape.num_attention_heads * shape.head_dim) % shard == 0
