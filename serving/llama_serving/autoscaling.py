"""Decides how many engine replicas a queue needs.

`decide` is pure: Serve's controller, the simulator and the tests run the same code. `QueueDepthPolicy` adapts it to Ray
Serve. Serve pickles this module by value into its controller and calls the policy about ten times a second, so the module
imports only the standard library and never blocks.
"""

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

METRIC_WAITING = "llama_waiting_requests"
METRIC_RUNNING = "llama_running_requests"
METRIC_KV_USAGE = "llama_kv_cache_usage"
METRIC_SLOTS = "llama_request_slots"
"""Names of what every replica reports to Serve's controller (`LlamaServer.record_autoscaling_stats`)."""

_LOGGER = logging.getLogger("ray.serve")
_STATE_READY = "llama_ready"
_STATE_READY_SINCE = "llama_ready_since"


@dataclass(frozen=True, slots=True)
class Settings:
    """Constants of the decision, the same for every deployment.

    Attributes:
        growth: How many times the ready replicas a decision may ask for. A cold start takes minutes while the queue
            keeps growing; without this limit it would be answered with replicas for requests that are long gone.
        settle_seconds: After a replica became ready, its relief takes this long to show in the metrics; until then
            nothing is added.
        fill: Share of the remaining replicas' slots and KV cache that may be in use after one was removed.
        shrink: Smallest share of the ready replicas that one decision keeps.
        quiet: Share of the allowed queue that may wait while replicas are removed: requests pass through the queue
            even when the fleet is nearly idle.
    """

    growth: float = 2.0
    settle_seconds: float = 6.0
    fill: float = 0.7
    shrink: float = 0.5
    quiet: float = 0.1


@dataclass(frozen=True, slots=True)
class ReplicaLoad:
    """What one ready replica says about its engine.

    Attributes:
        waiting: Requests that wait in it.
        running: Requests that it computes.
        kv_usage: Share of its KV cache in use, 0 to 1.
        slots: Requests that it can compute at once.
    """

    waiting: float
    running: float
    kv_usage: float
    slots: float


@dataclass(frozen=True, slots=True)
class Signal:
    """What the decision rests on.

    Attributes:
        queued: Requests that no engine has accepted yet.
        loads: One entry for each ready replica that has reported.
        ready: Replicas that serve.
        target: Replicas that were asked for; `target - ready` are starting when positive.
        target_queue_depth: Waiting requests that a replica may have.
        minimum: Lower bound.
        maximum: Upper bound.
    """

    queued: float
    loads: tuple[ReplicaLoad, ...]
    ready: int
    target: int
    target_queue_depth: float
    minimum: int
    maximum: int

    @property
    def starting(self) -> int:
        """Replicas that were asked for and do not serve yet."""
        return max(0, self.target - self.ready)


@dataclass(frozen=True, slots=True)
class Memory:
    """What one decision leaves to the next: how many replicas were ready, and since when (seconds)."""

    ready: int = 0
    ready_since: float = -math.inf


@dataclass(frozen=True, slots=True)
class Decision:
    """How many replicas there should be, why, and what to remember."""

    replicas: int
    reason: str
    memory: Memory = field(default_factory=Memory)


def decide(signal: Signal, memory: Memory, *, now: float, settings: Settings = Settings()) -> Decision:
    """Decide how many replicas there should be.

    Up: each replica may have `target_queue_depth` waiting requests, also those that are starting, which count as if
    they already served. What waits beyond that is shared out over new replicas, each of which takes what it can run
    and its own allowed queue. Down: to as many replicas as can hold what runs now with room to spare, and to zero when
    nothing runs or waits. Metrics that are missing or absurd change nothing.

    Args:
        signal: The queue and the fleet.
        memory: `Decision.memory` of the previous decision, `Memory()` at first.
        now: Seconds on any steady clock, the same in every call.
        settings: Constants.

    Returns:
        A number within the bounds of `signal`, also when everything else in it is garbage.
    """
    if signal.ready == memory.ready:
        remembered = memory
    else:
        grew = signal.ready > memory.ready
        remembered = Memory(ready=signal.ready, ready_since=now if grew else memory.ready_since)
    wanted, reason = _unbounded(signal, remembered, now, settings)
    lower = max(0, signal.minimum)
    return Decision(min(max(wanted, lower), max(lower, signal.maximum)), reason, remembered)


def _unbounded(signal: Signal, memory: Memory, now: float, settings: Settings) -> tuple[int, str]:
    problem = _problem(signal)
    if problem:
        return signal.target, f"hold: {problem}"
    waiting = signal.queued + sum(load.waiting for load in signal.loads)
    if signal.ready == 0:
        if signal.target > 0:
            return signal.target, "hold: the first replica is starting"
        return (1, "up: requests wait and there is no replica") if waiting > 0 else (0, "hold: idle at zero")
    needed = _needed(signal, waiting)
    if needed > signal.target:
        if now - memory.ready_since < settings.settle_seconds:
            return signal.target, "hold: a replica has just become ready"
        limit = max(signal.target, math.floor(signal.ready * settings.growth))
        if limit == signal.target:
            return signal.target, f"hold: {signal.starting} replicas are starting"
        return min(needed, limit), f"up: {waiting:g} requests wait"
    fitting = _fitting(signal, waiting, settings)
    if fitting < min(signal.target, signal.ready):
        return fitting, f"down: {waiting:g} requests wait, {fitting} replicas are enough"
    return signal.target, "hold: the queue is within its target"


