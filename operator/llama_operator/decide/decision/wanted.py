"""The revision that the spec asks for: its model, license and plan, or what stands in the way. Called by `decide.decision.whole`."""

from functools import partial

from llama_operator.api.reasons import ConditionType
from llama_operator.api.v1alpha1.llamadeployment import LoadFormat
from llama_operator.api.v1alpha1.llamadeployment_status import PlanStatus
from llama_operator.catalog import Catalog
from llama_operator.catalog.models import Model, Variant
from llama_operator.decide.access import Door, door_of_revision, door_of_spec
from llama_operator.decide.access_check import pinned
from llama_operator.decide.bounds import least_replicas
from llama_operator.decide.copies.needed import downloaded, is_read_from_volume
from llama_operator.decide.decision.decided import Decision
from llama_operator.decide.decision.hardware import beyond_max_gpus, gpus_of_guard, idle, stopped
from llama_operator.decide.decision.weights import copied, with_access_check, with_copies
from llama_operator.decide.find_model import find_model
from llama_operator.decide.guard import share
from llama_operator.decide.guard.planned import GuardPlan, plan_guard
from llama_operator.decide.license import LicenseVerdict, judge
from llama_operator.decide.license.gather import gpus_of, license_input
from llama_operator.decide.not_understood import unread_model, unread_revision
from llama_operator.decide.observed import Observed, RevisionFacts
from llama_operator.decide.placement import pod_spec, requests
from llama_operator.decide.placement.allowed import refused as refused_pods
from llama_operator.decide.placement.shape import PodShapes
from llama_operator.decide.plan.adapters import host_bytes, names_problem, places_of
from llama_operator.decide.plan.candidate import Candidate, Plan, PlanRequest
from llama_operator.decide.plan.placed import first_placed
from llama_operator.decide.plan.request import find_plan, nothing_fits
from llama_operator.decide.plan.status import plan_status
from llama_operator.decide.problem import Problem
from llama_operator.decide.rollout.revision import Revision, revision_of
from llama_operator.decide.weights.loader import loader


def decide_wanted(observed: Observed, catalog: Catalog) -> Decision:
    """Decide as far as the wanted revision is concerned."""
    spec = observed.deployment.spec
    revision = revision_of(observed.deployment, observed.revisions)
    unread = None if stopped(observed) else unread_revision(observed, revision.name)
    model = find_model(spec.model.name, observed.models, catalog)
    if isinstance(model, Problem):
        return Decision(revision, problem=unread or unread_model(observed, model, spec.model.name))
    if unread is not None:
        return Decision(revision, model, _license(observed, catalog, model, None)[0], problem=unread)
    pinned_facts = observed.pinned(revision.name)
    if pinned_facts is not None:
        return _as_pinned(observed, catalog, model, revision, pinned_facts)
    rules = None if observed.platform_pods is None else observed.platform_pods.rules
    refused_settings = refused_pods(spec.pods, rules)
    search = (
        refused_settings
        or names_problem(spec, model)
        or _on_nodes(observed, model, catalog, _search(observed, model, catalog))
    )
    best = None if isinstance(search, Problem) else search[1].chosen
    variant = None if best is None else best.variant
    gpus = None if best is None else gpus_of(best.sharding.ranks, best.accelerator.name)
    guard = None if isinstance(search, Problem) or best is None else _guard(observed, catalog, best, search[0])
    planned_guard = guard if isinstance(guard, GuardPlan) else None
    guard_gpus = 0 if planned_guard is None else planned_guard.gpus
    verdict, refused = _license(observed, catalog, model, variant, gpus, guard_gpus=guard_gpus)
    if isinstance(search, Problem):
        return Decision(revision, model, verdict, door=_door(observed, verdict), problem=_first(search, refused))
    request, result = search
    decision = Decision(
        revision,
        model,
        verdict,
        plan=result,
        plan_status=_with_guard(
            plan_status(model, result, max_model_length=request.max_model_length, mode=spec.weights.cache.mode),
            planned_guard,
        ),
        guard=planned_guard,
        shapes=None if best is None else _shapes(observed, model, catalog, request, best),
        door=_door(observed, verdict),
        problem=_first(
            nothing_fits(request, result) if result.chosen is None else guard if isinstance(guard, Problem) else None,
            refused,
        ),
    )
    return with_copies(with_access_check(decision, observed, variant), observed, variant)


def _with_guard(status: PlanStatus, guard: GuardPlan | None) -> PlanStatus:
    return status if guard is None else status.model_copy(update={"guard": guard.chosen})


