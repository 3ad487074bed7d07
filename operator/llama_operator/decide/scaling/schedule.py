"""Which bounds hold when. Called by `decide.bounds`, `decide.decision`, and `cost` and `explain` of the command line.

The hours are those of the clock on the wall in the schedule's time zone: an hour that a clock change leaves out begins no window late, and
in one that comes twice a window begins at the first of both times and ends at the second, so none is given up and taken again. Nothing here reads a clock: the time is an argument.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from llama_operator.api.v1alpha1.scaling import ScalingSpec, ScheduleSpec, ScheduleWindow, Weekday

_DAY: Final = 24 * 60
"""Minutes."""
_WEEK: Final = 7
_DAYS: Final = tuple(Weekday)
_LONGEST_SECONDS: Final = 900.0
"""A clock change moves a boundary by an hour: so nobody waits for one for longer than this without another look."""


@dataclass(frozen=True, slots=True)
class ReplicaBounds:
    """Bounds at one moment."""

    least: int
    most: int
    window: str = ""
    """Name of the window that holds; empty for none."""


def bounds_at(scaling: ScalingSpec, now: datetime | None) -> ReplicaBounds:
    """Return the bounds that hold.

    Args:
        scaling: What the user asks for.
        now: The time, in UTC; None for the bounds outside of all windows.
    """
    schedule = scaling.schedule
    if schedule is None or now is None:
        return ReplicaBounds(scaling.min_replicas, scaling.max_replicas)
    local = now.astimezone(ZoneInfo(schedule.time_zone))
    minute = local.hour * 60 + local.minute
    twice = _minutes_that_come_twice(local)
    if not twice:
        return _at(scaling, schedule, local.weekday(), minute)
    begun, ended = (minute, twice[0]) if local.fold == 0 else (twice[-1], minute)
    return _at(scaling, schedule, local.weekday(), begun, ended)


def _minutes_that_come_twice(local: datetime) -> range:
    """Minutes of the day that a clock change brings twice, if `local` is one of them; else none."""

    def doubled(minute: int) -> bool:
        wall = local.replace(hour=minute // 60, minute=minute % 60)
        return wall.replace(fold=0).utcoffset() != wall.replace(fold=1).utcoffset()

    here = local.hour * 60 + local.minute
    if not doubled(here):
        return range(0)
    first = next((minute + 1 for minute in range(here, -1, -1) if not doubled(minute)), 0)
    return range(first, next((minute for minute in range(here, _DAY) if not doubled(minute)), _DAY))


def widest(scaling: ScalingSpec) -> ReplicaBounds:
    """Return the fewest and the most replicas of all hours; it names the window that has the most, if one has more than `maxReplicas`."""
    windows = () if scaling.schedule is None else scaling.schedule.windows
    every = [ReplicaBounds(scaling.min_replicas, scaling.max_replicas), *(_of(scaling, window) for window in windows)]
    most = max(every, key=lambda one: one.most)
    return ReplicaBounds(min(one.least for one in every), most.most, most.window)


def next_change(scaling: ScalingSpec, now: datetime) -> datetime | None:
    """Return when other bounds hold next, in UTC; None if none do within a week, or without a schedule."""
    schedule = scaling.schedule
    if schedule is None:
        return None
    current = bounds_at(scaling, now)
    changes = sorted(moment for moment in _boundaries(schedule, now) if moment > now)
    return next((moment for moment in changes if bounds_at(scaling, moment) != current), None)


def seconds_to_next(scaling: ScalingSpec, now: datetime) -> float | None:
    """Return the seconds until other bounds hold, or until another look is worth it; None without a schedule."""
    if scaling.schedule is None:
        return None
    later = next_change(scaling, now)
    left = _LONGEST_SECONDS if later is None else (later - now).total_seconds()
    return min(left, _LONGEST_SECONDS)


def hours_of_a_week(scaling: ScalingSpec) -> tuple[tuple[ReplicaBounds, float], ...]:
    """Return the hours of a week without a clock change for which each window's bounds hold, in the order of the list."""
    schedule = scaling.schedule
    if schedule is None:
        return ((bounds_at(scaling, None), 7 * 24.0),)
    minutes: dict[ReplicaBounds, int] = {}
    for day in range(_WEEK):
        for minute in range(_DAY):
            found = _at(scaling, schedule, day, minute)
            minutes[found] = minutes.get(found, 0) + 1
    order = [window.name for window in schedule.windows]
    named = sorted(minutes, key=lambda one: order.index(one.window) if one.window else len(order))
    return tuple((one, minutes[one] / 60) for one in named)


def _at(scaling: ScalingSpec, schedule: ScheduleSpec, day: int, minute: int, ended: int | None = None) -> ReplicaBounds:
    last = minute if ended is None else ended
    window = next((one for one in schedule.windows if _holds(one, day, minute, last)), None)
    return ReplicaBounds(scaling.min_replicas, scaling.max_replicas) if window is None else _of(scaling, window)


def _of(scaling: ScalingSpec, window: ScheduleWindow) -> ReplicaBounds:
    return ReplicaBounds(
        scaling.min_replicas if window.min_replicas is None else window.min_replicas,
        scaling.max_replicas if window.max_replicas is None else window.max_replicas,
        window.name,
    )


def _holds(window: ScheduleWindow, day: int, minute: int, last: int) -> bool:
    """Whether a window has begun by a minute of a day of the week, and has not ended by `last`; Monday is 0."""
    begin, end = _minutes(window.from_), _minutes(window.to)
    days = window.days or _DAYS
    today, yesterday = _DAYS[day] in days, _DAYS[(day - 1) % _WEEK] in days
    if begin < end:
        return today and begin <= minute and last < end
    return (today and minute >= begin) or (yesterday and last < end)


def _boundaries(schedule: ScheduleSpec, now: datetime) -> Iterator[datetime]:
    """Moments of the coming week at which a window may begin or end, in UTC."""
    zone = ZoneInfo(schedule.time_zone)
    today = now.astimezone(zone).date()
    minutes = {_minutes(text) % _DAY for window in schedule.windows for text in (window.from_, window.to)}
    for days in range(_WEEK + 2):
        for minute in minutes:
            wall = datetime.combine(today + timedelta(days=days), time(*divmod(minute, 60)), zone)
            # An hour that comes twice has both of its beginnings.
            yield wall.astimezone(UTC)
            yield wall.replace(fold=1).astimezone(UTC)


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)
