"""How many requests arrive, and how many will when a replica that is asked for now can serve. Called by `policy`.

Arrivals are counted, not guessed from queues: what the engines took since they started, and what the routers hold more than before. The
level and its trend come from the longest time back that one line explains (Lepski's rule), so a step is seen within seconds
and a calm load is averaged over minutes. A trend, and a bend of it, count by how far they stand above their own errors (the positive-part
estimator of James and Stein), and reach no further ahead than they were watched. Of a bend only the tangent reaches ahead: a square
runs away.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from llama_serving.autoscaling.memory import Memory, Row
from llama_serving.autoscaling.signal import Facts, ReplicaReading
from llama_serving.autoscaling.trust import STALE_SECONDS, Trusted, moved_at

BIN_SECONDS = 5.0
_WINDOWS = (10, 20, 40, 80, 160, 320)
"""Seconds back, doubled each time: a line is fitted to each of them."""
_BINS = 65
_LINE_BINS = 10
"""Fewest bins that tell a trend from noise; with fewer the load is taken to stand still."""
_SLOPE_BINS = 2
"""Fewest bins that say how far a trend may be from none."""
_BEND_BINS = 12
"""Fewest bins that tell a bend from noise."""
_BEND_SHRINK = 4.0
"""Square of the standard errors below which a bend counts as none: the slope of a tangent is four times less sure than that of a line."""
_BENT_REACH = 0.7
"""How far ahead a tangent reaches, as a share of the time that was watched: what bends once bends on."""
_SHRINK = 1.0
"""Standard errors below which a slope counts as none: it is looked at every second, and one of them would be passed by chance all the time."""
_DOUBT = 3.0
"""Standard errors by which the last seconds must leave a line before it is given up: with six windows in each of which a few tails
are looked at, three leave about one false alarm in a hundred decisions."""
_LEAST_BINS = 4
_MOST_DISPERSION = 50.0
_RECENT_SECONDS = 30.0
_MEDIAN = 0.455
"""Median of a squared normal number whose mean is 1."""
_FAR, _WITHIN_FAR = 2.0, 0.92
"""Standard errors beyond which a difference counts as one of so many, and the mean of squares that are cut so."""
_PERSISTENT_SECONDS = 8.0
_SEEN_SECONDS = 5.0
_REMEMBERED_SECONDS = 7200.0
_FIRST_REPORT_SECONDS = 15.0
_MOST_FINISHED = 20.0
"""Batches that end in a second: a step takes a twentieth of it at least."""
_MOST_WORK = 2.0
"""Engine seconds that a replica may seem to have done in a second: what is known of it may be wrong by so much."""
_FLICKER_SECONDS = 600.0
_NOISE_REQUESTS, _NOISE = 10.0, 0.1
"""Requests by which queue and counters may disagree: they are not read at the same instant."""
_JUMP_REQUESTS, _JUMP = 60.0, 2.0
"""Growth of a queue in a second that is believed at once: requests, and as a multiple of those that arrived until now."""


NO_FACTS = Facts()


@dataclass(frozen=True, slots=True)
class Load:
    """Requests that arrive, in requests a second.

    Attributes:
        level: Now.
        slope: More of them each second.
        level_error: Standard error of the mean over these seconds.
        slope_error: Standard error of the slope, also of one that counts as none: that it was not seen does not make it sure.
        seconds: How far back one line explains what arrived.
        dispersion: Variance of a count relative to its mean: 1 for arrivals that know nothing of each other.
        recent: Requests a second in the last seconds, whatever a line says: it is wrong where a fall turns.
        highest: Most requests a second that were counted in ten of the last seconds: a line may end above them.
        sure: Share of the slope that is kept, 0 to 1: how far it stands above its own error.
        bend: By how much the slope grows each second, halved; `slope` is that of now.
    """

    level: float
    slope: float
    level_error: float
    slope_error: float
    seconds: float
    dispersion: float
    recent: float = 0.0
    highest: float = math.inf
    sure: float = 0.0
    bend: float = 0.0

    def ahead(self, seconds: float) -> tuple[float, float]:
        """Return the level in so many seconds, and its standard error."""
        reach = min(max(0.0, seconds), self.seconds * (_BENT_REACH if self.bend else 1.0))
        level = max(0.0, self.level + self.slope * reach)
        # A line is surest in its middle.
        return level, math.hypot(self.level_error, self.slope_error * (reach + self.seconds / 2))


def persistent(queues: Sequence[tuple[float, float, float]], which: int) -> float | None:
    """Return what has waited all the time in the last seconds: a queue that flickers is none.

    Args:
        queues: `Memory.queues`.
        which: 1 for routers, 2 for all.

    Returns:
        The smallest number; None if it was not watched for long enough.
    """
    if not queues or queues[-1][0] - queues[0][0] < _SEEN_SECONDS:
        return None
    return min(entry[which] for entry in queues)


def queues(memory: Memory, trust: Trusted, ready: int, now: float) -> tuple[tuple[float, float, float], ...]:
    """Return `Memory.queues` with what waits now; replicas that cannot be believed are as the others, and if none can, as before."""
    if trust.queued is None:
        return memory.queues
    inside = of_all([replica.waiting for replica in trust.replicas], ready, memory.inside)
    recent = [entry for entry in memory.queues if now - _PERSISTENT_SECONDS <= entry[0] < now]
    if recent and now - recent[-1][0] > _SEEN_SECONDS:
        recent = []
    return (*recent, (now, trust.queued, trust.queued + inside))


def of_all(values: Sequence[float], ready: int, before: float) -> float:
    """Return the sum over all ready replicas: those that cannot be believed are as the others, and if none can, as before."""
    return sum(values) * max(1.0, ready / len(values)) if values else (before if ready else 0.0)


def counters(memory: Memory, trust: Trusted, now: float) -> tuple[Row, ...]:
    """Return `Memory.counters` with what is believed now.

    What was known of a silent or frozen replica stays for a while: it may come back, and has not taken all its requests then.
    """
    before = {row[0]: row for row in memory.counters}
    kept: dict[str, Row] = {name: row for name, row in before.items() if now - row[6] < _REMEMBERED_SECONDS}
    for replica in trust.replicas:
        kept[replica.name] = (
            replica.name,
            replica.accepted,
            replica.finished,
            replica.prompt_tokens,
            replica.prompt_pairs,
            replica.generated_tokens,
            moved_at(replica, before.get(replica.name), now),
            replica.kv_usage,
        )
    return tuple(kept.values())


@dataclass(frozen=True, slots=True)
class Counted:
    """What the counters moved by since the last decision, all replicas together."""

    seconds: float = 0.0
    accepted: float = 0.0
    finished: float = 0.0
    prompt_tokens: float = 0.0
    prompt_pairs: float = 0.0
    generated_tokens: float = 0.0


def counted(memory: Memory, trust: Trusted, ready: int, now: float, facts: Facts = NO_FACTS) -> Counted | None:
    """Return what was counted since the last decision; None if that cannot be said.

    A counter that went back belongs to an engine that started anew. Replicas that cannot be believed take as much as the others.
    """
    seconds = now - memory.at
    if memory.empty or not 0 < seconds <= STALE_SECONDS or (ready > 0 and not trust.replicas):
        return None
    before = {row[0]: row for row in memory.counters}
    total = [0.0] * 5
    for replica in trust.replicas:
        last = before.get(replica.name)
        said = (
            replica.accepted,
            replica.finished,
            replica.prompt_tokens,
            replica.prompt_pairs,
            replica.generated_tokens,
        )
        if last is None:
            # It began to serve just now, or else it was silent until now, and when it took its requests is not known.
            began = ready > memory.ready or now - memory.ready_since < _FIRST_REPORT_SECONDS
            moves = list(said) if began and (memory.counters or memory.ready == 0) else [0.0] * 5
            # One that has done more was there before: Serve lists engines one after the other when its controller is new.
            share = 0.0 if _leapt(moves, _FIRST_REPORT_SECONDS, replica, facts) else 1.0
        else:
            moves = [new if new < old else new - old for new, old in zip(said, last[1:6], strict=True)]
            away = now - last[6]
            share = seconds / away if away > STALE_SECONDS else 1.0
            if _leapt(moves, seconds / share, replica, facts, _longest_prompts(replica, facts)):
                share = 0.0
        total = [sum_ + move * share for sum_, move in zip(total, moves, strict=True)]
    silent = ready / len(trust.replicas) if trust.replicas else 1.0
    return Counted(seconds, *(value * max(1.0, silent) for value in total))


def _longest_prompts(replica: ReplicaReading, facts: Facts) -> float:
    """Return the engine seconds of all that the cache holds: a prompt is counted when it ends, and long ones may end together after minutes."""
    return facts.per_token * replica.kv_tokens + facts.per_pair * replica.kv_tokens**2 / 2


def _leapt(
    moves: Sequence[float], seconds: float, replica: ReplicaReading, facts: Facts, under_way: float = 0.0
) -> bool:
    """Whether counters moved by more than an engine can do: they stood still before, and nobody knows for how long.

    Args:
        moves: As `ReplicaReading` has the counters.
        seconds: For so long.
        replica: Has the slots.
        facts: What work costs.
        under_way: Engine seconds that may have been done before, and are counted now.
    """
    _, finished, prompts, pairs, answers = moves
    if finished > _MOST_FINISHED * max(1.0, replica.slots) * max(1.0, seconds):
        return True
    # Without pairs and the weights it is less than what was done.
    done = facts.per_token * (prompts + answers) + facts.per_pair * pairs
    return done > _MOST_WORK * seconds + STALE_SECONDS + under_way


def bins(memory: Memory, moved: Counted | None, grown: float, now: float) -> tuple[tuple[int, float, float], ...]:
    """Return `Memory.bins` with what arrived since the last decision.

    Args:
        memory: Of before.
        moved: What was counted; None adds nothing.
        grown: Requests by which the routers hold more.
        now: Seconds.
    """
    number = int(now // BIN_SECONDS)
    recent = [entry for entry in memory.bins if number - _BINS < entry[0] <= number]
    if moved is None:
        return tuple(recent)
    last = recent.pop() if recent and recent[-1][0] == number else (number, 0.0, 0.0)
    return (*recent, (number, last[1] + moved.accepted + grown, last[2] + moved.seconds))


def held_in_routers(
    memory: Memory, moved: Counted | None, waiting: tuple[tuple[float, float, float], ...], now: float
) -> tuple[float, float]:
    """Return `Memory.held` and `Memory.flickers_until`: what the routers hold, as far as it is believed.

    What was taken and what is held add up to all that ever came. That never gets less, and it does not grow by more in a second than loads do: if it
    does, the number flickers, and for ten minutes only what stays counts. What stays lags behind, and a replica that takes what
    waits looks like more arrivals: so it is not used without need.

    Args:
        memory: Of before.
        moved: What was counted; None begins anew.
        waiting: `queues` of now.
        now: Seconds.
    """
    until = memory.flickers_until
    if not waiting or moved is None or not memory.queues:
        return (waiting[-1][1] if waiting else 0.0), until
    queue, before = waiting[-1][1], memory.queues[-1][1]
    most = max(_JUMP_REQUESTS, _JUMP * max(0.0, memory.level)) * moved.seconds
    came = moved.accepted + queue - before
    if queue - before > most or came < -(_NOISE_REQUESTS + _NOISE * before):
        until = now + _FLICKER_SECONDS
    if now < until:
        stays = persistent(waiting, 1)
        queue = memory.held if stays is None else stays
    return memory.held + min(max(queue - memory.held, -most - moved.accepted), most), until


def load(seen: Sequence[tuple[int, float, float]], now: float) -> Load | None:
    """Return the level and the trend; None before anything was counted.

    Args:
        seen: `Memory.bins`.
        now: Seconds.
    """
    points = [
        ((number + 0.5) * BIN_SECONDS - now, max(0.0, requests) / seconds, seconds)
        for number, requests, seconds in seen
        if seconds >= BIN_SECONDS * 0.4
    ]
    if not points:
        return None
    dispersion = _dispersion(points)
    chosen: Load | None = None
    seen_long = -points[0][0] > BIN_SECONDS * _LINE_BINS * 2
    for window in _WINDOWS:
        inside = [point for point in points if point[0] > -window - BIN_SECONDS / 2]
        if chosen is not None and -points[0][0] < window * 0.75:
            break
        if not inside:
            # Nothing was seen of late, as after a pause.
            continue
        fitted = _line(inside, window, dispersion)
        if chosen is not None and not _explains(fitted, inside, dispersion):
            break
        chosen = fitted
    if chosen is None:
        return None
    # A load that has just left its line is taken to stand still; of one that nobody knows yet not even that is known.
    error = 0.0 if seen_long and chosen.seconds < BIN_SECONDS * _LINE_BINS else chosen.slope_error
    return replace(chosen, recent=_recent(points), highest=_highest(points), slope_error=error)


Point = tuple[float, float, float]
"""When, in seconds from now; requests a second; seconds that were watched."""


def _recent(points: Sequence[Point]) -> float:
    near = [point for point in points if point[0] > -_RECENT_SECONDS]
    watched = sum(seconds for *_, seconds in near)
    return sum(rate * seconds for _, rate, seconds in near) / watched if watched else 0.0


def _highest(points: Sequence[Point]) -> float:
    """Most requests a second in two neighbouring bins of the last seconds; infinite while there is only one."""
    near = [point for point in points if point[0] > -_RECENT_SECONDS]
    rates = [(one[1] * one[2] + two[1] * two[2]) / (one[2] + two[2]) for one, two in itertools.pairwise(near)]
    return max(rates, default=math.inf)


def _dispersion(points: Sequence[Point]) -> float:
    """Variance of counts relative to their mean, by the differences of neighbours: a trend does not show in it."""
    squares = []
    for sooner, later in itertools.pairwise(points):
        mean = (later[1] + sooner[1]) / 2
        if mean > 0:
            squares.append((later[1] - sooner[1]) ** 2 * min(later[2], sooner[2]) / 2 / mean)
    if len(squares) < _LEAST_BINS:
        return 1.0
    # A step is in one or two of them, and says nothing of the noise: what is far beyond the median counts as less.
    most = _FAR**2 * sorted(squares)[len(squares) // 2] / _MEDIAN
    return min(max(1.0, sum(min(one, most) for one in squares) / len(squares) / _WITHIN_FAR), _MOST_DISPERSION)


def _line(points: Sequence[Point], window: float, dispersion: float) -> Load:
    """Fit a straight line, bend it as far as that is sure, and draw its slope to zero by its own error."""
    weight = when = mean = 0.0
    for time, rate, seconds in points:
        weight += seconds
        when += time * seconds
        mean += rate * seconds
    when, mean = when / weight, mean / weight
    # An empty stretch has the error of one request in it.
    noise = dispersion * max(mean, 1 / weight)
    mean_error = math.sqrt(noise / weight)
    spread = slope = squares = third = 0.0
    for time, rate, seconds in points:
        away = time - when
        spread += seconds * away * away
        slope += seconds * away * (rate - mean)
        third += seconds * away**3
    if spread <= 0 or len(points) < _SLOPE_BINS:
        return Load(mean, 0.0, mean_error, 0.0, window, dispersion)
    slope /= spread
    slope_error = math.sqrt(noise / spread)
    bend = 0.0
    if len(points) >= _BEND_BINS:
        # What of a square is neither level nor slope.
        level_of, slope_of = spread / weight, third / spread
        for time, rate, seconds in points:
            away = time - when
            rest = away * away - level_of - slope_of * away
            squares += seconds * rest * rest
            bend += seconds * rest * rate
        bend = bend / squares if squares > 0 else 0.0
        bend *= max(0.0, 1 - _BEND_SHRINK * noise / squares / bend**2) if bend**2 > 0 else 0.0
        mean -= bend * level_of
        slope -= bend * slope_of
    kept = max(0.0, 1 - (_SHRINK * slope_error / slope) ** 2) if slope and len(points) >= _LINE_BINS else 0.0
    now = -when
    return Load(
        level=max(0.0, mean + kept * slope * now + bend * now * now),
        slope=kept * slope + 2 * bend * now,
        level_error=mean_error,
        slope_error=slope_error,
        seconds=window,
        dispersion=dispersion,
        sure=kept,
        bend=bend,
    )


def _explains(line: Load, points: Sequence[Point], dispersion: float) -> bool:
    """Whether both ends lie where the line says, however many seconds of them are looked at together.

    A line through a step leaves it at both ends; which of them is the longer one depends on when the step was.
    """
    return _fits(line, reversed(points), dispersion) and _fits(line, points, dispersion)


def _fits(line: Load, points: Iterable[Point], dispersion: float) -> bool:
    off = watched = expected = 0.0
    for time, rate, seconds in points:
        said = max(0.0, line.level + line.slope * time + line.bend * time * time)
        off += (rate - said) * seconds
        watched += seconds
        expected += said * seconds
        if watched > line.seconds / 2:
            break
        if watched >= 2 * BIN_SECONDS * 0.7 and abs(off) > _DOUBT * math.sqrt(dispersion * max(expected, 1.0)):
            return False
    return True