def _search(observed: Observed, model: Model, catalog: Catalog) -> Problem | tuple[PlanRequest, Plan]:
    shares = share.shares_of(observed, catalog)
    return shares if isinstance(shares, Problem) else find_plan(observed, model, catalog, shares)


def _guard(observed: Observed, catalog: Catalog, chosen: Candidate, request: PlanRequest) -> GuardPlan | Problem | None:
    if request.guard is None:
        return plan_guard(observed, catalog, chosen)
    return share.plan_share(observed, catalog, chosen, request.guard)


def _on_nodes(
    observed: Observed, model: Model, catalog: Catalog, search: Problem | tuple[PlanRequest, Plan]
) -> Problem | tuple[PlanRequest, Plan]:
    """The search, with the first candidate that the nodes hold where the accelerator is left to them."""
    spec = observed.deployment.spec
    if isinstance(search, Problem) or spec.hardware.accelerator != "Auto" or observed.nodes is None:
        return search
    every = tuple(node.room for node in observed.nodes if node.room is not None)
    rooms = every if observed.free is None else observed.free
    request, plan = search
    least = max(1, least_replicas(spec, observed.dated))
    return request, first_placed(request, plan, partial(_shapes, observed, model, catalog, request), rooms, least)


def _shapes(observed: Observed, model: Model, catalog: Catalog, request: PlanRequest, chosen: Candidate) -> PodShapes:
    copied = is_read_from_volume(observed.deployment)
    reads = loader(observed.deployment.spec.engine.arguments, model.architecture, chosen, copied=copied)
    held = requests.Held(
        model,
        chosen.variant,
        chosen.accelerator,
        chosen.devices_per_pod,
        chosen.nodes,
        streamed=reads.load_format is LoadFormat.RUNAI_STREAMER,
        buffers=reads.buffer_bytes or 0,
        copied=copied,
        adapters=host_bytes(
            places_of(observed.deployment.spec.adapter_slots),
            model.architecture,
            ranks=chosen.devices_per_pod,
            stages=chosen.sharding.pipeline,
        ),
    )
    guard = None if request.guard is None else share.held(observed, catalog, chosen, request.guard)
    return requests.shapes(held, observed.pod_settings(chosen.accelerator), guard)


def _as_pinned(
    observed: Observed, catalog: Catalog, model: Model, revision: Revision, record: RevisionFacts
) -> Decision:
    """Decide with the plan that was pinned when the revision was made; nothing is planned again."""
    chosen = record.plan.chosen
    repository = chosen.repository if chosen else ""
    variant = next((one for one in model.variants if (one.repository or "") == repository), None)
    gpus = gpus_of(chosen.gpus_per_replica, chosen.accelerator) if chosen else None
    door = door_of_revision(record, observed.deployment.metadata.name)
    verdict, refused = _license(
        observed, catalog, model, variant, gpus, door=door, guard_gpus=gpus_of_guard(observed, record.plan.guard)
    )
    decision = Decision(
        revision,
        model,
        verdict,
        plan_status=record.plan,
        door=door,
        shapes=None if chosen is None else pod_spec.shapes_of(record.cluster, chosen.nodes_per_replica),
        problem=refused
        or names_problem(observed.deployment.spec, model)
        or beyond_max_gpus(observed, chosen, gpus_of_guard(observed, record.plan.guard)),
        access_check=pinned(observed, record, None if variant is None else downloaded(observed.deployment, variant)),
    )
    if decision.problem is not None or idle(observed):
        return decision
    return copied(decision, observed, record.copies)


def _license(
    observed: Observed,
    catalog: Catalog,
    model: Model,
    variant: Variant | None,
    gpus_per_replica: int | None = None,
    *,
    door: Door | None = None,
    guard_gpus: int = 0,
) -> tuple[LicenseVerdict, Problem | None]:
    verdict = judge(
        license_input(observed, catalog, model.id, variant, gpus_per_replica, door=door, guard_gpus=guard_gpus),
    )
    if verdict.allowed or idle(observed):
        # No license keeps a user from freeing the hardware.
        return verdict, None
    return verdict, Problem(ConditionType.LICENSE_ACCEPTED, verdict.reason, verdict.message, "spec.license")


def _door(observed: Observed, verdict: LicenseVerdict) -> Door:
    return door_of_spec(observed.deployment, required=verdict.duties.keys == "Required")


def _first(plan_problem: Problem | None, refused: Problem | None) -> Problem | None:
    if plan_problem is not None and plan_problem.invalid:
        return plan_problem
    return refused or plan_problem
