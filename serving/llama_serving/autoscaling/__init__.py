"""Decides how many engine replicas there should be, from the work that arrives.

`decide` is pure: Serve's controller, the simulator and the tests run the same code. `QueueDepthPolicy` adapts it to Ray Serve, which
pickles this package by value into its controller and calls the policy about ten times a second: so the package imports only the standard
library, names from its own modules and never the modules themselves. docs/designs/0022-autoscaling.md derives each term.
"""

from llama_serving.autoscaling.memory import Memory
from llama_serving.autoscaling.policy import Decision, decide
from llama_serving.autoscaling.ray_serve.adapter import (
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
    QueueDepthPolicy,
)
from llama_serving.autoscaling.ray_serve.keeping import RayStore, ScalingRecord, record_key
from llama_serving.autoscaling.signal import ALL_ENGINES, Facts, Knobs, ReplicaReading, Signal

__all__ = [
    "ALL_ENGINES",
    "FACT_METRICS",
    "KNOB_METRICS",
    "METRIC_ACCEPTED",
    "METRIC_FINISHED",
    "METRIC_GENERATED_TOKENS",
    "METRIC_KV_TOKENS",
    "METRIC_KV_USAGE",
    "METRIC_PROMPT_PAIRS",
    "METRIC_PROMPT_TOKENS",
    "METRIC_RUNNING",
    "METRIC_SLOTS",
    "METRIC_WAITING",
    "Decision",
    "Facts",
    "Knobs",
    "Memory",
    "QueueDepthPolicy",
    "RayStore",
    "ReplicaReading",
    "ScalingRecord",
    "Signal",
    "decide",
    "record_key",
]
