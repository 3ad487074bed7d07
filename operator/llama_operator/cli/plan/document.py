"""The JSON of `kubectl llama plan -o json`: a stable interface. Called by `cli.plan.command`.

The models below are the interface: docs/reference/plan-output.schema.json is generated from them, and docs/plan-output.md
explains them. Fields are added, never renamed or removed; every field is always there, null where nothing is known.
"""

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict

from llama_operator.api.meta import ApiModel, api_name
from llama_operator.api.reasons import ConditionType
from llama_operator.api.v1alpha1.llamadeployment_status import ChosenPlan
from llama_operator.decide.decision import Decision
from llama_operator.decide.license import LicenseVerdict
from llama_operator.decide.observed import Observed
from llama_operator.decide.plan.candidate import Candidate, Rejection
from llama_operator.decide.plan.cold_start import stages, total_seconds
from llama_operator.decide.plan.status import label
from llama_operator.decide.problem import Problem
from llama_operator.status import conditions


class _Part(ApiModel):
    """Part of the document; written by us alone, and free to grow."""

    model_config = ConfigDict(extra="ignore", strict=False, json_schema_serialization_defaults_required=True)


class DeploymentPart(_Part):
    """Whose plan it is."""

    name: str
    namespace: str


class DenialPart(_Part):
    """One check of the license chain that refuses."""

    rule: str
    """Number of the rule in docs/licenses.md."""
    reason: str
    message: str
    unblock: str
    """What would change it."""
    clause: str
    """Clause of the license that the rule rests on."""
    origin: str
    """`License`, `Record` (evidence that the operator wants) or `HousePolicy`."""


class LicensePart(_Part):
    """Verdict of the license chain."""

    allowed: bool
    tier: str
    """Duties that the license brings."""
    families: tuple[str, ...]
    reason: str
    message: str
    denials: tuple[DenialPart, ...]


class CandidatePart(_Part):
    """One way to shard one replica. Memory is that of the fullest GPU."""

    candidate: str
    """Short name: precision, accelerator, tensor and pipeline size."""
    precision: str
    repository: str
    """Repository of the weights; empty for generated ones."""
    accelerator: str
    tensor_parallel_size: int
    pipeline_parallel_size: int
    gpus_per_replica: int
    nodes_per_replica: int
    memory_bytes_per_gpu: int
    """What the engine may use of each GPU."""
    weight_bytes_per_gpu: int
    reserve_bytes_per_gpu: int
    """Activations, graphs and communication buffers, estimated."""
    kv_cache_bytes_per_gpu: int
    """What is left for the KV cache; 0 when the weights and the reserve leave nothing."""
    kv_cache_tokens: int
    """Tokens that the KV cache of one replica holds."""
    replicas_for_objectives: int | None = None
    """Replicas that the rate of spec.objectives needs; null without a rate."""
    usd_micros_per_hour: int | None = None
    """Price of the GPUs of one replica, in millionths of a dollar per hour; null without a price."""
    time_to_first_token_ms: int | None = None
    """Estimated at the rate of spec.objectives; null when nothing was estimated."""
    time_per_output_token_us: int | None = None
    """Estimated, in microseconds; null when nothing was estimated."""
    requests_per_minute: int | None = None
    """What one replica sustains, estimated; null when nothing was estimated."""


