"""Events of a LlamaDeployment: what the operator did in a pass, and what people should look at. Called by the reconcile.

An event follows from what was decided and from how the status changed, so a pass that changes nothing has no events. docs/reference/events.md is generated from `EventReason`.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from llama_operator.api.meta import Condition, ConditionStatus
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus
from llama_operator.decide.decision import Decision
from llama_operator.decide.observed import Observed
from llama_operator.decide.rollout.ending import Ending
from llama_operator.decide.rollout.rollout import Rollout

_NOTE_LIMIT = 1024
"""Kubernetes' own limit for the note of an event, in bytes."""


class EventReason(StrEnum):
    """Reasons of events."""

    REVISION_STARTED = "RevisionStarted"
    """The RayService of a revision was created."""
    REVISION_REMOVED = "RevisionRemoved"
    """The RayService of a revision was deleted, which frees its hardware."""
    TRAFFIC_MOVED = "TrafficMoved"
    """The Service points to another revision."""
    ROLLED_BACK = "RolledBack"
    """A revision did not serve in time and was given up."""
    ACCESS_CHECK_STARTED = "AccessCheckStarted"
    """A Job asks the Hub whether the weights may be downloaded."""
    WEIGHTS_ACCESSIBLE = "WeightsAccessible"
    """The Hub lets the weights be downloaded."""
    WEIGHTS_NOT_ACCESSIBLE = "WeightsNotAccessible"
    """The Hub does not let them be downloaded, or could not be asked; the note says what to do."""
    READY = "Ready"
    """The endpoint answers with the model asked for."""
    NOT_READY = "NotReady"
    """The endpoint answered, and does not any more."""
    BLOCKED = "Blocked"
    """It waits for a person to change something; the note says what."""
    LICENSE_ENDED = "LicenseEnded"
    """The acceptance was terminated: no new requests, then no hardware; the note says what else has to be deleted."""
    ORPHAN_ENDED = "OrphanEnded"
    """A RayService outlived its LlamaDeployment without an owner: no new requests, then no hardware."""
    SCALED = "Scaled"
    """Serve changed the number of replicas."""
    PLAN_MISSED = "PlanMissed"
    """The engines measured a KV cache that differs from the planned one by more than 10 %: a Warning when it is smaller."""


@dataclass(frozen=True, slots=True)
class EventFacts:
    """One event, before it has a time and an object."""

    type: Literal["Normal", "Warning"]
    reason: str
    action: str
    """What the operator did or saw, as one CamelCase word."""
    note: str


def events(
    observed: Observed, decision: Decision, before: LlamaDeploymentStatus | None, after: LlamaDeploymentStatus
) -> tuple[EventFacts, ...]:
    """Events of one pass, in the order in which things happened.

    Args:
        observed: What the pass knew.
        decision: What it decided.
        before: The status that the pass before wrote; None if there was none.
        after: The status that this pass writes.
    """
    happened: list[EventFacts] = []
    rollout = decision.rollout
    if rollout is not None and not decision.stopped:
        happened += _rollout_events(observed, rollout, decision.ending.revisions if decision.ending else ())
    elif decision.stopped:
        happened += [_removed(service.name, "suspended") for service in observed.ray_services if not service.leaving]
    if decision.ending is not None and not decision.stopped:
        happened += _ending_events(observed, decision.ending)
    previous = before or LlamaDeploymentStatus()
    happened += _access_events(decision, previous, after)
    happened += _condition_events(previous, after)
    happened += _scaling_events(previous, after)
    happened += _plan_events(previous, after)
    return tuple(happened)


def _rollout_events(observed: Observed, rollout: Rollout, ended: Collection[str]) -> Iterator[EventFacts]:
    here = {service.name for service in observed.ray_services}
    if rollout.given_up is not None and rollout.given_up.now:
        yield _event("Warning", EventReason.ROLLED_BACK, "RollBack", f"{rollout.wanted}: {rollout.given_up.message}")
    for name in rollout.run:
        if name not in here:
            strategy = rollout.strategy
            note = f"{name} ({strategy.kind}: {strategy.reason})"
            yield _event("Normal", EventReason.REVISION_STARTED, "StartRevision", note)
    if observed.traffic is not None and observed.traffic.revision not in {"", rollout.traffic}:
        note = f"from {observed.traffic.revision} to {rollout.traffic}"
        yield _event("Normal", EventReason.TRAFFIC_MOVED, "MoveTraffic", note)
    for service in rollout.obsolete:
        if service.name in ended:
            # The end of the license says why.
            continue
        yield _removed(service.name, f"{rollout.traffic} has the traffic")


