"""What one decision sees: the fleet, the load, what a request costs and what waits. Made by `policy` in each pass, read by its steps.

Each line of it rests on those before it: what can be believed, what starts, what waits and was counted, the load, the price of a request,
and whether something is late. Nothing here decides.
"""

from dataclasses import replace

from llama_serving.autoscaling.arrivals import (
    Counted,
    Load,
    bins,
    counted,
    held_in_routers,
    load,
    of_all,
    persistent,
    queues,
)
from llama_serving.autoscaling.experience import levels
from llama_serving.autoscaling.foretold import Foretold, judged
from llama_serving.autoscaling.hold import bin_seconds
from llama_serving.autoscaling.memory import Memory
from llama_serving.autoscaling.need import waiting_work
from llama_serving.autoscaling.signal import Facts, Knobs, Signal
from llama_serving.autoscaling.starts import Starts, starts
from llama_serving.autoscaling.trust import STALE_SECONDS, Trusted, trusted
from llama_serving.autoscaling.work import Work, busy, corrected, delivered, lengths, occupancy, work

REPORT_SECONDS = 10.0
"""From the decision to a replica that serves: the start, and what reports and the router take."""
LEARNED_SHARE = 0.7
"""Share of places that may be used where nothing is known of the engine."""
_LATE = 0.5
"""Share of the objective that a request may wait before its prompt is computed, which takes time as well."""
_HANDED_OVER_SECONDS = 6.0
"""For so long a new replica gets what the routers held. It was counted there, and their mean over some seconds still has it."""
_BLIND_SECONDS = 10.0
"""A report or two that is lost says nothing."""


class Sight:
    """What is known at one decision; attributes of the memory's names are what the next decision is to remember of them."""

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
        self.ahead = self.starts.cold_start + REPORT_SECONDS
        self.judged = self._judged()
        self.waiting = persistent(self.queues, 2) or 0.0
        self.inside = max(0.0, self.waiting - (persistent(self.queues, 1) or 0.0))
        running = [replica.running for replica in self.trust.replicas]
        self.running = of_all(running, signal.ready, memory.running)
        # As it is now: the counters are of now as well.
        self.in_engines = self.queues[-1][2] - self.queues[-1][1] if self.queues else 0.0
        self.lengths = lengths(memory, self.moved, self.in_engines, self.running)
        self.occupied = occupancy(self.trust.replicas, signal.ready)
        blind = signal.ready > 0 and not self.trust.replicas
        self.blind_since = (memory.blind_since or now) if blind else 0.0
        # A controller that stood still, or another one, has seen no more of the time in between.
        away = not memory.empty and now - memory.at > STALE_SECONDS
        self.blind_at = now if away or (blind and now - self.blind_since >= _BLIND_SECONDS) else memory.blind_at
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
        occupied = self.occupied / LEARNED_SHARE
        slots = sum(replica.slots for replica in self.trust.replicas)
        least = 0.0 if slots <= 0 else len(self.trust.replicas) / slots
        return Work(max(occupied / level if level > 0 else 0.0, min(least, 1.0) if level > 0 else least), 0.0, 0.0)

    def free(self) -> tuple[float, ...]:
        """Of each ready replica: seconds until what waits in it is computed; what cannot be believed counts as the others."""
        believed = self.trust.replicas
        allowed = self.allowed / max(1, self.signal.ready)
        # What flickers is none: so no more than waits all the time.
        real = self.inside / max(1.0, sum(replica.waiting for replica in believed))
        free = [max(0.0, replica.waiting * min(1.0, real) - allowed) * self.one.request for replica in believed]
        mean = sum(free) / len(free) if free else 0.0
        return (*free, *[mean] * (self.signal.ready - len(free)))

    def jammed(self) -> int:
        """Replicas in which so much waits that what arrives must go to others."""
        return sum(seconds > self.facts.objective for seconds in self.free())

    def _late(self) -> bool:
        """Whether a request that comes now waits for longer than it should: in a router, or in every engine."""
        in_routers = persistent(self.queues, 1) or 0.0
        if self.signal.ready == 0:
            return (self.trust.queued or 0.0) > 0
        objective = _LATE * self.facts.objective if self.facts.priced else 0.0
        if waiting_work(in_routers, self.allowed, self.one) / self.signal.ready > objective:
            return True
        return self.waiting > self.allowed and min(self.free(), default=0.0) > objective

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
