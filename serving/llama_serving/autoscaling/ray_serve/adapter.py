"""The policy as Ray Serve calls it: translates Serve's context, and keeps the memory where it survives the controller.

Serve forgets the state of a policy, and the policy itself, whenever a setting of the deployment changes, and with its controller. So the memory,
and what replicas have said of the plan and of live settings, is also written to the key-value store of the Ray cluster, together with the
last decisions, which `board` shows.
"""

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from llama_serving.autoscaling.memory import Memory
from llama_serving.autoscaling.policy import Decision, decide
from llama_serving.autoscaling.ray_serve.keeping import Keeper, RayStore, ScalingRecord, Store, record_key
from llama_serving.autoscaling.ray_serve.present import Present
from llama_serving.autoscaling.ray_serve.waking import be_asked_at_zero
from llama_serving.autoscaling.signal import Facts, Knobs, ReplicaReading, Signal

METRIC_WAITING = "llama_waiting_requests"
METRIC_RUNNING = "llama_running_requests"
METRIC_KV_USAGE = "llama_kv_cache_usage"
METRIC_SLOTS = "llama_request_slots"
METRIC_ACCEPTED = "llama_accepted_requests_total"
METRIC_FINISHED = "llama_finished_requests_total"
METRIC_PROMPT_TOKENS = "llama_prompt_tokens_total"
METRIC_PROMPT_PAIRS = "llama_prompt_pairs_total"
METRIC_GENERATED_TOKENS = "llama_generated_tokens_total"
METRIC_KV_TOKENS = "llama_kv_cache_tokens"
"""Names of what every replica reports to Serve's controller (`LlamaServer.record_autoscaling_stats`)."""

FACT_METRICS: Mapping[str, str] = {
    "per_token": "llama_fact_seconds_per_token",
    "per_pair": "llama_fact_seconds_per_pair",
    "per_cached_token": "llama_fact_seconds_per_cached_token",
    "weights": "llama_fact_seconds_of_weights",
    "step": "llama_fact_seconds_of_step",
    "overlap": "llama_fact_overlap",
    "objective": "llama_fact_objective_seconds",
    "cold_start": "llama_fact_cold_start_seconds",
    "measured_start": "llama_fact_measured_start_seconds",
    "prompt_tokens": "llama_fact_prompt_tokens",
    "output_tokens": "llama_fact_output_tokens",
    "choices": "llama_fact_router_choices",
}
"""Names under which replicas report what their revision pins of the plan, by field of `Facts`; what is not known is left out."""

KNOB_METRICS: Mapping[str, str] = {
    "price": "llama_knob_price",
    "reserve": "llama_knob_reserve",
}
"""Names under which replicas report the live settings, by field of `Knobs`."""

_LOGGER = logging.getLogger("ray.serve")
_MEMORY = "llama_memory"
_TURN_SECONDS = 0.9
"""Reports come once a second: between them there is nothing to decide."""


class ServeContext(Protocol):
    """The part of `ray.serve.config.AutoscalingContext` that the policy reads."""

    app_name: str | None
    deployment_name: str
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

    @property
    def raw_metrics(self) -> Mapping[str, Mapping[Any, Any]] | None:
        """What the replicas report, with times, by metric and replica."""
        ...


