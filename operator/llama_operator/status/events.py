"""Events of a LlamaDeployment: what the operator did in a pass, and what people should look at. Called by the reconcile.

An event follows from what was decided and done, and from how the status changed, so a pass that changes nothing has no events.
A pass that failed tells what it did before. docs/reference/events.md is generated from `EventReason` and `FROM_CONDITIONS`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from llama_operator.api.meta import Condition, ConditionStatus
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.said import CUT, shortened
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus
from llama_operator.decide.decision import Decision
from llama_operator.decide.observed import Observed, RayServiceFacts, RepairFacts
from llama_operator.decide.rollout.ending import Ending
from llama_operator.decide.rollout.rollout import Rollout
from llama_operator.status.failure import means_the_same
from llama_operator.status.sums import SUMS

_NOTE_LIMIT = 1024
"""Kubernetes' own limit for the note of an event, in bytes."""
_RAY_SERVICE, _SERVICE, _REVISION, _JOB = "RayService", "Service", "ControllerRevision", "Job"


class EventReason(StrEnum):
    """Reasons of events."""

    REVISION_STARTED = "RevisionStarted"
    """The RayService of a revision was created."""
    REVISION_REMOVED = "RevisionRemoved"
    """The RayService of a revision was deleted, which frees its hardware."""
    TRAFFIC_MOVED = "TrafficMoved"
    """The Service points to another revision."""
    ROLLED_BACK = "RolledBack"
    """A revision did not serve in time and was given up; the note has the cause."""
    ACCESS_CHECK_STARTED = "AccessCheckStarted"
    """A Job asks the Hub whether the weights may be downloaded."""
    WEIGHTS_ACCESSIBLE = "WeightsAccessible"
    """The Hub lets the weights be downloaded."""
    WEIGHTS_NOT_ACCESSIBLE = "WeightsNotAccessible"
    """The Hub does not let them be downloaded, or could not be asked; the note says what to do."""
    COPY_STARTED = "CopyStarted"
    """A Job copies the weights into a claim."""
    WEIGHTS_COPIED = "WeightsCopied"
    """The copies of the weights are complete and verified."""
    WEIGHTS_ERASED = "WeightsErased"
    """The license has ended, and a copy of the weights was erased; the note says how many bytes."""
    WEIGHTS_NOT_ERASED = "WeightsNotErased"
    """The license has ended, and a copy of the weights was not erased; the note says why."""
    WEIGHTS_NOT_COPIED = "WeightsNotCopied"
    """A copy failed; the note says what to do."""
    READY = "Ready"
    """The endpoint answers with the model asked for."""
    NOT_READY = "NotReady"
    """The endpoint answered, and does not any more: a Warning, unless a person or the autoscaler wants it so."""
    BLOCKED = "Blocked"
    """It waits for a person to change something; the note says what."""
    LICENSE_ENDED = "LicenseEnded"
    """The acceptance was terminated: no new requests, then no hardware; the note says what else has to be deleted."""
    ORPHAN_ENDED = "OrphanEnded"
    """A RayService outlived its LlamaDeployment without an owner: no new requests, then no hardware."""
    SCALED = "Scaled"
    """Serve changed the number of replicas."""
    REPAIRED = "Repaired"
    """Somebody deleted or changed an object of the deployment; it is set right."""
    EXPOSED = "Exposed"
    """Requests from outside have a way in; the note has the URLs."""
    CONTESTED = "Contested"
    """Somebody keeps changing an object of the deployment; the note says who, as far as it is known."""
    NODES_LEAVING = "NodesLeaving"
    """Nodes that hold pods of the deployment are cordoned, or an autoscaler takes them away; the note says what goes with them."""
    PLAN_MISSED = "PlanMissed"
    """The engines measured a KV cache that differs from the planned one by more than 10 %: a Warning when it is smaller."""

    ACCESS_ADVICE = "AccessAdvice"
    """What serves answers without a key although the purpose is Production, or counts no limits of tenants yet; it fails nothing."""


CAUSES = (
    Reason.NODES_LOST,
    Reason.PODS_UNSCHEDULABLE,
    Reason.PODS_REFUSED,
    Reason.CLUSTER_NOT_MADE,
    Reason.IMAGE_NOT_PULLED,
    Reason.CONTAINER_FAILED,
    Reason.PROBE_FAILED,
    Reason.WRITE_REFUSED,
    Reason.SCALE_UP_GIVEN_UP,
    Reason.SCALE_UP_STUCK,
    Reason.ENGINE_FAILED,
    Reason.BOARD_FAILED,
    Reason.LICENSE_FILES_MISSING,
    Reason.CHECKPOINT_REFUSED,
    Reason.ENGINE_TOO_OLD,
    Reason.ROUTE_KIND_MISSING,
    Reason.ROUTE_NOT_ACCEPTED,
    Reason.ROUTE_NOT_RESOLVED,
)
"""Reasons of conditions that are reasons of events, too: Warnings, each cause told once."""
FROM_CONDITIONS = (*CAUSES, Reason.DEGRADED, Reason.PROGRESS_DEADLINE_EXCEEDED, Reason.OPEN_TO_EVERYONE)
"""All reasons of events that are those of a condition."""


