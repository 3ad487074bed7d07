"""A guard on the model's cards: what it takes of them, by weights and card. Called by `decide.decision`.

It has one rank, on one card of a replica, and a KV cache of a fixed size: one text of the longest length that it reads, which is some
ten of usual ones at once. Two engines on a card cannot each size their caches by what is free, because the other one takes it
meanwhile: both get their sizes from one plan.
"""

from dataclasses import replace

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.guard import GuardPlacement, GuardSpec
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.catalog import Catalog
from llama_operator.catalog.declared import with_declared
from llama_operator.catalog.models import Model, Variant
from llama_operator.decide.copies.needed import caches, is_read_from_volume
from llama_operator.decide.find_model import find_model
from llama_operator.decide.guard.planned import FIELD, GuardPlan, context_of, guard_deployment, of_guard
from llama_operator.decide.observed import Observed
from llama_operator.decide.placement.requests import Held
from llama_operator.decide.plan.candidate import Candidate, GuardShare, Plan, PlanRequest
from llama_operator.decide.plan.checks import CHECKS
from llama_operator.decide.plan.memory import Memory, tokens_needed
from llama_operator.decide.plan.planner import max_num_seqs, with_speed
from llama_operator.decide.plan.request import request_of
from llama_operator.decide.plan.shardings import Candidates
from llama_operator.decide.plan.status import plan_status
from llama_operator.decide.problem import Problem

_OF_MEMORY = frozenset({Reason.WEIGHTS_DO_NOT_FIT, Reason.KV_CACHE_TOO_SMALL})


def shares_of(observed: Observed, catalog: Catalog) -> Problem | tuple[GuardShare, ...]:
    """Return what the guard takes of the model's cards, for each of its weights, best quality first; none if it takes nothing of them.

    Args:
        observed: What is known.
        catalog: Models and accelerators.
    """
    found = _request(observed, catalog)
    if found is None or isinstance(found, Problem):
        return () if found is None else found
    model, _, request = found
    return tuple(
        GuardShare(f"{model.id} {variant.precision}", _on_cards(replace(request, variants=(variant,))))
        for variant in request.variants
    )


def plan_share(observed: Observed, catalog: Catalog, chosen: Candidate, share: GuardShare) -> GuardPlan | Problem:
    """Return the plan of a guard that takes `share` of the model's cards.

    Args:
        observed: What is known.
        catalog: Models and accelerators.
        chosen: Plan of the model that it screens.
        share: What the model was planned beside.
    """
    found = _request(observed, catalog)
    if found is None or isinstance(found, Problem):
        raise ValueError("a guard with a share was planned before")
    model, deployment, request = found
    request = replace(request, accelerators=(chosen.accelerator,))
    best = with_speed(request, share.on[chosen.accelerator.name])
    if (apart := _one_pod_problem(observed.deployment, chosen.variant, best.variant)) is not None:
        return apart
    plan = Plan(best, (), (), max_num_seqs=max_num_seqs(request, best))
    mode = deployment.spec.weights.cache.mode
    status = plan_status(model, plan, max_model_length=request.max_model_length, mode=mode).chosen
    if status is None:
        raise ValueError("a plan with a candidate has a status")
    # Its cards are paid for with the model.
    status = status.model_copy(update={"placement": GuardPlacement.SHARED, "usd_per_hour_cents": None})
    return GuardPlan(deployment, model, plan, best, status, shapes=None)


def held(observed: Observed, catalog: Catalog, chosen: Candidate, share: GuardShare) -> Held:
    """What the guard holds in each pod of the model.

    Args:
        observed: What is known.
        catalog: Models and accelerators.
        chosen: Plan of the model.
        share: What it was planned beside.
    """
    guard = observed.deployment.spec.guard
    model = None if guard is None else find_model(guard.model.name, observed.models, catalog)
    if model is None or isinstance(model, Problem):
        raise ValueError("a guard with a share was planned before")
    best = share.on[chosen.accelerator.name]
    return Held(model, best.variant, best.accelerator, best.sharding.ranks, copied=caches(observed.deployment))


def _request(observed: Observed, catalog: Catalog) -> Problem | tuple[Model, LlamaDeployment, PlanRequest] | None:
    """Model of the guard, what it is planned from, and what to plan; None if it takes nothing of the model's cards."""
    guard = observed.deployment.spec.guard
    if guard is None or guard.placement is not GuardPlacement.SHARED:
        return None
    model = find_model(guard.model.name, observed.models, catalog)
    if isinstance(model, Problem):
        return of_guard(model)
    deployment = _as_deployment(observed.deployment, guard, model)
    request = request_of(replace(observed, deployment=deployment), model, catalog)
    if isinstance(request, Problem):
        return of_guard(request)
    every = with_declared(catalog, observed.accelerators).accelerators
    # All cards: of those that the spec does not allow, another one may be advised.
    return model, deployment, replace(request, accelerators=tuple(every), tensor=1, pipeline=1)


def _as_deployment(deployment: LlamaDeployment, guard: GuardSpec, model: Model) -> LlamaDeployment:
    hardware = deployment.spec.hardware.model_copy(update={"max_gpus": None})
    return guard_deployment(deployment, guard, hardware, context_of(deployment, model))


def _on_cards(request: PlanRequest) -> dict[str, Candidate]:
    """One rank on each card that has kernels for it, with the memory that it needs and no more."""
    found = {}
    for candidate in Candidates(request).allowed():
        failures = (check(request, candidate) for check in CHECKS)
        failure = next((failure for failure in failures if failure is not None), None)
        if failure is None or failure.reason in _OF_MEMORY:
            memory = _as_needed(candidate.memory, request)
            found[candidate.accelerator.name] = replace(candidate, memory=memory, usd_micros_per_hour=0)
    return found


def _as_needed(memory: Memory, request: PlanRequest) -> Memory:
    sequences = request.concurrent_sequences
    cache = tokens_needed(request.max_model_length, sequences) * memory.kv_bytes_per_token
    # Whole blocks: what one sequence takes at any length is counted in tokens.
    images = -(-memory.kv_bytes_per_sequence // memory.kv_bytes_per_token) * memory.kv_bytes_per_token * sequences
    return replace(memory, budget=memory.weights + memory.reserve + cache + images)


def _one_pod_problem(deployment: LlamaDeployment, model: Variant, guard: Variant) -> Problem | None:
    """Two engines of one pod have one folder for a claim with weights, and one address of an object store."""
    if is_read_from_volume(deployment):
        # Copies and images have folders of their own.
        return None
    volumes = {one.volume_claim for one in (model, guard) if one.volume_claim is not None}
    stores = {(one.store_endpoint, one.store_region) for one in (model, guard) if one.uri is not None}
    if len(volumes) > 1:
        what = f"its weights are in the claim {guard.volume_claim} and those of the model in {model.volume_claim}, and a pod mounts one of them"
        cure = "put both into one claim"
    elif len(stores) > 1:
        what = "its weights and those of the model are in object stores with different addresses, and a pod has one"
        cure = "put both into one store"
    else:
        return None
    text = f"the guard shares pods with the model: {what}; {cure}, set weights.cache, or set placement to Own"
    return Problem(ConditionType.PLANNED, Reason.ENGINE_CONSTRAINT, text, f"{FIELD}.placement")
