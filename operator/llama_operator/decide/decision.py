"""From what is observed to what shall be: resolve the model, judge its license, plan, roll out.

`decide` is called by the reconcile and by `kubectl llama plan`; it never fails for what a user wrote: a problem is part
of the decision, and a decision with a problem changes nothing that runs.
"""

from dataclasses import dataclass, field, replace
from functools import partial

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.adapters import repository_of
from llama_operator.api.v1alpha1.guard import GuardPlacement
from llama_operator.api.v1alpha1.llamadeployment import Activation, LoadFormat
from llama_operator.api.v1alpha1.llamadeployment_status import ChosenPlan, GivenUpStatus, PlanStatus
from llama_operator.catalog import Catalog
from llama_operator.catalog.models import Model, Variant
from llama_operator.decide.access import Door, door_of_revision, door_of_spec
from llama_operator.decide.access_check import AccessCheck, check_access_to_all, pinned, seen_commit
from llama_operator.decide.bounds import least_replicas, most_replicas, wanted_replicas
from llama_operator.decide.copies.needed import (
    Wanted,
    caches,
    downloaded,
    is_read_from_volume,
    known_without_asking,
    needed,
)
from llama_operator.decide.copies.source import Copy, Role
from llama_operator.decide.exposure import Exposure, exposure
from llama_operator.decide.find_model import find_model
from llama_operator.decide.guard import share
from llama_operator.decide.guard.planned import GuardPlan, plan_guard
from llama_operator.decide.license import LicenseVerdict, judge
from llama_operator.decide.license.gather import gpus_of, license_input
from llama_operator.decide.license.running import RevisionVerdict, judge_others, judge_wanted
from llama_operator.decide.not_understood import unread_model, unread_revision
from llama_operator.decide.observed import Observed, RevisionFacts
from llama_operator.decide.placement import pod_spec, requests
from llama_operator.decide.placement.allowed import refused as refused_pods
from llama_operator.decide.placement.shape import PodShapes
from llama_operator.decide.plan.adapters import host_bytes, names_problem, places_of
from llama_operator.decide.plan.candidate import Candidate, Plan, PlanRequest
from llama_operator.decide.plan.cold_start import Stage
from llama_operator.decide.plan.placed import first_placed
from llama_operator.decide.plan.request import find_plan, nothing_fits
from llama_operator.decide.plan.status import plan_status
from llama_operator.decide.problem import Problem
from llama_operator.decide.rollout.ending import Ending, ending
from llama_operator.decide.rollout.handover import Handover, handover
from llama_operator.decide.rollout.move import Move, move
from llama_operator.decide.rollout.revision import Revision, revision_of
from llama_operator.decide.rollout.rollout import Barred, Rollout, roll_out
from llama_operator.decide.rollout.strategy import choose_strategy
from llama_operator.decide.rollout.upkeep import Upkeep, keep_up
from llama_operator.decide.scaling.schedule import seconds_to_next
from llama_operator.decide.starts.claim import given_up
from llama_operator.decide.starts.measured import predicted
from llama_operator.decide.weights.claims import ClaimPlan, plan_claims
from llama_operator.decide.weights.copying import Copying, already_there, check_copies
from llama_operator.decide.weights.erasing import Erasing, erasing
from llama_operator.decide.weights.loader import loader
from llama_serving.contract.tenants import HouseLimits


