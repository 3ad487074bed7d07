"""The conditions of a LlamaDeployment in their order, and those about its spec. Called by `status.summary` and `plan`.

What is about the nodes, the revision, the endpoint and all of them together has modules of its own: `capacity`, `revision`,
`endpoint` and `sums`.
"""

from collections.abc import Iterator
from enum import StrEnum

from llama_operator.api.meta import ConditionStatus
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.catalog.models import Model
from llama_operator.decide.decision import Decision
from llama_operator.decide.license.running import RevisionVerdict
from llama_operator.decide.observed import Observed
from llama_operator.decide.plan.status import label
from llama_operator.decide.problem import Problem
from llama_operator.status import plan_check, sums
from llama_operator.status.adapters import adapters_ready
from llama_operator.status.capacity import capacity_found
from llama_operator.status.endpoint import Endpoint, condition_of, endpoint_ready, look
from llama_operator.status.exposure import exposed
from llama_operator.status.failure import Failure
from llama_operator.status.finding import Finding
from llama_operator.status.revision import guard_ready, model_loaded, up_to_date, waiting
from llama_operator.status.weights.copies import weights_copied

_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN

OPTIONAL = frozenset(
    {
        ConditionType.WEIGHTS_COPIED,
        ConditionType.EXPOSED,
        ConditionType.ADAPTERS_READY,
        ConditionType.GUARD_READY,
    }
)
"""Conditions that are absent where the spec does not ask for what they are about."""


def findings(observed: Observed, decision: Decision, failure: Failure | None) -> tuple[Finding, ...]:
    """All conditions, in order; the last three follow from the others.

    Args:
        observed: What this pass knows.
        decision: What it decided.
        failure: Why the pass failed, or None.
    """
    endpoint = look(observed, decision, written=failure is None)
    parts = tuple(_parts(endpoint, observed, decision))
    told = None if failure is not None and failure.brief else failure
    return (*parts, *sums.sums(parts, endpoint, observed, decision, told))


def unread(problem: Problem, observed: Observed | None, decision: Decision | None) -> tuple[Finding, ...]:
    """All conditions of a spec that cannot be read; of the endpoint the truth.

    Args:
        problem: Why it cannot be read: it breaks a rule, or only a newer version understands it.
        observed: What is known of what runs; None if no revision was ever made.
        decision: What is kept of it, and is not written yet.
    """
    status = _UNKNOWN if problem.unclear else _FALSE
    hold_up = "the spec has to be understood first" if problem.unclear else "the spec has to become valid first"
    endpoint = Endpoint(None)
    said: dict[StrEnum, Finding] = {
        ConditionType.UP_TO_DATE: Finding(ConditionType.UP_TO_DATE, status, problem.reason, problem.text)
    }
    if observed is not None and decision is not None:
        endpoint = look(observed, decision, written=False)
        said[ConditionType.ENDPOINT_READY] = endpoint_ready(endpoint, observed, decision)
    parts = (said.get(found.type, found) for found in _before_a_look(hold_up))
    way_in = None
    if observed is not None and decision is not None:
        way_in = exposed(observed, decision)
        if way_in is None and condition_of(observed.deployment.status, ConditionType.EXPOSED) is not None:
            way_in = Finding(ConditionType.EXPOSED, _UNKNOWN, Reason.WAITING, hold_up)
    return (*parts, *(() if way_in is None else (way_in,)), *sums.of_unread(endpoint, problem, decision))


def failed(failure: Failure) -> tuple[Finding, ...]:
    """What is known after a pass that failed before it had found out anything."""
    return (*_before_a_look("the operator has to look without a failure first"), *sums.of_failure(failure))


def _before_a_look(text: str) -> Iterator[Finding]:
    every = (kind for kind in ConditionType if kind not in sums.SUMS | OPTIONAL)
    return (Finding(kind, _UNKNOWN, Reason.WAITING, text) for kind in every)


def _parts(endpoint: Endpoint, observed: Observed, decision: Decision) -> Iterator[Finding]:
    yield from _of_spec(endpoint, observed, decision)
    yield _objects_kept(observed)
    for optional in (exposed, adapters_ready, guard_ready):
        found = optional(observed, decision)
        if found is not None:
            yield found


def _of_spec(endpoint: Endpoint, observed: Observed, decision: Decision) -> Iterator[Finding]:
    yield _license_accepted(observed, decision)
    yield _model_resolved(decision)
    yield _planned(decision)
    yield _weights_accessible(decision)
    copied = weights_copied(observed, decision)
    if copied is not None:
        yield copied
    if decision.stopped:
        for kind in (
            ConditionType.CAPACITY_FOUND,
            ConditionType.MODEL_LOADED,
            ConditionType.ENDPOINT_READY,
            ConditionType.UP_TO_DATE,
        ):
            yield Finding(kind, _FALSE, Reason.SUSPENDED, "no hardware is held")
        yield Finding(ConditionType.PLAN_ACCURATE, _UNKNOWN, Reason.SUSPENDED, "no engine runs to measure")
        return
    yield capacity_found(observed, decision)
    yield model_loaded(observed, decision)
    yield endpoint_ready(endpoint, observed, decision)
    yield up_to_date(endpoint, observed, decision)
    yield _plan_accurate(observed, decision)


