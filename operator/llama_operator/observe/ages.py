"""How long ago things happened, on a clock that nobody sets. Called by `reconcile`, which keeps one for the process.

Times in objects come from clocks of walls: that of the API server, of an earlier process, or our own. Such a clock may be set
forward by hours (a machine that slept, a wrong time server) and back again. A rollout must not be given up for that, and a
drain must not last for ever. So the process measures from its first look at a moment, on its monotonic clock.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from llama_operator.api import readings
from llama_operator.api.reasons import ConditionType
from llama_operator.decide.observed import Age, Observed
from llama_operator.kube.port import Ref

_NOTHING = timedelta(0)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A moment as it was seen first: on the monotonic clock, how old it was then, and from when on it was watched for."""

    first: float
    old: timedelta
    watched: float


@dataclass(frozen=True, slots=True)
class _Look:
    at: float
    moments: Mapping[datetime, _Seen]


class Ages:
    """What the process has watched of each deployment.

    Args:
        elapsed: Seconds on a clock that only goes forward; None: the time of each look is taken at its word.
    """

    def __init__(self, elapsed: Callable[[], float] | None = None) -> None:
        self._elapsed = elapsed
        self._looks: dict[Ref, _Look] = {}

    def look(self, ref: Ref, moments: Iterable[datetime], now: datetime) -> Mapping[datetime, Age]:
        """Return the age of each moment that matters to the deployment at `ref` now; others are forgotten.

        Args:
            ref: The deployment.
            moments: Times that its decisions measure from, in UTC.
            now: Time of the wall clock, in UTC.
        """
        if self._elapsed is None:
            return {moment: Age(max(_NOTHING, now - moment)) for moment in moments}
        at, before = self._elapsed(), self._looks.get(ref)
        seen = {moment: _first_seen(moment, before, at, now) for moment in moments}
        self._looks[ref] = _Look(at, seen)
        return {moment: _age(moment, facts, at, now) for moment, facts in seen.items()}

    def forget(self, ref: Ref) -> None:
        """Forget a deployment that is gone."""
        self._looks.pop(ref, None)


def _first_seen(moment: datetime, before: _Look | None, at: float, now: datetime) -> _Seen:
    if before is not None and moment in before.moments:
        return before.moments[moment]
    old = max(_NOTHING, now - moment)
    if before is None:
        return _Seen(at, old, at)
    # What the last look did not see has happened since.
    return _Seen(at, min(old, timedelta(seconds=at - before.at)), before.at)


def _age(moment: datetime, seen: _Seen, at: float, now: datetime) -> Age:
    steady, told = seen.old + timedelta(seconds=at - seen.first), now - moment
    # The smaller one: the clock may have been wrong at the first look. A time to come is no word about an age.
    age = min(steady, told) if told >= _NOTHING else steady
    return Age(age, timedelta(seconds=at - seen.watched))


def moments(observed: Observed) -> Iterator[datetime]:
    """Yield the times that decisions about `observed` measure from."""
    yield from (service.created for service in observed.ray_services if service.created is not None)
    admitted = (readings.moment(record.admitted_at) for record in observed.revisions)
    yield from (moment for moment in admitted if moment is not None)
    yield from (cluster.created for cluster in observed.ray_clusters if cluster.created is not None)
    if observed.traffic is not None and observed.traffic.since is not None:
        yield observed.traffic.since
    ends = (record.license_end for record in observed.revisions)
    yield from (end.at for end in ends if end is not None and end.at is not None)
    yield from (check.finished for check in observed.access_checks or () if check.finished is not None)
    jobs = () if observed.weights is None else observed.weights.jobs
    yield from (job.finished for job in jobs if job.finished is not None)
    yield from (pod.created for pod in observed.pods or () if pod.created is not None and pod.unschedulable)
    status = observed.deployment.status
    conditions = () if status is None else status.conditions
    yield from (each.last_transition_time for each in conditions if each.type == ConditionType.MODEL_LOADED)
