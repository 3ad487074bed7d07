"""The decision: how many replicas there should be, why in numbers, and what to remember. Pure; called by `serve` and the simulator."""

import math
from dataclasses import dataclass, replace

from llama_serving.autoscaling.arrivals import (
    Counted,
    Load,
    bins,
    counted,
    counters,
    held_in_routers,
    load,
    of_all,
    persistent,
    queues,
)
from llama_serving.autoscaling.experience import experience, highest, levels
from llama_serving.autoscaling.foretold import Foretold, foretold, judged
from llama_serving.autoscaling.hold import bin_seconds, held, needs
from llama_serving.autoscaling.memory import Memory
from llama_serving.autoscaling.need import MOST, Need, quantile, rounded_up, steady, surge, waiting_work
from llama_serving.autoscaling.signal import Facts, Knobs, Signal
from llama_serving.autoscaling.starts import Starts, starts
from llama_serving.autoscaling.trust import Trusted, trusted
from llama_serving.autoscaling.work import Work, busy, corrected, delivered, lengths, occupancy, work

_REPORT_SECONDS = 10.0
"""From the decision to a replica that serves: the start, and what reports and the router take."""
_OCCUPIED = 0.85
"""Share of the remaining engines that what runs now may fill."""
_LEARNED_SHARE = 0.7
"""Share of places that may be used where nothing is known of the engine."""
_SURGE_SECONDS = 30.0
"""Replicas for a backlog are not taken back sooner: it is known to a few seconds only."""
_CALM_SECONDS, _CALM = 15.0, 0.25
"""For so long, or this share of a start, nothing may have been late before anything is given up: replicas that were asked for together
serve within a fifth of a start."""
_RISING = 2.0
"""Standard errors by which the load is more than in the last seconds: as far as chance goes."""
_LATE = 0.5
"""Share of the objective that a request may wait before its prompt is computed, which takes time as well."""
_HANDED_OVER_SECONDS = 6.0
"""For so long a new replica gets what the routers held. It was counted there, and their mean over some seconds still has it."""
_KNOWN_SECONDS = 100.0
"""For so long a load must be watched before its trend is told from noise (`arrivals`). Starts that are shorter do not make a fall surer."""
_BLIND_SECONDS = 10.0
"""A report or two that is lost says nothing."""
_LASTING_SECONDS = 20.0
"""So long one line must explain a load before replicas are started for what it leaves behind."""
_SOME_WORK = 0.01
_MOST_WITH_ABSENT = 1.2
"""Most replicas while starts are overdue, as a multiple of the need, rounded up: hardware that is not there is not asked for without end."""
_MOST_IN_DOUBT = 1.2
"""Most replicas while not all can be believed, as a multiple of what was needed before; no more than that if none can."""


@dataclass(frozen=True, slots=True)
class Decision:
    """How many replicas there should be.

    Attributes:
        replicas: Within the bounds.
        reason: Why, for people, in numbers.
        memory: For the next decision.
        arrivals: Requests a second now; None if unknown.
        request_seconds: Engine seconds of a request; None if unknown.
        need: Replicas that the load needs; None if unknown.
        wish: As `replicas`, without the bounds: what somebody else who scales should ask for; None if unknown.
    """

    replicas: int
    reason: str
    memory: Memory
    arrivals: float | None = None
    request_seconds: float | None = None
    need: int | None = None
    wish: int | None = None


_NO_FACTS, _USUAL_KNOBS = Facts(), Knobs()


def decide(
    signal: Signal, memory: Memory, *, now: float, facts: Facts = _NO_FACTS, knobs: Knobs = _USUAL_KNOBS
) -> Decision:
    """Decide how many replicas there should be.

    Args:
        signal: The fleet.
        memory: `Decision.memory` of the last decision; `Memory()` at first.
        now: Seconds on any clock that does not go back, the same in every call.
        facts: What the plan knows of a replica.
        knobs: What the user turns.

    Returns:
        A number within the bounds of `signal`, also when everything else in it is garbage.
    """
    if signal.ready < 0 or signal.target < 0 or not math.isfinite(now):
        return Decision(signal.bounded(signal.target), "hold: the number of replicas is negative", memory)
    return _Pass(signal, memory, now, facts, knobs).decision()


