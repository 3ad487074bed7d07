"""From a planned deployment to what is simulated. Called by `kubectl llama simulate` and the bench."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from llama_operator.api.v1alpha1.llamadeployment import KVCacheDtype, LlamaDeploymentSpec
from llama_operator.decide.bounds import live_settings, replica_bounds, wanted_replicas
from llama_operator.decide.decision import Decision
from llama_operator.decide.plan.candidate import Candidate
from llama_operator.decide.plan.cold_start import stages_of
from llama_operator.decide.plan.performance import replica_model
from llama_operator.decide.scaling.schedule import widest
from llama_operator.errors import InvalidManifestError
from llama_operator.simulate.cold_start import ColdStart
from llama_operator.simulate.engine import EngineLimits
from llama_operator.simulate.router import PathLimits
from llama_operator.simulate.run import Setup
from llama_operator.simulate.step_time import step_time
from llama_serving.config import RequestPath

BATCHED_TOKENS = 8192
"""`max_num_batched_tokens` of vLLM on a card with much memory, if the spec does not say another."""

_MILLISECONDS = 1000
_FIRST_TOKEN_SECONDS = 2.0
"""Objective, if the spec has none: what MLPerf asks of a 70B server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a user may set apart from the spec; None for what the plan says."""

    cold_start: float | None = None
    first_token: float | None = None
    maximum: int | None = None
    minimum: int | None = None
    failing: float = 0.0
    begins: datetime | None = None
    """When the trace begins, with its time zone; None to leave the schedule out."""


def setup_of(spec: LlamaDeploymentSpec, decision: Decision, chosen: Candidate, choices: Choices = Choices()) -> Setup:
    """Build the setup of a deployment.

    Args:
        spec: What the user asks for.
        decision: Its decision; it has a model and a plan.
        chosen: The candidate of the plan.
        choices: What is set apart from the spec.

    Raises:
        InvalidManifestError: If the speed of the card is not known.
    """
    model, plan = decision.model, decision.plan
    replica = None
    if model is not None:
        replica = replica_model(
            model,
            chosen.variant,
            chosen.accelerator,
            chosen.sharding,
            chosen.gpus_per_node,
            kv_element_bytes=1 if spec.engine.kv_cache_dtype is KVCacheDtype.FP8 else 2,
        )
    if model is None or plan is None or replica is None:
        problem = f"the speed of {chosen.accelerator.name} is not known, so nothing can be simulated on it"
        raise InvalidManifestError.of(
            "the deployment", "spec.hardware.accelerator", problem, "name a GPU of the catalog"
        )
    live = live_settings(spec, plan.max_num_seqs, spec.endpoint.path)
    waiting = spec.scaling.max_queued_requests
    parts = stages_of(model, chosen.variant, chosen.accelerator, chosen.sharding, spec.weights.cache.mode)
    start = tuple(float(stage.seconds) for stage in parts)
    direct = spec.endpoint.path is RequestPath.DIRECT
    batched = spec.engine.arguments.max_num_batched_tokens or BATCHED_TOKENS
    return Setup(
        speed=step_time(replica, max(batched, plan.max_num_seqs)),
        engine=EngineLimits(
            chosen.memory.kv_tokens_beside(plan.max_num_seqs),
            plan.max_num_seqs,
            None if decision.chosen is None else decision.chosen.max_model_length,
        ),
        limits=PathLimits("Direct" if direct else "Ingress", live.max_ongoing_requests, waiting),
        bounds=_bounds(spec, choices),
        bounds_at=_bounds_at(spec, choices),
        cold_start=ColdStart(start if choices.cold_start is None else (choices.cold_start,), failing=choices.failing),
        drain=float(spec.rollout.drain_seconds),
        first_token=_objective(spec, choices),
        gpus=chosen.sharding.ranks,
    )


def is_scheduled(spec: LlamaDeploymentSpec) -> bool:
    """Whether the bounds of a deployment depend on the hour."""
    return spec.scaling.schedule is not None and wanted_replicas(spec) is None


def _bounds(spec: LlamaDeploymentSpec, choices: Choices) -> tuple[int, int]:
    """The bounds, or with hours the widest of them."""
    bounds = replica_bounds(spec) if choices.begins is None or not is_scheduled(spec) else widest(spec.scaling)
    return _chosen(bounds.least, bounds.most, choices)


def _bounds_at(spec: LlamaDeploymentSpec, choices: Choices) -> Callable[[float], tuple[int, int]] | None:
    begins = choices.begins
    if begins is None or not is_scheduled(spec):
        return None

    def at(second: float) -> tuple[int, int]:
        bounds = replica_bounds(spec, begins + timedelta(seconds=second))
        return _chosen(bounds.least, bounds.most, choices)

    return at


def _chosen(least: int, most: int, choices: Choices) -> tuple[int, int]:
    return (
        least if choices.minimum is None else choices.minimum,
        most if choices.maximum is None else choices.maximum,
    )


def _objective(spec: LlamaDeploymentSpec, choices: Choices) -> float:
    if choices.first_token is not None:
        return choices.first_token
    asked = None if spec.objectives is None else spec.objectives.time_to_first_token_milliseconds
    return _FIRST_TOKEN_SECONDS if asked is None else asked / _MILLISECONDS