@dataclass(frozen=True, slots=True)
class Decision:
    """What shall be. Later parts are None when an earlier one has a problem."""

    revision: Revision
    """Revision that the spec asks for."""
    model: Model | None = None
    license: LicenseVerdict | None = None
    """Verdict about the model that the spec asks for."""
    verdicts: tuple[RevisionVerdict, ...] = ()
    """Verdicts about revisions: the wanted one, where its model is known, and all others that run or may be gone back to."""
    plan: Plan | None = None
    """The search for a plan; None when the revision is pinned already, so that nothing was searched."""
    plan_status: PlanStatus | None = None
    """The plan as found or as pinned."""
    shapes: PodShapes | None = None
    """Its pods, as planned or as pinned; None without a plan, or where what is pinned does not tell."""
    cold_start: tuple[Stage, ...] = ()
    """What a start of one replica is predicted to take, and the copy before it; nothing without a plan."""
    guard: GuardPlan | None = None
    """The guard of a revision that is about to be made; None without one, and when the revision is pinned already."""
    door: Door | None = None
    """How requests reach the revision that the spec asks for, and who may send them; None while its model is not known."""
    problem: Problem | None = None
    """What stands in the way; with a problem nothing new is started, and what serves is kept as it is pinned. A wrong
    manifest comes before a refused license, and that before a lack of hardware."""
    access_check: AccessCheck | None = None
    """Whether the weights may be downloaded; None while something else stands in the way, or hardware is not wanted."""
    copying: Copying | None = None
    """How far the copies of the weights are; None if there are none to be, or while something else stands in the way."""
    erasing: Erasing | None = None
    """How far copies are erased whose license has ended; None if none has."""
    claims: ClaimPlan = field(default_factory=ClaimPlan)
    """What to write about claims with copies."""
    rollout: Rollout | None = None
    upkeep: Upkeep | None = None
    """What is kept while there is no rollout; None if there is one, or if nothing was ever made."""
    stopped: bool = False
    """Suspended, or scaled to zero by hand: no hardware is held."""
    ending: Ending | None = None
    """How revisions go to zero because an acceptance was terminated."""
    given_up: GivenUpStatus | None = None
    """Replicas that found no node in time, and are not asked for now, or were tried again; None for none."""
    handover: Handover | None = None
    """Bounds of a revision that takes over from another; None while none does."""
    next_bounds: float | None = None
    """Seconds until a schedule may have other bounds; None without one."""
    move: Move | None = None
    """Whether what serves is started a second time, because the node of its head is about to be emptied; None if nothing has to move."""
    exposure: Exposure = field(default_factory=Exposure)
    """The way in from outside; the same whatever becomes of revisions."""

    @property
    def copies(self) -> tuple[Copy, ...]:
        """Copies that the revision reads; none if it needs none, or while something stands in the way."""
        return () if self.copying is None else tuple(state.copy for state in self.copying.states)

    def verdict_of(self, revision: str) -> RevisionVerdict | None:
        """Verdict about `revision`; None if it was not judged."""
        return next((judged for judged in self.verdicts if judged.revision == revision), None)

    def may_start(self, revision: str) -> bool:
        """Whether `revision` may be started or given more hardware."""
        judged = self.verdict_of(revision)
        # Pods of a revision whose copies are not there would wait for them, with their hardware.
        lacks = revision == self.revision.name and self.copying is not None and not self.copying.passed
        return judged is not None and judged.verdict.allowed and not lacks

    def house_limits(self, revision: str) -> HouseLimits | None:
        """What house policy allows each tenant of `revision`; None if it says nothing."""
        judged = self.verdict_of(revision)
        return None if judged is None else judged.verdict.duties.house_limits

    @property
    def traffic(self) -> str | None:
        """Revision that the Service shall select; None while there is no Service."""
        if self.rollout is not None:
            return self.rollout.traffic
        return None if self.upkeep is None else self.upkeep.traffic

    @property
    def chosen(self) -> ChosenPlan | None:
        """The sharding that is used; None when none fits."""
        return None if self.plan_status is None else self.plan_status.chosen


def decide(observed: Observed, catalog: Catalog) -> Decision:
    """Decide what shall be for the deployment in `observed`."""
    decision = _judged(_decide(observed, catalog), observed, catalog)
    decision = replace(
        decision,
        ending=ending(observed, decision.verdicts),
        exposure=exposure(observed, understood=True),
        cold_start=predicted(observed, catalog, decision.model, decision.chosen, decision.copies),
        next_bounds=seconds_to_next(observed.deployment.spec.scaling, observed.now),
    )
    decision = _with_handover(_with_rollout(decision, observed), observed)
    return _with_move(_with_claims(_with_given_up(decision, observed), observed), observed)


def _with_handover(decision: Decision, observed: Observed) -> Decision:
    if decision.rollout is None:
        return decision
    return replace(decision, handover=handover(observed, decision.rollout, decision.cold_start))


def _with_move(decision: Decision, observed: Observed) -> Decision:
    rollout = decision.rollout
    if rollout is None or decision.stopped or not decision.may_start(rollout.wanted):
        return decision
    guard = None if decision.plan_status is None else decision.plan_status.guard
    found = move(observed, rollout, decision.chosen, decision.shapes, _guard_gpus(observed, guard))
    return replace(decision, move=found)


def _with_given_up(decision: Decision, observed: Observed) -> Decision:
    traffic = decision.traffic
    pinned_facts = None if traffic is None else observed.pinned(traffic)
    chosen = None if pinned_facts is None else pinned_facts.plan.chosen
    return replace(decision, given_up=given_up(observed, traffic, chosen, decision.cold_start))


