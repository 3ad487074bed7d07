"""Runs of the simulator whose events are compiled, and what they were worth. Called by `bench.autoscaling`.

`llama_operator.simulate.run` is the reference: a test holds both together, request by request. What happens once a second, the metrics, Serve's
rules, starts and the autoscaler, is the reference's own code or follows it line by line; with Serve's router only the draws differ.
"""

import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.compiled.loop import hand_on, loads, read, sample, until
from bench.compiled.state import (
    ANSWERED,
    CUT,
    DRAINING,
    END,
    FREE,
    GONE,
    GONE_AT,
    PENDING,
    PROMPT,
    QUEUE,
    READINGS,
    REFUSED,
    SERVING,
    STAGE,
    TOO_LONG,
    UPCOMING,
    Limits,
    State,
    fresh,
    grown,
    new_engine,
    reloaded,
)
from llama_operator.simulate.cold_start import Starts
from llama_operator.simulate.fleet_view import FleetView, ReplicaView, Scaler
from llama_operator.simulate.metrics import EVERY_SECONDS, SAMPLES
from llama_operator.simulate.outcome import Outcome, Player, allowed_seconds
from llama_operator.simulate.request import Arrival, End
from llama_operator.simulate.run import Change, Disturbance, Record, Second, Setup
from llama_operator.simulate.serve_rules import ServeRules

_ENGINES, _DRAWS = 64, 65_536
_SECONDS_PER_HOUR = 3600.0
_ENDS = {ANSWERED: End.ANSWERED, REFUSED: End.REFUSED, TOO_LONG: End.TOO_LONG, CUT: End.CUT, PENDING: End.PENDING}


@dataclass(slots=True)
class CompiledRecord(Record):
    """What happened in a run; requests are columns, in the order of their arrival."""

    at: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    first_token: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    ended: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    prompts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    ends: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def end_of(self, request: int) -> End:
        """How a request ended."""
        return _ENDS[int(self.ends[request])]


@dataclass(slots=True)
class _Replica:
    asked_at: float
    ready_at: float
    name: str
    engine: int = -1
    stop_by: float = math.inf


def run(
    setup: Setup,
    arrivals: Sequence[Arrival],
    scaler: Scaler,
    *,
    length: float,
    seed: int,
    initial: int = 1,
    disturbance: Disturbance | None = None,
    grace: float = 600.0,
) -> CompiledRecord:
    """Simulate one run: see `llama_operator.simulate.run.run`."""
    return _Run(setup, arrivals, scaler, length, seed, disturbance).over(initial, grace)


_columns: dict[int, tuple[Sequence[Arrival], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]] = {}