def _license_accepted(observed: Observed, decision: Decision) -> Finding:
    kind, verdict = ConditionType.LICENSE_ACCEPTED, decision.license
    running = _refused_revision(observed, decision)
    if running is not None and (verdict is None or verdict.allowed):
        return Finding(kind, _refused(running.verdict.reason), running.verdict.reason, _of_revision(running))
    if verdict is None:
        return Finding(kind, _UNKNOWN, Reason.WAITING, "the license follows from the model")
    return Finding(kind, _TRUE if verdict.allowed else _refused(verdict.reason), verdict.reason, verdict.message)


def _refused(reason: Reason) -> ConditionStatus:
    """Status of a condition that does not hold: what is not understood may well hold."""
    return _UNKNOWN if reason is Reason.NOT_UNDERSTOOD else _FALSE


def _refused_revision(observed: Observed, decision: Decision) -> RevisionVerdict | None:
    """A revision in the cluster, other than the wanted one, that its license does not allow; first the one with the traffic."""
    here = {service.name for service in observed.ray_services if not service.leaving} - {decision.revision.name}
    traffic = observed.traffic.revision if observed.traffic else ""
    refused = [judged for judged in decision.verdicts if judged.revision in here and not judged.verdict.allowed]
    return min(refused, key=lambda judged: judged.revision != traffic, default=None)


def _of_revision(judged: RevisionVerdict) -> str:
    return f"revision {judged.revision} ({judged.model}): {judged.verdict.message}"


def _model_resolved(decision: Decision) -> Finding:
    kind = ConditionType.MODEL_RESOLVED
    if (broken := _problem_of(decision, kind)) is not None:
        return broken
    if decision.model is None:
        return Finding(kind, _UNKNOWN, Reason.WAITING)
    return Finding(kind, _TRUE, Reason.MODEL_FOUND, _where(decision.model))


def _where(model: Model) -> str:
    return f"{model.id} is an added LlamaModel" if model.added else f"{model.id} is in the catalog"


def _planned(decision: Decision) -> Finding:
    kind = ConditionType.PLANNED
    if (broken := _problem_of(decision, kind)) is not None:
        return broken
    chosen = decision.chosen
    if chosen is None:
        return Finding(kind, _UNKNOWN, Reason.WAITING, "an earlier condition has to become True first")
    return Finding(
        kind,
        _TRUE,
        Reason.PLAN_FOUND,
        f"{label(chosen)}: {chosen.gpus_per_replica} per replica, {chosen.nodes_per_replica} node(s)"
        + (f"; {chosen.warning}" if chosen.warning else ""),
    )


def _weights_accessible(decision: Decision) -> Finding:
    kind, check = ConditionType.WEIGHTS_ACCESSIBLE, decision.access_check
    if check is None:
        # The question comes when nothing else stands in the way, and not before hardware is wanted.
        return Finding(kind, _UNKNOWN, Reason.WAITING, "it is asked before a revision starts")
    if check.reason is Reason.ACCESS_CHECKING:
        return Finding(kind, _UNKNOWN, check.reason, check.message)
    status = _TRUE if check.passed else _FALSE
    return Finding(kind, status, check.reason, check.problem.text if check.problem else check.message)


def _plan_accurate(observed: Observed, decision: Decision) -> Finding:
    kind = ConditionType.PLAN_ACCURATE
    if decision.rollout is None:
        return Finding(kind, _UNKNOWN, *waiting(decision))
    return Finding(kind, *plan_check.judge(plan_check.compare(observed, decision), observed))


def _objects_kept(observed: Observed) -> Finding:
    kind = ConditionType.OBJECTS_KEPT
    refused = observed.refused_object
    if refused is not None:
        return Finding(
            kind, _FALSE, Reason.WRITE_REFUSED, f"{refused.why}; all else goes on, and it is tried again in every pass"
        )
    if not observed.contested:
        return Finding(kind, _TRUE, Reason.KEPT, "nobody keeps changing what the operator made")
    done = "; ".join(one.words for one in observed.contested)
    return Finding(
        kind,
        _FALSE,
        Reason.CHANGED_BY_OTHERS,
        f"{done}, again and again: it is set right at most once a minute. Stop what does so, or leave these fields to the "
        "LlamaDeployment; the audit log of the API server says who it is",
    )


def _problem_of(decision: Decision, kind: ConditionType) -> Finding | None:
    problem = decision.problem
    if problem is None or problem.condition is not kind:
        return None
    return Finding(kind, _refused(problem.reason), problem.reason, problem.text)
