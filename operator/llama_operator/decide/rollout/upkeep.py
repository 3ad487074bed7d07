"""What goes on while nothing new may start: the revision with the traffic, and what had begun to end. Called by `decide.decision`.

A spec with a problem, a license that is refused and access to weights that is still asked for keep a rollout from its next
step. They are no reason to leave alone what serves: its objects are kept as they are pinned, and a drain comes to its end.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from llama_operator.decide.observed import Observed, RayServiceFacts
from llama_operator.decide.rollout.ending import NO_REVISION
from llama_operator.decide.rollout.rollout import Barred
from llama_operator.decide.starts.deadline import progress_deadline


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What is kept and what ends.

    Attributes:
        traffic: Revision that the Service selects; `NO_REVISION` if none may have the traffic.
        traffic_since: When the traffic moved to it, in UTC; None for the first revision.
        run: Revisions whose RayService is kept, or made again from their record.
        obsolete: RayServices to delete now.
        next_check: Seconds until more of them end; None if only an event matters.
        makes: Whether what is gone is made again; not for a deployment that is being deleted.
    """

    traffic: str
    traffic_since: datetime | None
    run: tuple[str, ...] = ()
    obsolete: tuple[RayServiceFacts, ...] = ()
    next_check: float | None = None
    makes: bool = True


def keep_up(observed: Observed, barred: Barred) -> Upkeep | None:
    """Decide what is kept; None while no revision was ever made.

    Args:
        observed: What is known.
        barred: Revisions that the license chain keeps from something; those that ended go another way.
    """
    if not observed.revisions and not observed.ray_services:
        return None
    here = {service.name: service for service in observed.ray_services if not service.leaving}
    holder = _holder(observed, here, barred)
    since = _since(observed, holder)
    if observed.deployment.metadata.deletion_timestamp is not None:
        return Upkeep(holder, since, makes=False)
    left = {name: _seconds_left(observed, service, since) for name, service in here.items() if name != holder}
    over = [name for name, seconds in left.items() if seconds <= 0 and name not in barred.ended and holder in here]
    waits = {name: seconds for name, seconds in left.items() if seconds > 0 and name not in barred.ended}
    return Upkeep(
        traffic=holder,
        traffic_since=since,
        run=(*_run(observed, here, holder), *waits),
        obsolete=tuple(here[name] for name in over),
        next_check=min(waits.values(), default=None),
    )


def _holder(observed: Observed, here: dict[str, RayServiceFacts], barred: Barred) -> str:
    """The revision that has the traffic: the one that the Service selects, if that is a revision of ours.

    Else somebody deleted or changed the Service: then what serves has it, the one asked for last first.
    """
    selected = observed.traffic.revision if observed.traffic else NO_REVISION
    ended = selected in barred.ended
    if not ended and (selected in here or observed.pinned(selected) is not None):
        return selected
    numbers = {record.name: record.number for record in observed.revisions}
    closed = barred.ended | barred.refused
    running = [service for name, service in here.items() if name not in (closed if ended else barred.ended)]
    newest = max(running, key=lambda one: (one.serves, one.holds_replicas, numbers.get(one.name, 0)), default=None)
    if newest is not None:
        return newest.name
    # All children are gone: what shall run has the traffic, else what served last.
    known = [one for one in observed.revisions if (one.served_at or one.live) and not one.failed_at]
    eligible = (one for one in known if one.name not in closed)
    last = max(eligible, key=lambda one: (one.live is not None, bool(one.served_at), one.number), default=None)
    return NO_REVISION if last is None else last.name


def _since(observed: Observed, holder: str) -> datetime | None:
    traffic = observed.traffic
    if traffic is not None and traffic.revision == holder:
        return traffic.since
    others = any(service.name != holder and service.serves for service in observed.ray_services)
    # With the Service went the time at which a drain began: it begins again.
    return observed.now if traffic is not None or others else None


def _seconds_left(observed: Observed, service: RayServiceFacts, since: datetime | None) -> float:
    """Seconds that a revision without the traffic may stay: it drains, or it was being started when the problem came."""
    rollout, record = observed.deployment.spec.rollout, observed.pinned(service.name)
    served = service.serves or (record is not None and bool(record.served_at))
    starts = not served or since is None or (service.created is not None and service.created > since)
    if starts and service.created is not None:
        return observed.age(service.created).left(progress_deadline(observed, service.name))
    return observed.age(since).left(rollout.drain_seconds) if service.serves and since is not None else 0.0


def _run(observed: Observed, here: dict[str, RayServiceFacts], holder: str) -> Iterator[str]:
    record = observed.pinned(holder)
    if record is None:
        return
    leaving = holder not in here and any(service.name == holder for service in observed.ray_services)
    # Without live settings it was stopped, or never started: that needs a spec without a problem.
    if record.live is not None and not leaving:
        yield holder
