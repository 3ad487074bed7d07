"""The event loop: requests arrive, engines step, replicas start and drain, and once a second an autoscaler is asked.

Called by `kubectl llama simulate`, the bench and the tests. The same trace, setup, scaler and seed give the same run.
"""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from llama_operator.simulate.cold_start import ColdStart, Starts
from llama_operator.simulate.engine import Engine, EngineLimits
from llama_operator.simulate.fleet_view import FleetView, Scaler
from llama_operator.simulate.metrics import EVERY_SECONDS, SAMPLES, Metrics
from llama_operator.simulate.replica import Replica, Server, Stage
from llama_operator.simulate.request import Arrival, End, Request
from llama_operator.simulate.router import PathLimits, Router
from llama_operator.simulate.serve_rules import ServeRules
from llama_operator.simulate.step_time import StepTime

Disturbance = Callable[[FleetView], FleetView]
"""What happens to the metrics on their way to the scaler."""


@dataclass(frozen=True, slots=True)
class Setup:
    """A deployment, as far as its scaling depends on it. Times are in seconds.

    Attributes:
        speed: Steps of its engines.
        engine: What an engine holds.
        limits: How requests reach the engines.
        bounds: Fewest and most replicas, at any time of the run.
        bounds_at: Says the bounds at a second, where they depend on the hour; they are within `bounds`.
        cold_start: What a start takes.
        estimate: What the scaler is told that a start takes; None for the average of `cold_start`.
        drain: How long a replica that is stopped may still answer.
        first_token: Objective for the time to the first token.
        gpus: GPUs of a replica.
        server: Makes the server of a replica; None for engines.
    """

    speed: StepTime
    engine: EngineLimits
    limits: PathLimits
    bounds: tuple[int, int]
    cold_start: ColdStart
    estimate: float | None = None
    drain: float = 300.0
    first_token: float = 2.0
    gpus: int = 1
    server: Callable[[], Server] | None = None
    bounds_at: Callable[[float], tuple[int, int]] | None = None

    def bounds_now(self, second: float) -> tuple[int, int]:
        """Return the bounds at a second of the run."""
        return self.bounds if self.bounds_at is None else self.bounds_at(second)

    def new_server(self) -> Server:
        """Make the server of a replica."""
        return Engine(self.speed, self.engine) if self.server is None else self.server()


