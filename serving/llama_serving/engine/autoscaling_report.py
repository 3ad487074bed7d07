"""What a replica tells the autoscaling policy, once a second: its load, its counters, what its revision knows of it, and the live settings.

Called by `server`. Serve takes a flat dict of numbers; what is not known is left out.
"""

from collections.abc import Mapping
from typing import Any

from llama_serving.autoscaling import (
    ALL_ENGINES,
    FACT_METRICS,
    KNOB_METRICS,
    METRIC_ACCEPTED,
    METRIC_FINISHED,
    METRIC_GENERATED_TOKENS,
    METRIC_KV_TOKENS,
    METRIC_KV_USAGE,
    METRIC_PROMPT_PAIRS,
    METRIC_PROMPT_TOKENS,
    METRIC_RUNNING,
    METRIC_SLOTS,
    METRIC_WAITING,
)
from llama_serving.config import RequestPath
from llama_serving.contract.routing import Routing
from llama_serving.contract.scaling import EngineCost, ScalingKnobs

_TWO_BY_CHANCE = 2.0
"""Serve's router draws so many replicas and takes the one with fewer requests."""


def router_choices(path: RequestPath, routing: Routing | None) -> float:
    """Return among how many engines the router of a revision takes the one with the least to do.

    Where tenant, conversation or prefix say which replica gets a request, that is as if there were one.
    """
    if path is not RequestPath.DIRECT:
        return _TWO_BY_CHANCE
    return ALL_ENGINES if routing in {None, Routing.LEAST_CONNECTIONS} else 1.0


def autoscaling_report(
    load: Any, cost: EngineCost | None, knobs: ScalingKnobs | None, choices: float
) -> dict[str, float]:
    """Return the report.

    Args:
        load: `engine.vllm.EngineLoad`; None if the engine does not know it: then nothing is reported, and the policy sees a replica that
            is silent.
        cost: What the revision knows.
        knobs: What the user turned.
        choices: `router_choices`.
    """
    if load is None:
        return {}
    totals = load.totals
    return {
        METRIC_WAITING: float(load.waiting),
        METRIC_RUNNING: float(load.running),
        METRIC_KV_USAGE: float(load.kv_usage),
        METRIC_SLOTS: float(load.slots),
        METRIC_ACCEPTED: float(totals.accepted),
        METRIC_FINISHED: float(totals.finished),
        METRIC_PROMPT_TOKENS: float(totals.prompt_tokens),
        METRIC_PROMPT_PAIRS: float(totals.prompt_pairs),
        METRIC_GENERATED_TOKENS: float(totals.generated_tokens),
        METRIC_KV_TOKENS: float(load.kv_cache_tokens or 0),
        **_said(_facts(cost, knobs, choices), FACT_METRICS),
        **_said({} if knobs is None else knobs.model_dump(), KNOB_METRICS),
    }


def _facts(cost: EngineCost | None, knobs: ScalingKnobs | None, choices: float) -> dict[str, float | None]:
    """The cost under the names of `autoscaling.Facts`, what the operator has measured, and what the router does."""
    if cost is None:
        return {}
    return {
        "per_token": cost.marginal,
        "per_pair": cost.pair,
        "per_cached_token": cost.cached,
        "weights": cost.weights,
        "step": cost.step,
        "overlap": cost.overlap,
        "objective": cost.objective,
        "cold_start": cost.cold_start,
        "measured_start": None if knobs is None else knobs.cold_start,
        "prompt_tokens": cost.prompt_length,
        "output_tokens": cost.output_length,
        "choices": choices,
    }


def _said(values: Mapping[str, float | None], names: Mapping[str, str]) -> dict[str, float]:
    said = {name: values.get(field) for field, name in names.items()}
    return {name: float(value) for name, value in said.items() if value is not None}
