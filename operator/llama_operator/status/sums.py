"""Ready, Reconciling and Stalled: what follows from the other conditions. Called by `status.conditions`.

Ready is for the one who is paged: True while the revision with the traffic answers, whatever is rolled out beside it and
whatever is wrong with the spec; False only when something is wrong; Unknown while nothing is, and nothing answers: before the
first answer, while it is suspended, and while Recreate replaces a revision. Where replicas are wanted and none runs, it is False. Reconciling and Stalled are for tools that wait for a change to be done (kstatus): neither is
True only when nothing is left to do, and at most one of them is. So such a tool ends well when the deployment is Ready and
UpToDate, and ends badly when a person has to change something or the progress deadline has passed.
"""

from collections.abc import Iterator

from llama_operator.api.meta import ConditionStatus
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.llamadeployment import RolloutStrategy
from llama_operator.decide.decision import Decision
from llama_operator.decide.diagnosis.cause import Cause
from llama_operator.decide.observed import Observed
from llama_operator.decide.problem import Problem
from llama_operator.status import replicas
from llama_operator.status.endpoint import Endpoint, nearest, told, why_down
from llama_operator.status.failure import Failure
from llama_operator.status.finding import Finding

_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN

_TOLD_ONLY = frozenset(
    {
        ConditionType.CAPACITY_FOUND,
        ConditionType.PLAN_ACCURATE,
        ConditionType.OBJECTS_KEPT,
        ConditionType.EXPOSED,
        ConditionType.GUARD_READY,
    }
)
"""Conditions that Ready does not depend on: neither missing or unknown nodes nor a wrong plan make a serving model unready,
nor does somebody who changes what is set right again, nor a way in that is closed: clients inside are served. What a guard that is down means for requests, the spec says."""

_STARTS = frozenset({ConditionType.MODEL_LOADED, ConditionType.ENDPOINT_READY})
"""Conditions that are False while a revision starts: what is known to keep it from it says more."""

_BEGINS = frozenset(
    {
        Reason.STARTING,
        Reason.NO_ENDPOINT,
        Reason.WAITING,
        Reason.ACCESS_CHECKING,
        Reason.COPYING,
        Reason.COPY_NOT_LOOKED_AT,
    }
)
"""Reasons of a start that goes as it should."""

SUMS = frozenset({ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED})
"""Conditions that follow from the others."""


def sums(
    parts: tuple[Finding, ...], endpoint: Endpoint, observed: Observed, decision: Decision, failure: Failure | None
) -> Iterator[Finding]:
    """Ready, Reconciling and Stalled.

    Args:
        parts: The other conditions, in order.
        endpoint: What is behind the Service.
        observed: What this pass knows.
        decision: What it decided.
        failure: Why the pass failed, or None.
    """
    ready = _ready(parts, endpoint, observed, decision, failure)
    yield ready
    if failure is not None:
        yield from _of_failure(failure)
        return
    if decision.problem is not None:
        yield from _of_problem(decision.problem)
        return
    if decision.stopped:
        ahead = _copied_ahead(parts, decision)
        yield from _at_rest() if ahead is None else _at_work(Reason.PROGRESSING, ahead.message)
        return
    yield from _of_rollout(ready, _part(parts, ConditionType.UP_TO_DATE), decision)


def _copied_ahead(parts: tuple[Finding, ...], decision: Decision) -> Finding | None:
    """What a copy waits for that is made ahead of its deployment; None if there is none, or if it is there."""
    access, copying = decision.access_check, decision.copying
    waits = (access is not None and not access.passed) or (copying is not None and not copying.passed)
    kinds = (ConditionType.WEIGHTS_ACCESSIBLE, ConditionType.WEIGHTS_COPIED)
    asked = (part for part in parts if part.type in kinds and part.status is not _TRUE)
    return next(asked, None) if waits else None


def of_unread(endpoint: Endpoint, problem: Problem, decision: Decision | None) -> Iterator[Finding]:
    """Ready, Reconciling and Stalled of a spec that cannot be read; `problem` says why, `endpoint` what serves anyhow."""
    outage = None if decision is None else _outage(endpoint, decision)
    yield _serving(endpoint) or outage or _not_ready(problem)
    yield from _of_problem(problem)


def of_failure(failure: Failure) -> Iterator[Finding]:
    """Ready, Reconciling and Stalled after a pass that found out nothing."""
    yield Finding(ConditionType.READY, _UNKNOWN, failure.reason, failure.text)
    yield from _of_failure(failure)


def _of_failure(failure: Failure) -> Iterator[Finding]:
    if failure.refused:
        yield from _stuck(failure.reason, failure.text)
    else:
        yield from _at_work(Reason.PROGRESSING, failure.text)


def _of_problem(problem: Problem) -> Iterator[Finding]:
    if problem.unclear:
        # A newer version may understand it: nothing is known to be wrong, but the change is not done either.
        yield from _at_work(Reason.NOT_UNDERSTOOD, problem.text)
    else:
        yield from _stuck(problem.reason, problem.text)


def _of_rollout(ready: Finding, current: Finding, decision: Decision) -> Iterator[Finding]:
    rollout = decision.rollout
    if rollout is not None and (rollout.given_up is not None or rollout.overdue):
        yield from _stuck(Reason.PROGRESS_DEADLINE_EXCEEDED, current.message)
    elif ready.status is not _TRUE:
        yield from _at_work(Reason.PROGRESSING, ready.message)
    elif current.status is not _TRUE:
        yield from _at_work(Reason.PROGRESSING, current.message)
    else:
        yield from _at_rest()


