"""Makes the request to the planner from a spec: model variants, accelerators, context. Called by `decide.decision`."""

from collections.abc import Sequence
from dataclasses import replace

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.llamadeployment import (
    GraphMode,
    KVCacheDtype,
    LlamaDeploymentSpec,
    LoadFormat,
    ObjectivesSpec,
)
from llama_operator.catalog import Catalog
from llama_operator.catalog.declared import with_declared
from llama_operator.catalog.models import Model, Variant
from llama_operator.decide.bounds import most_from, most_replicas
from llama_operator.decide.observed import Observed
from llama_operator.decide.plan.accelerators import find_accelerators, with_image
from llama_operator.decide.plan.adapters import places_of, slots_problem
from llama_operator.decide.plan.advice import changes
from llama_operator.decide.plan.candidate import Change, GuardShare, Objectives, Plan, PlanRequest
from llama_operator.decide.plan.default_context import plan_default_context
from llama_operator.decide.plan.performance import Limits, Workload
from llama_operator.decide.plan.planner import plan
from llama_operator.decide.plan.variants import allowed_variants, loadable_variants, with_casts
from llama_operator.decide.problem import Problem
from llama_serving.config import LEAST_ENGINE_VERSION

_KV_BYTES_16_BIT = 2
_KV_BYTES_FP8 = 1
_MICROSECONDS = 1000
_STREAMED = ("s3://", "gs://")
_ANONYMOUS = "://anonymous@"
_ABOUT_PIPELINE = frozenset({Reason.LAYERS_NOT_DIVISIBLE, Reason.PIPELINE_NOT_SUPPORTED})


def find_plan(
    observed: Observed, model: Model, catalog: Catalog, guards: Sequence[GuardShare] = ()
) -> Problem | tuple[PlanRequest, Plan]:
    """Plan what the spec asks for.

    Args:
        observed: The deployment and the nodes of the cluster.
        model: The model that the spec names.
        catalog: Accelerators.
        guards: Weights of a guard that takes a part of the same cards, best quality first; none without one. The model is planned beside
            each, and the first of those with the fewest GPUs is taken.

    Returns:
        The request with the context that was planned (that of the spec, or the default), and its plan. A Problem if the
        spec itself cannot be planned.
    """
    alone = request_of(observed, model, catalog)
    if isinstance(alone, Problem):
        return alone
    named = observed.deployment.spec.context.max_model_length is not None
    planned = [
        (request, plan(request)) if named else plan_default_context(request)
        for request in ([replace(alone, guard=guard) for guard in guards] or [alone])
    ]
    fitting = [found for found in planned if found[1].chosen is not None]
    # Where none fits, the one that takes the least says best what is missing.
    request, result = min(fitting, key=_gpus) if fitting else planned[-1]
    if result.chosen is None:
        result = replace(result, changes=_changes(observed, request, result, catalog))
    return request, result


def _gpus(planned: tuple[PlanRequest, Plan]) -> int:
    chosen = planned[1].chosen
    return 0 if chosen is None else chosen.gpus


def request_of(observed: Observed, model: Model, catalog: Catalog) -> Problem | PlanRequest:
    """Return what to plan; its length is the trained one where the spec names none. A Problem if the spec itself cannot be planned.

    Args:
        observed: The deployment and the nodes of the cluster.
        model: The model that the spec names.
        catalog: Accelerators.
    """
    spec = observed.deployment.spec
    unloadable = _engine_problem(model, catalog) or slots_problem(spec, model)
    if unloadable is not None:
        return unloadable
    accelerators = find_accelerators(observed, model, catalog)
    if isinstance(accelerators, Problem):
        return accelerators
    variants = allowed_variants(spec, model)
    if isinstance(variants, Problem):
        return variants
    if (unread := _stream_problem(spec, variants)) is not None:
        return unread
    variants = with_casts(spec, variants, accelerators)
    trained_for = min(model.context_of(variant) for variant in variants)
    if (too_long := _context_problem(spec, model, trained_for)) is not None:
        return too_long
    return PlanRequest(
        model=model,
        variants=variants,
        accelerators=accelerators,
        gpus_per_node=spec.hardware.gpus_per_node,
        max_gpus=spec.hardware.max_gpus,
        max_replicas=most_replicas(spec),
        most_from=most_from(spec),
        max_model_length=spec.context.max_model_length or trained_for,
        concurrent_sequences=spec.context.concurrent_sequences,
        utilization_percent=spec.engine.gpu_memory_utilization_percent,
        kv_element_bytes=_KV_BYTES_FP8 if spec.engine.kv_cache_dtype is KVCacheDtype.FP8 else _KV_BYTES_16_BIT,
        tensor=spec.parallelism.tensor,
        pipeline=spec.parallelism.pipeline,
        max_num_seqs=spec.engine.arguments.max_num_seqs,
        max_num_batched_tokens=spec.engine.arguments.max_num_batched_tokens,
        graphs=spec.engine.arguments.graphs is GraphMode.CAPTURED,
        objectives=_objectives(spec.objectives),
        adapters=places_of(spec.adapter_slots),
    )


