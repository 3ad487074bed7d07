"""A fleet as a fluid: whole requests arrive, work flows off. For tests of how the autoscaling policy behaves over time.

A second is a step. Each replica delivers one engine second of work in a second; a request that comes when more waits than the fleet
delivers within the objective is late. No engine steps, no cache, no router: the simulator has those.
"""

import copy
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from llama_serving.autoscaling import Decision, Facts, Knobs, Memory, ReplicaReading, Signal, decide

PROMPT, OUTPUT, SLOTS, OBJECTIVE = 1155, 211, 230, 2.0
FACTS = Facts(per_token=75e-6, per_pair=3e-9, per_cached_token=5e-8, cold_start=120.0, objective=OBJECTIVE)
"""70B FP8 on two H100, roughly."""
WORK = 0.118
"""Engine seconds of a request."""

USUAL = Knobs()

_START = 1_000_000.0

Distort = Callable[[Signal, float], Signal]
"""Makes of the true signal what the policy sees."""


@dataclass
class Replica:
    """One replica that serves or starts."""

    name: str
    ready_at: float
    accepted: float = 0.0
    finished: float = 0.0
    running: float = 0.0


@dataclass
class Run:
    """What came out."""

    late: int = 0
    requests: int = 0
    seconds: float = 0.0
    targets: list[int] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    @property
    def attained(self) -> float:
        """Share of requests that were not late."""
        return 1 - self.late / max(1, self.requests)

    @property
    def hours(self) -> float:
        """Hours of replicas, from asking for them on."""
        return self.seconds / 3600


def poisson(draw: random.Random, mean: float) -> int:
    """Draw a count."""
    if mean > 50:
        return max(0, round(draw.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), draw.random(), 0
    while product > limit:
        product *= draw.random()
        count += 1
    return count


class Fleet:
    """A fleet and its policy, second by second; a copy goes on from where it is.

    Args:
        ready: Replicas that serve at the beginning.
        cold_start: What a start takes.
        seed: Of the arrivals.
        knobs: The user's.
        facts: What the policy knows.
        work: Engine seconds of a request; the policy may think of others.
        never_start: So many of the replicas that are asked for never serve.
        forget_every: Seconds after which the memory is lost.
        bounds: Fewest and most replicas.
    """

    def __init__(
        self,
        ready: int,
        *,
        cold_start: float = 120.0,
        seed: int = 0,
        knobs: Knobs = USUAL,
        facts: Facts = FACTS,
        work: float = WORK,
        never_start: int = 0,
        forget_every: float = math.inf,
        bounds: tuple[int, int] = (1, 40),
    ) -> None:
        self._draw, self.out, self._memory = random.Random(seed), Run(), Memory()  # noqa: S311 - arrivals of a test
        self._fleet = [Replica(f"r{number}", 0.0) for number in range(ready)]
        self._target = self._made = ready
        self._queue, self._second = 0.0, 0
        self._cold_start, self._knobs, self._facts, self._work = cold_start, knobs, facts, work
        self._never, self._forget_every, self._bounds = ready + never_start, forget_every, bounds

    def play(self, rates: Iterable[float], distort: Distort | None = None) -> Run:
        """Go on with a load.

        Args:
            rates: Requests a second, for each second.
            distort: Changes what the policy sees.
        """
        for rate in rates:
            self._step(rate, distort)
        return self.out

    def copy(self) -> "Fleet":
        """Return another one that goes on as this one would."""
        return copy.deepcopy(self, {id(one): one for one in (*self.out.decisions, self._memory)})

    def _step(self, rate: float, distort: Distort | None) -> None:
        second, now, out = self._second, _START + self._second, self.out
        serving = [one for one in self._fleet if one.ready_at <= second]
        self._serve(serving, rate)
        out.seconds += len(self._fleet)
        signal = Signal(
            queued=self._queue,
            replicas=tuple(_reading(one, now) for one in serving),
            ready=len(serving),
            target=self._target,
            target_queue_depth=4.0,
            minimum=self._bounds[0],
            maximum=self._bounds[1],
        )
        if distort is not None:
            signal = distort(signal, second)
        if second % self._forget_every == 0:
            self._memory = Memory()
        decision = decide(signal, self._memory, now=now, facts=self._facts, knobs=self._knobs)
        self._memory, self._target = decision.memory, decision.replicas
        self._scale()
        out.targets.append(self._target)
        out.decisions.append(decision)
        self._second += 1

    def _serve(self, serving: list[Replica], rate: float) -> None:
        work, out = self._work, self.out
        count = poisson(self._draw, rate)
        waits = self._queue * work / max(1e-9, len(serving))
        out.requests += count
        out.late += count if waits > OBJECTIVE or not serving else 0
        done = min(self._queue + count, len(serving) / work)
        self._queue += count - done
        queue = self._queue
        load = (rate * work / len(serving)) if serving else 0.0
        running = min(SLOTS, rate / max(1, len(serving)) * 12 / max(0.05, 1 - load)) if load < 1 else SLOTS
        for one in serving:
            one.accepted += (count if queue < 1 else done) / len(serving)
            one.finished += done / len(serving)
            # Between two requests none runs.
            one.running = (running if running >= 0.5 or count else 0.0) if queue < len(serving) else SLOTS

    def _scale(self) -> None:
        while len(self._fleet) < self._target:
            self._made += 1
            takes = self._cold_start * self._draw.uniform(0.9, 1.1)
            ready_at = math.inf if self._made <= self._never else self._second + takes
            self._fleet.append(Replica(f"r{self._made}", ready_at))
        while len(self._fleet) > self._target:
            self._fleet.pop()


def run(rates: Iterable[float], *, ready: int, distort: Distort | None = None, **named: Any) -> Run:
    """Play a load; `named` is as `Fleet` takes it."""
    return Fleet(ready, **named).play(rates, distort)


def _reading(one: Replica, now: float) -> ReplicaReading:
    accepted, finished = math.floor(one.accepted), math.floor(one.finished)
    return ReplicaReading(
        name=one.name,
        waiting=0.0,
        running=one.running,
        kv_usage=one.running / SLOTS,
        slots=SLOTS,
        accepted=accepted,
        finished=finished,
        prompt_tokens=accepted * PROMPT,
        prompt_pairs=accepted * PROMPT**2 / 2,
        generated_tokens=finished * OUTPUT,
        kv_tokens=236_256,
        reported_at=now,
    )


def distorted(signal: Signal, **changes: object) -> Signal:
    """Return the signal with these values in the reading of each replica."""
    return replace(signal, replicas=tuple(replace(one, **changes) for one in signal.replicas))