def _at_work(reason: Reason, text: str) -> Iterator[Finding]:
    yield Finding(ConditionType.RECONCILING, _TRUE, reason, text)
    yield Finding(ConditionType.STALLED, _FALSE, reason)


def _stuck(reason: Reason, text: str) -> Iterator[Finding]:
    yield Finding(ConditionType.RECONCILING, _FALSE, reason)
    yield Finding(ConditionType.STALLED, _TRUE, reason, text)


def _at_rest() -> Iterator[Finding]:
    yield Finding(ConditionType.RECONCILING, _FALSE, Reason.SETTLED)
    yield Finding(ConditionType.STALLED, _FALSE, Reason.SETTLED)


def _ready(
    parts: tuple[Finding, ...], endpoint: Endpoint, observed: Observed, decision: Decision, failure: Failure | None
) -> Finding:
    kind = ConditionType.READY
    if failure is not None and not (failure.refused and endpoint.answers):
        status = _FALSE if failure.refused else _UNKNOWN
        return Finding(kind, status, failure.reason, failure.text)
    if decision.stopped:
        if decision.problem is not None:
            return _not_ready(decision.problem)
        return Finding(kind, _UNKNOWN, Reason.SUSPENDED, "no hardware is held")
    if endpoint.answers and (old := replicas.too_old(observed, endpoint.revision or "")) is not None:
        return Finding(kind, _FALSE, Reason.ENGINE_TOO_OLD, old)
    serving = _serving(endpoint, parts)
    if serving is not None:
        return serving
    capacity = _part(parts, ConditionType.CAPACITY_FOUND)
    if capacity.reason is Reason.QUEUED:
        return Finding(kind, _UNKNOWN if endpoint.down_since is None else _FALSE, capacity.reason, capacity.message)
    return (
        _replacement(parts, endpoint, decision)
        or _outage(endpoint, decision)
        or _starting(parts, nearest(observed, decision.revision.name), endpoint, decision)
    )


def _serving(endpoint: Endpoint, parts: tuple[Finding, ...] = ()) -> Finding | None:
    """Ready while the revision with the traffic answers; None if it does not."""
    kind = ConditionType.READY
    if not endpoint.answers:
        return None
    if endpoint.zero:
        text = "no replica runs; the next request starts one and waits for it"
        missing = _part(parts, ConditionType.CAPACITY_FOUND) if parts else None
        lacks = missing is not None and missing.status is _FALSE
        return Finding(kind, _TRUE, Reason.SCALED_TO_ZERO, f"{text}: {missing.message}" if missing and lacks else text)
    if endpoint.degraded:
        return Finding(kind, _TRUE, Reason.DEGRADED, f"the endpoint answers, {endpoint.degraded}")
    if parts and _part(parts, ConditionType.UP_TO_DATE).status is _TRUE:
        return Finding(kind, _TRUE, Reason.SERVING, "the endpoint answers with the model asked for")
    text = f"the endpoint answers with revision {endpoint.revision}; UpToDate says what becomes of the spec"
    return Finding(kind, _TRUE, Reason.SERVING, text)


def _outage(endpoint: Endpoint, decision: Decision) -> Finding | None:
    """Ready while the endpoint is down; None if it never answered."""
    if endpoint.down_since is None:
        return None
    reason, text = why_down(endpoint, decision)
    return Finding(ConditionType.READY, _FALSE, reason, f"{endpoint.served_until}: {text}")


def _replacement(parts: tuple[Finding, ...], endpoint: Endpoint, decision: Decision) -> Finding | None:
    """Ready while the old revision has ended before the new one starts, as Recreate does; None in an outage."""
    rollout, current = decision.rollout, _part(parts, ConditionType.UP_TO_DATE)
    if rollout is None or rollout.strategy.kind is not RolloutStrategy.RECREATE or endpoint.down_since is None:
        return None
    if current.reason is not Reason.ROLLING_OUT or endpoint.cause is not None:
        return None
    return Finding(ConditionType.READY, _UNKNOWN, current.reason, f"{endpoint.served_until}: {current.message}")


def _starting(parts: tuple[Finding, ...], cause: Cause | None, endpoint: Endpoint, decision: Decision) -> Finding:
    """Ready before the first answer, or of replicas that are wanted while none runs: what is nearest to the cause."""
    if decision.problem is not None:
        return _not_ready(decision.problem)
    needed = (part for part in parts if part.type not in _TOLD_ONLY)
    lacking = next(part for part in needed if part.status is not _TRUE)
    if lacking.type not in _STARTS:
        status = _UNKNOWN if lacking.reason in _BEGINS else _FALSE
        return Finding(ConditionType.READY, status, lacking.reason, lacking.message)
    if cause is not None:
        return Finding(ConditionType.READY, _FALSE, cause.reason, told(cause))
    late = decision.rollout is not None and decision.rollout.overdue
    begins = lacking.reason in _BEGINS and endpoint.cold is None and not late
    return Finding(ConditionType.READY, _UNKNOWN if begins else _FALSE, lacking.reason, lacking.message)


def _not_ready(problem: Problem) -> Finding:
    status = _UNKNOWN if problem.unclear else _FALSE
    return Finding(ConditionType.READY, status, problem.reason, problem.text)


def _part(parts: tuple[Finding, ...], kind: ConditionType) -> Finding:
    return next(part for part in parts if part.type is kind)