def _changes(observed: Observed, request: PlanRequest, result: Plan, catalog: Catalog) -> tuple[Change, ...]:
    spec = observed.deployment.spec
    listed = ", ".join(spec.model.precisions)
    usable = with_image(observed, with_declared(catalog, observed.accelerators).accelerators)
    return changes(
        request,
        result,
        # A named repository has one precision.
        variants=() if spec.model.variant else loadable_variants(request.model),
        accelerators=() if isinstance(usable, Problem) else usable,
        length_named=spec.context.max_model_length is not None,
        precision_field=("model.precisions", f"[{listed}, {{}}]") if listed else ("model.precision", "{}"),
    )


def _objectives(spec: ObjectivesSpec | None) -> Objectives | None:
    if spec is None:
        return None
    token_ms = spec.time_per_output_token_milliseconds
    return Objectives(
        Workload(spec.prompt_tokens, spec.output_tokens, spec.requests_per_minute or 0),
        Limits(spec.time_to_first_token_milliseconds, None if token_ms is None else token_ms * _MICROSECONDS),
    )


def _engine_problem(model: Model, catalog: Catalog) -> Problem | None:
    if model.not_served:
        text = f"LlamaModel {model.id}: {model.not_served}"
        return Problem(ConditionType.MODEL_RESOLVED, Reason.ENGINE_CONSTRAINT, text, "spec.model.name")
    if not model.engine_constraints:
        return None
    instead = _instead_of(model, catalog)
    return Problem(
        ConditionType.MODEL_RESOLVED,
        Reason.ENGINE_CONSTRAINT,
        f"{model.id}: {'; '.join(model.engine_constraints)}; another image does not change that, replicas with a vLLM before "
        f"{LEAST_ENGINE_VERSION} are not used" + (f"; take {instead}" if instead else ""),
        "spec.model.name",
    )


def _instead_of(model: Model, catalog: Catalog) -> str:
    """Name of the smallest model of the catalog that does the same; empty if there is none."""
    guards = "guard" in model.id
    alike = [
        other
        for other in catalog.models
        if not other.engine_limits
        and not other.generated
        and other.modality == model.modality
        and ("guard" in other.id) == guards
    ]
    return min(alike, key=lambda other: other.params_total).id if alike else ""


def _stream_problem(spec: LlamaDeploymentSpec, variants: tuple[Variant, ...]) -> Problem | None:
    """The streaming loader has a library of its own for stores, which knows fewer of them."""
    if spec.engine.arguments.load_format is not LoadFormat.RUNAI_STREAMER:
        return None
    address = next(
        (v.uri for v in variants if v.uri and (_ANONYMOUS in v.uri or not v.uri.startswith(_STREAMED))), None
    )
    if address is None:
        return None
    return Problem(
        ConditionType.MODEL_RESOLVED,
        Reason.ENGINE_CONSTRAINT,
        f"RunaiStreamer reads s3:// and gs:// with credentials, and the weights are in {address}; leave loadFormat out",
        "spec.engine.arguments.loadFormat",
    )


def _context_problem(spec: LlamaDeploymentSpec, model: Model, trained_for: int) -> Problem | None:
    asked = spec.context.max_model_length
    if asked is None or asked <= trained_for:
        return None
    return Problem(
        ConditionType.PLANNED,
        Reason.CONTEXT_TOO_LONG,
        f"{asked:,} is more than the {trained_for:,} tokens that {model.id} was trained for; "
        f"set it to at most {trained_for}",
        "spec.context.maxModelLength",
    )


def nothing_fits(request: PlanRequest, result: Plan) -> Problem:
    """Return the problem of a plan without a chosen candidate; its message is about the candidate that came nearest."""
    kind = ConditionType.PLANNED
    nearest = result.rejected[0]
    text = f"{nearest.candidate.label}: {nearest.message}"
    if result.changes:
        text += f". It fits with {', or '.join(change.text for change in result.changes)}"
    if request.tensor is not None:
        # Every candidate has the sizes that the user named: the reason is about them.
        field = "spec.parallelism.pipeline" if nearest.reason in _ABOUT_PIPELINE else "spec.parallelism.tensor"
        return Problem(kind, nearest.reason, text, field)
    if len(result.rejected) == 1:
        return Problem(kind, nearest.reason, text)
    return Problem(kind, Reason.NOTHING_FITS, f"none of {len(result.rejected)} candidates fits; nearest is {text}")