@dataclass(frozen=True, slots=True)
class EventFacts:
    """One event, before it has a time and an object."""

    type: Literal["Normal", "Warning"]
    reason: str
    action: str
    """What the operator did or saw, as one CamelCase word."""
    note: str


@dataclass(frozen=True, slots=True)
class Done:
    """What a pass did, also one that failed.

    Attributes:
        written: Kind and name of each child that was changed or deleted.
        repairs: Children that somebody had changed or deleted, and that were set right.
    """

    written: frozenset[tuple[str, str]] = frozenset()
    repairs: tuple[RepairFacts, ...] = ()

    def to(self, kind: str, name: str) -> bool:
        """Whether the child was changed or deleted."""
        return (kind, name) in self.written

    def news(self, kind: str, name: str) -> bool:
        """Whether the child was written, and no repair says why: another process saw it deleted, or nobody had made it."""
        return self.to(kind, name) and all((one.kind, one.name) != (kind, name) for one in self.repairs)


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


def deeds(observed: Observed, decision: Decision, done: Done) -> tuple[EventFacts, ...]:
    """Events about what a pass did, in the order in which things happened; see `events`."""
    happened = [*repair_events(done.repairs)]
    if decision.stopped:
        happened += [_removed(one.name, "suspended") for one in _deleted(observed.ray_services, done)]
    else:
        happened += _rollout_events(observed, decision, done)
        if decision.ending is not None:
            happened += _ending_events(observed, decision.ending, done)
    check, asked = decision.access_check, any(kind == _JOB for kind, _ in done.written)
    if check is not None and check.start is not None and check.start[1] == 1 and asked:
        note = f"{check.start[0].repository} at {check.start[0].commit}"
        happened.append(_event("Normal", EventReason.ACCESS_CHECK_STARTED, "CheckAccess", note))
    return tuple(happened)


def _rollout_events(observed: Observed, decision: Decision, done: Done) -> Iterator[EventFacts]:
    rollout, upkeep = decision.rollout, decision.upkeep
    given_up = None if rollout is None else rollout.given_up
    if rollout is not None and given_up is not None and given_up.now and done.to(_REVISION, rollout.wanted):
        yield _event("Warning", EventReason.ROLLED_BACK, "RollBack", f"{rollout.wanted}: {given_up.message}")
    part = rollout or upkeep
    for name in () if part is None else part.run:
        yield from _started(observed, rollout, name, done)
    traffic = decision.traffic
    service, before = observed.deployment.metadata.name, "" if observed.traffic is None else observed.traffic.revision
    had = observed.pinned(traffic or "")
    if observed.traffic is None and had is not None and had.served_at and done.news(_SERVICE, service):
        yield from repair_events((RepairFacts(_SERVICE, service, ()),))
    if before and traffic and before != traffic and done.to(_SERVICE, service):
        note = f"from {before} to {traffic}"
        yield _event("Normal", EventReason.TRAFFIC_MOVED, "MoveTraffic", note)
    # The end of the license says why those go that it is about.
    ended = decision.ending.revisions if decision.ending else ()
    for gone in _deleted(() if part is None else part.obsolete, done):
        if gone.name not in ended:
            yield _removed(gone.name, f"{traffic} has the traffic")


def _started(observed: Observed, rollout: Rollout | None, name: str, done: Done) -> Iterator[EventFacts]:
    """A RayService that was made: for the first time, or again because somebody deleted it."""
    here = any(service.name == name for service in observed.ray_services)
    if here or not done.news(_RAY_SERVICE, name):
        return
    if rollout is None or _answered(observed, name):
        yield from repair_events((RepairFacts(_RAY_SERVICE, name, ()),))
        return
    note = f"{name} ({rollout.strategy.kind}: {rollout.strategy.reason})"
    yield _event("Normal", EventReason.REVISION_STARTED, "StartRevision", note)


def _answered(observed: Observed, name: str) -> bool:
    """Whether a revision was the one that answers: by its record alone it may not have been made since, a quota say kept it."""
    record, before = observed.pinned(name), observed.deployment.status
    serves = record is not None and bool(record.served_at) and record.live is not None
    return serves and before is not None and before.revisions is not None and before.revisions.active == name


