"""Events that follow from how conditions changed. Called by `whole`, and by the reconcile for a pass that failed."""

from collections.abc import Iterator

from llama_operator.api.meta import Condition, ConditionStatus
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.said import CUT
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus
from llama_operator.decide.decision import Decision
from llama_operator.status.events.facts import CAUSES, EventFacts, EventReason, event
from llama_operator.status.failure import means_the_same
from llama_operator.status.sums import SUMS


def changes(
    before: LlamaDeploymentStatus, after: LlamaDeploymentStatus, decision: Decision | None = None
) -> tuple[EventFacts, ...]:
    """Events that follow from how the conditions changed.

    Args:
        before: The status that the pass before wrote.
        after: The status that this pass writes.
        decision: What it decided; None if it failed before.
    """
    told = (*_answers(before, after), *_waits(before, after, decision), *_stopped(before, after))
    causes = (cause for cause in _causes(before, after) if not any(_repeats(one, cause) for one in told))
    return (*told, *causes)


def _repeats(one: EventFacts, cause: EventFacts) -> bool:
    """Whether an event has the words of a cause; of those that were shortened it has the same end."""
    if cause.note in one.note:
        return True
    ends = one.note.rpartition(CUT)[2], cause.note.rpartition(CUT)[2]
    return CUT in one.note and (ends[0].endswith(ends[1]) or ends[1].endswith(ends[0]))


def _answers(before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> Iterator[EventFacts]:
    if is_true(after, ConditionType.READY) and not is_true(before, ConditionType.READY):
        yield event("Normal", EventReason.READY, "Serve", f"{after.url} serves")
    was, now = (condition_of(status, ConditionType.ENDPOINT_READY) for status in (before, after))
    if now is not None and now.reason == Reason.DEGRADED and (was is None or was.reason != now.reason):
        yield event("Warning", Reason.DEGRADED, "Serve", now.message)


def _waits(
    before: LlamaDeploymentStatus, after: LlamaDeploymentStatus, decision: Decision | None
) -> Iterator[EventFacts]:
    """A person has to change something, or a deadline passed; not what was told of before."""
    rollout = None if decision is None else decision.rollout
    was, now = (condition_of(status, ConditionType.UP_TO_DATE) for status in (before, after))
    if rollout is not None and rollout.overdue and now is not None and (was is None or was.reason != now.reason):
        yield event("Warning", Reason.PROGRESS_DEADLINE_EXCEEDED, "WaitLonger", now.message)
    was, now = (condition_of(status, ConditionType.STALLED) for status in (before, after))
    if now is None or now.status is not ConditionStatus.TRUE:
        return
    if was is not None and was.status is now.status and means_the_same(now.message, was.message):
        return
    late = rollout is not None and (rollout.overdue or rollout.given_up is not None)
    if now.reason == Reason.WRITE_REFUSED:
        yield event("Warning", Reason.WRITE_REFUSED, "Write", now.message)
    elif not late:
        yield event("Warning", EventReason.BLOCKED, "Wait", f"{now.reason}: {now.message}")


def _stopped(before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> Iterator[EventFacts]:
    """The endpoint answered, and does not any more."""
    now, ready = condition_of(after, ConditionType.ENDPOINT_READY), condition_of(after, ConditionType.READY)
    stalled = is_true(after, ConditionType.STALLED)
    if (
        now is None
        or stalled
        or now.status is ConditionStatus.TRUE
        or not is_true(before, ConditionType.ENDPOINT_READY)
    ):
        return
    nearest = now if ready is None or ready.status is ConditionStatus.TRUE else ready
    # A person asked for it, also by the strategy of a rollout; or the next request after a pause without load starts an engine.
    wanted = after.down_since is None or nearest.reason == Reason.ROLLING_OUT
    note = f"{nearest.reason}: {nearest.message}"
    yield event("Normal" if wanted else "Warning", EventReason.NOT_READY, "Serve", note)


def _causes(before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> Iterator[EventFacts]:
    """Causes that stand in the status now and did not before: each is told once, under its own reason."""
    known = [(one.reason, one.message) for one in before.conditions]
    for condition in after.conditions:
        if condition.type in SUMS or condition.reason not in CAUSES or condition.status is ConditionStatus.TRUE:
            continue
        if any(condition.reason == reason and means_the_same(condition.message, told) for reason, told in known):
            continue
        known.append((condition.reason, condition.message))
        yield event("Warning", Reason(condition.reason), "Diagnose", condition.message)


def condition_of(status: LlamaDeploymentStatus, kind: ConditionType) -> Condition | None:
    """Return a condition; None if the status has it not."""
    return next((condition for condition in status.conditions if condition.type == kind), None)


def is_true(status: LlamaDeploymentStatus, kind: ConditionType) -> bool:
    """Whether a condition is True."""
    condition = condition_of(status, kind)
    return condition is not None and condition.status is ConditionStatus.TRUE
