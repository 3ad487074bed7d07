"""The whole status of a LlamaDeployment. Called by the reconcile at the end of every pass, also of a failed one."""

from datetime import datetime
from math import floor, log10

from llama_operator.api.meta import LABEL_DEPLOYMENT, LABEL_REVISION
from llama_operator.api.v1alpha1.llamadeployment_status import (
    ChosenPlan,
    LlamaDeploymentStatus,
    PlanStatus,
    RejectedPlan,
    RevisionStatus,
    ScalingEvent,
)
from llama_operator.decide.decision import Decision
from llama_operator.decide.observed import Observed
from llama_operator.decide.planner import Plan, Rejection
from llama_operator.desired.serve_config import HTTP_PORT
from llama_operator.status import conditions

_REJECTED_SHOWN = 8
_HISTORY = 10
_TEXT_LIMIT = 1024


def build(observed: Observed, decision: Decision, *, failure: str | None, now: datetime) -> LlamaDeploymentStatus:
    """Say what is, for the generation that `observed` holds.

    Args:
        observed: What this reconcile knew.
        decision: What it decided.
        failure: What went wrong unexpectedly, or None.
        now: Time of the pass, in UTC.
    """
    deployment = observed.deployment
    previous = deployment.status or LlamaDeploymentStatus()
    found = conditions.findings(observed, decision, failure)
    replicas, ready_replicas = _replicas(observed, decision, previous)
    serving = observed.serving
    return LlamaDeploymentStatus(
        observed_generation=deployment.metadata.generation,
        conditions=conditions.conditions(found, previous.conditions, deployment.metadata.generation, now),
        plan=plan_status(decision.plan, decision),
        revisions=_revisions(observed, decision),
        replicas=replicas,
        ready_replicas=ready_replicas,
        selector=_selector(deployment.metadata.name, decision),
        queue_depth=None if serving is None else rounded(serving.queue_depth),
        kv_cache_tokens=serving.kv_cache_tokens if serving is not None else previous.kv_cache_tokens,
        scaling_history=_history(previous, replicas, observed, now),
        url=_url(observed, decision),
    )


def plan_status(plan: Plan | None, decision: Decision) -> PlanStatus | None:
    """The plan as users read it, with the rejected candidates nearest to fitting."""
    if plan is None:
        return None
    return PlanStatus(
        chosen=_chosen(plan, decision),
        rejected=tuple(rejected_plan(rejection) for rejection in plan.rejected[:_REJECTED_SHOWN]),
    )


def rejected_plan(rejection: Rejection) -> RejectedPlan:
    """One rejected candidate as users read it."""
    return RejectedPlan(
        candidate=rejection.candidate.label, reason=rejection.reason, message=rejection.message[:_TEXT_LIMIT]
    )


def rounded(queue_depth: int) -> int:
    """Round to two digits: status is not a metric, and must not be written for every request."""
    if queue_depth < 100:  # noqa: PLR2004 - two digits
        return queue_depth
    return round(queue_depth, 1 - floor(log10(queue_depth)))


def _chosen(plan: Plan, decision: Decision) -> ChosenPlan | None:
    chosen = plan.chosen
    if chosen is None or decision.model is None:
        return None
    memory = chosen.memory
    return ChosenPlan(
        model=decision.model.id,
        precision=chosen.variant.precision,
        repository=chosen.variant.repository or "",
        accelerator=chosen.accelerator.name,
        tensor_parallel_size=chosen.sharding.tensor,
        pipeline_parallel_size=chosen.sharding.pipeline,
        gpus_per_replica=chosen.sharding.ranks,
        nodes_per_replica=chosen.nodes,
        max_model_length=decision.max_model_length,
        max_num_seqs=plan.max_num_seqs,
        memory_bytes_per_gpu=memory.budget,
        weight_bytes_per_gpu=memory.weights,
        reserve_bytes_per_gpu=memory.reserve,
        kv_cache_bytes_per_gpu=memory.left_for_kv,
        kv_cache_tokens=memory.kv_tokens,
    )


def _revisions(observed: Observed, decision: Decision) -> RevisionStatus | None:
    serving = next((facts.name for facts in observed.ray_services if facts.serves), "")
    if decision.rollout is None:
        return RevisionStatus(active=serving) if serving else None
    wanted = decision.rollout.wanted
    return RevisionStatus(active=serving, pending="" if serving == wanted or decision.stopped else wanted)


def _replicas(observed: Observed, decision: Decision, previous: LlamaDeploymentStatus) -> tuple[int, int]:
    serves = any(facts.serves for facts in observed.ray_services)
    if decision.stopped:
        return 0, 0
    least = decision.live.min_replicas if decision.live else 0
    if observed.serving is not None:
        return observed.serving.target_replicas, observed.serving.replicas
    if not serves:
        return least, 0
    # An endpoint that does not answer says nothing about replicas: what was known stands, as far as bounds allow it.
    most = decision.live.max_replicas if decision.live else previous.replicas
    return min(max(previous.replicas, least), most), min(max(previous.ready_replicas, least), most)


def _history(
    previous: LlamaDeploymentStatus, replicas: int, observed: Observed, now: datetime
) -> tuple[ScalingEvent, ...]:
    if replicas == previous.replicas:
        return previous.scaling_history
    event = ScalingEvent(
        time=now.replace(microsecond=0),
        from_replicas=previous.replicas,
        to_replicas=replicas,
        reason=_scaling_reason(previous.replicas, replicas, observed),
    )
    return (event, *previous.scaling_history)[:_HISTORY]


def _scaling_reason(before: int, after: int, observed: Observed) -> str:
    scaling, serving = observed.deployment.spec.scaling, observed.serving
    if serving is None:
        return "bounds of the spec"
    if after > before:
        return f"{serving.queue_depth} requests wait, {scaling.target_queue_depth} per replica is the target"
    return f"{serving.queue_depth} requests wait: fewer replicas hold the target of {scaling.target_queue_depth}"


def _selector(name: str, decision: Decision) -> str:
    if decision.rollout is None:
        return ""
    return f"{LABEL_DEPLOYMENT}={name},{LABEL_REVISION}={decision.rollout.traffic},ray.io/serve=true"


def _url(observed: Observed, decision: Decision) -> str:
    metadata = observed.deployment.metadata
    if decision.rollout is None and not observed.ray_services:
        return ""
    host = observed.address or f"{metadata.name}.{metadata.namespace}.svc:{HTTP_PORT}"
    return f"http://{host}/v1"
