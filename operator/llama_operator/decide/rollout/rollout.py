"""Which revisions run, which gets the traffic and which are over. Called by `decide.decision`.

State is read only from the cluster: RayServices with their age, the Service with its selector, and what the
ControllerRevisions remember (first served, given up). See docs/designs/0008-revisions.md.
"""

from dataclasses import dataclass
from datetime import datetime

from llama_operator.api import readings
from llama_operator.api.v1alpha1.llamadeployment import RolloutStrategy
from llama_operator.decide.diagnosis.engine_message import ENGINE_FAILED
from llama_operator.decide.observed import Observed, RayServiceFacts
from llama_operator.decide.rollout.strategy import Strategy
from llama_operator.decide.rollout.why import why_not_serving
from llama_operator.decide.starts.deadline import progress_deadline


@dataclass(frozen=True, slots=True)
class Barred:
    """Revisions that the license chain keeps from something."""

    ended: frozenset[str] = frozenset()
    """The right to them has ended: they get no traffic, are not gone back to, and go."""
    draining: frozenset[str] = frozenset()
    """Those of `ended` that may still finish their requests."""
    refused: frozenset[str] = frozenset()
    """They may go on as they are, but are not started."""


NOTHING_BARRED = Barred()


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The wanted revision did not serve in time."""

    message: str
    now: bool
    """Whether that was decided in this pass, and is still to be recorded."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """What to run and where to send requests."""

    wanted: str
    """Revision that the spec asks for."""
    target: str
    """Revision that runs or is being started: the wanted one, or the one gone back to."""
    traffic: str
    """Revision that the Service selects."""
    traffic_since: datetime | None
    """When the traffic moved to it; None for the first revision, which had none before it."""
    run: tuple[str, ...]
    """Revisions whose RayService shall exist."""
    obsolete: tuple[RayServiceFacts, ...]
    """RayServices to delete now."""
    strategy: Strategy
    waiting_for: tuple[str, ...] = ()
    """RayServices that hold the hardware that the target waits for."""
    given_up: GivenUp | None = None
    overdue: bool = False
    """The wanted revision is late, and there is none to go back to."""
    next_check: float | None = None
    """Seconds until something changes by time."""

    @property
    def complete(self) -> bool:
        """Whether traffic goes to the wanted revision."""
        return self.traffic == self.wanted and not self.waiting_for


def roll_out(wanted: str, observed: Observed, strategy: Strategy, barred: Barred = NOTHING_BARRED) -> Rollout:
    """Decide the next step towards the revision `wanted`, which is not barred."""
    here = {service.name: service for service in observed.ray_services if not service.leaving}
    left = _seconds_left(wanted, observed, here)
    back = _fallback(wanted, observed, here, barred)
    given_up = _given_up(wanted, observed, here, left) if back else None
    target = back if given_up and back else wanted
    step = _Step(observed, here, target, wanted, strategy, given_up, barred)
    if target in here and here[target].serves:
        return step.drain()
    # A revision that is gone back to and has to be started again needs the hardware of the one that failed.
    if strategy.kind is RolloutStrategy.RECREATE or (given_up and target not in here):
        return step.recreate(left)
    return step.beside(left)


@dataclass(frozen=True, slots=True)
class _Step:
    """The step, once it is known where to go."""

    observed: Observed
    here: dict[str, RayServiceFacts]
    target: str
    wanted: str
    strategy: Strategy
    given_up: GivenUp | None
    barred: Barred

    @property
    def others(self) -> tuple[RayServiceFacts, ...]:
        """Revisions other than the target that may have traffic."""
        return tuple(
            service
            for service in self.here.values()
            if service.name != self.target and service.name not in self.barred.ended
        )

    def drain(self) -> Rollout:
        """The target serves: it has the traffic, and what served before finishes its requests."""
        since = self._since(self.target) or self.observed.now
        left = self.observed.age(since).left(self.observed.deployment.spec.rollout.drain_seconds)
        draining = tuple(
            service for service in self.others if service.serves and left > 0 and not self._failed(service)
        )
        return self._rollout(
            traffic=self.target,
            since=since if draining else None,
            keep=(self.target, *(service.name for service in draining), *self.barred.draining),
            next_check=left if draining else None,
        )

    def recreate(self, left: float | None) -> Rollout:
        """The target starts when the hardware of all others is free; `left` are the seconds of its deadline."""
        holding = tuple(service.name for service in self.observed.ray_services if service.name != self.target)
        start = self.target in self.here or not (holding or self._leaving(self.target))
        return self._rollout(
            traffic=self.target,
            keep=(self.target,) if start else (),
            waiting_for=holding,
            left=left,
        )

    def beside(self, left: float | None) -> Rollout:
        """The target starts beside the revision that has the traffic."""
        holder = self._holder()
        keep = (self.target,) if holder is None else (holder, self.target)
        keep = (*keep, *self.barred.draining)
        return self._rollout(
            traffic=self.target if holder is None else holder,
            keep=keep,
            left=left,
        )

    def _holder(self) -> str | None:
        """The other revision that keeps the traffic for now.

        One that serves; or the one that has the traffic and merely stumbles, or was deleted by somebody. One that never
        served, or whose engine failed, holds hardware for nothing, and may hold just what the target needs.
        """
        traffic = self.observed.traffic.revision if self.observed.traffic else ""
        has_it = self.here.get(traffic)
        if has_it is not None and has_it in self.others and not self._failed(has_it):
            served = any(record.name == traffic and record.served_at for record in self.observed.revisions)
            if has_it.serves or (served and has_it.application_status not in ENGINE_FAILED):
                return traffic
        serves = (service.name for service in self.others if service.serves and not self._failed(service))
        return next(serves, traffic if self._was_deleted(traffic) else None)

    def _was_deleted(self, revision: str) -> bool:
        """Whether a revision that serves by its record has no RayService any more, and nothing here deleted that."""
        record = self.observed.pinned(revision)
        closed = self.barred.ended | self.barred.refused | {self.target}
        known = record is not None and bool(record.served_at) and record.live is not None and not record.failed_at
        return known and revision not in closed and all(one.name != revision for one in self.observed.ray_services)

    def _failed(self, service: RayServiceFacts) -> bool:
        return self.given_up is not None and service.name == self.wanted

    def _leaving(self, name: str) -> bool:
        return any(service.name == name and service.leaving for service in self.observed.ray_services)

    def _since(self, revision: str) -> datetime | None:
        traffic = self.observed.traffic
        if traffic is None:
            return None
        return traffic.since if traffic.revision == revision else self.observed.now

    def _rollout(
        self,
        *,
        traffic: str,
        keep: tuple[str, ...],
        waiting_for: tuple[str, ...] = (),
        left: float | None = None,
        since: datetime | None = None,
        next_check: float | None = None,
    ) -> Rollout:
        overdue = left is not None and left <= 0
        return Rollout(
            wanted=self.wanted,
            target=self.target,
            traffic=traffic,
            traffic_since=since or self._since(traffic),
            # One that is being deleted cannot be had back before it is gone.
            run=tuple(name for name in keep if name not in self.barred.ended and not self._leaving(name)),
            obsolete=tuple(service for service in self.here.values() if service.name not in keep),
            strategy=self.strategy,
            waiting_for=waiting_for,
            given_up=self.given_up,
            overdue=overdue and self.given_up is None,
            next_check=left if left is not None and left > 0 else next_check,
        )


def _seconds_left(wanted: str, observed: Observed, here: dict[str, RayServiceFacts]) -> float | None:
    """Seconds in which the wanted revision has to serve; None if it has done so, or has not been started."""
    record = observed.pinned(wanted)
    service = here.get(wanted)
    if service is None or service.created is None or service.serves or (record is not None and record.served_at):
        return None
    start: datetime | None = service.created
    if service.queue is not None:
        # Nobody can say how long a queue is. A record without the time gets it in this pass.
        start = None if service.waits or record is None else readings.moment(record.admitted_at)
    return None if start is None else observed.age(start).left(progress_deadline(observed, wanted))


def _fallback(wanted: str, observed: Observed, here: dict[str, RayServiceFacts], barred: Barred) -> str | None:
    """The revision to go back to: the one with the traffic, else the one that served last.

    Not one whose license has ended; and one that the license chain refuses only if it runs.
    """
    closed = barred.ended | {name for name in barred.refused if name not in here}
    served = [
        record
        for record in observed.revisions
        if record.name != wanted and record.served_at and record.name not in closed
    ]
    traffic = observed.traffic.revision if observed.traffic else ""
    if (
        traffic != wanted
        and traffic not in closed
        and (traffic in here or any(record.name == traffic for record in served))
    ):
        return traffic
    newest = max(served, key=lambda record: (record.number, record.served_at), default=None)
    return None if newest is None else newest.name


def _given_up(wanted: str, observed: Observed, here: dict[str, RayServiceFacts], left: float | None) -> GivenUp | None:
    record = observed.pinned(wanted)
    if record is None:
        return None
    # Asked for again after another one: as a rollback, that is a wish of its own, and it is tried anew.
    if record.failed_at and record.number > observed.newest(besides=wanted):
        return GivenUp(record.failure, now=False)
    if left is None or left > 0:
        return None
    return GivenUp(why_not_serving(observed, here[wanted]) or "its pods did not start in time", now=True)