def _ending_events(observed: Observed, ending: Ending) -> Iterator[EventFacts]:
    here = {service.name for service in observed.ray_services}
    if ending.holds_traffic and here & set(ending.revisions):
        drain = observed.deployment.spec.rollout.drain_seconds
        note = (
            f"the license of LicenseAcceptance {ending.acceptance} has ended: no new requests, engines end within {drain} s. "
            "Weights in the pods go with them. The operator keeps no other copy and deletes none: node caches, volumes, "
            "images and mirrors have to be deleted by those who made them"
        )
        yield _event("Warning", EventReason.LICENSE_ENDED, "EndLicense", note)
    for service in ending.remove:
        yield _removed(service.name, f"the license of {ending.acceptance} has ended")


def orphan_events(name: str, *, cut: bool, removed: bool) -> Iterator[EventFacts]:
    """Events about a RayService whose LlamaDeployment is gone; `name` is its own."""
    if cut:
        note = (
            f"{name} outlived its LlamaDeployment, so nothing judges its license: it gets no new requests and is deleted. "
            "Delete deployments without --cascade=orphan"
        )
        yield _event("Warning", EventReason.ORPHAN_ENDED, "EndOrphan", note)
    if removed:
        yield _removed(name, "its LlamaDeployment is gone")


def _removed(name: str, why: str) -> EventFacts:
    return _event("Normal", EventReason.REVISION_REMOVED, "RemoveRevision", f"{name}: {why}")


def _access_events(
    decision: Decision, before: LlamaDeploymentStatus, after: LlamaDeploymentStatus
) -> Iterator[EventFacts]:
    check = decision.access_check
    if check is not None and check.start is not None and check.start[1] == 1:
        note = f"{check.start[0].repository} at {check.start[0].commit}"
        yield _event("Normal", EventReason.ACCESS_CHECK_STARTED, "CheckAccess", note)
    was, now = (_condition(status, ConditionType.WEIGHTS_ACCESSIBLE) for status in (before, after))
    if now is None or (was is not None and was.reason == now.reason):
        return
    if now.reason == Reason.ACCESSIBLE:
        yield _event("Normal", EventReason.WEIGHTS_ACCESSIBLE, "CheckAccess", now.message)
    elif now.status is ConditionStatus.FALSE:
        note = f"{now.reason}: {now.message}"
        yield _event("Warning", EventReason.WEIGHTS_NOT_ACCESSIBLE, "CheckAccess", note)


def _condition_events(before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> Iterator[EventFacts]:
    was, now = _condition(before, ConditionType.READY), _condition(after, ConditionType.READY)
    if now is None:
        return
    if now.status is ConditionStatus.TRUE and (was is None or was.status is not ConditionStatus.TRUE):
        yield _event("Normal", EventReason.READY, "Serve", f"{after.url} serves")
    stalled, stalled_before = _condition(after, ConditionType.STALLED), _condition(before, ConditionType.STALLED)
    blocked = stalled is not None and stalled.status is ConditionStatus.TRUE
    was_blocked = stalled_before is not None and stalled_before.status is ConditionStatus.TRUE
    if blocked and not (was_blocked and was is not None and was.reason == now.reason):
        yield _event("Warning", EventReason.BLOCKED, "Wait", f"{now.reason}: {now.message}")
    elif not blocked and was is not None and was.status is ConditionStatus.TRUE and now.status is not was.status:
        yield _event("Warning", EventReason.NOT_READY, "Serve", f"{now.reason}: {now.message}")


def _scaling_events(before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> Iterator[EventFacts]:
    if not after.scaling_history or after.scaling_history == before.scaling_history:
        return
    change = after.scaling_history[0]
    note = f"from {change.from_replicas} to {change.to_replicas} replicas: {change.reason}"
    yield _event("Normal", EventReason.SCALED, "Scale", note)


def _plan_events(before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> Iterator[EventFacts]:
    was, now = (_condition(status, ConditionType.PLAN_ACCURATE) for status in (before, after))
    if now is None or now.status is not ConditionStatus.FALSE or (was is not None and was.reason == now.reason):
        return
    severity: Literal["Normal", "Warning"] = (
        "Warning" if now.reason == Reason.KV_CACHE_SMALLER_THAN_PLANNED else "Normal"
    )
    yield _event(severity, EventReason.PLAN_MISSED, "ComparePlan", f"{now.reason}: {now.message}")


def _condition(status: LlamaDeploymentStatus, kind: ConditionType) -> Condition | None:
    return next((condition for condition in status.conditions if condition.type == kind), None)


def _event(kind: Literal["Normal", "Warning"], reason: EventReason, action: str, note: str) -> EventFacts:
    return EventFacts(kind, reason, action, note.encode()[:_NOTE_LIMIT].decode(errors="ignore"))