def _problem(signal: Signal) -> str:
    """Say what makes the signal unusable; empty when nothing does."""
    if signal.ready < 0 or signal.target < 0:
        return "the number of replicas is negative"
    if not _sane(signal.target_queue_depth) or signal.target_queue_depth == 0:
        return "the target queue depth is not a positive number"
    if not _sane(signal.queued):
        return "the number of queued requests is not a number"
    if len(signal.loads) < signal.ready:
        return f"{signal.ready - len(signal.loads)} of {signal.ready} replicas have not reported"
    for load in signal.loads:
        if not all(_sane(value) for value in (load.waiting, load.running, load.kv_usage, load.slots)):
            return "a replica reports a value that is not a number"
    return ""


def _sane(value: float) -> bool:
    return math.isfinite(value) and value >= 0


def _needed(signal: Signal, waiting: float) -> int:
    """Replicas, ready and starting, that bring the queue to its target."""
    depth = signal.target_queue_depth
    excess = waiting - depth * signal.ready
    if excess <= 0:
        return 0
    slots = sum(load.slots for load in signal.loads) / max(1, len(signal.loads))
    return signal.ready + math.ceil(excess / (slots + depth))


def _fitting(signal: Signal, waiting: float, settings: Settings) -> int:
    """Fewest replicas that hold the present load with room to spare; `ready` when requests wait."""
    running = sum(load.running for load in signal.loads)
    if running == waiting == 0 and signal.ready == 1:
        return 0
    if waiting > settings.quiet * signal.target_queue_depth * signal.ready:
        return signal.ready
    slots = min((load.slots for load in signal.loads), default=0.0)
    by_slots = math.ceil(running / (slots * settings.fill)) if slots > 0 else signal.ready
    by_cache = math.ceil(sum(load.kv_usage for load in signal.loads) / settings.fill)
    floor = math.ceil(signal.ready * settings.shrink)
    return min(signal.ready, max(1, by_slots, by_cache, floor))


class ServeContext(Protocol):
    """The part of `ray.serve.config.AutoscalingContext` that the policy reads."""

    current_num_replicas: int
    target_num_replicas: int
    capacity_adjusted_min_replicas: int
    capacity_adjusted_max_replicas: int
    current_time: float
    policy_state: dict[str, Any]
    running_replicas: Iterable[Any]
    config: Any

    @property
    def total_queued_requests(self) -> float:
        """Requests that wait in the routers."""
        ...

    @property
    def total_num_requests(self) -> float:
        """Requests that wait in the routers or were accepted by a replica."""
        ...

    @property
    def aggregated_metrics(self) -> Mapping[str, Mapping[Any, float]] | None:
        """Averages of what the replicas report, by metric and replica."""
        ...


class QueueDepthPolicy:
    """`policy_function` of the engine's deployment: Serve instantiates it once and calls it on every tick.

    The set-point comes from `config.target_ongoing_requests`, which can be edited without restarting an engine;
    arguments of the policy could not. Serve itself applies the delays between the decision and the change.
    """

    def __init__(self) -> None:
        self._last_kind = ""

    def __call__(self, ctx: ServeContext) -> tuple[int, dict[str, Any]]:
        """Return the number of replicas and the state to keep. Never raises: that would stop all autoscaling."""
        try:
            decision = decide(signal_of(ctx), self._memory(ctx.policy_state), now=ctx.current_time)
            self._log(decision, ctx.target_num_replicas)
            state = {_STATE_READY: decision.memory.ready, _STATE_READY_SINCE: decision.memory.ready_since}
        except Exception:
            if self._last_kind != "failed":
                self._last_kind = "failed"
                _LOGGER.exception("The queue-depth policy failed; the number of replicas stays as it is")
            return ctx.target_num_replicas, {}
        return decision.replicas, state

    @staticmethod
    def _memory(state: Mapping[str, Any]) -> Memory:
        fresh = Memory()
        return Memory(
            ready=state.get(_STATE_READY, fresh.ready), ready_since=state.get(_STATE_READY_SINCE, fresh.ready_since)
        )

    def _log(self, decision: Decision, target: int) -> None:
        kind = decision.reason.partition(":")[0]
        if kind != self._last_kind:
            self._last_kind = kind
            _LOGGER.info("Queue-depth policy: %d -> %d replicas (%s)", target, decision.replicas, decision.reason)


def signal_of(ctx: ServeContext) -> Signal:
    """Translate Serve's context.

    A replica without a complete report is left out, so that `decide` sees that it is missing.
    """
    metrics = ctx.aggregated_metrics or {}
    names = (METRIC_WAITING, METRIC_RUNNING, METRIC_KV_USAGE, METRIC_SLOTS)
    loads = []
    for replica in ctx.running_replicas:
        values = [metrics.get(name, {}).get(replica) for name in names]
        if None not in values:
            waiting, running, kv_usage, slots = (float(value) for value in values if value is not None)
            loads.append(ReplicaLoad(waiting, running, kv_usage, slots))
    # Without a replica nothing can have been accepted; the total then also counts what a router holds back.
    queued = ctx.total_num_requests if ctx.current_num_replicas == 0 else ctx.total_queued_requests
    return Signal(
        queued=float(queued),
        loads=tuple(loads),
        ready=ctx.current_num_replicas,
        target=ctx.target_num_replicas,
        target_queue_depth=float(ctx.config.target_ongoing_requests),
        minimum=ctx.capacity_adjusted_min_replicas,
        maximum=ctx.capacity_adjusted_max_replicas,
    )
