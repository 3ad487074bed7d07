"""The decision: how many replicas there should be, why in numbers, and what to remember. Pure; called by `ray_serve` and the simulator."""

import math
from dataclasses import dataclass, replace

from llama_serving.autoscaling.arrivals import counters, persistent
from llama_serving.autoscaling.experience import experience, highest, rates_of
from llama_serving.autoscaling.foretold import foretold
from llama_serving.autoscaling.hold import bin_seconds, held, last_hour, needs
from llama_serving.autoscaling.memory import Memory
from llama_serving.autoscaling.need import (
    MOST,
    MOST_WITH_ABSENT,
    Need,
    made_up,
    quantile,
    rounded_up,
    stands_by,
    steady,
    surge,
    waiting_work,
)
from llama_serving.autoscaling.reasons import in_numbers
from llama_serving.autoscaling.sight import LEARNED_SHARE, REPORT_SECONDS, Sight
from llama_serving.autoscaling.signal import Facts, Knobs, Signal
from llama_serving.autoscaling.zero import first_replicas

_OCCUPIED = 0.85
"""Share of the remaining engines that what runs now may fill."""
_SURGE_SECONDS = 30.0
"""Replicas for a backlog are not taken back sooner: it is known to a few seconds only."""
_CALM_SECONDS, _CALM = 15.0, 0.25
"""For so long, or this share of a start, nothing may have been late before anything is given up: replicas that were asked for together
serve within a fifth of a start."""
_RISING = 2.0
"""Standard errors by which the load is more than in the last seconds: as far as chance goes."""
_KNOWN_SECONDS = 100.0
"""For so long a load must be watched before its trend is told from noise (`arrivals`). Starts that are shorter do not make a fall surer."""
_SOME_WORK = 0.01
_DOUBTED_SECONDS = 3600.0
"""After that the replicas that are believed decide, and those that are not are kept beside them."""
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


