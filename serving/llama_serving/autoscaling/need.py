"""How many replicas a load needs: those that keep up, and those that clear what already waits. Called by `policy`.

One price rules all trade-offs: what a late request is worth, in multiples of the engine seconds that it costs
(`Knobs.price`, p). A reserve is worth what a newsvendor's stock is, replicas for a backlog follow a square root, and what is
released too early is judged as rent or buy (`hold`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from llama_serving.autoscaling.arrivals import Load
from llama_serving.autoscaling.experience import Experience
from llama_serving.autoscaling.foretold import Foretold
from llama_serving.autoscaling.signal import Facts, Knobs
from llama_serving.autoscaling.work import Work

_ROUND_DOWN = 0.1
"""Share of a replica that is not worth one."""
_VARIATION = 1.0
"""Squared variation of the work of requests, as of exponential lengths."""
_UNKNOWN = 0.2
"""Standard error of a load one start ahead, as a share of it, before any forecast of it could be checked."""
_SEEN = 0.5
"""Share of the errors of earlier forecasts that is stocked for. The largest ones come when a load begins to move, and once; a load that
wanders has them all the time, and nothing that stands by is cheap enough for these."""
NOTHING_FORETOLD = Foretold()
_SUDDEN = 0.7
"""Share of the load that stands by, at the price of `Latency` and above, for a rise that nothing announces. In one of a hundred starts of 30 to 600 s a load of many
clients rises by more than 0.2 to 0.7 of itself (Azure's conversations), and one of a heavy client by 0.4 to 3 (ServeGen's 142 and 148). A whole replica more
than that is idle for most of the time, and a rise beyond twice the load is not believed before it came."""
_SUDDEN_FROM, _SUDDEN_AT = 20.0, 100.0
"""Prices between which it grows: with `Balanced` a replica that stands by costs more than the few late requests that it would save."""
_STEPS = 40
_CERTAIN = 0.5
"""Standard errors that the load must be above what serves before more is asked for than keeps up."""
MOST = 2
"""Most replicas that are asked for, as a multiple of those that keep up: with what comes now for a trend, which may be wrong, and a load that goes on is
asked for again in a second; with the most that ever came for a backlog, which a load leaves behind that has risen before."""
MOST_WITH_ABSENT = 1.2
"""Most replicas while starts are overdue, as a multiple of the need, rounded up: hardware that is not there is not asked for without end."""
_OVERRUN = 1.2
"""Correction of the work that no bound counts. Engines that are overrun deliver 3 to 16 % less than full ones in the rows of the bench, and no longer when the
backlog is gone. A card that is slower than the plan thinks stays so."""
_MOST_SURGE = 1.0
"""Replicas for a backlog, as a multiple of those that the load needs: it is over when they begin to serve if it was small."""


@dataclass(frozen=True, slots=True)
class Need:
    """Replicas, before rounding.

    Attributes:
        work: Engine seconds that arrive in a second, at the time when a replica that is asked for now can serve.
        share: Share of an engine that may be used.
        reserve: Replicas beyond `work / share`.
        steady: Whole replicas that keep up.
        certain: `work / share`, as far as it is certain.
        most: Whole replicas beyond which nothing is believed.
        least: Whole replicas that what came in the last seconds needs.
        until: Engine seconds that arrive in a second until then, on average, as far as they are certain.
        now: Whole replicas that keep up with what comes now.
        bare: As `steady`, without what the forecast may be wrong by.
        standing: As `bare`, with what stands by for a rise that nothing announces.
        peak: Whole replicas beyond which none is asked for because of a backlog.
    """

    work: float
    share: float
    reserve: float
    steady: int
    certain: float = 0.0
    most: int = 1_000_000
    least: int = 0
    until: float = 0.0
    now: int = 0
    bare: int = 0
    peak: int = 1_000_000
    standing: int = 0


def usable_share(one: Work, facts: Facts, price: float, requests: float) -> float:
    """Return the share of an engine that may be used before prompts wait for prompts.

    Prompts are computed in the order in which they come. A prompt that waits does so for longer than t with a chance of about
    exp(-2 t (1 - r) E[S] / E[S^2]) (Pollaczek and Khinchine; S: seconds of a prompt, r: the share of an engine that prompts take). It waits if
    the engine that it goes to is busy with prompts. One engine is so with the chance r, both of two that were drawn by chance with r^2
    (Mitzenmacher 1996), and all of n with about r^(sqrt(2 (n + 1)) - 1) (Sakasegawa 1977). Waits beyond the objective may have the
    chance 1 / (1 + p): then one more replica costs what it saves. A prompt that alone takes longer than the objective is late whatever is free, so it
    has no price.

    Args:
        one: What a request costs.
        facts: Has the objective, and among how many engines a router chooses.
        price: p.
        requests: Requests a second, of all engines; without any the share is 1.
    """
    if requests <= 0 or one.prefill <= 0 or one.request <= 0:
        return 1.0
    left, worth = _in_time(one.prefill, facts.objective)
    chance = 1 / (1 + max(0.0, price) * worth)
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        engines = max(1.0, requests * one.prefill / middle)
        busy = middle ** max(1.0, min(facts.choices, math.sqrt(2 * (engines + 1)) - 1))
        waits = busy * math.exp(-2 * left * (1 - middle) * one.prefill / max(1e-12, one.prefill_square))
        low, high = (middle, high) if waits <= chance else (low, middle)
    # Answers are computed beside the prompts, and take the rest.
    return min(1.0, max(0.2, low * one.request / one.prefill))


def _in_time(prefill: float, objective: float) -> tuple[float, float]:
    """Return what the objective leaves for waiting, and the share of the work that can be in time at all.

    Prompts have lengths as if exponential: of mean m, those below x m are 1 - exp(-x) of all, and 1 - (1 + x) exp(-x) of their work.

    Args:
        prefill: Mean seconds of a prompt, m.
        objective: Seconds, x m.
    """
    times = max(0.0, objective) / prefill
    requests = -math.expm1(-times)
    if requests <= 0:
        return 0.0, 0.0
    share = max(0.0, requests - times * math.exp(-times))
    return objective - prefill * share / requests, share


def steady(
    load: Load,
    one: Work,
    facts: Facts,
    knobs: Knobs,
    ahead: float,
    known: Experience | None = None,
    earlier: Foretold = NOTHING_FORETOLD,
    highest: float = 0.0,
    correction: float = 1.0,
) -> Need:
    """Return the replicas that keep up with what will arrive.

    Args:
        load: What arrives.
        one: What a request costs.
        facts: Has the objective.
        knobs: Price and reserve.
        ahead: Seconds until a replica that is asked for now can serve.
        known: What followed on such a load; None if that is not known.
        earlier: What came of earlier forecasts.
        highest: Most requests a second that ever came, as far as that is remembered.
        correction: Of `one`, by what the engines delivered.
    """
    expected, error = load.ahead(ahead)
    expected -= (1 - earlier.share) * max(0.0, expected - load.level)
    # As if one forecast had missed by that, and the others by what they did.
    unknown, seen = (_UNKNOWN * load.level) ** 2, (_SEEN * earlier.error) ** 2
    error = max(error, math.sqrt((unknown + earlier.forecasts * seen) / (1 + earlier.forecasts)))
    if max(expected, load.level, load.recent) <= 0:
        # What waited a moment ago is no reason for more: routers that hand over their queue look like this.
        return Need(0.0, 1.0, 0.0, 0, most=0, peak=0)
    stocked = expected + quantile(knobs.price) * error
    if known is not None:
        # The line counts as one episode.
        share = 1 / (1 + known.episodes)
        expected += (1 - share) * (known.usual - expected)
        stocked += (1 - share) * (known.enough - stocked)
        error *= share
    # What followed has its chance taken off, and may be less than nothing then.
    expected = max(0.0, expected)
    share = usable_share(one, facts, knobs.price, max(expected, load.level))
    arriving = expected * one.request
    # An engine below its limit takes more than its rate for as long as a request stays: answers become slower, and nobody waits.
    absorbed = max(one.stay, facts.objective)
    spread = quantile(knobs.price) ** 2 * one.request * (load.dispersion + _VARIATION) / absorbed
    sudden = stands_by(knobs.price) * max(expected, load.level) * one.request / share
    doubt = max(0.0, (stocked - expected) * one.request / share, sudden)
    reserve = math.hypot(math.sqrt(spread * arriving), doubt)
    certain = (expected - _CERTAIN * error) * one.request / share
    now = (load.level - _CERTAIN * load.level_error) * one.request / share
    coming = load.level * one.request
    beside = math.ceil(knobs.reserve)
    lasting = one.request / share / max(1.0, min(correction, _OVERRUN))
    bounded, largest = min(load.level, load.highest) * lasting, highest * lasting
    return Need(
        arriving,
        share,
        reserve,
        rounded_up(arriving / share + reserve) + beside,
        max(0.0, certain),
        _more_than_one(bounded, math.ceil(MOST * (bounded - _ROUND_DOWN))) + beside,
        rounded_up(load.recent * one.request / share) + beside,
        max(0.0, (now + certain) / 2),
        rounded_up(coming / share + math.sqrt(spread * coming)) + beside,
        rounded_up(arriving / share + math.sqrt(spread * arriving)) + beside,
        _more_than_one(largest, MOST * math.floor(largest)) + beside,
        rounded_up(arriving / share + math.hypot(math.sqrt(spread * arriving), sudden)) + beside,
    )


def _more_than_one(replicas: float, bound: int) -> int:
    """Return a bound for those who need so many replicas; one more is always within it."""
    return 0 if replicas <= 0 else max(bound, rounded_up(replicas) + 1)


def made_up(wish: int, absent: int, need: Need) -> int:
    """Return the replicas that are asked for while `absent` starts are overdue: others in their place, as far as that is bounded.

    Where starts fail, many more of them would not help. What stands by because the forecast may be wrong is not made up for.
    """
    if absent <= 0:
        return wish
    return min(wish + absent, max(need.steady, math.ceil(MOST_WITH_ABSENT * need.bare)))


def stands_by(price: float) -> float:
    """Return the share of the load that stands by for a rise that nothing announces; `price` is p."""
    return _SUDDEN * min(1.0, max(0.0, (price - _SUDDEN_FROM) / (_SUDDEN_AT - _SUDDEN_FROM)))


def quantile(price: float) -> float:
    """Return how many standard errors of reserve are worth their cost: the chance of too little is to be 1 / (1 + p)."""
    return max(0.0, NormalDist().inv_cdf(min(0.9999, max(0.5, price / (1 + price)))))


def rounded_up(replicas: float) -> int:
    """Return whole replicas; at least one of a positive number."""
    return 0 if replicas <= 0 else max(1, math.ceil(replicas - _ROUND_DOWN))


def waiting_work(waiting: float, allowed: float, one: Work) -> float:
    """Return the engine seconds of the requests that wait and may not."""
    return max(0.0, waiting - allowed) * one.request


def surge(
    backlog: float,
    need: Need,
    free: Sequence[float],
    coming: Sequence[float],
    ahead: float,
    *,
    price: float,
    slack: float,
) -> int:
    """Return the replicas that are worth having for what waits, and what will; 0 if what is there and starts will do.

    At the time at which a replica that is asked for now can serve, a backlog b remains. n replicas on a load r clear it in b / (n - r)
    seconds, in which all that arrives is late. A replica costs its start once. The sum of both is smallest at n = r + sqrt(p r b / C). What waits
    in an engine stays there: it is no backlog of the others, and this engine takes nothing until it is computed.

    Args:
        backlog: Engine seconds that wait in routers now.
        need: The load.
        free: Of each replica that serves, the seconds after which it has computed what waits in it.
        coming: Seconds until each of those that start serves.
        ahead: Seconds until a replica that is asked for now can serve: C.
        price: p.
        slack: Seconds that a request may wait.
    """
    arriving = need.certain
    able = sum(max(0.0, ahead - seconds) for seconds in (*free, *coming))
    later = backlog + need.until * ahead - able - slack * arriving
    if later <= 0 or arriving <= 0:
        return 0
    over = min(math.sqrt(price * arriving * later / max(1.0, ahead)), _MOST_SURGE * max(1.0, arriving))
    return rounded_up(arriving + over)
