"""Events of what a pass did, also of one that failed. Called by `whole` and by the reconcile."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from llama_operator.decide.decision import Decision
from llama_operator.decide.observed import Observed, RayServiceFacts, RepairFacts
from llama_operator.decide.rollout.ending import Ending
from llama_operator.decide.rollout.rollout import Rollout
from llama_operator.status.events.facts import EventFacts, EventReason, event

_RAY_SERVICE, _SERVICE, _REVISION, _JOB = "RayService", "Service", "ControllerRevision", "Job"


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
        happened.append(event("Normal", EventReason.ACCESS_CHECK_STARTED, "CheckAccess", note))
    return tuple(happened)


def _rollout_events(observed: Observed, decision: Decision, done: Done) -> Iterator[EventFacts]:
    rollout, upkeep = decision.rollout, decision.upkeep
    given_up = None if rollout is None else rollout.given_up
    if rollout is not None and given_up is not None and given_up.now and done.to(_REVISION, rollout.wanted):
        yield event("Warning", EventReason.ROLLED_BACK, "RollBack", f"{rollout.wanted}: {given_up.message}")
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
        yield event("Normal", EventReason.TRAFFIC_MOVED, "MoveTraffic", note)
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
    yield event("Normal", EventReason.REVISION_STARTED, "StartRevision", note)


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
        yield event("Warning", EventReason.LICENSE_ENDED, "EndLicense", note)
    for service in _deleted(ending.remove, done):
        yield _removed(service.name, f"the license of {ending.acceptance} has ended")


def orphan_events(name: str, *, cut: bool, removed: bool) -> Iterator[EventFacts]:
    """Events about a RayService whose LlamaDeployment is gone; `name` is its own."""
    if cut:
        note = (
            f"{name} outlived its LlamaDeployment, so nothing judges its license: it gets no new requests and is deleted. "
            "Delete deployments without --cascade=orphan"
        )
        yield event("Warning", EventReason.ORPHAN_ENDED, "EndOrphan", note)
    if removed:
        yield _removed(name, "its LlamaDeployment is gone")


def repair_events(repairs: Iterable[RepairFacts]) -> Iterator[EventFacts]:
    """Events about objects that somebody deleted or changed."""
    for one in repairs:
        note = f"{one.words}, and is set right" if one.fields else f"{one.words}, and is made again"
        yield event("Normal", EventReason.REPAIRED, "Repair", note)


def _removed(name: str, why: str) -> EventFacts:
    return event("Normal", EventReason.REVISION_REMOVED, "RemoveRevision", f"{name}: {why}")
