"""Writes the plan as users read it, in status and in `kubectl llama plan`, and as a revision pins it.

Called by `decide.decision`, which passes it to the builders and to `status`.
"""

from llama_operator.api.v1alpha1.llamadeployment_status import ChosenPlan, PlanStatus, RejectedPlan
from llama_operator.api.v1alpha1.weights import CacheMode
from llama_operator.catalog.models import Model
from llama_operator.decide.plan.candidate import Candidate, Plan, Rejection, sizes
from llama_operator.decide.plan.cold_start import stages_of, total_seconds
from llama_operator.decide.plan.memory import KV_BLOCK_TOKENS, MIB, Sharding, cpu_kv_cache_mib
from llama_operator.decide.plan.performance import network_gigabits

_REJECTED_SHOWN = 8
_REJECTED_BESIDE_CHOSEN = 3
"""With a plan that fits, the others only answer "why not smaller"; `kubectl llama plan` has all of them. Each one costs the
API server at every write of the object, and every revision keeps it."""
_TEXT_LIMIT = 1024
_MICROS_PER_CENT = 10_000


def plan_status(model: Model, plan: Plan, *, max_model_length: int, mode: CacheMode) -> PlanStatus:
    """Return the plan, with the rejected candidates that are nearest to fitting.

    Args:
        model: The model.
        plan: Its plan.
        max_model_length: Tokens of a request at most.
        mode: Where pods read the weights from.
    """
    chosen = None
    if plan.chosen is not None:
        chosen = _chosen(model, plan.chosen, mode, max_model_length=max_model_length, max_num_seqs=plan.max_num_seqs)
    shown = _REJECTED_SHOWN if chosen is None else _REJECTED_BESIDE_CHOSEN
    return PlanStatus(chosen=chosen, rejected=tuple(rejected_plan(rejection) for rejection in plan.rejected[:shown]))


def rejected_plan(rejection: Rejection) -> RejectedPlan:
    """Return one rejected candidate."""
    return RejectedPlan(
        candidate=rejection.candidate.label,
        reason=rejection.reason,
        message=rejection.message[:_TEXT_LIMIT],
        nearest=rejection.nearest[:_TEXT_LIMIT],
    )


def label(chosen: ChosenPlan) -> str:
    """Return the short name of a chosen plan, as `Candidate.label` writes it."""
    sharding = Sharding(chosen.tensor_parallel_size, chosen.pipeline_parallel_size)
    return f"{chosen.precision} {chosen.accelerator} {sizes(sharding)}"


def _chosen(
    model: Model, candidate: Candidate, mode: CacheMode, *, max_model_length: int, max_num_seqs: int
) -> ChosenPlan:
    memory, speed = candidate.memory, candidate.performance
    # On a CPU the operator sets the size of the KV cache; it does not take all memory that remains.
    on_cpu = candidate.accelerator.device == "CPU"
    kv_bytes = cpu_kv_cache_mib(memory, max_model_length, max_num_seqs) * MIB if on_cpu else memory.left_for_kv
    cold_start = stages_of(model, candidate.variant, candidate.accelerator, candidate.sharding, mode)
    return ChosenPlan(
        model=model.id,
        precision=candidate.variant.precision,
        repository=candidate.variant.repository or "",
        accelerator=candidate.accelerator.name,
        tensor_parallel_size=candidate.sharding.tensor,
        pipeline_parallel_size=candidate.sharding.pipeline,
        gpus_per_replica=candidate.sharding.ranks,
        nodes_per_replica=candidate.nodes,
        max_model_length=max_model_length,
        max_num_seqs=max_num_seqs,
        memory_bytes_per_gpu=memory.budget,
        weight_bytes_per_gpu=memory.weights,
        reserve_bytes_per_gpu=memory.reserve,
        adapter_bytes_per_gpu=memory.adapters or None,
        guard_bytes_per_gpu=memory.guard or None,
        kv_cache_bytes_per_gpu=kv_bytes,
        kv_cache_tokens=kv_bytes // (memory.kv_bytes_per_token * KV_BLOCK_TOKENS) * KV_BLOCK_TOKENS,
        replicas_for_objectives=candidate.replicas if candidate.replicas_counted else None,
        time_to_first_token_ms=speed.time_to_first_token_ms if speed else None,
        time_per_output_token_us=speed.time_per_output_token_us if speed else None,
        requests_per_minute=speed.requests_per_minute if speed else None,
        network_gigabits_per_second=network_gigabits(candidate.accelerator) if speed and candidate.nodes > 1 else None,
        cold_start_seconds=total_seconds(cold_start),
        usd_per_hour_cents=-(-candidate.usd_micros_per_hour // _MICROS_PER_CENT) or None,
        warning=_warning(candidate),
    )


def _warning(candidate: Candidate) -> str | None:
    """What a person should know about sizes that were named by hand; None if there is nothing."""
    if not candidate.tensor_crosses_nodes:
        return None
    tensor, per_node = candidate.sharding.tensor, candidate.gpus_per_node
    return (
        f"tensor {tensor} shares every layer between nodes of {per_node}: each token waits for the network twice a layer, so it "
        f"needs one made for that (InfiniBand, or RoCE with RDMA in the pods); pipeline stages between nodes need less of it"
    )
