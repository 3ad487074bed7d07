"""What becomes of revisions whose license has ended: no new requests, time to finish, then no hardware. Pure.

Called by `decide.decision` with the verdicts of all revisions. What else the chain refuses leaves alone what runs; an
acceptance that was terminated does not (rule P20): no Service selects the revision from now on, and after `drainSeconds` its
RayService goes. The records of the revisions stay: with a new acceptance the same revision comes back.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from llama_operator.decide.license.running import RevisionVerdict
from llama_operator.decide.observed import LicenseEnd, Observed, RayServiceFacts

NO_REVISION = ""
"""What the Service selects while no revision may have the traffic: no pod has this revision."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The way to zero of the revisions that ended.

    Attributes:
        acceptance: The LicenseAcceptance that ended.
        revisions: Names of the revisions, in the order in which they were judged.
        since: When the first of them began to end, in UTC.
        holds_traffic: Whether the Service still selects one of them.
        drain: Those that may still finish their requests.
        remove: RayServices to delete now.
        next_check: Seconds until a drain is over; None when only an event matters.
    """

    acceptance: str
    revisions: tuple[str, ...]
    since: datetime
    holds_traffic: bool
    drain: tuple[str, ...] = ()
    remove: tuple[RayServiceFacts, ...] = ()
    next_check: float | None = None


def ending(observed: Observed, verdicts: Iterable[RevisionVerdict]) -> Ending | None:
    """How revisions end; None unless the license of one has ended.

    Args:
        observed: What is known.
        verdicts: Of all revisions that were judged.
    """
    ends = {judged.revision: judged.end for judged in verdicts if judged.end is not None and judged.end.at is not None}
    if not ends:
        return None
    traffic = observed.traffic
    drain: list[str] = []
    remove: list[RayServiceFacts] = []
    times: list[datetime] = []
    for service in observed.ray_services:
        end = ends.get(service.name)
        if service.leaving or end is None or end.at is None:
            continue
        until = _began(observed, end.at) + _drain_time(observed, end)
        # Without a Service no request was sent; what serves nothing has none to finish.
        if traffic is not None and service.serves and observed.now < until:
            drain.append(service.name)
            times.append(until)
        else:
            remove.append(service)
    first = next(iter(ends.values()))
    return Ending(
        acceptance=first.acceptance,
        revisions=tuple(ends),
        since=min(_began(observed, end.at) for end in ends.values() if end.at is not None),
        holds_traffic=traffic is not None and traffic.revision in ends,
        drain=tuple(drain),
        remove=tuple(remove),
        next_check=(min(times) - observed.now).total_seconds() if times else None,
    )


def _drain_time(observed: Observed, end: LicenseEnd) -> timedelta:
    """How long engines may take: who raises it once the end has begun changes nothing."""
    now = observed.deployment.spec.rollout.drain_seconds
    return timedelta(seconds=now if end.drain_seconds is None else min(now, end.drain_seconds))


def _began(observed: Observed, at: datetime) -> datetime:
    """When the engines got no more requests.

    An operator of version 0.1.0 remembered that beside the Service's selector only.
    """
    traffic = observed.traffic
    if traffic is not None and traffic.revision == NO_REVISION and traffic.since is not None:
        return min(at, traffic.since)
    return at
