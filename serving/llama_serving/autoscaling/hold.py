"""How long a need is held after it is gone: rent or buy, learned from how often it came back. Called by `policy`.

A replica that is kept costs its time. One that is given up and needed again costs a start C, and if requests were late until it served, the
price of these: p for each second for which it was missing, C seconds at most. Without experience a need is held for C, which never costs more than twice the best in replicas' time;
if so many were missing when the load came first, for the price of that as well. With
experience, each number of replicas is held for the time that would have cost least in the past: loads that come every ten minutes are
waited for, and others are not. What only stood by was not late when it came back, and would not have been: only a load that came back is
waited for at its price.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from llama_serving.autoscaling.memory import Bin, Memory

_BINS = 240
_REMEMBERED_SECONDS = 7200.0
"""Shortest memory: what comes each hour is seen to come back only by one who remembers two visits and the pause between them."""
_SHORTEST_BIN = 15.0
_LONGEST_PER_COLD_START = 30.0
"""Longest hold, in starts."""
_LONGEST_SECONDS = 3600.0
_LONGER = 1.1
"""No pause is as long as the one before."""


def bin_seconds(facts_cold_start: float) -> float:
    """Return the width of the bins of `Memory.needs`; the plan's cold start is taken, so that it never changes."""
    return max(_SHORTEST_BIN, facts_cold_start / 8)


def needs(memory: Memory, need: int, now: float, width: float, *, load: int, late: bool) -> tuple[Bin, ...]:
    """Return `Memory.needs` with the need of now.

    Args:
        memory: Of before.
        need: Replicas that are needed, with all that stands by.
        now: Seconds.
        width: Seconds of a bin.
        load: Replicas that keep up with the load of now.
        late: Whether requests are late.
    """
    number, remembered = int(now // width), _remembered_bins(width)
    recent = [entry for entry in memory.needs if number - remembered < entry[0] <= number]
    last = recent.pop() if recent and recent[-1][0] == number else (number, 0, 0, 0)
    return (*recent, (number, max(last[1], need), max(last[2], load), max(last[3], load if late else 0)))


def _remembered_bins(width: float) -> int:
    """Return how many bins of `Memory.needs` are kept."""
    return max(_BINS, math.ceil(_REMEMBERED_SECONDS / width))


def last_hour(seen: Sequence[Bin], now: float, width: float) -> list[int]:
    """Return the needs of the last `_BINS` bins, an hour at least, oldest first."""
    number = int(now // width)
    return [need for bin_number, need, *_ in seen if bin_number > number - _BINS]


def held(
    seen: Sequence[Bin],
    now: float,
    width: float,
    *,
    usual: float,
    cold_start: float,
    price: float,
    target: int,
    sleeps: bool = False,
) -> int:
    """Return the replicas that are still held.

    Args:
        seen: `Memory.needs`.
        now: Seconds.
        width: Seconds of its bins.
        usual: Seconds for which a need is held of which is not known whether it comes back.
        cold_start: Seconds of a start.
        price: What a late request is worth, in multiples of its engine seconds.
        target: Replicas that were asked for: nothing beyond them is held.
        sleeps: Whether there may be no replica: all that comes then is late, and that was chosen.
    """
    for level in range(target, 0, -1):
        last = next((number for number, need, *_ in reversed(seen) if need >= level), None)
        if last is None:
            continue
        hold = hold_seconds(seen, level, width, usual=usual, cold_start=cold_start, price=price, sleeps=sleeps)
        # The need was there at least until its bin began.
        if now - (last + 1) * width < hold:
            return level
    return 0


def hold_seconds(
    seen: Sequence[Bin],
    level: int,
    width: float,
    *,
    usual: float,
    cold_start: float,
    price: float,
    sleeps: bool = False,
) -> float:
    """Return for how long the need of `level` replicas is held; arguments as for `held`."""
    pauses, late = _visits(seen, level, width)
    # A return that was waited for was not late: that does not say that it would not have been.
    missed = price * min(cold_start, late)
    longest = min(_LONGEST_SECONDS, _LONGEST_PER_COLD_START * cold_start)
    # A shorter one is waited for in any case: a need that flickers does not say when a load comes back.
    pauses = [pause for pause in pauses if pause.seconds > usual]
    if not pauses:
        return usual if sleeps else max(usual, min(longest, usual + missed))
    returned = (pause.seconds * _LONGER + width for pause in pauses)
    candidates = sorted({usual, *(seconds for seconds in returned if usual <= seconds <= longest)})

    def cost(hold: float) -> float:
        # Once more it is held for nothing: when the load has gone for good.
        return hold + sum(
            pause.seconds if pause.seconds <= hold else hold + cold_start + missed * pause.ended_by_load
            for pause in pauses
        )

    return min(candidates, key=cost)


@dataclass(slots=True)
class _Pause:
    """Seconds in which fewer replicas were needed, and whether it was the load that needed them again."""

    seconds: float
    ended_by_load: bool = False


def _visits(seen: Sequence[Bin], level: int, width: float) -> tuple[list[_Pause], float]:
    """Each pause between two visits of a need of `level`, and the longest for which a load of so many was late when it came."""
    pauses: list[_Pause] = []
    late_each = [0.0]
    last: int | None = None
    for number, need, load, late in seen:
        if need < level:
            continue
        if last is not None and number - last > 1:
            pauses.append(_Pause((number - last - 1) * width))
            late_each.append(0.0)
        if pauses and load >= level:
            pauses[-1].ended_by_load = True
        # What stands by beyond the load was not missed.
        late_each[-1] += width if late >= level else 0.0
        last = number
    return pauses, max(late_each)