class _Pass(Sight):
    """One decision: what it sees, and step by step what follows from it."""

    def __init__(self, signal: Signal, memory: Memory, now: float, facts: Facts, knobs: Knobs) -> None:
        super().__init__(signal, memory, now, facts, knobs)
        self.surge, self.surge_at = memory.surge, memory.surge_at
        self.doubted_since = 0.0 if self.trust.whole else memory.doubted_since or now

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
            rates = rates_of(self.levels, self.width)
            known = experience(
                rates,
                self.load,
                self.width,
                ahead=ahead,
                cold_start=self.starts.cold_start,
                price=self.knobs.price,
            )
            most = highest(rates, self.load, self.width)
            need = steady(self.load, self.one, self.facts, self.knobs, ahead, known, self.judged, most, self.correction)
            return replace(need, steady=min(need.steady, self._most_by_doubt(need)))
        expected, _ = self.load.ahead(ahead)
        level = self.load.level
        # What is held now, and as much more as arrivals will have grown.
        arriving = self.occupied / LEARNED_SHARE * (max(1.0, expected / level) if level > 0 else 1.0)
        # Between two short requests nothing is held, and there is a load all the same.
        arriving = max(arriving, _SOME_WORK if level > 0 else 0.0)
        reserve = 0.25 * quantile(self.knobs.price) * math.sqrt(arriving) if arriving > 1 else 0.0
        reserve = max(reserve, stands_by(self.knobs.price) * arriving)
        whole = rounded_up(arriving + reserve) + (math.ceil(self.knobs.reserve) if arriving else 0)
        now = max(self.occupied / LEARNED_SHARE, _SOME_WORK if level > 0 else 0.0)
        most = MOST * rounded_up(now) + math.ceil(self.knobs.reserve)
        this = rounded_up(now + reserve) + (math.ceil(self.knobs.reserve) if arriving else 0)
        most = most if level > 0 else whole
        return Need(
            arriving,
            1.0,
            reserve,
            whole,
            certain=arriving,
            most=most,
            until=arriving,
            now=this,
            bare=whole,
            peak=most,
            standing=whole,
        )

    def _most_by_doubt(self, need: Need) -> int:
        """Most replicas that may stand by because the load is not known."""
        start = self.starts.cold_start
        if self.memory.blind_at > 0 and self.now - self.memory.blind_at <= start:
            # Of the load only what came since is known, and that says nothing of how sure it is.
            return max(need.standing, need.now)
        if self.now - (self.memory.began or self.now) > start:
            return need.steady
        # Who chose the fleet that is there may have known more than a memory that begins: so not much is added by doubt.
        return max(need.standing, math.ceil(_MOST_IN_DOUBT * need.now))

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
            self.free(),
            self.starts.coming,
            self.starts.cold_start + REPORT_SECONDS,
            price=self.knobs.price,
            slack=self.facts.objective,
        )
        if backlog > 0 and more == 0 and need.work <= 0:
            more = signal.ready
        if more >= self.memory.surge or self.now - self.memory.surge_at > _SURGE_SECONDS:
            self.surge, self.surge_at = more, self.now
        more = self.surge
        wish = max(min(need.steady, need.most), min(more, need.peak))
        wish = made_up(wish, self.starts.absent, need)
        numbers = in_numbers(self, need)
        if not self.trust.whole:
            doubt = 1.0 if self.blind_since else _MOST_IN_DOUBT
            most = math.ceil(doubt * max(self._needs_of_last_hour(), default=target))
            wish = max(target, self._blind(), min(wish, most))
            kept = self._kept_beside_doubt(need)
            if wish > target or kept >= target:
                return wish, f"hold: {self.trust.problem}; {numbers}"
            return kept, f"down: {self.trust.problem} for long, the others are believed; {numbers}"
        if wish > target:
            return wish, f"up: {numbers}"
        kept = max(self._kept(need), min(target, more))
        if kept < target and self._calm():
            return kept, f"down: {numbers}"
        return target, f"hold: {numbers}"

    def _kept_beside_doubt(self, need: Need) -> int:
        """Fewest replicas while some cannot be believed: all, but those that the others do not need for longer than needs are remembered.

        A number that leaks in one engine must not keep a fleet for ever. The replica that reports it is kept.
        """
        target, believed = self.signal.target, len(self.trust.replicas)
        if not believed or self.now - self.doubted_since <= _DOUBTED_SECONDS or not self._calm():
            return target
        return min(target, self._kept(need) + self.signal.ready - believed)

    def _blind(self) -> int:
        """Replicas for a fleet of which nothing is known: what was enough for the share p / (1 + p) of the last hour."""
        seen = sorted(self._needs_of_last_hour())
        if not seen or self.blind_at < self.now:
            return 0
        share = self.knobs.price / (1 + self.knobs.price)
        enough = seen[min(len(seen) - 1, int(share * len(seen)))]
        # Who loses sight of a rise does not know where it ends.
        return enough if self.memory.needs[-1][1] < enough else math.ceil(_MOST_IN_DOUBT * enough)

    def _needs_of_last_hour(self) -> list[int]:
        return last_hour(self.memory.needs, self.now, bin_seconds(self.facts.cold_start))

    def _calm(self) -> bool:
        """Whether something may be given up: nothing is late, and the load does not rise just now."""
        if self.now - self.late_at <= max(_CALM_SECONDS, _CALM * self.starts.cold_start):
            return False
        load = self.load
        return load is None or load.level - load.recent <= _RISING * load.level_error

    def _at_zero(self, need: Need | None) -> tuple[int, str]:
        target, waits = self.signal.target, (self.trust.queued or 0.0) > 0
        wish = max(1, first_replicas(self, need)) if waits else 0
        if wish > target:
            numbers = "" if need is None else f"; {in_numbers(self, need)}"
            return wish, f"up: requests wait and there is no replica{numbers}"
        if target > 0:
            return target, "hold: the first replicas are starting"
        return 0, "hold: idle at zero"

    def _kept(self, need: Need) -> int:
        """Fewest replicas that may remain."""
        target = self.signal.target
        kept = max(need.steady, need.now, need.least) + self.jammed()
        # What runs must fit, also where work is thought to be little.
        kept = max(kept, min(self.signal.ready, math.ceil(self.occupied / _OCCUPIED - 1e-9)))
        if self.waiting > 0 or self.occupied > 0:
            kept = max(kept, 1)
        kept = max(kept, self._held())
        return min(target, kept + self.starts.absent, max(kept, math.ceil(MOST_WITH_ABSENT * kept)))

    def _held(self) -> int:
        width, target = bin_seconds(self.facts.cold_start), self.signal.target
        if self.knobs.hold is not None:
            recent = (n for number, n, *_ in self.memory.needs if self.now - (number + 1) * width < self.knobs.hold)
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

    def _memory(self, need: Need | None) -> Memory:
        signal, memory, now = self.signal, self.memory, self.now
        # What stands by for what may come is needed as well, also where nobody would ask for so much.
        before = max(self._needs_of_last_hour(), default=signal.target)
        # But what was asked for by doubt alone is no need: it would be the bound of the next doubt.
        standing = min(signal.target, before)
        needed = 0 if need is None else min(max(need.steady, need.now), max(need.most, standing))
        if not self.trust.whole:
            needed = min(needed, before)
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
            needs=needs(memory, needed, now, width, load=need.now, late=self.late_at == now)
            if need is not None and known
            else memory.needs,
            began=memory.began or now,
            surge=self.surge,
            surge_at=self.surge_at,
            held=self.in_routers,
            flickers_until=self.flickers_until,
            inside=self.in_engines,
            running=self.running,
            doubted_since=self.doubted_since,
            stuck=self.trust.stuck,
            idle_since=self.trust.idle_since,
            blind_since=self.blind_since,
            blind_at=self.blind_at,
            late_at=self.late_at,
            level=self.load.level if self.load is not None and self.trust.whole else memory.level,
            woke=self.woke,
            slots=self.slots,
            kv_tokens=self.kv_tokens,
        )

    def _foretold(self) -> tuple[tuple[int, float, float], ...]:
        if self.load is None or not self.trust.whole or self.signal.ready == 0:
            return self.memory.foretold
        level, (expected, _) = self.load.level, self.load.ahead(self.ahead)
        return foretold(self.memory.foretold, level, expected, now=self.now, ahead=self.ahead, width=self.width)
