"""How long a need is held after it is gone: rent or buy, learned from how often it came back. Called by `policy`.

A replica that is kept costs its time. One that is given up and needed again costs a start C, and if requests were late until it served, the
price of these: p for each second for which it was missing, C seconds at most. Without experience a need is held for C, which never costs more than twice the best in replicas' time. With
experience, each number of replicas is held for the time that would have cost least in the past: loads that come every ten minutes are
waited for, and others are not.
"""

from collections.abc import Sequence

from llama_serving.autoscaling.memory import Memory

_BINS = 240
_SHORTEST_BIN = 15.0
_LONGEST_PER_COLD_START = 30.0
"""Longest hold, in starts."""
_LONGEST_SECONDS = 3600.0
_LONGER = 1.1
"""No pause is as long as the one before."""


def bin_seconds(facts_cold_start: float) -> float:
    """Return the width of the bins of `Memory.needs`; the plan's cold start is taken, so that it never changes."""
    return max(_SHORTEST_BIN, facts_cold_start / 8)


def needs(memory: Memory, need: int, now: float, width: float, *, late: int) -> tuple[tuple[int, int, int], ...]:
    """Return `Memory.needs` with the need of now."""
    number = int(now // width)
    recent = [entry for entry in memory.needs if number - _BINS < entry[0] <= number]
    last = recent.pop() if recent and recent[-1][0] == number else (number, 0, 0)
    return (*recent, (number, max(last[1], need), max(last[2], late)))


def held(
    seen: Sequence[tuple[int, int, int]],
    now: float,
    width: float,
    *,
    usual: float,
    cold_start: float,
    price: float,
    target: int,
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
    """
    for level in range(target, 0, -1):
        last = next((number for number, need, _ in reversed(seen) if need >= level), None)
        if last is None:
            continue
        # The need was there at least until its bin began.
        if now - (last + 1) * width < hold_seconds(seen, level, width, usual=usual, cold_start=cold_start, price=price):
            return level
    return 0


def hold_seconds(
    seen: Sequence[tuple[int, int, int]], level: int, width: float, *, usual: float, cold_start: float, price: float
) -> float:
    """Return for how long the need of `level` replicas is held."""
    gaps, lates = _stays(seen, level, width)
    # A return that was waited for was not late, and that does not say that it would not have been.
    again = cold_start + price * min(cold_start, max(lates, default=0.0))
    longest = min(_LONGEST_SECONDS, _LONGEST_PER_COLD_START * cold_start)
    if not gaps:
        return max(usual, min(longest, usual + again - cold_start))
    returned = (gap * _LONGER + width for gap in gaps)
    candidates = sorted({usual, *(seconds for seconds in returned if usual <= seconds <= longest)})

    def cost(hold: float) -> float:
        # Once more it is held for nothing: when the load has gone for good.
        return hold + sum(gap if gap <= hold else hold + again for gap in gaps)

    return min(candidates, key=cost)


def _stays(seen: Sequence[tuple[int, int, int]], level: int, width: float) -> tuple[list[float], list[float]]:
    """Seconds for which fewer replicas were needed, and for how long a load of so many was late each time that it came."""
    gaps: list[float] = []
    lates: list[float] = []
    last: int | None = None
    for number, need, late in seen:
        if need < level:
            continue
        if last is None or number - last > 1:
            lates.append(0.0)
        if last is not None and number - last > 1:
            gaps.append((number - last - 1) * width)
        if late >= level:
            lates[-1] += width
        last = number
    return gaps, lates
