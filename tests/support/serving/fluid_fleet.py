"""A fleet as a fluid: whole requests arrive, work flows off. For tests of how the autoscaling policy behaves over time.

A second is a step. Each replica delivers one engine second of work in a second; a request that comes when more waits than the fleet
delivers within the objective is late. No engine steps, no cache, no router: the simulator has those.
"""

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from llama_serving.autoscaling import Decision, Facts, Knobs, Memory, ReplicaReading, Signal, decide

PROMPT, OUTPUT, SLOTS, OBJECTIVE = 1155, 211, 230, 2.0
FACTS = Facts(per_token=75e-6, per_pair=3e-9, per_cached_token=5e-8, cold_start=120.0, objective=OBJECTIVE)
"""70B FP8 on two H100, roughly."""
WORK = 0.118
"""Engine seconds of a request."""

USUAL = Knobs()

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


def run(
    rates: Iterable[float],
    *,
    ready: int,
    cold_start: float = 120.0,
    seed: int = 0,
    knobs: Knobs = USUAL,
    facts: Facts = FACTS,
    work: float = WORK,
    distort: Distort | None = None,
    never_start: int = 0,
    forget_every: float = math.inf,
    bounds: tuple[int, int] = (1, 40),
) -> Run:
    """Play a load.

    Args:
        rates: Requests a second, for each second.
        ready: Replicas that serve at the beginning.
        cold_start: What a start takes.
        seed: Of the arrivals.
        knobs: The user's.
        facts: What the policy knows.
        work: Engine seconds of a request; the policy may think of others.
        distort: Changes what the policy sees.
        never_start: So many of the replicas that are asked for never serve.
        forget_every: Seconds after which the memory is lost.
        bounds: Fewest and most replicas.
    """
    draw, out, memory = random.Random(seed), Run(), Memory()  # noqa: S311 - arrivals of a test
    fleet = [Replica(f"r{number}", 0.0) for number in range(ready)]
    target, made, queue, start = ready, ready, 0.0, 1_000_000.0
    for second, rate in enumerate(rates):
        now = start + second
        serving = [one for one in fleet if one.ready_at <= second]
        count = poisson(draw, rate)
        waits = queue * work / max(1e-9, len(serving))
        out.requests += count
        out.late += count if waits > OBJECTIVE or not serving else 0
        done = min(queue + count, len(serving) / work)
        queue += count - done
        load = (rate * work / len(serving)) if serving else 0.0
        running = min(SLOTS, rate / max(1, len(serving)) * 12 / max(0.05, 1 - load)) if load < 1 else SLOTS
        for one in serving:
            one.accepted += (count if queue < 1 else done) / len(serving)
            one.finished += done / len(serving)
            one.running = running if queue < len(serving) else SLOTS
        out.seconds += len(fleet)
        signal = Signal(
            queued=queue,
            replicas=tuple(_reading(one, now) for one in serving),
            ready=len(serving),
            target=target,
            target_queue_depth=4.0,
            minimum=bounds[0],
            maximum=bounds[1],
        )
        if distort is not None:
            signal = distort(signal, second)
        if second % forget_every == 0:
            memory = Memory()
        decision = decide(signal, memory, now=now, facts=facts, knobs=knobs)
        memory, target = decision.memory, decision.replicas
        while len(fleet) < target:
            made += 1
            never = made <= ready + never_start
            fleet.append(Replica(f"r{made}", math.inf if never else second + cold_start * draw.uniform(0.9, 1.1)))
        while len(fleet) > target:
            fleet.pop()
        out.targets.append(target)
        out.decisions.append(decision)
    return out


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
