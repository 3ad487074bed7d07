"""Replicas that start: at which age, which of them will not come any more, and how long a start takes. Called by `policy`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from llama_serving.autoscaling.memory import Memory
from llama_serving.autoscaling.signal import Facts, Signal

_DEADLINE = 1.5
_DEADLINE_SECONDS = 30.0
"""A start that takes longer than one and a half usual ones and this counts as absent."""
_OVERDUE = 0.2
"""What a start that is late still takes, as a share of a usual one."""
_LIKELY = 1.3
"""Within this ratio of a usual one a start is as others are."""
_MOST_SECONDS = 7200.0


@dataclass(frozen=True, slots=True)
class Starts:
    """What is on its way.

    Attributes:
        entries: `Memory.starts`.
        cold_start: Seconds of a usual start: measured, or else planned.
        measured: `Memory.cold_start`.
        coming: Seconds until each replica that starts serves.
        absent: Replicas that should serve by now.
    """

    entries: tuple[tuple[float, int], ...]
    cold_start: float
    measured: float
    coming: tuple[float, ...]
    absent: int


def starts(signal: Signal, memory: Memory, facts: Facts, now: float) -> Starts:
    """Follow the starts since the last decision: one of a usual age is ready first, the youngest is taken back first."""
    entries, measured = list(memory.starts), memory.cold_start or facts.measured_start
    usual = measured or facts.cold_start
    known = sum(number for _, number in entries)
    done = min(known, max(0, signal.ready - memory.ready))
    for _ in range(done):
        place = _served([_age(when, memory, usual, now) for when, _ in entries], usual)
        if not _found(entries[place][0], memory):
            measured = _learned(measured, now - entries[place][0])
        _take(entries, place)
    # In the second in which one begins to serve another may be asked for.
    more = signal.starting - (known - done)
    if more > 0:
        entries.append((now, more))
    for _ in range(-more):
        _take(entries, -1)
    cold_start = measured or facts.cold_start
    deadline = _DEADLINE * cold_start + _DEADLINE_SECONDS
    ages = [_age(when, memory, cold_start, now) for when, number in entries for _ in range(number)]
    return Starts(
        tuple(entries),
        cold_start,
        measured,
        tuple(max(cold_start - age, _OVERDUE * cold_start) for age in ages if age <= deadline),
        sum(age > deadline for age in ages),
    )


def _found(when: float, memory: Memory) -> bool:
    """Whether a start was under way when the memory began: nobody knows since when."""
    return when <= memory.began


def _age(when: float, memory: Memory, usual: float, now: float) -> float:
    """Seconds since a start was asked for; one that was found under way was half done, as far as chance goes."""
    return now - when + (usual / 2 if _found(when, memory) or memory.empty else 0.0)


def _served(ages: Sequence[float], usual: float) -> int:
    """Return which start has come to its end; nobody says which one it is.

    The oldest of those whose age is that of a start: who took the most usual one of many would measure what was thought before, and less each time.
    One that never comes must not lend its age to another, or a start seems to take longer than it does.
    """
    likely = [place for place, age in enumerate(ages) if _unusual(age, usual) <= math.log(_LIKELY)]
    if likely:
        return max(likely, key=lambda place: ages[place])
    return min(range(len(ages)), key=lambda place: _unusual(ages[place], usual))


def _unusual(age: float, usual: float) -> float:
    """How far an age is from a usual start, as a ratio: half of one is as unlikely as two."""
    return abs(math.log(max(1.0, age) / max(1.0, usual)))


def _take(entries: list[tuple[float, int]], place: int) -> None:
    when, number = entries[place]
    if number > 1:
        entries[place] = (when, number - 1)
    else:
        del entries[place]


def _learned(before: float, seconds: float) -> float:
    """Follow a longer start at once by half, and a shorter one slowly: the first of several is not the usual one."""
    seconds = min(max(1.0, seconds), _MOST_SECONDS)
    if before <= 0:
        return seconds
    return before + (seconds - before) * (0.5 if seconds > before else 0.2)