def _with_claims(decision: Decision, observed: Observed) -> Decision:
    rollout = decision.rollout
    settled = None
    if rollout is not None and rollout.complete and not decision.stopped:
        settled = (rollout.wanted, rollout.target)
    erased = erasing(observed, decision.ending, decision.revision.name, decision.copying)
    decision = replace(decision, erasing=erased)
    refused = decision.license is not None and not decision.license.allowed
    known = rollout is not None or decision.copying is not None or refused
    return replace(decision, claims=plan_claims(observed, decision.copying, decision.erasing, settled, known=known))


def decide_ends(observed: Observed, catalog: Catalog, problem: Problem) -> Decision:
    """Decide what a spec that cannot be read leaves to decide: what is kept, and the ends of licenses of what runs.

    Args:
        observed: What is known; its spec has the fields that can be read, and the others as they were pinned.
        catalog: The built-in catalog.
        problem: What is wrong with the spec.
    """
    verdicts = judge_others(observed, catalog, "")
    decision = Decision(
        Revision("", {}),
        verdicts=verdicts,
        problem=problem,
        ending=ending(observed, verdicts),
        exposure=exposure(observed, understood=False),
    )
    decision = replace(decision, erasing=erasing(observed, decision.ending))
    return _kept(decision, observed)


def _judged(decision: Decision, observed: Observed, catalog: Catalog) -> Decision:
    """Add the verdicts about revisions: an unknown or broken spec changes nothing of what is known about what runs."""
    others = judge_others(observed, catalog, decision.revision.name)
    verdict = decision.license
    if verdict is None:
        return replace(decision, verdicts=(*judge_others(observed, catalog, ""),))
    judged = judge_wanted(observed, catalog, decision.revision.name, verdict)
    return replace(decision, verdicts=(judged, *others))


def _decide(observed: Observed, catalog: Catalog) -> Decision:
    """Decide as far as the wanted revision is concerned."""
    spec = observed.deployment.spec
    revision = revision_of(observed.deployment, observed.revisions)
    unread = None if _stopped(observed) else unread_revision(observed, revision.name)
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
    return _with_copies(_with_access_check(decision, observed, variant), observed, variant)


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
        observed, catalog, model, variant, gpus, door=door, guard_gpus=_guard_gpus(observed, record.plan.guard)
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
        or _beyond_max_gpus(observed, chosen, _guard_gpus(observed, record.plan.guard)),
        access_check=pinned(observed, record, None if variant is None else downloaded(observed.deployment, variant)),
    )
    if decision.problem is not None or _idle(observed):
        return decision
    return _copied(decision, observed, record.copies)


def _guard_gpus(observed: Observed, guard: ChosenPlan | None) -> int:
    spec = observed.deployment.spec.guard
    if guard is None or guard.placement is GuardPlacement.SHARED:
        return 0
    return gpus_of(guard.gpus_per_replica, guard.accelerator) * (1 if spec is None else spec.replicas)


def _beyond_max_gpus(observed: Observed, chosen: ChosenPlan | None, beside: int) -> Problem | None:
    """The bounds are live, the plan is pinned: together they may ask for more than the user allows."""
    spec = observed.deployment.spec
    limit, most = spec.hardware.max_gpus, most_replicas(spec)
    if limit is None or chosen is None or chosen.gpus_per_replica * most + beside <= limit:
        return None
    each = chosen.gpus_per_replica
    if beside:
        return Problem(
            ConditionType.PLANNED,
            Reason.MAX_GPUS_EXCEEDED,
            f"{most} × {each} GPUs of the running plan and {beside} of its guard exceed maxGPUs {limit}; raise it to "
            f"{each * most + beside}, or lower the replicas",
            "spec.hardware.maxGPUs",
        )
    return Problem(
        ConditionType.PLANNED,
        Reason.MAX_GPUS_EXCEEDED,
        f"{most} × {each} GPUs of the running plan exceed maxGPUs {limit}; raise it to {each * most}, or lower the replicas",
        "spec.hardware.maxGPUs",
    )


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
    if verdict.allowed or _idle(observed):
        # No license keeps a user from freeing the hardware.
        return verdict, None
    return verdict, Problem(ConditionType.LICENSE_ACCEPTED, verdict.reason, verdict.message, "spec.license")


