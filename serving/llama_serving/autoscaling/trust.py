"""What of a signal can be believed. Called first by `policy`.

Serve keeps the last report of a replica for ever, and averages what it gets: so a silent engine looks like one whose load stands
still. Three kinds of faults are told apart. A replica that is *missing* has sent nothing, or nothing new. One that is *frozen* sends reports,
but its counters and its cache stand still while requests run. Numbers are *absurd* when no engine can have them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from llama_serving.autoscaling.memory import Memory, Row
from llama_serving.autoscaling.signal import ReplicaReading, Signal

STALE_SECONDS = 10.0
"""Reports come every second; averages of three seconds hide one or two that are lost."""
_MOST_REQUESTS = 1e7
"""Requests that wait somewhere: at a kilobyte each, more than a router's memory holds."""
_SAMPLE = 0.5
"""Share of the replicas that must be believed for the others to be taken as like them."""
_IDLE_SECONDS = 60.0
"""For so long a router may hold a request while all engines are idle."""
_CACHE_MOVES = 1e-5
"""Share of the cache that one step of a prompt fills at least. What Serve averages differs by less where nothing moves."""
_MOST_COUNTED = 1e24
_MOST_KV_USAGE = 1.5
_MOST_PER_SECOND = 1e5
"""Requests that one replica takes in a second: beyond what its HTTP server can read."""


@dataclass(frozen=True, slots=True)
class Trusted:
    """What is left of a signal.

    Attributes:
        replicas: Readings that can be believed.
        queued: Requests in routers; None if that number cannot be believed.
        problem: Why less than all can be believed; empty if all can.
        stuck: Requests in routers that nobody hands on; `queued` is without them.
        idle_since: Since when all engines are idle beside a queue; 0 if they are not.
    """

    replicas: tuple[ReplicaReading, ...]
    queued: float | None
    problem: str
    stuck: float = 0.0
    idle_since: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether everything can be believed: only then may a fleet get smaller."""
        return not self.problem


def trusted(signal: Signal, memory: Memory, now: float) -> Trusted:
    """Sort out what cannot be believed.

    Args:
        signal: As it came.
        memory: Has the counters of before.
        now: Seconds.
    """
    problems: list[str] = []
    before = {row[0]: row for row in memory.counters}
    fine: list[ReplicaReading] = []
    for replica in signal.replicas:
        why = _fault(replica, before.get(replica.name), now)
        if why:
            problems.append(why)
        else:
            fine.append(replica)
    silent = signal.ready - len(signal.replicas)
    if silent > 0:
        problems.insert(0, f"{silent} of {signal.ready} replicas have not reported")
    queued: float | None = signal.queued
    if not (sane(signal.queued) and signal.queued <= _MOST_REQUESTS):
        problems.append("the number of queued requests is absurd")
        queued = None
    if not (sane(signal.target_queue_depth) and signal.target_queue_depth > 0):
        problems.append("the target queue depth is not a positive number")
    if len(fine) < _SAMPLE * signal.ready:
        # A few that have just begun say nothing of the others.
        fine = []
    stuck, idle_since = (memory.stuck, 0.0) if queued is None else _stuck(queued, signal, fine, memory, now)
    kept = None if queued is None else queued - stuck
    return Trusted(tuple(fine), kept, problems[0] if problems else "", stuck, idle_since)


def _stuck(
    queued: float, signal: Signal, fine: Sequence[ReplicaReading], memory: Memory, now: float
) -> tuple[float, float]:
    """Return `Trusted.stuck` and `idle_since`: a router hands on at once what it really has, so beside idle engines its number is wrong.

    It stays so at zero replicas: the same number would start one again and again.
    """
    stuck = min(memory.stuck, queued)
    accepted = {row[0]: row[1] for row in memory.counters}
    idle = len(fine) == signal.ready > 0 and all(
        one.running <= 0 and one.waiting <= 0 and accepted.get(one.name) == one.accepted for one in fine
    )
    if queued <= stuck or not idle:
        return stuck, 0.0
    since = memory.idle_since or now
    return (queued if now - since > _IDLE_SECONDS else stuck), since


def moved_at(replica: ReplicaReading, before: Row | None, now: float) -> float:
    """Return when a replica was last seen to compute, or had nothing to compute.

    A prompt is counted when all of it is computed, which takes some 20 s for 100,000 tokens of a 70B model, by the model of a step. Until then the cache that it fills shows it.

    Args:
        replica: What it says.
        before: Its counters at the last decision, and this time; None if it is new.
        now: Seconds.
    """
    if before is None or replica.running <= 0:
        return now
    _, accepted, finished, prompt, _, generated, moved, kv_usage = before
    same = (replica.accepted, replica.finished, replica.prompt_tokens, replica.generated_tokens) == (
        accepted,
        finished,
        prompt,
        generated,
    )
    return moved if same and abs(replica.kv_usage - kv_usage) < _CACHE_MOVES else now


def _fault(replica: ReplicaReading, before: Row | None, now: float) -> str:
    gauges = (replica.waiting, replica.running, replica.kv_usage, replica.slots, replica.kv_tokens)
    totals = (replica.accepted, replica.finished, replica.prompt_tokens, replica.prompt_pairs, replica.generated_tokens)
    faults = (
        (not all(map(sane, (*gauges, *totals))), "a replica reports a value that is not a number"),
        (
            replica.waiting > _MOST_REQUESTS
            or replica.running > 2 * max(1.0, replica.slots)
            or replica.kv_usage > _MOST_KV_USAGE,
            "a replica reports more than it can hold",
        ),
        (max(totals) > _MOST_COUNTED, "a replica reports more than it can have counted"),
        (now - replica.reported_at > STALE_SECONDS, "a replica has not reported for long"),
        (before is not None and _leaps(replica, before, now), "a replica reports more requests than it can take"),
        (
            now - moved_at(replica, before, now) > STALE_SECONDS,
            "the counters of a replica stand still while it computes",
        ),
    )
    return next((why for found, why in faults if found), "")


def _leaps(replica: ReplicaReading, before: Row, now: float) -> bool:
    seconds = now - before[6] + STALE_SECONDS
    return replica.accepted - before[1] > _MOST_PER_SECOND * seconds


def sane(value: float) -> bool:
    """Whether a number can be one of requests, tokens or seconds."""
    return math.isfinite(value) and value >= 0