class QueueDepthPolicy:
    """`policy_function` of the engine's deployment: Serve instantiates it once and calls it on every tick.

    Settings come with the reports of replicas and from `ctx.config`, which can be edited without restarting an engine; arguments of the
    policy could not.

    Args:
        store: Keeps the memory; None for the store of the Ray cluster.
    """

    def __init__(self, store: Store | None = None) -> None:
        be_asked_at_zero(type(self).__name__)
        self._keeper = Keeper(RayStore() if store is None else store)
        self._last_kind = ""
        self._seen: dict[str, tuple[float, float]] = {}
        self._readings: dict[str, ReplicaReading] = {}
        self._present = Present()
        self._turn: tuple[float, int, int, int] | None = None
        self._ahead = 0.0
        self._failing_since: float | None = None

    def __call__(self, ctx: ServeContext) -> tuple[int, dict[str, Any]]:
        """Return the number of replicas and the state to keep. Never raises: that would stop all autoscaling."""
        target = ctx.target_num_replicas
        try:
            self._present.look([str(replica) for replica in ctx.running_replicas], target, ctx.current_time)
            turn = self._turn
            same = turn is not None and turn[1:3] == (target, ctx.current_num_replicas)
            if turn is not None and same and not _wakes(ctx) and 0 <= ctx.current_time - turn[0] < _TURN_SECONDS:
                return turn[3], dict(ctx.policy_state)
            return self._decide(ctx)
        except Exception:
            self._failing_since = ctx.current_time if self._failing_since is None else self._failing_since
            if ctx.current_time - self._failing_since >= _FORGET_SECONDS:
                # A fault that comes from what is remembered would last as long as the head: each new controller reads it again.
                self._keeper.forget(record_key(ctx.app_name, ctx.deployment_name))
            if self._last_kind != "failed":
                self._last_kind = "failed"
                _LOGGER.exception("The autoscaling policy failed; the number of replicas stays as it is")
            return max(target, int(_wakes(ctx))), {}

    def _decide(self, ctx: ServeContext) -> tuple[int, dict[str, Any]]:
        now, key = ctx.current_time, record_key(ctx.app_name, ctx.deployment_name)
        record = self._keeper.record(key, now)
        memory = Memory.from_json(ctx.policy_state.get(_MEMORY) or record.memory)
        if abs(now + self._ahead - memory.at) >= _LONGEST_AWAY_SECONDS:
            memory = Memory()
        # A clock that was set back must not make the memory one of the future.
        self._ahead = max(self._ahead, memory.at - now)
        steady = now + self._ahead
        facts, knobs = facts_of(ctx, record.facts), knobs_of(ctx, record.knobs)
        signal = self.signal(ctx, memory, steady)
        decision = decide(signal, memory, now=steady, facts=Facts(**facts), knobs=Knobs(**knobs, hold=_hold(ctx)))
        decision = _with_engines(decision, signal)
        self._log(decision, ctx.target_num_replicas)
        state = decision.memory.to_json()
        record = told(record, decision, ctx.target_num_replicas, now, state)
        self._keeper.keep(key, replace(record, facts=facts, knobs=knobs), now)
        self._failing_since = None
        self._turn = (now, ctx.target_num_replicas, ctx.current_num_replicas, decision.replicas)
        return decision.replicas, {_MEMORY: state}

    def signal(self, ctx: ServeContext, memory: Memory, now: float) -> Signal:
        """Translate Serve's context at `now`. A replica without a complete report is left out: so it is seen to be missing."""
        metrics, raw = ctx.aggregated_metrics or {}, ctx.raw_metrics or {}
        readings = {name: self._readings[name] for name in self._present.missing if name in self._readings}
        seen = {name: self._seen[name] for name in readings}
        for replica in ctx.running_replicas:
            averages = [metrics.get(name, {}).get(replica) for name in _AVERAGED]
            if None in averages:
                continue
            waiting, running, kv_usage, slots = (float(value) for value in averages if value is not None)
            name = str(replica)
            stamp, counters = _latest(metrics, raw, replica)
            if _lost(counters, self._readings.get(name)):
                readings[name], seen[name] = self._readings[name], self._seen[name]
                continue
            counters = _rounded(counters, self._readings.get(name))
            before = self._seen.get(name)
            # By this clock, since the replica may have another one.
            seen[name] = (stamp, now) if before is None or before[0] != stamp else before
            readings[name] = ReplicaReading(
                name=name,
                waiting=waiting,
                running=running,
                kv_usage=kv_usage,
                slots=slots,
                reported_at=seen[name][1],
                **{field: value or 0.0 for field, value in counters.items()},
            )
        self._seen, self._readings = seen, readings
        listed = ctx.current_num_replicas
        ready = listed + self._present.unlisted(memory.ready, listed)
        # Without a replica nothing can have been accepted; the total then also counts what a router holds back.
        queued = ctx.total_num_requests if ready == 0 else ctx.total_queued_requests
        return Signal(
            queued=float(queued),
            replicas=tuple(readings.values()),
            ready=ready,
            target=ctx.target_num_replicas,
            target_queue_depth=float(ctx.config.target_ongoing_requests),
            minimum=ctx.capacity_adjusted_min_replicas,
            maximum=ctx.capacity_adjusted_max_replicas,
        )

    def _log(self, decision: Decision, target: int) -> None:
        kind = decision.reason.partition(":")[0]
        if kind != self._last_kind:
            self._last_kind = kind
            _LOGGER.info("Autoscaling policy: %d -> %d replicas (%s)", target, decision.replicas, decision.reason)


def _with_engines(decision: Decision, signal: Signal) -> Decision:
    """Say in the reason how many requests engines have: of one whose speed is unknown nothing else tells why it is not enough."""
    if not signal.replicas:
        return decision
    inside = sum(replica.running + replica.waiting for replica in signal.replicas)
    return replace(decision, reason=f"{decision.reason}, {inside:.0f} in engines")


def _wakes(ctx: ServeContext) -> bool:
    """Whether somebody waits and nothing serves or starts."""
    return ctx.current_num_replicas == 0 and ctx.target_num_replicas == 0 and ctx.total_num_requests > 0


_AVERAGED = (METRIC_WAITING, METRIC_RUNNING, METRIC_KV_USAGE, METRIC_SLOTS)
_COUNTED = {
    "accepted": METRIC_ACCEPTED,
    "finished": METRIC_FINISHED,
    "prompt_tokens": METRIC_PROMPT_TOKENS,
    "prompt_pairs": METRIC_PROMPT_PAIRS,
    "generated_tokens": METRIC_GENERATED_TOKENS,
    "kv_tokens": METRIC_KV_TOKENS,
}
_FORGET_SECONDS = 30.0
"""Without a decision; longer than a store that cannot be read is waited for."""
_LONGEST_AWAY_SECONDS = 24 * 3600.0
_ROUNDING = 1e-12
"""Share of an average that may be rounding; it is some thousand times more than was seen."""
_EVENTS = 10