def _door(observed: Observed, verdict: LicenseVerdict) -> Door:
    return door_of_spec(observed.deployment, required=verdict.duties.keys == "Required")


def _first(plan_problem: Problem | None, refused: Problem | None) -> Problem | None:
    if plan_problem is not None and plan_problem.invalid:
        return plan_problem
    return refused or plan_problem


def _with_access_check(decision: Decision, observed: Observed, variant: Variant | None) -> Decision:
    """Ask for access to the weights of a revision that is about to be made."""
    if decision.problem is not None or decision.model is None or variant is None or _idle(observed):
        return decision
    variants = (
        downloaded(observed.deployment, variant),
        *(() if decision.guard is None else (decision.guard.best.variant,)),
    )
    adapters = tuple(filter(None, map(repository_of, observed.deployment.spec.adapters)))
    known = known_without_asking(observed.deployment, variants, adapters)
    there = already_there(observed, known, decision.revision.name)
    found = check_access_to_all(observed, decision.revision.name, variants, adapters, there)
    return replace(decision, access_check=found, problem=found.problem)


def _with_copies(decision: Decision, observed: Observed, variant: Variant | None) -> Decision:
    """Ask for copies of the weights of a revision that is about to be made, once they may be downloaded."""
    access, chosen = decision.access_check, decision.chosen
    if access is None or not access.passed or variant is None or chosen is None or decision.problem is not None:
        return decision
    revision = decision.revision.name
    wanted = [Wanted(Role.MODEL, variant, seen_commit(observed, revision, variant))]
    nodes = chosen.nodes_per_replica
    if decision.guard is not None:
        own = decision.guard.best.variant
        wanted.append(Wanted(Role.GUARD, own, seen_commit(observed, revision, own)))
        nodes = max(nodes, decision.guard.chosen.nodes_per_replica)
    adapters = filter(None, map(repository_of, observed.deployment.spec.adapters))
    copies = needed(observed.deployment, wanted, adapters, nodes, observed.platform)
    if isinstance(copies, Problem):
        return replace(decision, problem=copies)
    return _copied(decision, observed, copies)


def _copied(decision: Decision, observed: Observed, copies: tuple[Copy, ...]) -> Decision:
    copying = check_copies(observed, copies, decision.revision.name)
    runs = any(one.name == decision.revision.name for one in observed.ray_services)
    # What runs has read its weights already.
    return replace(decision, copying=copying, problem=None if copying is None or runs else copying.problem)


def _stopped(observed: Observed) -> bool:
    spec = observed.deployment.spec
    return spec.activation is not Activation.ACTIVE or wanted_replicas(spec) == 0


def _idle(observed: Observed) -> bool:
    """Whether nothing is to be asked or copied: no hardware is wanted, and no copy ahead of it."""
    ahead = observed.deployment.spec.activation is Activation.PREFETCH and caches(observed.deployment)
    return _stopped(observed) and not ahead


def _with_rollout(decision: Decision, observed: Observed) -> Decision:
    wanted = decision.revision.name
    access, copying = decision.access_check, decision.copying
    # What runs has read its weights: a copy that is lost is made again beside it.
    waits = copying is not None and not copying.passed and all(one.name != wanted for one in observed.ray_services)
    if waits or decision.problem is not None or (access is not None and not access.passed):
        return _kept(decision, observed)
    guard = None if decision.plan_status is None else decision.plan_status.guard
    strategy = choose_strategy(
        observed, wanted, decision.chosen, observed.pinned(wanted), decision.shapes, _guard_gpus(observed, guard)
    )
    return replace(
        decision,
        rollout=roll_out(wanted, observed, strategy, _barred(decision)),
        stopped=_stopped(observed),
    )


def _kept(decision: Decision, observed: Observed) -> Decision:
    """Without a rollout what serves is kept; but a person who wants no hardware held gets it freed in any case."""
    going = observed.deployment.metadata.deletion_timestamp is not None
    upkeep = keep_up(observed, _barred(decision))
    return replace(decision, upkeep=upkeep, stopped=_stopped(observed) and not going)


def _barred(decision: Decision) -> Barred:
    ended = frozenset(decision.ending.revisions) if decision.ending else frozenset()
    return Barred(
        ended=ended,
        draining=frozenset(decision.ending.drain) if decision.ending else frozenset(),
        refused=frozenset(
            judged.revision
            for judged in decision.verdicts
            if not judged.verdict.allowed and judged.revision not in ended
        ),
    )
