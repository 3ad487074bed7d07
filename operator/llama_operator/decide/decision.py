"""From what is observed to what shall be: resolve the model, judge its license, plan, roll out.

`decide` is called by the reconcile and by `kubectl llama plan`; it never fails for what a user wrote: a problem is part
of the decision, and a decision with a problem leaves alone what already runs.
"""

from dataclasses import dataclass, replace

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.llamadeployment import Activation
from llama_operator.api.v1alpha1.llamadeployment_status import ChosenPlan, PlanStatus
from llama_operator.catalog import Catalog
from llama_operator.catalog.models import Model, Variant
from llama_operator.decide.access_check import Preflight, check_access, pinned
from llama_operator.decide.bounds import most_replicas, wanted_replicas
from llama_operator.decide.find_model import find_model
from llama_operator.decide.license import LicenseVerdict, judge
from llama_operator.decide.license.gather import license_input
from llama_operator.decide.observed import Observed, RevisionFacts
from llama_operator.decide.plan.candidate import Plan
from llama_operator.decide.plan.request import find_plan, nothing_fits
from llama_operator.decide.plan.status import plan_status
from llama_operator.decide.problem import Problem
from llama_operator.decide.rollout.ending import Ending, ending
from llama_operator.decide.rollout.revision import Revision, revision_of
from llama_operator.decide.rollout.rollout import Rollout, roll_out
from llama_operator.decide.rollout.strategy import choose_strategy

_CPU = "CPU"
"""Name of the accelerator that is none."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What shall be. Later parts are None when an earlier one has a problem."""

    revision: Revision
    """Revision that the spec asks for."""
    model: Model | None = None
    license: LicenseVerdict | None = None
    plan: Plan | None = None
    """The search for a plan; None when the revision is pinned already, so that nothing was searched."""
    plan_status: PlanStatus | None = None
    """The plan as found or as pinned."""
    problem: Problem | None = None
    """What stands in the way; with a problem, nothing is started, changed or removed. A wrong manifest comes before a
    refused license, and that before a lack of hardware."""
    preflight: Preflight | None = None
    """Whether the weights may be downloaded; None while something else stands in the way, or hardware is not wanted."""
    rollout: Rollout | None = None
    stopped: bool = False
    """Suspended, or scaled to zero by hand: no hardware is held."""
    ending: Ending | None = None
    """How it goes to zero because an acceptance was terminated; with one there is a problem too."""

    @property
    def chosen(self) -> ChosenPlan | None:
        """The sharding that is used; None when none fits."""
        return None if self.plan_status is None else self.plan_status.chosen


def decide(observed: Observed, catalog: Catalog) -> Decision:
    """Decide what shall be for the deployment in `observed`."""
    return _with_ending(_decide(observed, catalog), observed)


def _decide(observed: Observed, catalog: Catalog) -> Decision:
    spec = observed.deployment.spec
    revision = revision_of(observed.deployment)
    model = find_model(spec.model.name, observed.models, catalog)
    if isinstance(model, Problem):
        return Decision(revision, problem=model)
    record = observed.record(revision.name)
    if record is not None:
        return _as_pinned(observed, catalog, model, revision, record)
    found = find_plan(observed, model, catalog)
    variant = None if isinstance(found, Problem) or found[1].chosen is None else found[1].chosen.variant
    gpus = None
    if not isinstance(found, Problem) and (best := found[1].chosen) is not None:
        gpus = _gpus(best.sharding.ranks, best.accelerator.name)
    verdict, refused = _license(observed, catalog, model, variant, gpus)
    if isinstance(found, Problem):
        return Decision(revision, model, verdict, problem=_first(found, refused))
    request, result = found
    decision = Decision(
        revision,
        model,
        verdict,
        result,
        plan_status(model, result, max_model_length=request.max_model_length),
        _first(nothing_fits(request, result) if result.chosen is None else None, refused),
    )
    return _with_rollout(_with_preflight(decision, observed, variant), observed, None)


def _as_pinned(
    observed: Observed, catalog: Catalog, model: Model, revision: Revision, record: RevisionFacts
) -> Decision:
    """Decide with the plan that was pinned when the revision was made; nothing is planned again."""
    chosen = record.plan.chosen
    repository = chosen.repository if chosen else ""
    variant = next((found for found in model.variants if (found.repository or "") == repository), None)
    verdict, refused = _license(
        observed, catalog, model, variant, _gpus(chosen.gpus_per_replica, chosen.accelerator) if chosen else None
    )
    decision = Decision(
        revision,
        model,
        verdict,
        plan_status=record.plan,
        problem=refused or _beyond_max_gpus(observed, chosen),
        preflight=pinned(record, variant),
    )
    return _with_rollout(decision, observed, record)


def _beyond_max_gpus(observed: Observed, chosen: ChosenPlan | None) -> Problem | None:
    """The bounds are live, the plan is pinned: together they may ask for more than the user allows."""
    spec = observed.deployment.spec
    limit, most = spec.hardware.max_gpus, most_replicas(spec)
    if limit is None or chosen is None or chosen.gpus_per_replica * most <= limit:
        return None
    each = chosen.gpus_per_replica
    return Problem(
        ConditionType.PLANNED,
        Reason.MAX_GPUS_EXCEEDED,
        f"{most} × {each} GPUs of the running plan exceed maxGPUs {limit}; raise it to {each * most}, or lower the replicas",
        "spec.hardware.maxGPUs",
    )


def _gpus(ranks: int, accelerator: str) -> int:
    return 0 if accelerator == _CPU else ranks


def _license(
    observed: Observed, catalog: Catalog, model: Model, variant: Variant | None, gpus_per_replica: int | None = None
) -> tuple[LicenseVerdict, Problem | None]:
    verdict = judge(license_input(observed, catalog, model.id, variant, gpus_per_replica))
    if verdict.allowed or _stopped(observed):
        # Nobody is kept from freeing the hardware.
        return verdict, None
    return verdict, Problem(ConditionType.LICENSE_ACCEPTED, verdict.reason, verdict.message, "spec.license")


def _first(plan_problem: Problem | None, refused: Problem | None) -> Problem | None:
    if plan_problem is not None and plan_problem.invalid:
        return plan_problem
    return refused or plan_problem


def _with_preflight(decision: Decision, observed: Observed, variant: Variant | None) -> Decision:
    """Ask for access to the weights of a revision that is about to be made."""
    if decision.problem is not None or decision.model is None or variant is None or _stopped(observed):
        return decision
    found = check_access(observed, decision.revision.name, variant)
    return replace(decision, preflight=found, problem=found.problem)


def _stopped(observed: Observed) -> bool:
    spec = observed.deployment.spec
    return spec.activation is Activation.SUSPENDED or wanted_replicas(spec) == 0


def _with_rollout(decision: Decision, observed: Observed, record: RevisionFacts | None) -> Decision:
    if decision.problem is not None or (decision.preflight is not None and not decision.preflight.passed):
        return decision
    wanted = decision.revision.name
    strategy = choose_strategy(observed, wanted, decision.chosen, record)
    return replace(
        decision,
        rollout=roll_out(wanted, observed, strategy),
        stopped=_stopped(observed),
    )


def _with_ending(decision: Decision, observed: Observed) -> Decision:
    """A license that has ended stops what runs; whatever else is refused does not."""
    if decision.problem is None:
        return decision
    return replace(decision, ending=ending(observed, decision.license))