def _deleted(services: Iterable[RayServiceFacts], done: Done) -> tuple[RayServiceFacts, ...]:
    return tuple(one for one in services if not one.leaving and done.to(_RAY_SERVICE, one.name))


def _ending_events(observed: Observed, ending: Ending, done: Done) -> Iterator[EventFacts]:
    here = {service.name for service in observed.ray_services}
    cut = ending.holds_traffic and done.to(_SERVICE, observed.deployment.metadata.name)
    if cut and here & set(ending.revisions):
        drain = observed.deployment.spec.rollout.drain_seconds
        note = (
            f"the license of LicenseAcceptance {ending.acceptance} has ended: no new requests, engines end within {drain} s. "
            "Weights in the pods go with them. The operator keeps no other copy and deletes none: node caches, volumes, "
            "images and mirrors have to be deleted by those who made them"
        )
        yield _event("Warning", EventReason.LICENSE_ENDED, "EndLicense", note)
    for service in _deleted(ending.remove, done):
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


def repair_events(repairs: Iterable[RepairFacts]) -> Iterator[EventFacts]:
    """Events about objects that somebody deleted or changed."""
    for one in repairs:
        note = f"{one.words}, and is set right" if one.fields else f"{one.words}, and is made again"
        yield _event("Normal", EventReason.REPAIRED, "Repair", note)


def _removed(name: str, why: str) -> EventFacts:
    return _event("Normal", EventReason.REVISION_REMOVED, "RemoveRevision", f"{name}: {why}")


