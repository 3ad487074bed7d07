"""What Ray Serve hands to a policy, made by hand: contexts with reports of replicas, and a store of a Ray cluster in memory."""

from types import SimpleNamespace

import pytest

from llama_serving.autoscaling import (
    FACT_METRICS,
    METRIC_ACCEPTED,
    METRIC_KV_USAGE,
    METRIC_RUNNING,
    METRIC_SLOTS,
    METRIC_WAITING,
)

AutoscalingConfig = pytest.importorskip("ray.serve.config", reason="Ray Serve is not installed").AutoscalingConfig

NOW = 1_800_000_000.0
PRICED = {
    FACT_METRICS["per_token"]: 0.001,
    FACT_METRICS["prompt_tokens"]: 1000.0,
    FACT_METRICS["output_tokens"]: 100.0,
    FACT_METRICS["objective"]: 60.0,
}
"""Engines that take about a second for a request."""


class Store:
    """What the store of a Ray cluster does, in memory."""

    def __init__(self):
        self.kept = {}

    def read(self, key):
        return self.kept.get(key)

    def write(self, key, value):
        self.kept[key] = value.encode()


def config(**changes):
    return AutoscalingConfig(
        min_replicas=0, max_replicas=10, target_ongoing_requests=4, upscale_delay_s=0, downscale_delay_s=0, **changes
    )


def metrics(replicas, **values):
    said = {METRIC_WAITING: 0.0, METRIC_RUNNING: 0.0, METRIC_KV_USAGE: 0.0, METRIC_SLOTS: 8.0, METRIC_ACCEPTED: 100.0}
    said |= {"llama_fact_cold_start_seconds": 60.0} | values
    return {name: dict.fromkeys(replicas, value) for name, value in said.items()}


def context(*, at=0.0, ready=1, target=None, values=None, settings=None, state=None, queued=0.0, total=0.0, minimum=0):
    replicas = [f"r{number}" for number in range(ready)]
    return SimpleNamespace(
        app_name="llama",
        deployment_name="LlamaServer:m",
        current_num_replicas=ready,
        target_num_replicas=ready if target is None else target,
        capacity_adjusted_min_replicas=minimum,
        capacity_adjusted_max_replicas=10,
        current_time=NOW + at,
        policy_state=state or {},
        running_replicas=replicas,
        config=settings or config(),
        total_queued_requests=queued,
        total_num_requests=total,
        aggregated_metrics=metrics(replicas, **(values or {})),
        raw_metrics=None,
    )