class _Pass:
    """One decision, step by step: each step reads what those before it have found."""

    def __init__(self, signal: Signal, memory: Memory, now: float, facts: Facts, knobs: Knobs) -> None:
        self.signal, self.now, self.facts, self.knobs = signal, now, facts, knobs
        self.memory = memory
        self.trust: Trusted = trusted(signal, memory, now)
        self.starts: Starts = starts(signal, memory, facts, now)
        self.queues = queues(memory, self.trust, signal.ready, now)
        self.woke = now if self._takes_over() else memory.woke
        handed_over = signal.ready > 0 and now - self.woke < _HANDED_OVER_SECONDS
        self.moved: Counted | None = None if handed_over else counted(memory, self.trust, signal.ready, now, facts)
        self.in_routers, self.flickers_until = held_in_routers(memory, self.moved, self.queues, now)
        self.bins = bins(memory, self.moved, self.in_routers - memory.held, now)
        self.load: Load | None = load(self.bins, now)
        self.width = bin_seconds(facts.cold_start)
        self.levels = levels(memory, self.moved, self.in_routers - memory.held, now, self.width)
        self.ahead = self.starts.cold_start + _REPORT_SECONDS
        self.judged = self._judged()
        self.waiting = persistent(self.queues, 2) or 0.0
        self.inside = max(0.0, self.waiting - (persistent(self.queues, 1) or 0.0))
        running = [replica.running for replica in self.trust.replicas]
        self.running = of_all(running, signal.ready, memory.running)
        # As it is now: the counters are of now as well.
        self.in_engines = self.queues[-1][2] - self.queues[-1][1] if self.queues else 0.0
        self.lengths = lengths(memory, self.moved, self.in_engines, self.running)
        self.occupied = occupancy(self.trust.replicas, signal.ready)
        self.surge, self.surge_at = memory.surge, memory.surge_at
        blind = signal.ready > 0 and not self.trust.replicas
        self.blind_since = (memory.blind_since or now) if blind else 0.0
        self.blind_at = now if blind and now - self.blind_since >= _BLIND_SECONDS else memory.blind_at
        self._price()
        self.late_at = now if self._late() else memory.late_at

    def _takes_over(self) -> bool:
        """Whether a replica has begun to serve that gets what routers held."""
        signal, memory = self.signal, self.memory
        if memory.empty or signal.ready <= memory.ready:
            return False
        return memory.ready == 0 or memory.held > memory.ready * max(1.0, signal.target_queue_depth)

    def _price(self) -> None:
        """What a request costs, and whether that must be corrected."""
        signal, memory = self.signal, self.memory
        ready = max(1, signal.ready)
        self.allowed = (signal.target_queue_depth if self.trust.whole else 4.0) * ready
        crowded = self.waiting > self.allowed
        since = (memory.crowded_since or self.now) if crowded else 0.0
        self.crowded_since, self.rate, self.correction = since, -1.0, memory.correction
        replicas = self.trust.replicas
        # Where none serves, the next one is as the last.
        self.slots = sum(replica.slots for replica in replicas) / len(replicas) if replicas else memory.slots
        self.kv_tokens = min((replica.kv_tokens for replica in replicas), default=memory.kv_tokens)
        if not self.facts.priced:
            self.one = self._learned()
            return
        slots, kv_tokens = self.slots or 1.0, self.kv_tokens
        one = work(self.facts, self.lengths, slots, kv_tokens)
        self.rate = delivered(self.facts, replace(memory, lengths=self.lengths), self.moved, signal.ready)
        settled = self.now - max(memory.ready_since, since) if crowded else 0.0
        plain = work(replace(self.facts, weights=0.0, step=0.0), self.lengths, slots, kv_tokens)
        self.correction = corrected(
            memory,
            self.rate,
            plain.request / one.request,
            crowded=settled,
            full=busy(self.trust.replicas),
            seconds=0.0 if self.moved is None else self.moved.seconds,
        )
        self.one = replace(one, request=one.request * self.correction)

    def _learned(self) -> Work:
        """A request costs what it occupies: nothing else is known of this engine."""
        level = 0.0 if self.load is None else self.load.level
        occupied = self.occupied / _LEARNED_SHARE
        slots = sum(replica.slots for replica in self.trust.replicas)
        least = 0.0 if slots <= 0 else len(self.trust.replicas) / slots
        return Work(max(occupied / level if level > 0 else 0.0, min(least, 1.0) if level > 0 else least), 0.0, 0.0)

    def decision(self) -> Decision:
        """Put it together."""
        need = self._need()
        wish, reason = self._wanted(need)
        wanted = self.signal.bounded(wish)
        return Decision(
            wanted,
            reason,
            self._memory(need),
            arrivals=None if self.load is None else self.load.level,
            request_seconds=self.one.request if self.load is not None else None,
            need=None if need is None else need.steady,
            wish=max(0, wish),
        )

    def _need(self) -> Need | None:
        if self.load is None:
            return None
        ahead = self.ahead
        if self.facts.priced:
            known = experience(
                self.levels,
                self.load,
                self.width,
                ahead=ahead,
                cold_start=self.starts.cold_start,
                price=self.knobs.price,
            )
            most = highest(self.levels, self.load, self.width)
            need = steady(self.load, self.one, self.facts, self.knobs, ahead, known, self.judged, most)
            if self.now - (self.memory.began or self.now) > self.starts.cold_start:
                return need
            # Who chose the fleet that is there may have known more than a memory that begins: so not much is added by doubt.
            return replace(need, steady=min(need.steady, max(need.bare, math.ceil(_MOST_IN_DOUBT * need.now))))
        expected, _ = self.load.ahead(ahead)
        level = self.load.level
        # What is held now, and as much more as arrivals will have grown.
        arriving = self.occupied / _LEARNED_SHARE * (max(1.0, expected / level) if level > 0 else 1.0)
        # Between two short requests nothing is held, and there is a load all the same.
        arriving = max(arriving, _SOME_WORK if level > 0 else 0.0)
        reserve = 0.25 * quantile(self.knobs.price) * math.sqrt(arriving) if arriving > 1 else 0.0
        whole = rounded_up(arriving + reserve) + (math.ceil(self.knobs.reserve) if arriving else 0)
        now = max(self.occupied / _LEARNED_SHARE, _SOME_WORK if level > 0 else 0.0)
        most = MOST * rounded_up(now) + math.ceil(self.knobs.reserve)
        this = rounded_up(now + reserve) + (math.ceil(self.knobs.reserve) if arriving else 0)
        most = most if level > 0 else whole
        return Need(arriving, 1.0, reserve, whole, arriving, most, until=arriving, now=this, peak=most)

    def _wanted(self, need: Need | None) -> tuple[int, str]:
        signal, target = self.signal, self.signal.target
        if signal.ready == 0:
            return self._at_zero(need)
        if need is None or self.memory.empty:
            return max(target, self._blind()), f"hold: {self.trust.problem or 'nothing was counted yet'}"
        in_routers = persistent(self.queues, 1) or 0.0
        backlog = waiting_work(self.waiting, self.allowed, self.one)
        more = surge(
            min(backlog, in_routers * self.one.request),
            need,
            self._free(),
            self.starts.coming,
            self.starts.cold_start + _REPORT_SECONDS,
            price=self.knobs.price,
            slack=self.facts.objective,
        )
        if backlog > 0 and more == 0 and need.work <= 0:
            more = signal.ready
        if more >= self.memory.surge or self.now - self.memory.surge_at > _SURGE_SECONDS:
            self.surge, self.surge_at = more, self.now
        more = self.surge
        wish = max(min(need.steady, need.most), min(more, need.peak))
        if self.starts.absent:
            # Where starts fail, many more of them would not help; and what stands by for a doubt is not asked for twice.
            wish = min(wish + self.starts.absent, max(need.steady, math.ceil(_MOST_WITH_ABSENT * need.bare)))
        numbers = self._numbers(need)
        if not self.trust.whole:
            doubt = 1.0 if self.blind_since else _MOST_IN_DOUBT
            most = math.ceil(doubt * max((n for _, n, _ in self.memory.needs), default=target))
            return max(target, self._blind(), min(wish, most)), f"hold: {self.trust.problem}; {numbers}"
        if wish > target:
            return wish, f"up: {numbers}"
        kept = max(self._kept(need), min(target, more))
        if kept < target and self._calm():
            return kept, f"down: {numbers}"
        return target, f"hold: {numbers}"

    def _free(self) -> tuple[float, ...]:
        """Of each ready replica: seconds until what waits in it is computed; what cannot be believed counts as the others."""
        believed = self.trust.replicas
        allowed = self.allowed / max(1, self.signal.ready)
        # What flickers is none: so no more than waits all the time.
        real = self.inside / max(1.0, sum(replica.waiting for replica in believed))
        free = [max(0.0, replica.waiting * min(1.0, real) - allowed) * self.one.request for replica in believed]
        mean = sum(free) / len(free) if free else 0.0
        return (*free, *[mean] * (self.signal.ready - len(free)))

    def _jammed(self) -> int:
        """Replicas in which so much waits that what arrives must go to others."""
        return sum(seconds > self.facts.objective for seconds in self._free())

    def _blind(self) -> int:
        """Replicas for a fleet of which nothing is known: what was enough for the share p / (1 + p) of the last hour."""
        seen = sorted(need for _, need, _ in self.memory.needs)
        if not seen or self.blind_at < self.now:
            return 0
        share = self.knobs.price / (1 + self.knobs.price)
        enough = seen[min(len(seen) - 1, int(share * len(seen)))]
        # Who loses sight of a rise does not know where it ends.
        return enough if self.memory.needs[-1][1] < enough else math.ceil(_MOST_IN_DOUBT * enough)

    def _calm(self) -> bool:
        """Whether something may be given up: nothing is late, and the load does not rise just now."""
        if self.now - self.late_at <= max(_CALM_SECONDS, _CALM * self.starts.cold_start):
            return False
        load = self.load
        return load is None or load.level - load.recent <= _RISING * load.level_error

    def _at_zero(self, need: Need | None) -> tuple[int, str]:
        target, waits = self.signal.target, (self.trust.queued or 0.0) > 0
        wish = max(1, self._sure(need)) if waits else 0
        if wish > target:
            numbers = "" if need is None else f"; {self._numbers(need)}"
            return wish, f"up: requests wait and there is no replica{numbers}"
        if target > 0:
            return target, "hold: the first replicas are starting"
        return 0, "hold: idle at zero"

    def _sure(self, need: Need | None) -> int:
        """Replicas that keep up with what has come for certain, and clear what waits by then.

        More of it is asked for again in a second, and nothing is taken back.
        """
        if need is None or self.load is None or not self.facts.priced or self.slots <= 0:
            return 0
        sure = max(0.0, self.load.level - self.load.level_error) * self.one.request / need.share
        clearing = self._clearing(replace(need, certain=sure, until=sure))
        reserve = math.ceil(self.knobs.reserve) if sure else 0
        # What stands by clears as well.
        return min(max(rounded_up(sure) + reserve, clearing), need.most)

    def _clearing(self, need: Need) -> int:
        """Replicas that clear at zero what will wait when they serve; a burst of seconds leaves only itself, and is late whatever is done."""
        stays = persistent(self.queues, 1)
        if stays is None or self.load is None or self.load.seconds < _LASTING_SECONDS:
            return 0
        return surge(
            waiting_work(stays, 0.0, self.one),
            need,
            (),
            self.starts.coming,
            self.ahead,
            price=self.knobs.price,
            slack=self.facts.objective,
        )

    def _kept(self, need: Need) -> int:
        """Fewest replicas that may remain."""
        target = self.signal.target
        kept = max(need.steady, need.now, need.least) + self._jammed()
        # What runs must fit, also where work is thought to be little.
        kept = max(kept, min(self.signal.ready, math.ceil(self.occupied / _OCCUPIED - 1e-9)))
        if self.waiting > 0 or self.occupied > 0:
            kept = max(kept, 1)
        kept = max(kept, self._held())
        return min(target, kept + self.starts.absent, max(kept, math.ceil(_MOST_WITH_ABSENT * kept)))

    def _held(self) -> int:
        width, target = bin_seconds(self.facts.cold_start), self.signal.target
        if self.knobs.hold is not None:
            recent = (n for number, n, _ in self.memory.needs if self.now - (number + 1) * width < self.knobs.hold)
            young = self.now - self.memory.began < self.knobs.hold
            return max(target if young else 0, max(recent, default=0) if self.knobs.hold > 0 else 0)
        if self.now - max(self.memory.began, self.blind_at) < max(self.starts.cold_start, _KNOWN_SECONDS):
            # What was needed before is not known: a fleet is not cut by a memory that begins, or has seen nothing of late.
            return target
        return held(
            self.memory.needs,
            self.now,
            width,
            usual=self._usual_hold(),
            cold_start=self.starts.cold_start,
            price=self.knobs.price,
            target=target,
            sleeps=self.signal.minimum <= 0,
        )

    def _usual_hold(self) -> float:
        """Seconds for which a need is held of which is not known whether it comes back: a start, as rent or buy has it.

        A shorter start makes that no shorter than what it takes to tell a fall from noise. A fall that is seen to go on is no pause: it takes as
        much of that away as it was watched, and as it is sure.
        """
        start, load = max(self.starts.cold_start, _KNOWN_SECONDS), self.load
        if load is None or load.slope >= 0 or self.starts.coming:
            # A start that is taken back has to begin anew.
            return start
        return start * (1 - load.sure * min(1.0, load.seconds / start))

    def _late(self) -> bool:
        """Whether a request that comes now waits for longer than it should: in a router, or in every engine."""
        in_routers = persistent(self.queues, 1) or 0.0
        if self.signal.ready == 0:
            return (self.trust.queued or 0.0) > 0
        objective = _LATE * self.facts.objective if self.facts.priced else 0.0
        if waiting_work(in_routers, self.allowed, self.one) / self.signal.ready > objective:
            return True
        return self.waiting > self.allowed and min(self._free(), default=0.0) > objective

    def _memory(self, need: Need | None) -> Memory:
        signal, memory, now = self.signal, self.memory, self.now
        # What stands by for what may come is needed as well, also where nobody would ask for so much.
        needed = 0 if need is None else min(max(need.steady, need.now), max(need.most, signal.target))
        if not self.trust.whole:
            # A doubtful need must not become the bound of the next one.
            needed = min(needed, max((n for _, n, _ in memory.needs), default=needed))
        width = bin_seconds(self.facts.cold_start)
        known = need is not None and signal.ready > 0 and not self.blind_since
        return replace(
            memory,
            at=now,
            counters=counters(memory, self.trust, now),
            bins=self.bins,
            levels=self.levels,
            foretold=self._foretold(),
            judged=(self.judged.share, self.judged.error, self.judged.forecasts),
            queues=self.queues,
            lengths=self.lengths,
            work=self.rate,
            correction=self.correction,
            crowded_since=self.crowded_since,
            ready=signal.ready,
            ready_since=memory.ready_since if signal.ready == memory.ready else now,
            starts=self.starts.entries,
            cold_start=self.starts.measured,
            needs=needs(memory, needed, now, width, late=self._missed(need))
            if need is not None and known
            else memory.needs,
            began=memory.began or now,
            surge=self.surge,
            surge_at=self.surge_at,
            held=self.in_routers,
            flickers_until=self.flickers_until,
            inside=self.in_engines,
            running=self.running,
            blind_since=self.blind_since,
            blind_at=self.blind_at,
            late_at=self.late_at,
            level=self.load.level if self.load is not None and self.trust.whole else memory.level,
            woke=self.woke,
            slots=self.slots,
            kv_tokens=self.kv_tokens,
        )

    def _missed(self, need: Need) -> int:
        """Replicas that would keep up with the load while requests are late; 0 if none is."""
        return need.now if self.late_at == self.now else 0

    def _judged(self) -> Foretold:
        """What came of earlier forecasts; that changes with each bin, and is looked at then."""
        memory = self.memory
        if self.load is None or (memory.levels and memory.levels[-1][0] == self.levels[-1][0]):
            return Foretold(*memory.judged)
        return judged(
            memory.foretold,
            self.levels,
            ahead=self.ahead,
            width=self.width,
            dispersion=self.load.dispersion,
            chance=self.knobs.price / (1 + self.knobs.price),
        )

    def _foretold(self) -> tuple[tuple[int, float, float], ...]:
        if self.load is None or not self.trust.whole or self.signal.ready == 0:
            return self.memory.foretold
        level, (expected, _) = self.load.level, self.load.ahead(self.ahead)
        return foretold(self.memory.foretold, level, expected, now=self.now, ahead=self.ahead, width=self.width)

    def _numbers(self, need: Need) -> str:
        """The reason in numbers."""
        level = 0.0 if self.load is None else self.load.level
        expected = 0.0 if self.load is None else self.load.ahead(self.starts.cold_start + _REPORT_SECONDS)[0]
        parts = [
            f"{level:.3g} requests/s, {expected:.3g}/s in {self.starts.cold_start:.0f} s",
            f"{self.one.request:.2g} s of an engine each" if self.one.request > 0 else "",
            f"{need.steady} needed",
            f"{self.waiting:.0f} wait" if self.waiting > 0 else "",
            f"{len(self.starts.coming)} start" if self.starts.coming else "",
            f"{self.starts.absent} starts overdue" if self.starts.absent else "",
        ]
        return ", ".join(filter(None, parts))