def _access_events(before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> Iterator[EventFacts]:
    was, now = (_condition(status, ConditionType.WEIGHTS_ACCESSIBLE) for status in (before, after))
    if now is None or (was is not None and was.reason == now.reason):
        return
    if now.reason == Reason.ACCESSIBLE:
        yield _event("Normal", EventReason.WEIGHTS_ACCESSIBLE, "CheckAccess", now.message)
    elif now.status is ConditionStatus.FALSE:
        note = f"{now.reason}: {now.message}"
        yield _event("Warning", EventReason.WEIGHTS_NOT_ACCESSIBLE, "CheckAccess", note)


def _copy_events(before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> Iterator[EventFacts]:
    known = {(one.id, one.state) for one in before.weights or ()}
    for entry in after.weights or ():
        if (entry.id, entry.state) in known:
            continue
        if entry.state == Reason.ERASED:
            yield _event("Normal", EventReason.WEIGHTS_ERASED, "EraseWeights", entry.message)
        elif entry.state in {Reason.ERASE_FAILED, Reason.COPY_SHARED, Reason.CLAIM_GONE}:
            yield _event("Warning", EventReason.WEIGHTS_NOT_ERASED, "EraseWeights", f"{entry.state}: {entry.message}")
    was, now = (_condition(status, ConditionType.WEIGHTS_COPIED) for status in (before, after))
    if now is None or (was is not None and was.reason == now.reason):
        return
    if now.reason == Reason.COPYING:
        yield _event("Normal", EventReason.COPY_STARTED, "CopyWeights", now.message)
    elif now.status is ConditionStatus.TRUE:
        yield _event("Normal", EventReason.WEIGHTS_COPIED, "CopyWeights", now.message)
    elif now.status is ConditionStatus.FALSE:
        yield _event("Warning", EventReason.WEIGHTS_NOT_COPIED, "CopyWeights", f"{now.reason}: {now.message}")


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
    causes = (cause for cause in _causes(before, after) if not any(_repeats(event, cause) for event in told))
    return (*told, *causes)


def _repeats(event: EventFacts, cause: EventFacts) -> bool:
    """Whether an event has the words of a cause; of those that were shortened it has the same end."""
    if cause.note in event.note:
        return True
    ends = event.note.rpartition(CUT)[2], cause.note.rpartition(CUT)[2]
    return CUT in event.note and (ends[0].endswith(ends[1]) or ends[1].endswith(ends[0]))


def _answers(before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> Iterator[EventFacts]:
    if _is_true(after, ConditionType.READY) and not _is_true(before, ConditionType.READY):
        yield _event("Normal", EventReason.READY, "Serve", f"{after.url} serves")
    was, now = (_condition(status, ConditionType.ENDPOINT_READY) for status in (before, after))
    if now is not None and now.reason == Reason.DEGRADED and (was is None or was.reason != now.reason):
        yield _event("Warning", Reason.DEGRADED, "Serve", now.message)


def _waits(
    before: LlamaDeploymentStatus, after: LlamaDeploymentStatus, decision: Decision | None
) -> Iterator[EventFacts]:
    """A person has to change something, or a deadline passed; not what was told of before."""
    rollout = None if decision is None else decision.rollout
    was, now = (_condition(status, ConditionType.UP_TO_DATE) for status in (before, after))
    if rollout is not None and rollout.overdue and now is not None and (was is None or was.reason != now.reason):
        yield _event("Warning", Reason.PROGRESS_DEADLINE_EXCEEDED, "WaitLonger", now.message)
    was, now = (_condition(status, ConditionType.STALLED) for status in (before, after))
    if now is None or now.status is not ConditionStatus.TRUE:
        return
    if was is not None and was.status is now.status and means_the_same(now.message, was.message):
        return
    late = rollout is not None and (rollout.overdue or rollout.given_up is not None)
    if now.reason == Reason.WRITE_REFUSED:
        yield _event("Warning", Reason.WRITE_REFUSED, "Write", now.message)
    elif not late:
        yield _event("Warning", EventReason.BLOCKED, "Wait", f"{now.reason}: {now.message}")


def _stopped(before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> Iterator[EventFacts]:
    """The endpoint answered, and does not any more."""
    now, ready = _condition(after, ConditionType.ENDPOINT_READY), _condition(after, ConditionType.READY)
    stalled = _is_true(after, ConditionType.STALLED)
    if (
        now is None
        or stalled
        or now.status is ConditionStatus.TRUE
        or not _is_true(before, ConditionType.ENDPOINT_READY)
    ):
        return
    nearest = now if ready is None or ready.status is ConditionStatus.TRUE else ready
    # A person asked for it, also by the strategy of a rollout; or the next request after a pause without load starts an engine.
    wanted = after.down_since is None or nearest.reason == Reason.ROLLING_OUT
    note = f"{nearest.reason}: {nearest.message}"
    yield _event("Normal" if wanted else "Warning", EventReason.NOT_READY, "Serve", note)


def _causes(before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> Iterator[EventFacts]:
    """Causes that stand in the status now and did not before: each is told once, under its own reason."""
    known = [(one.reason, one.message) for one in before.conditions]
    for condition in after.conditions:
        if condition.type in SUMS or condition.reason not in CAUSES or condition.status is ConditionStatus.TRUE:
            continue
        if any(condition.reason == reason and means_the_same(condition.message, told) for reason, told in known):
            continue
        known.append((condition.reason, condition.message))
        yield _event("Warning", Reason(condition.reason), "Diagnose", condition.message)


def _scaling_events(before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> Iterator[EventFacts]:
    """Tell each change once, the oldest first: of several between two looks the first one may be the start from zero."""
    known = before.scaling_history
    for change in reversed(after.scaling_history):
        if change in known or (known and change.time < known[0].time):
            # Pods that answer again tell what they know, which may be less than was seen while they were silent.
            continue
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


def _leaving_events(before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> Iterator[EventFacts]:
    was, now = (_condition(status, ConditionType.CAPACITY_FOUND) for status in (before, after))
    if now is None or now.reason != Reason.NODES_LEAVING or (was is not None and was.message == now.message):
        return
    yield _event("Normal", EventReason.NODES_LEAVING, "LookAhead", now.message)


def _contest_events(before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> Iterator[EventFacts]:
    was, now = (_condition(status, ConditionType.OBJECTS_KEPT) for status in (before, after))
    if now is not None and now.reason == Reason.CHANGED_BY_OTHERS and (was is None or was.status is not now.status):
        yield _event("Warning", EventReason.CONTESTED, "Repair", now.message)


def _access_advice(before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> Iterator[EventFacts]:
    was, now = ("" if status.access is None else status.access.advice for status in (before, after))
    if now and now != was:
        yield _event("Warning", EventReason.ACCESS_ADVICE, "CheckAccess", now)


def _exposure_events(before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> Iterator[EventFacts]:
    was, now = (_condition(status, ConditionType.EXPOSED) for status in (before, after))
    if after.urls and after.urls != before.urls:
        yield _event("Normal", EventReason.EXPOSED, "Expose", ", ".join(after.urls))
    opened = now is not None and now.reason == Reason.OPEN_TO_EVERYONE
    if now is not None and opened and (was is None or (was.reason, was.message) != (now.reason, now.message)):
        yield _event("Warning", Reason.OPEN_TO_EVERYONE, "Expose", now.message)


def _condition(status: LlamaDeploymentStatus, kind: ConditionType) -> Condition | None:
    return next((condition for condition in status.conditions if condition.type == kind), None)


def _is_true(status: LlamaDeploymentStatus, kind: ConditionType) -> bool:
    condition = _condition(status, kind)
    return condition is not None and condition.status is ConditionStatus.TRUE


def _event(kind: Literal["Normal", "Warning"], reason: EventReason | Reason, action: str, note: str) -> EventFacts:
    return EventFacts(kind, reason, action, shortened(note, _NOTE_LIMIT))
