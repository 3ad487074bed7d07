"""All events of a pass that went to its end. Called by the reconcile."""

from collections.abc import Iterator
from typing import Literal

from llama_operator.api.meta import ConditionStatus
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus
from llama_operator.decide.decision import Decision
from llama_operator.decide.observed import Observed
from llama_operator.status.events.changes import changes, condition_of
from llama_operator.status.events.deeds import Done, deeds
from llama_operator.status.events.facts import EventFacts, EventReason, event


def events(
    observed: Observed,
    decision: Decision,
    before: LlamaDeploymentStatus | None,
    after: LlamaDeploymentStatus,
    done: Done,
) -> tuple[EventFacts, ...]:
    """Events of one pass, in the order in which things happened.

    Args:
        observed: What the pass knew.
        decision: What it decided.
        before: The status that the pass before wrote; None if there was none.
        after: The status that this pass writes.
        done: What it did: all that was decided, unless it failed.
    """
    happened = [*deeds(observed, decision, done)]
    previous = before or LlamaDeploymentStatus()
    happened += _access_events(previous, after)
    happened += _copy_events(previous, after)
    happened += changes(previous, after, decision)
    happened += _scaling_events(previous, after)
    happened += _plan_events(previous, after)
    happened += _contest_events(previous, after)
    happened += _leaving_events(previous, after)
    happened += _access_advice(previous, after)
    happened += _exposure_events(previous, after)
    return tuple(happened)


def _access_events(before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> Iterator[EventFacts]:
    was, now = (condition_of(status, ConditionType.WEIGHTS_ACCESSIBLE) for status in (before, after))
    if now is None or (was is not None and was.reason == now.reason):
        return
    if now.reason == Reason.ACCESSIBLE:
        yield event("Normal", EventReason.WEIGHTS_ACCESSIBLE, "CheckAccess", now.message)
    elif now.status is ConditionStatus.FALSE:
        note = f"{now.reason}: {now.message}"
        yield event("Warning", EventReason.WEIGHTS_NOT_ACCESSIBLE, "CheckAccess", note)


def _copy_events(before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> Iterator[EventFacts]:
    known = {(one.id, one.state) for one in before.weights or ()}
    for entry in after.weights or ():
        if (entry.id, entry.state) in known:
            continue
        if entry.state == Reason.ERASED:
            yield event("Normal", EventReason.WEIGHTS_ERASED, "EraseWeights", entry.message)
        elif entry.state in {Reason.ERASE_FAILED, Reason.COPY_SHARED, Reason.CLAIM_GONE}:
            yield event("Warning", EventReason.WEIGHTS_NOT_ERASED, "EraseWeights", f"{entry.state}: {entry.message}")
    was, now = (condition_of(status, ConditionType.WEIGHTS_COPIED) for status in (before, after))
    if now is None or (was is not None and was.reason == now.reason):
        return
    if now.reason == Reason.COPYING:
        yield event("Normal", EventReason.COPY_STARTED, "CopyWeights", now.message)
    elif now.status is ConditionStatus.TRUE:
        yield event("Normal", EventReason.WEIGHTS_COPIED, "CopyWeights", now.message)
    elif now.status is ConditionStatus.FALSE:
        yield event("Warning", EventReason.WEIGHTS_NOT_COPIED, "CopyWeights", f"{now.reason}: {now.message}")


def _scaling_events(before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> Iterator[EventFacts]:
    """Tell each change once, the oldest first: of several between two looks the first one may be the start from zero."""
    known = before.scaling_history
    for change in reversed(after.scaling_history):
        if change in known or (known and change.time < known[0].time):
            # Pods that answer again tell what they know, which may be less than was seen while they were silent.
            continue
        note = f"from {change.from_replicas} to {change.to_replicas} replicas: {change.reason}"
        yield event("Normal", EventReason.SCALED, "Scale", note)


def _plan_events(before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> Iterator[EventFacts]:
    was, now = (condition_of(status, ConditionType.PLAN_ACCURATE) for status in (before, after))
    if now is None or now.status is not ConditionStatus.FALSE or (was is not None and was.reason == now.reason):
        return
    severity: Literal["Normal", "Warning"] = (
        "Warning" if now.reason == Reason.KV_CACHE_SMALLER_THAN_PLANNED else "Normal"
    )
    yield event(severity, EventReason.PLAN_MISSED, "ComparePlan", f"{now.reason}: {now.message}")


def _leaving_events(before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> Iterator[EventFacts]:
    was, now = (condition_of(status, ConditionType.CAPACITY_FOUND) for status in (before, after))
    if now is None or now.reason != Reason.NODES_LEAVING or (was is not None and was.message == now.message):
        return
    yield event("Normal", EventReason.NODES_LEAVING, "LookAhead", now.message)


def _contest_events(before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> Iterator[EventFacts]:
    was, now = (condition_of(status, ConditionType.OBJECTS_KEPT) for status in (before, after))
    if now is not None and now.reason == Reason.CHANGED_BY_OTHERS and (was is None or was.status is not now.status):
        yield event("Warning", EventReason.CONTESTED, "Repair", now.message)


def _access_advice(before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> Iterator[EventFacts]:
    was, now = ("" if status.access is None else status.access.advice for status in (before, after))
    if now and now != was:
        yield event("Warning", EventReason.ACCESS_ADVICE, "CheckAccess", now)


def _exposure_events(before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> Iterator[EventFacts]:
    was, now = (condition_of(status, ConditionType.EXPOSED) for status in (before, after))
    if after.urls and after.urls != before.urls:
        yield event("Normal", EventReason.EXPOSED, "Expose", ", ".join(after.urls))
    opened = now is not None and now.reason == Reason.OPEN_TO_EVERYONE
    if now is not None and opened and (was is None or (was.reason, was.message) != (now.reason, now.message)):
        yield event("Warning", Reason.OPEN_TO_EVERYONE, "Expose", now.message)
