"""What came of the forecasts of the last hour: how much of a trend to believe. Called by `policy`.

Some loads go on as they rise, others wander: the same line over the last minutes means more in the first. Each forecast is kept until the time
that it spoke of, and laid beside what came. The share of the foretold rises that came true (regression through the origin) is
the share of the next one that is believed. Before anything came true a line is believed: so as many forecasts as one start holds, with the
error of those that were seen, count as right.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

_BINS = 240
_JUMP = 0.4
"""Largest error, as a share of the usual load: more is a jump, and says nothing of the next trend."""


@dataclass(frozen=True, slots=True)
class Foretold:
    """How good forecasts of rises were.

    Attributes:
        share: Share of them that came true, 0 to 1.
        error: Requests a second by which more came than was foretold, as a standard error; 0 if nothing was foretold yet.
        forecasts: How many starts' worth of forecasts that rests on.
    """

    share: float = 1.0
    error: float = 0.0
    forecasts: float = 0.0


def foretold(
    before: Sequence[tuple[int, float, float]], level: float, expected: float, *, now: float, ahead: float, width: float
) -> tuple[tuple[int, float, float], ...]:
    """Return `Memory.foretold` with the forecast of now: one for each bin.

    Args:
        before: Of before.
        level: Requests a second now.
        expected: Requests a second that the line foretells.
        now: Seconds.
        ahead: Seconds until then.
        width: Seconds of the bins of `Memory.levels`.
    """
    due = int((now + ahead) // width)
    if before and before[-1][0] >= due:
        return tuple(before)
    return (*before[1 - _BINS :], (due, level, expected))


def judged(
    said: Sequence[tuple[int, float, float]],
    seen: Sequence[tuple[int, float, float]],
    *,
    ahead: float,
    width: float,
    dispersion: float,
    chance: float,
) -> Foretold:
    """Lay what was foretold beside what came.

    Args:
        said: `Memory.foretold`.
        seen: `Memory.levels`.
        ahead: Seconds that forecasts reach.
        width: Seconds of a bin.
        dispersion: Of arrivals: what came has noise in it that was not to be foretold.
        chance: The share p / (1 + p) of the cases in which what stands by is to be enough.
    """
    watched = _watched(seen[:-1], width)
    pairs = [
        (max(0.0, expected - level), watched[due][0] - level, watched[due][1])
        for due, level, expected in said
        if due in watched
    ]
    if not pairs:
        return Foretold()
    reach = max(1.0, ahead / width)
    squares = sum(rise * rise for rise, _, _ in pairs)
    right = sum((more - rise) ** 2 for rise, more, _ in pairs) / len(pairs) * reach
    both = sum(rise * more for rise, more, _ in pairs)
    share = min(1.0, max(0.0, (both + right) / (squares + right))) if squares + right > 0 else 1.0
    beyond = sorted(more - share * rise for rise, more, _ in pairs)
    missed = max(0.0, beyond[min(len(beyond) - 1, int(chance * len(beyond)))])
    normal = max(0.1, NormalDist().inv_cdf(min(0.9999, max(0.5, chance))))
    noise = dispersion * sum(noise for *_, noise in pairs) / len(pairs)
    error = math.sqrt(max(0.0, (missed / normal) ** 2 - noise))
    usual = sum(rate for rate, _ in watched.values()) / len(watched)
    return Foretold(share, min(error, _JUMP * usual), len(pairs) / reach)


def _watched(seen: Sequence[tuple[int, float, float]], width: float) -> dict[int, tuple[float, float]]:
    """Requests a second of each bin and the one before it, and the variance of that where arrivals know nothing of each other."""
    found = {}
    for (before, some, watched), (number, more, longer) in itertools.pairwise(seen):
        seconds = watched + longer
        if number == before + 1 and seconds >= width:
            rate = max(0.0, (some + more) / seconds)
            found[number] = rate, rate / seconds
    return found