class ChosenPart(ChosenPlan):
    """The candidate that is used: what status.plan.chosen says, and its short name."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    candidate: str
    """Short name: precision, accelerator, tensor and pipeline size."""


class AlternativePart(CandidatePart):
    """Another candidate that fits."""

    message: str
    """Why it was not chosen."""


class RejectedPart(CandidatePart):
    """A candidate that does not fit."""

    reason: str
    """Failed check, one CamelCase word of docs/reference/conditions.md."""
    message: str
    """Its numbers."""
    nearest: str
    """The nearest change that would make it fit; empty when there is none."""


class PlanPart(_Part):
    """Outcome of the search."""

    chosen: ChosenPart | None
    """Null when none fits."""
    alternatives: tuple[AlternativePart, ...]
    """Others that fit, best first."""
    rejected: tuple[RejectedPart, ...]
    """All that do not, nearest to fitting first."""


class StagePart(_Part):
    """One stage of a cold start."""

    name: str
    """Node, Image, Weights, Engine, Compile or Graphs."""
    seconds: int


class ColdStartPart(_Part):
    """Estimated time from nothing to the first answer: a new node, no image on it, weights from their repository."""

    seconds: int
    """Sum of the stages."""
    stages: tuple[StagePart, ...]
    """In their order."""


class CapacityPart(_Part):
    """Whether the nodes that were given hold the plan."""

    status: str
    """True, False or Unknown, as the condition CapacityFound would be."""
    reason: str
    message: str


class ProblemPart(_Part):
    """What stands in the way."""

    condition: str
    """Condition that is False because of it."""
    field: str
    """Path of the field to change; empty where none is to blame."""
    reason: str
    message: str


class PlanDocument(_Part):
    """What `kubectl llama plan -o json` prints."""

    deployment: DeploymentPart
    license: LicensePart | None
    """Null when the model is not known."""
    plan: PlanPart
    cold_start: ColdStartPart | None
    """Null when nothing fits."""
    capacity: CapacityPart | None
    """Null when no nodes were given, or nothing fits."""
    problem: ProblemPart | None
    """What stands in the way; null when nothing does."""
    objects: tuple[dict[str, Any], ...]
    """Kubernetes objects that would be applied, in this order; empty with a problem."""


def document(observed: Observed, decision: Decision, built: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """Build the document."""
    metadata = observed.deployment.metadata
    return PlanDocument(
        deployment=DeploymentPart(name=metadata.name, namespace=metadata.namespace),
        license=None if decision.license is None else _license(decision.license),
        plan=_plan(decision),
        cold_start=cold_start(decision),
        capacity=capacity(observed, decision),
        problem=None if decision.problem is None else _problem(decision.problem),
        objects=built,
    ).model_dump(mode="json", by_alias=True)


def cold_start(decision: Decision) -> ColdStartPart | None:
    """Stages of a cold start of the chosen candidate; also used by the table."""
    if decision.model is None or decision.plan is None or (chosen := decision.plan.chosen) is None:
        return None
    found = stages(decision.model, chosen.variant, chosen.accelerator, chosen.sharding)
    return ColdStartPart(
        seconds=total_seconds(found), stages=tuple(StagePart(name=each.name, seconds=each.seconds) for each in found)
    )


def capacity(observed: Observed, decision: Decision) -> CapacityPart | None:
    """Say whether the nodes hold the plan, in the words of the condition; also used by the table."""
    if observed.nodes is None or decision.chosen is None or decision.stopped:
        return None
    found = conditions.findings(observed, decision, None)
    told = next(finding for finding in found if finding.type is ConditionType.CAPACITY_FOUND)
    return CapacityPart(status=told.status, reason=told.reason, message=told.message)


def schema() -> dict[str, Any]:
    """JSON schema of the document. Called by `make generate`."""
    from llama_operator.api.crd import field_docs

    found: dict[str, Any] = PlanDocument.model_json_schema(by_alias=True, mode="serialization")
    models: tuple[type[BaseModel], ...] = (PlanDocument, *_models(PlanDocument))
    for model in models:
        part = found if model is PlanDocument else found["$defs"][model.__name__]
        for name, text in field_docs(model).items():
            if name in model.model_fields:
                part["properties"][api_name(name)]["description"] = text
        for field in part["properties"].values():
            # Pydantic's titles are the names again, without their capitals.
            field.pop("title", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | found


def why_not_chosen(candidate: Candidate, chosen: Candidate) -> str:
    """Why a candidate that fits is not the one, in the order in which the planner compares; also used by the table."""
    if candidate.gpus != chosen.gpus:
        rate = f" ({candidate.replicas} replicas for the rate)" if candidate.replicas > 1 else ""
        return f"takes {candidate.gpus}{rate} instead of {chosen.gpus}"
    prices = [found.usd_micros_per_hour * found.replicas for found in (candidate, chosen)]
    if prices[0] != prices[1]:
        asked, paid = (f"{price / 1e6:,.2f}" if price else "an unknown price" for price in prices)
        return f"costs {asked} instead of {paid} USD an hour"
    if candidate.variant.precision != chosen.variant.precision:
        return f"same size; {candidate.variant.precision} instead of {chosen.variant.precision} weights"
    if not candidate.accelerator.tensor_friendly and candidate.sharding.tensor > chosen.sharding.tensor:
        return "same size; without a fast link between cards, stages talk less than shards of a layer"
    return "same size; not faster by the estimate"


def _license(verdict: LicenseVerdict) -> LicensePart:
    return LicensePart(
        allowed=verdict.allowed,
        tier=verdict.tier,
        families=tuple(verdict.families),
        reason=verdict.reason,
        message=verdict.message,
        denials=tuple(
            DenialPart(
                rule=d.rule, reason=d.reason, message=d.message, unblock=d.unblock, clause=d.clause, origin=d.origin
            )
            for d in verdict.denials
        ),
    )


def _plan(decision: Decision) -> PlanPart:
    chosen, plan = decision.chosen, decision.plan
    return PlanPart(
        chosen=None if chosen is None else ChosenPart(candidate=label(chosen), **chosen.model_dump()),
        alternatives=()
        if plan is None or plan.chosen is None
        else tuple(
            AlternativePart(**_candidate(found), message=why_not_chosen(found, plan.chosen))
            for found in plan.alternatives
        ),
        rejected=() if plan is None else tuple(_rejected(rejection) for rejection in plan.rejected),
    )


def _rejected(rejection: Rejection) -> RejectedPart:
    return RejectedPart(
        **_candidate(rejection.candidate),
        reason=rejection.reason,
        message=rejection.message,
        nearest=rejection.nearest,
    )


def _candidate(candidate: Candidate) -> dict[str, Any]:
    memory, speed = candidate.memory, candidate.performance
    return {
        "candidate": candidate.label,
        "precision": candidate.variant.precision,
        "repository": candidate.variant.repository or "",
        "accelerator": candidate.accelerator.name,
        "tensor_parallel_size": candidate.sharding.tensor,
        "pipeline_parallel_size": candidate.sharding.pipeline,
        "gpus_per_replica": candidate.sharding.ranks,
        "nodes_per_replica": candidate.nodes,
        "memory_bytes_per_gpu": memory.budget,
        "weight_bytes_per_gpu": memory.weights,
        "reserve_bytes_per_gpu": memory.reserve,
        "kv_cache_bytes_per_gpu": max(0, memory.left_for_kv),
        "kv_cache_tokens": memory.kv_tokens,
        "replicas_for_objectives": candidate.replicas if candidate.replicas_counted else None,
        "usd_micros_per_hour": candidate.usd_micros_per_hour or None,
        "time_to_first_token_ms": speed.time_to_first_token_ms if speed else None,
        "time_per_output_token_us": speed.time_per_output_token_us if speed else None,
        "requests_per_minute": speed.requests_per_minute if speed else None,
    }


def _problem(problem: Problem) -> ProblemPart:
    return ProblemPart(condition=problem.condition, field=problem.field, reason=problem.reason, message=problem.message)


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Models that the fields of `model` hold."""
    for info in model.model_fields.values():
        for part in (info.annotation, *get_args(info.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield part
                yield from _models(part)