@dataclass(frozen=True, slots=True)
class Second:
    """The fleet at one second of the run."""

    at: float
    ready: int
    target: int
    held: int
    """Replicas that hold GPUs: starting, ready and draining ones."""
    queued: int
    """Requests that wait in the router and in the engines."""
    running: int


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the number of replicas that were asked for."""

    at: float
    before: int
    after: int
    reason: str


@dataclass(slots=True)
class Record:
    """What happened in a run."""

    requests: list[Request] = field(default_factory=list)
    seconds: list[Second] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    replica_seconds: float = 0.0
    """For which replicas held GPUs, from the first to the last second of the trace."""
    peak: int = 0
    """Most replicas that held GPUs at once."""
    events: int = 0


def run(
    setup: Setup,
    arrivals: Iterable[Arrival],
    scaler: Scaler,
    *,
    length: float,
    seed: int,
    initial: int = 1,
    disturbance: Disturbance | None = None,
    grace: float = 600.0,
) -> Record:
    """Simulate one run.

    Args:
        setup: The deployment.
        arrivals: Requests in the order of their arrival.
        scaler: The autoscaler; it is asked once a second until the trace ends.
        length: Seconds of the trace; GPU time counts until then.
        seed: Of everything that is left to chance, but the trace.
        initial: Replicas that are ready at the beginning.
        disturbance: What happens to the metrics.
        grace: Seconds after the trace in which what is on its way may still be answered.
    """
    return _Run(setup, scaler, length=length, seed=seed, disturbance=disturbance).over(arrivals, initial, grace)


class _Run:
    def __init__(
        self, setup: Setup, scaler: Scaler, *, length: float, seed: int, disturbance: Disturbance | None
    ) -> None:
        self._setup, self._scaler, self._length, self._disturbance = setup, scaler, length, disturbance
        self._router = Router(setup.limits, seed)
        self._starts = Starts(setup.cold_start, seed)
        self._metrics = Metrics(setup.engine.max_num_seqs, setup.engine.kv_tokens)
        self._rules = None if scaler.delays is None else ServeRules(scaler.delays)
        self._starting: list[Replica] = []
        self._draining: list[Replica] = []
        self._events: list[tuple[float, int, Replica]] = []
        self._target = self._number = self._pushed = 0
        self._record = Record()

    def over(self, arrivals: Iterable[Arrival], initial: int, grace: float) -> Record:
        self._target = initial
        for _ in range(initial):
            self._ready(self._new(asked_at=0.0, ready_at=0.0))
        upcoming, ticks = iter(arrivals), 0
        arrival = next(upcoming, None)
        next_tick, end = 0.0, self._length + grace
        while True:
            event = self._events[0][0] if self._events else math.inf
            at = math.inf if arrival is None else arrival.at
            if next_tick <= event and next_tick <= at:
                if next_tick > end or (next_tick > self._length and arrival is None and self._idle()):
                    break
                self._tick(ticks, next_tick)
                ticks += 1
                next_tick = ticks * EVERY_SECONDS
            elif event <= at:
                self._event()
            elif arrival is not None:
                self._arrive(arrival)
                arrival = next(upcoming, None)
        return self._closed()

    # Requests

    def _arrive(self, arrival: Arrival) -> None:
        request = Request(arrival)
        self._record.requests.append(request)
        replica = self._router.arrive(request, arrival.at)
        if replica is not None:
            self._watch(replica)

    def _event(self) -> None:
        now, _, replica = heapq.heappop(self._events)
        if replica.stage is Stage.GONE:
            return
        if replica.stage is Stage.STARTING:
            self._starting.remove(replica)
            self._ready(replica)
            self._hand_on(now)
            return
        if replica.engine.due != now:
            return
        self._record.events += 1
        ended = replica.engine.advance()
        self._router.ended(replica, ended)
        self._watch(replica)
        if replica.stage is Stage.DRAINING:
            if replica.engine.in_flight == 0:
                self._gone(replica, now)
        elif ended and self._router.queue:
            self._hand_on(now)

    def _hand_on(self, now: float) -> None:
        for replica in self._router.hand_on(now):
            self._watch(replica)

    def _watch(self, replica: Replica) -> None:
        """Put the end of the engine's block into the heap; entries of blocks that were cut since are passed over."""
        due = replica.engine.due
        if due < math.inf and due != replica.watched:
            replica.watched = due
            self._push(due, replica)

    def _push(self, at: float, replica: Replica) -> None:
        self._pushed += 1
        heapq.heappush(self._events, (at, self._pushed, replica))

    # Replicas

    def _new(self, *, asked_at: float, ready_at: float) -> Replica:
        self._number += 1
        engine = self._setup.new_server()
        return Replica(f"replica-{self._number}", engine, asked_at=asked_at, ready_at=ready_at, samples=SAMPLES)

    def _ready(self, replica: Replica) -> None:
        replica.stage = Stage.READY
        self._router.add(replica)

    def _scale(self, target: int, now: float) -> None:
        missing = target - len(self._router.ready) - len(self._starting)
        for _ in range(missing):
            replica = self._new(asked_at=now, ready_at=now + self._starts.seconds())
            self._starting.append(replica)
            if replica.ready_at < math.inf:
                self._push(replica.ready_at, replica)
        for _ in range(-missing):
            self._stop(now)

    def _stop(self, now: float) -> None:
        """Stop one replica: one that does not run yet, else the newest, as Serve prefers."""
        if self._starting:
            self._gone(self._starting.pop(), now)
            return
        replica = self._router.remove_newest()
        replica.stage, replica.stop_by = Stage.DRAINING, now + self._setup.drain
        self._draining.append(replica)
        if replica.engine.in_flight == 0:
            self._gone(replica, now)

    def _gone(self, replica: Replica, now: float) -> None:
        if replica.stage is Stage.DRAINING:
            self._draining.remove(replica)
            for request in list(replica.engine.requests()):
                request.finish(now, End.CUT)
        replica.stage, replica.gone_at = Stage.GONE, now
        self._count(replica)

    def _count(self, replica: Replica) -> None:
        held = min(replica.gone_at, self._length) - min(replica.asked_at, self._length)
        self._record.replica_seconds += held

    # Time

    def _tick(self, ticks: int, now: float) -> None:
        router = self._router
        self._metrics.sample(router.ready, len(router.queue), now)
        if ticks % 2:
            return
        for replica in [one for one in self._draining if one.stop_by <= now]:
            self._gone(replica, now)
        if now < self._length:
            self._ask(now)
        self._note(now)

    def _ask(self, now: float) -> None:
        setup, rules = self._setup, self._rules
        bounds = setup.bounds_now(now)
        view = self._metrics.view(
            self._router.ready,
            target=self._target,
            bounds=bounds,
            cold_start_seconds=setup.cold_start.seconds if setup.estimate is None else setup.estimate,
            now=now,
        )
        if self._disturbance is not None:
            view = self._disturbance(view)
        at_zero = None if rules is None else rules.at_zero(view.ready, view.target, len(self._router.queue))
        if at_zero is not None:
            wanted, reason = at_zero, "Serve: requests wait and nothing serves"
        else:
            wish = self._scaler.wish(view)
            wanted, reason = wish.replicas, wish.reason
            if rules is not None:
                wanted = rules.apply(wanted, ready=view.ready, target=view.target, now=now)
        wanted = min(max(wanted, bounds[0]), bounds[1])
        if wanted != self._target:
            self._record.changes.append(Change(now, self._target, wanted, reason))
            self._target = wanted
            self._scale(wanted, now)

    def _note(self, now: float) -> None:
        ready, record = self._router.ready, self._record
        held = len(ready) + len(self._starting) + len(self._draining)
        if now <= self._length:
            record.peak = max(record.peak, held)
        waiting = sum(replica.engine.waiting for replica in ready)
        in_flight = sum(replica.engine.in_flight for replica in ready)
        queued = len(self._router.queue) + waiting
        record.seconds.append(Second(now, len(ready), self._target, held, queued, in_flight - waiting))

    def _idle(self) -> bool:
        return not self._router.queue and not any(replica.engine.in_flight for replica in self._serving())

    def _serving(self) -> Iterator[Replica]:
        yield from self._router.ready
        yield from self._draining

    def _closed(self) -> Record:
        for replica in (*self._serving(), *self._starting):
            self._count(replica)
        for request in self._record.requests:
            if request.end is None:
                request.finish(math.inf, End.PENDING)
        return self._record
