"""What followed, in the last hour, when the load looked as it does now. Called by `policy`.

A line says where a load goes if nothing turns. A load that comes in waves turns, and does so again and again: so each earlier moment at which
level and change were those of now, within their noise, says what came of it (Lorenz' analogues). The share p / (1 + p) of
what followed is what a newsvendor stocks. Nobody is asked twice: moments that lie closer together than a start are one episode, and the
line counts as one more. A load that was never seen has no episode, and the line is all there is.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from llama_serving.autoscaling.arrivals import Counted, Load
from llama_serving.autoscaling.memory import Memory

_BINS = 240
_SMOOTH = 2
"""Bins over which a level is taken: one has too much noise, and peaks of fewer seconds are for the reserve."""
_NEAR = 2.0
"""Standard errors within which two levels are the same."""
_LAG = 0.5
"""How far back the change is looked at, in starts."""


@dataclass(frozen=True, slots=True)
class Experience:
    """Requests a second that followed.

    Attributes:
        usual: On average.
        enough: What was enough in the share p / (1 + p) of the cases.
        episodes: How often such a load was seen.
    """

    usual: float
    enough: float
    episodes: int


def levels(
    memory: Memory, moved: Counted | None, grown: float, now: float, width: float
) -> tuple[tuple[int, float, float], ...]:
    """Return `Memory.levels` with what arrived since the last decision.

    Args:
        memory: Of before.
        moved: What was counted; None adds nothing.
        grown: Requests by which the routers hold more.
        now: Seconds.
        width: Seconds of a bin.
    """
    if moved is None:
        return memory.levels
    number = int(now // width)
    before = memory.levels
    if before and before[-1][0] == number:
        _, requests, seconds = before[-1]
        return (*before[:-1], (number, requests + moved.accepted + grown, seconds + moved.seconds))
    recent = before if len(before) < _BINS else before[1 - _BINS :]
    return (*recent, (number, moved.accepted + grown, moved.seconds))


def experience(
    seen: Sequence[tuple[int, float, float]], load: Load, width: float, *, ahead: float, cold_start: float, price: float
) -> Experience | None:
    """Return what followed when the load was as it is now; None if it never was.

    Args:
        seen: `Memory.levels`.
        load: As it is now.
        width: Seconds of a bin.
        ahead: Seconds until a replica that is asked for now can serve.
        cold_start: Seconds of a start.
        price: p.
    """
    rates = _rates(seen, width)
    reach, lag = max(1, math.ceil(ahead / width)), max(1, round(_LAG * cold_start / width))
    last = len(rates) - 1
    if last < lag + reach + _SMOOTH:
        return None
    noise = load.dispersion / (_SMOOTH * width)
    before = rates[last - lag]
    followed: list[float] = []
    # The highest of several is high by chance as well (Blom's approximation); that is for the reserve.
    drawn = max(2.0, (reach + 1) / _SMOOTH)
    chance = NormalDist().inv_cdf((drawn - 0.375) / (drawn + 0.25))
    episodes, latest = 0, -math.inf
    for place in range(lag, last - reach):
        level, earlier = rates[place], rates[place - lag]
        if level is None or earlier is None or before is None:
            continue
        error = math.sqrt(noise * max(level, noise))
        if abs(level - load.level) > _NEAR * math.hypot(error, load.level_error):
            continue
        if abs(earlier - before) > _NEAR * math.sqrt(2 * noise * max(earlier, noise)):
            continue
        came = max(rate for rate in rates[place : place + reach + 1] if rate is not None)
        followed.append(came - chance * math.sqrt(noise * max(came, noise)))
        if place - latest > reach:
            episodes, latest = episodes + 1, place
    if not followed:
        return None
    followed.sort()
    enough = followed[min(len(followed) - 1, int(price / (1 + price) * len(followed)))]
    return Experience(sum(followed) / len(followed), enough, episodes)


def highest(seen: Sequence[tuple[int, float, float]], load: Load, width: float) -> float:
    """Return the most requests a second of the last hour, less one standard error: the highest of several is high by chance as well.

    Args:
        seen: `Memory.levels`.
        load: As it is now.
        width: Seconds of a bin.
    """
    came = max((rate for rate in _rates(seen, width) if rate is not None), default=0.0)
    noise = load.dispersion / (_SMOOTH * width)
    return max(min(load.level, load.highest), came - math.sqrt(noise * max(came, noise)))


def _rates(seen: Sequence[tuple[int, float, float]], width: float) -> list[float | None]:
    """Requests a second of each bin and the one before it; None where too little was watched."""
    if not seen:
        return []
    first = seen[0][0]
    counts = [(0.0, 0.0)] * (seen[-1][0] - first + 1) if seen[-1][0] - first < 2 * _BINS else []
    if not counts:
        return []
    for number, requests, seconds in seen:
        counts[number - first] = (requests, seconds)
    rates: list[float | None] = [None]
    for (requests, seconds), (more, longer) in itertools.pairwise(counts):
        watched = seconds + longer
        rates.append(max(0.0, requests + more) / watched if watched >= width else None)
    return rates