def _latest(
    metrics: Mapping[str, Mapping[Any, float]], raw: Mapping[str, Mapping[Any, Any]], replica: Any
) -> tuple[float, dict[str, float | None]]:
    """Return the time of the last report, on the replica's clock, and the counters; None for those that it does not have.

    They are averages of the same seconds as the queue of the routers, so that what leaves it is seen to arrive.
    """
    said = {field: metrics.get(name, {}).get(replica) for field, name in _COUNTED.items()}
    counters = {field: None if value is None else float(value) for field, value in said.items()}
    series = raw.get(METRIC_SLOTS, {}).get(replica)
    # Without times every report counts as new.
    return (float(series[-1].timestamp) if series else math.nan), counters


def _lost(counters: Mapping[str, float | None], before: ReplicaReading | None) -> bool:
    """Whether a counter is missing that was there: it is no counter at 0, after which all that it ever counted would come as one burst."""
    return before is not None and any(value is None and getattr(before, field) > 0 for field, value in counters.items())


def _rounded(counters: Mapping[str, float | None], before: ReplicaReading | None) -> dict[str, float | None]:
    """Return the counters, and as before where one has gone back by no more than the rounding of an average.

    Serve's average of three times the same number is above or below it by its last digit once that number is large, as pairs of tokens are
    within hours. A counter that goes back is that of an engine which started anew: all that this one did in that second would not count.
    """
    if before is None:
        return dict(counters)
    said = {field: (value, float(getattr(before, field))) for field, value in counters.items()}
    return {
        field: last if value is not None and 0 < last - value <= _ROUNDING * last else value
        for field, (value, last) in said.items()
    }


def _said(ctx: ServeContext, name: str, choose: Callable[[list[float]], float]) -> float | None:
    by_replica = (ctx.aggregated_metrics or {}).get(name, {})
    sane = [float(value) for value in by_replica.values() if math.isfinite(value) and value >= 0]
    return choose(sane) if sane else None


def facts_of(ctx: ServeContext, before: Mapping[str, float]) -> dict[str, float]:
    """Return what the replicas report of the plan, by field of `Facts`; what nobody reports now is as before.

    While nothing serves nobody reports anything. What a request costs must be known then: see `policy`, first replicas.
    """
    return _last_said(ctx, FACT_METRICS, max, before)


def knobs_of(ctx: ServeContext, before: Mapping[str, float]) -> dict[str, float]:
    """Return the live settings that the replicas report, by field of `Knobs`: those of most, since they take them one after the other."""
    return _last_said(ctx, KNOB_METRICS, _middle, before)


def _hold(ctx: ServeContext) -> float | None:
    """A delay that Serve itself applies is one that the user has set: then nothing else is held."""
    return 0.0 if float(ctx.config.downscale_delay_s or 0.0) > 0 else None


def _last_said(
    ctx: ServeContext, names: Mapping[str, str], choose: Callable[[list[float]], float], before: Mapping[str, float]
) -> dict[str, float]:
    # What was kept is read from a store, where anything may be.
    kept = {field: float(before[field]) for field in names if _is_amount(before.get(field))}
    said = {field: _said(ctx, name, choose) for field, name in names.items()}
    return kept | {field: value for field, value in said.items() if value is not None}


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


BOUNDS = "bounds of the deployment"
"""Why the number changed when the policy did not wish it; `llama_serving.contract.status` has it for the operator, which knows whose bounds they are."""


def told(record: ScalingRecord, decision: Decision, target: int, now: float, state: Mapping[str, Any]) -> ScalingRecord:
    """Return the record after a decision: a change that Serve has made has the reason of the wish before it.

    Args:
        record: Of before.
        decision: Of now.
        target: Replicas that Serve wants now.
        now: Seconds since 1970.
        state: The memory as JSON.
    """
    events = record.events
    if record.target is not None and record.target != target:
        grew = target > record.target
        wished = record.wish is not None and (record.wish > record.target if grew else record.wish < record.target)
        unwished = BOUNDS if record.target > 0 else f"a request when there was no replica, or {BOUNDS}"
        why = record.reason if wished else unwished
        events = ({"at": now, "from": record.target, "to": target, "reason": why}, *events)[:_EVENTS]
    return ScalingRecord(
        memory=state,
        target=target,
        wish=decision.replicas,
        reason=decision.reason,
        arrivals=decision.arrivals,
        request_seconds=decision.request_seconds,
        need=decision.need,
        unbounded=decision.wish,
        cold_start=decision.memory.cold_start or None,
        at=now,
        events=events,
    )
