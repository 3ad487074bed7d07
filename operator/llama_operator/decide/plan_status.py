"""The plan as users read it, in status and in `kubectl llama plan`, and as a revision pins it.

Called by `decide.decision`, which hands it on to the builders and to `status`.
"""

from llama_operator.api.v1alpha1.llamadeployment_status import ChosenPlan, PlanStatus, RejectedPlan
from llama_operator.catalog.models import Model
from llama_operator.decide.planner import Candidate, Plan, Rejection

_REJECTED_SHOWN = 8
_TEXT_LIMIT = 1024


def plan_status(model: Model, plan: Plan, *, max_model_length: int) -> PlanStatus:
    """The plan, with the rejected candidates nearest to fitting."""
    chosen = None
    if plan.chosen is not None:
        chosen = _chosen(model, plan.chosen, max_model_length=max_model_length, max_num_seqs=plan.max_num_seqs)
    return PlanStatus(
        chosen=chosen, rejected=tuple(rejected_plan(rejection) for rejection in plan.rejected[:_REJECTED_SHOWN])
    )


def rejected_plan(rejection: Rejection) -> RejectedPlan:
    """One rejected candidate."""
    return RejectedPlan(
        candidate=rejection.candidate.label, reason=rejection.reason, message=rejection.message[:_TEXT_LIMIT]
    )


def label(chosen: ChosenPlan) -> str:
    """Short name of a chosen plan, as `Candidate.label` has it."""
    sizes = f"TP{chosen.tensor_parallel_size} PP{chosen.pipeline_parallel_size}"
    return f"{chosen.precision} {chosen.accelerator} {sizes}"


def _chosen(model: Model, candidate: Candidate, *, max_model_length: int, max_num_seqs: int) -> ChosenPlan:
    memory = candidate.memory
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
        kv_cache_bytes_per_gpu=memory.left_for_kv,
        kv_cache_tokens=memory.kv_tokens,
    )
