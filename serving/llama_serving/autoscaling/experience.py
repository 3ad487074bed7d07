"""What followed, in the last hour, when the load looked as it does now. Called by `policy`.

A line says where a load goes if nothing turns. A load that comes in waves turns, and does so again and again: so each earlier moment at which
level and change were those of now, within their noise, says what came of it (Lorenz' analogues). The share p / (1 + p) of
what followed is what a newsvendor stocks. Nobody is asked twice: moments that lie closer together than a start are one episode, and the
line counts as one more. A load that was never seen has no episode, and the line is all there is.
"""

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


Rates = Sequence[float | None]
"""Requests a second, bin by bin."""


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
    rates: Rates, load: Load, width: float, *, ahead: float, cold_start: float, price: float
) -> Experience | None:
    """Return what followed when the load was as it is now; None if it never was.

    Args:
        rates: `rates_of` the memory's levels.
        load: As it is now.
        width: Seconds of a bin.
        ahead: Seconds until a replica that is asked for now can serve.
        cold_start: Seconds of a start.
        price: p.
    """
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
    # Squares of errors: this is asked of each moment of an hour, once a second.
    near, unsure = _NEAR * _NEAR, load.level_error * load.level_error
    for place in range(lag, last - reach):
        level, earlier = rates[place], rates[place - lag]
        if level is None or earlier is None or before is None:
            continue
        away = level - load.level
        if away * away > near * (noise * max(noise, level) + unsure):
            continue
        away = earlier - before
        if away * away > near * 2 * noise * max(noise, earlier):
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


def highest(rates: Rates, load: Load, width: float) -> float:
    """Return the most requests a second of the last hour, less one standard error: the highest of several is high by chance as well.

    Of the load of now only what came in all of the last seconds counts. Engines absorb what is shorter: about as long as a request stays in a full one.

    Args:
        rates: `rates_of` the memory's levels.
        load: As it is now.
        width: Seconds of a bin.
    """
    came = max((rate for rate in rates if rate is not None), default=0.0)
    noise = load.dispersion / (_SMOOTH * width)
    return max(min(load.level, load.highest, load.recent), came - math.sqrt(noise * max(came, noise)))


def rates_of(seen: Sequence[tuple[int, float, float]], width: float) -> Rates:
    """Return requests a second of each bin and the one before it; None where too little was watched.

    Args:
        seen: `Memory.levels`.
        width: Seconds of a bin.
    """
    if not seen or seen[-1][0] - seen[0][0] >= 2 * _BINS:
        return []
    rates: list[float | None] = []
    last, requests, seconds = seen[0][0] - 1, 0.0, 0.0
    for number, more, longer in seen:
        if number > last + 1:
            # Of bins that are not there nothing was seen; a neighbour of one counts if it was watched for long enough.
            rates.append(max(0.0, requests) / seconds if seconds >= width else None)
            rates += [None] * (number - last - 2)
            requests = seconds = 0.0
        watched = seconds + longer
        rates.append(max(0.0, requests + more) / watched if watched >= width else None)
        last, requests, seconds = number, more, longer
    # The first one has no bin before it.
    rates[0] = None
    return rates