def _columns_of(
    arrivals: Sequence[Arrival],
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Arrays of a trace; those of the last one are kept, since it is played again and again."""
    kept = _columns.get(id(arrivals))
    if kept is None:
        _columns.clear()
        at = np.array([one.at for one in arrivals], dtype=np.float64)
        prompts = np.array([one.prompt_tokens for one in arrivals], dtype=np.int64)
        outputs = np.array([one.output_tokens for one in arrivals], dtype=np.int64)
        kept = _columns[id(arrivals)] = (arrivals, at, prompts, outputs)
    return kept[1:]


class _Run:
    def __init__(
        self,
        setup: Setup,
        arrivals: Sequence[Arrival],
        scaler: Scaler,
        length: float,
        seed: int,
        disturbance: Disturbance | None,
    ) -> None:
        self._setup, self._scaler, self._length, self._disturbance = setup, scaler, length, disturbance
        chance = random.Random(f"{seed}/router")  # noqa: S311 - draws of a simulation
        direct = setup.limits.path == "Direct"
        self._limits = Limits(
            by_tokens=np.array(setup.speed.by_tokens),
            per_pair=setup.speed.per_pair,
            per_cached_token=setup.speed.per_cached_token,
            kv_tokens=setup.engine.kv_tokens,
            max_num_seqs=setup.engine.max_num_seqs,
            longest=setup.engine.longest,
            direct=direct,
            max_ongoing=setup.limits.max_ongoing,
            max_queued=setup.limits.max_queued,
            draws=np.array([0.0] if direct else [chance.random() for _ in range(_DRAWS)]),
        )
        at, prompts, outputs = _columns_of(arrivals)
        self._state: State = fresh(at, prompts, outputs, _ENGINES, self._limits)
        self._starts = Starts(setup.cold_start, seed)
        self._rules = None if scaler.delays is None else ServeRules(scaler.delays)
        self._queue: deque[int] = deque(maxlen=SAMPLES)
        self._ready: list[_Replica] = []
        self._starting: list[_Replica] = []
        self._draining: list[_Replica] = []
        self._names: dict[int, _Replica] = {}
        self._target = self._number = 0
        self._record = CompiledRecord()
        self._read = np.zeros((_ENGINES, READINGS + 1))

    def over(self, initial: int, grace: float) -> CompiledRecord:
        self._target = initial
        for _ in range(initial):
            self._begin(self._new(0.0, 0.0))
        ticks, end = 0, self._length + grace
        while True:
            next_tick = ticks * EVERY_SECONDS
            while (first := self._first_start()) is not None and first.ready_at < next_tick:
                until(self._state, self._limits, first.ready_at)
                self._starting.remove(first)
                self._begin(first)
                hand_on(self._state, self._limits, first.ready_at)
            until(self._state, self._limits, next_tick)
            over = self._state.whole[UPCOMING] == len(self._state.at)
            if next_tick > end or (next_tick > self._length and over and self._idle()):
                return self._closed()
            self._tick(ticks, next_tick)
            ticks += 1

    def _first_start(self) -> _Replica | None:
        return min(self._starting, key=_ready_at, default=None)

    def _new(self, asked_at: float, ready_at: float) -> _Replica:
        self._number += 1
        return _Replica(asked_at, ready_at, f"replica-{self._number}")

    def _begin(self, replica: _Replica) -> None:
        state = self._state
        free = np.flatnonzero(state.ints[:, STAGE] == FREE)
        if not len(free):
            self._free()
            free = np.flatnonzero(self._state.ints[:, STAGE] == FREE)
        if not len(free):
            self._state = state = grown(state, 2 * len(state.ints))
            self._read = np.zeros((len(state.ints), READINGS + 1))
            free = np.flatnonzero(state.ints[:, STAGE] == FREE)
        replica.engine = int(free[0])
        new_engine(self._state, replica.engine)
        self._names[replica.engine] = replica
        self._ready.append(replica)

    def _free(self) -> None:
        """Count those that have ended their drain, and give their rows to others."""
        for replica in list(self._draining):
            if self._state.ints[replica.engine, STAGE] == GONE:
                self._gone(replica, float(self._state.floats[replica.engine, GONE_AT]))

    def _scale(self, target: int, now: float) -> None:
        missing = target - len(self._ready) - len(self._starting)
        for _ in range(missing):
            self._starting.append(self._new(now, now + self._starts.seconds()))
        for _ in range(-missing):
            self._stop(now)

    def _stop(self, now: float) -> None:
        if self._starting:
            self._count(self._starting.pop(), now)
            return
        state, replica = self._state, self._ready.pop()
        state.whole[SERVING] -= 1
        reloaded(state)
        replica.stop_by = now + self._setup.drain
        state.ints[replica.engine, STAGE] = DRAINING
        self._draining.append(replica)
        if not np.isfinite(state.floats[replica.engine, 0]):
            self._gone(replica, now)

    def _gone(self, replica: _Replica, at: float) -> None:
        self._draining.remove(replica)
        self._state.ints[replica.engine, STAGE] = FREE
        self._state.floats[replica.engine, 0] = np.inf
        self._count(replica, at)

    def _cut(self, replica: _Replica, now: float) -> None:
        state, row = self._state, self._state.ints[replica.engine]
        for place in (9, 12, 15):
            request = int(row[place + 1])
            while request >= 0:
                state.tokens[request, END], state.ended[request] = CUT, now
                request = int(state.tokens[request, 6])
        self._gone(replica, now)

    def _count(self, replica: _Replica, gone_at: float) -> None:
        held = min(gone_at, self._length) - min(replica.asked_at, self._length)
        self._record.replica_seconds += held

    def _tick(self, ticks: int, now: float) -> None:
        sample(self._state, self._limits, now)
        self._queue.append(int(self._state.whole[QUEUE]))
        if ticks % 2:
            return
        self._free()
        for replica in [one for one in self._draining if one.stop_by <= now]:
            self._cut(replica, now)
        if now < self._length:
            self._ask(now)
        self._note(now)

    def _ask(self, now: float) -> None:
        setup, rules = self._setup, self._rules
        view = self._view(now)
        if self._disturbance is not None:
            view = self._disturbance(view)
        queued = int(self._state.whole[QUEUE])
        at_zero = None if rules is None else rules.at_zero(view.ready, view.target, queued)
        if at_zero is not None:
            wanted, reason = at_zero, "Serve: requests wait and nothing serves"
        else:
            wish = self._scaler.wish(view)
            wanted, reason = wish.replicas, wish.reason
            if rules is not None:
                wanted = rules.apply(wanted, ready=view.ready, target=view.target, now=now)
        least, most = setup.bounds_now(now)
        wanted = min(max(wanted, least), most)
        if wanted != self._target:
            self._record.changes.append(Change(now, self._target, wanted, reason))
            self._target = wanted
            self._scale(wanted, now)

    def _view(self, now: float) -> FleetView:
        setup = self._setup
        least, most = setup.bounds_now(now)
        rows = self._read[: read(self._state, self._read)].tolist()
        slots = setup.engine.max_num_seqs
        return FleetView(
            now=now,
            ready=len(self._ready),
            target=self._target,
            router_queue=sum(self._queue) / len(self._queue) if self._queue else 0.0,
            minimum=least,
            maximum=most,
            cold_start_seconds=setup.cold_start.seconds if setup.estimate is None else setup.estimate,
            replicas=tuple(
                ReplicaView(
                    name=self._names[int(row[9])].name,
                    waiting=row[0],
                    running=row[1],
                    kv_usage=row[2],
                    slots=slots,
                    accepted=row[3],
                    finished=row[4],
                    prompt_tokens=row[5],
                    prompt_pairs=row[6],
                    generated_tokens=row[7],
                    reported_at=row[8],
                    kv_tokens=setup.engine.kv_tokens,
                )
                for row in rows
            ),
        )

    def _note(self, now: float) -> None:
        self._free()
        held = len(self._ready) + len(self._starting) + len(self._draining)
        if now <= self._length:
            self._record.peak = max(self._record.peak, held)
        waiting, flying, _ = loads(self._state)
        queued = int(self._state.whole[QUEUE]) + waiting
        self._record.seconds.append(Second(now, len(self._ready), self._target, held, queued, flying - waiting))

    def _idle(self) -> bool:
        return not self._state.whole[QUEUE] and not loads(self._state)[2]

    def _closed(self) -> CompiledRecord:
        self._free()
        for replica in (*self._ready, *self._draining, *self._starting):
            self._count(replica, math.inf)
        state, record = self._state, self._record
        ends = state.tokens[:, END].copy()
        ends[ends == 0] = PENDING
        record.at, record.first_token, record.ended = state.at, state.first_token, state.ended
        record.prompts, record.ends = state.tokens[:, PROMPT].copy(), ends
        return record


def _ready_at(replica: _Replica) -> float:
    return replica.ready_at


def _within(record: CompiledRecord, setup: Setup) -> NDArray[np.bool_]:
    """Whether the first token of each request came in time."""
    waits = record.first_token - record.at
    fine = waits <= setup.first_token
    for place in np.flatnonzero(~fine & np.isfinite(waits)):
        fine[place] = waits[place] <= allowed_seconds(int(record.prompts[place]), setup.first_token, setup.speed)
    return fine


def _outcome(record: Record, setup: Setup) -> Outcome:
    assert isinstance(record, CompiledRecord)  # noqa: S101 - what this player has played
    taken = record.ends != TOO_LONG
    waits = np.sort((record.first_token - record.at)[taken & np.isfinite(record.first_token)])
    return Outcome(
        requests=int(taken.sum()),
        within=int((_within(record, setup) & taken).sum()),
        too_long=int((~taken).sum()),
        refused=int((record.ends == REFUSED).sum()),
        cut=int((record.ends == CUT).sum()),
        pending=int((record.ends == PENDING).sum()),
        largest_wait=float(waits[-1]) if len(waits) else 0.0,
        p99_wait=float(waits[max(0, math.ceil(0.99 * len(waits)) - 1)]) if len(waits) else 0.0,
        gpu_hours=record.replica_seconds * setup.gpus / _SECONDS_PER_HOUR,
        peak=record.peak,
        changes=len(record.changes),
    )


def _late(record: Record, setup: Setup, width: float, bins: int) -> tuple[list[int], list[int]]:
    assert isinstance(record, CompiledRecord)  # noqa: S101 - what this player has played
    taken = record.ends != TOO_LONG
    places = np.minimum(bins - 1, (record.at / width).astype(np.int64))
    missed = np.bincount(places[taken & ~_within(record, setup)], minlength=bins)
    return missed.tolist(), np.bincount(places[taken], minlength=bins).tolist()


COMPILED = Player(run, _outcome, _late)
"""The event loop that `make bench-autoscaling` plays with."""
