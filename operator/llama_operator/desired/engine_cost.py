"""What the autoscaling policy is told of one replica: the plan's model of a step in a few constants. Called by `desired.serve_config`.

The policy counts load in engine seconds (`llama_serving.autoscaling.work`). For an accelerator whose speed is not known it learns them from
what the engines hold, and gets only what to expect of a start.
"""

from llama_operator.api.v1alpha1.llamadeployment import KVCacheDtype, LlamaDeploymentSpec
from llama_operator.catalog.models import Model
from llama_operator.decide.plan.candidate import Candidate
from llama_operator.decide.plan.cold_start import stages_of, total_seconds
from llama_operator.decide.plan.performance import ReplicaModel, replica_model
from llama_serving.contract.scaling import EngineCost

_FULL_STEP = 8192
"""Tokens of a full step of vLLM on a card with much memory."""
_LONG = 4096
"""Tokens that tell the cost of one apart from the rounding of floats."""
_KV_BYTES = {KVCacheDtype.FP8: 1}
_DIGITS = 4
_MILLISECONDS = 1000


def engine_cost(spec: LlamaDeploymentSpec, model: Model, chosen: Candidate) -> EngineCost:
    """Return what the policy is told.

    Args:
        spec: What the user asks for.
        model: The model.
        chosen: The candidate of the plan.
    """
    replica = replica_model(
        model,
        chosen.variant,
        chosen.accelerator,
        chosen.sharding,
        chosen.gpus_per_node,
        kv_element_bytes=_KV_BYTES.get(spec.engine.kv_cache_dtype, 2),
    )
    start = stages_of(model, chosen.variant, chosen.accelerator, chosen.sharding, spec.weights.cache.mode)
    said = spec.objectives
    first = None if said is None else said.time_to_first_token_milliseconds
    return EngineCost(
        **({} if replica is None else _steps(replica)),
        objective=None if first is None else first / _MILLISECONDS,
        cold_start=max(1, total_seconds(start)),
        prompt_length=None if said is None else said.prompt_tokens,
        output_length=None if said is None else said.output_tokens,
    )


def _steps(replica: ReplicaModel) -> dict[str, float]:
    """Take the plan's model of a step apart.

    With pipeline stages, all sequences pass all stages once in what is called a step here, and the stages are busy for a part of the time.
    """
    stages = replica.sharding.pipeline
    passes = stages / (replica.engine.pipeline_balance if stages > 1 else 1.0)

    def seconds(tokens: float) -> float:
        return passes * replica.decode_stage_seconds(tokens / stages, 0.0)

    marginal = (seconds(_FULL_STEP) - seconds(_FULL_STEP / 2)) / (_FULL_STEP / 2)
    step = max(0.0, seconds(_FULL_STEP) - marginal * _FULL_STEP)
    # A prompt counts as its length squared there, and as half of that here.
    pair = 2 * (replica.prefill_stage_seconds(_LONG) - replica.decode_stage_seconds(float(_LONG), 0.0)) / _LONG**2
    cached = (replica.decode_stage_seconds(1.0, _LONG) - replica.decode_stage_seconds(1.0, 0.0)) / _LONG
    values = {
        "marginal": marginal,
        "pair": max(0.0, pair) * passes / stages,
        "cached": max(0.0, cached) * passes / stages,
        "weights": max(0.0, seconds(1.0) - step),
        "step": step,
        "overlap": replica.engine.overlap_exponent,
    }
    return {name: float(f"{value:.{_DIGITS}g}") for name, value in values.items()}
