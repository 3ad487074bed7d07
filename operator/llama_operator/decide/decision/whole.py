"""All that shall be: what the wanted revision needs, and what becomes of those that run. Called by the reconcile and `kubectl llama plan`."""

from dataclasses import replace

from llama_operator.catalog import Catalog
from llama_operator.decide.decision.decided import Decision
from llama_operator.decide.decision.hardware import gpus_of_guard, stopped
from llama_operator.decide.decision.wanted import decide_wanted
from llama_operator.decide.exposure import exposure
from llama_operator.decide.license.running import judge_others, judge_wanted
from llama_operator.decide.observed import Observed
from llama_operator.decide.problem import Problem
from llama_operator.decide.rollout.ending import ending
from llama_operator.decide.rollout.handover import handover
from llama_operator.decide.rollout.move import move
from llama_operator.decide.rollout.revision import Revision
from llama_operator.decide.rollout.rollout import Barred, roll_out
from llama_operator.decide.rollout.strategy import choose_strategy
from llama_operator.decide.rollout.upkeep import keep_up
from llama_operator.decide.scaling.schedule import seconds_to_next
from llama_operator.decide.starts.claim import given_up
from llama_operator.decide.starts.measured import predicted
from llama_operator.decide.weights.claims import plan_claims
from llama_operator.decide.weights.erasing import erasing


def decide(observed: Observed, catalog: Catalog) -> Decision:
    """Decide what shall be for the deployment in `observed`."""
    decision = _judged(decide_wanted(observed, catalog), observed, catalog)
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
    found = move(observed, rollout, decision.chosen, decision.shapes, gpus_of_guard(observed, guard))
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


def _with_rollout(decision: Decision, observed: Observed) -> Decision:
    wanted = decision.revision.name
    access, copying = decision.access_check, decision.copying
    # What runs has read its weights: a copy that is lost is made again beside it.
    waits = copying is not None and not copying.passed and all(one.name != wanted for one in observed.ray_services)
    if waits or decision.problem is not None or (access is not None and not access.passed):
        return _kept(decision, observed)
    guard = None if decision.plan_status is None else decision.plan_status.guard
    strategy = choose_strategy(
        observed, wanted, decision.chosen, observed.pinned(wanted), decision.shapes, gpus_of_guard(observed, guard)
    )
    return replace(
        decision,
        rollout=roll_out(wanted, observed, strategy, _barred(decision)),
        stopped=stopped(observed),
    )


def _kept(decision: Decision, observed: Observed) -> Decision:
    """Without a rollout what serves is kept; but a person who wants no hardware held gets it freed in any case."""
    going = observed.deployment.metadata.deletion_timestamp is not None
    upkeep = keep_up(observed, _barred(decision))
    return replace(decision, upkeep=upkeep, stopped=stopped(observed) and not going)


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
