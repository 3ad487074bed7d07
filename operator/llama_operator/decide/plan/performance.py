"""Speed of one replica: time to first token, time per output token, and the rate it sustains.

Called by `decide.plan.planner` for each candidate that fits. A roofline with fitted shares: the matrix products take
as long as their arithmetic or their weights, attention as long as its arithmetic or its KV cache; the all-reduces and a
fixed overhead come on top. Formulas, calibration
and its error: docs/performance-model.md. An estimate for choosing between candidates; only a load test proves a rate.
"""

import math
from dataclasses import dataclass

from llama_operator.catalog import performance as facts
from llama_operator.catalog.accelerators import Accelerator
from llama_operator.catalog.models import Model, Variant
from llama_operator.catalog.performance import EngineCoefficients, Link
from llama_operator.decide.plan.memory import Sharding

_ENGINE = "vLLM"
_ACTIVATION_BYTES = 2
_BATCHED_TOKENS = 8192
"""Tokens that vLLM takes into one step at most (`max_num_batched_tokens` of a server on H100): a longer prompt reads
the weights once per so many tokens."""

_ALL_REDUCES_PER_LAYER = 2
"""After attention and after the feed-forward block (Megatron-LM, arXiv 1909.08053)."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What the whole deployment has to serve."""

    prompt_tokens: int
    output_tokens: int
    requests_per_minute: int
    """Over all replicas; 0 for as many as they can."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Latencies that a replica must keep on average; None for no limit."""

    time_to_first_token_ms: int | None = None
    time_per_output_token_us: int | None = None


@dataclass(frozen=True, slots=True)
class Performance:
    """Speed of one replica at the best rate that its KV cache and the limits allow; averages, not percentiles."""

    time_to_first_token_ms: int
    time_per_output_token_us: int
    output_tokens_per_second: int
    requests_per_minute: int
    """What one replica sustains; rounded down."""
    concurrency: int
    """Sequences in flight at that rate."""

    def within(self, limits: Limits) -> bool:
        """Whether both latencies are within `limits`."""
        first, each = limits.time_to_first_token_ms, limits.time_per_output_token_us
        return (first is None or self.time_to_first_token_ms <= first) and (
            each is None or self.time_per_output_token_us <= each
        )


_NO_LIMITS = Limits()


def predict(
    model: Model,
    variant: Variant,
    accelerator: Accelerator,
    sharding: Sharding,
    gpus_per_node: int,
    kv_tokens: int,
    workload: Workload,
    *,
    max_num_seqs: int,
    kv_element_bytes: int = 2,
    limits: Limits = _NO_LIMITS,
) -> Performance | None:
    """Predict one replica at the highest concurrency within its KV cache and `limits`.

    Where even one sequence alone breaks a limit the answer is for one sequence: compare it with `Performance.within`.

    Args:
        model: Architecture facts.
        variant: Weights and their precision.
        accelerator: Card.
        sharding: Tensor and pipeline parallel sizes.
        gpus_per_node: Cards of a node; stages beyond them talk over the network.
        kv_tokens: Tokens that the KV cache of the replica holds.
        workload: Lengths of prompt and answer; its rate does not matter here.
        max_num_seqs: Most sequences that the engine takes at once.
        kv_element_bytes: Bytes of one element of the KV cache.
        limits: Latencies to keep.

    Returns:
        None for a card whose speed is not known (the CPU).
    """
    replica = replica_model(model, variant, accelerator, sharding, gpus_per_node, kv_element_bytes=kv_element_bytes)
    if replica is None:
        return None
    held = sequences_held(kv_tokens, workload)
    low, high = 1, max(1, min(max_num_seqs, held))
    best = replica.at(high, workload)
    if high == low or best.within(limits):
        return best
    best = replica.at(low, workload)
    if not best.within(limits):
        return best
    # Latencies grow with concurrency, so the highest one within the limits is found by halving.
    while high - low > 1:
        middle = (low + high) // 2
        found = replica.at(middle, workload)
        if found.within(limits):
            low, best = middle, found
        else:
            high = middle
    return best


def sequences_held(kv_tokens: int, workload: Workload) -> int:
    """Sequences that a KV cache holds when they are evenly spread over their length, as replaced ones are.

    Together n of them hold at most n prompts and (n + 1) / 2 answers; one alone holds all of its answer.
    """
    prompt, output = workload.prompt_tokens, workload.output_tokens
    return max(0, (2 * kv_tokens - output) // max(1, 2 * prompt + output))


def replicas_needed(performance: Performance, workload: Workload) -> int:
    """Replicas that sustain the rate of `workload` together; at least 1."""
    return max(1, math.ceil(workload.requests_per_minute / max(1, performance.requests_per_minute)))


def replica_model(
    model: Model,
    variant: Variant,
    accelerator: Accelerator,
    sharding: Sharding,
    gpus_per_node: int,
    *,
    kv_element_bytes: int = 2,
    engine: EngineCoefficients | None = None,
) -> "ReplicaModel | None":
    """Build the model of one replica; None for a card whose speed is not known.

    Args:
        model: Architecture facts.
        variant: Weights and their precision.
        accelerator: Card.
        sharding: Tensor and pipeline parallel sizes.
        gpus_per_node: Cards of a node.
        kv_element_bytes: Bytes of one element of the KV cache.
        engine: Coefficients; None for those of vLLM. The calibration passes others.
    """
    link = facts.load().link(accelerator.name)
    if link is None or accelerator.memory_bandwidth_gb_per_second is None or accelerator.bf16_tflops is None:
        return None
    used = engine or facts.load().engine(_ENGINE)
    native_8_bit = variant.precision == "FP8" and accelerator.fp8 == "Native" and accelerator.fp8_tflops is not None
    tflops = accelerator.fp8_tflops if native_8_bit else accelerator.bf16_tflops
    share = used.compute_efficiency_8_bit if native_8_bit else used.compute_efficiency_16_bit
    architecture = model.architecture
    heads = max(1, architecture.num_key_value_heads // sharding.tensor)
    bandwidth = accelerator.memory_bandwidth_gb_per_second * 1e9
    cache_share = used.cache_read_efficiency_8_bit if kv_element_bytes == 1 else used.cache_read_efficiency_16_bit
    return ReplicaModel(
        sharding=sharding,
        shape=_Shape.of(model, variant),
        kv_bytes_per_token=2 * architecture.self_attention_layers * heads * architecture.head_dim * kv_element_bytes,
        flops_per_second=(tflops or 0) * 1e12 * share,
        attention_flops_per_second=accelerator.bf16_tflops * 1e12 * used.attention_compute_efficiency,
        weight_bytes_per_second=bandwidth * used.weight_read_efficiency,
        cache_bytes_per_second=bandwidth * cache_share,
        link=link,
        crosses_nodes=sharding.ranks > gpus_per_node,
        engine=used,
    )


@dataclass(frozen=True, slots=True)
class _Shape:
    """What one token costs in the whole model."""

    layers: int
    hidden: int
    attention_width: int
    flops_per_token: float
    """Of the matrix products, attention over the context not counted."""
    dense_bytes: float
    """Weights that every step reads."""
    expert_bytes: float
    """Weights of the routed experts, of which a step reads those that one of its tokens is routed to."""
    share_per_token: float
    """Share of the routed experts that one token takes."""

    @staticmethod
    def of(model: Model, variant: Variant) -> "_Shape":
        architecture, moe = model.architecture, model.architecture.moe
        # The input embedding is looked up, not multiplied; a tied one is the output layer too.
        lookup = 0 if architecture.tie_word_embeddings else architecture.vocab_size * architecture.hidden_size
        read = variant.weight_bytes - lookup * _ACTIVATION_BYTES
        expert_share = 0.0
        if moe is not None:
            routed = 3 * moe.moe_layers * moe.experts * architecture.hidden_size * architecture.intermediate_size
            expert_share = routed / model.params_total
        return _Shape(
            layers=architecture.num_hidden_layers,
            hidden=architecture.hidden_size,
            attention_width=architecture.num_attention_heads * architecture.head_dim,
            flops_per_token=2.0 * (model.params_active - lookup),
            dense_bytes=read * (1 - expert_share),
            expert_bytes=read * expert_share,
            share_per_token=0.0 if moe is None else moe.experts_per_token / moe.experts,
        )

    def bytes_read(self, tokens: float) -> float:
        """Weights that a step over so many tokens reads, when tokens are routed evenly."""
        return self.dense_bytes + self.expert_bytes * (1 - math.pow(1 - self.share_per_token, tokens))


@dataclass(frozen=True, slots=True)
class ReplicaModel:
    """One replica with everything that does not depend on the load; times in seconds."""

    sharding: Sharding
    shape: _Shape
    kv_bytes_per_token: float
    """On one rank, for the layers of all stages."""
    flops_per_second: float
    """Of one card, in the precision of the matrix products; its share already taken."""
    attention_flops_per_second: float
    weight_bytes_per_second: float
    cache_bytes_per_second: float
    link: Link
    crosses_nodes: bool
    engine: EngineCoefficients

    def at(self, concurrency: int, workload: Workload) -> Performance:
        """Steady state with so many sequences in flight, each replaced when it ends.

        vLLM computes prompts in the same steps as the tokens of running answers. While a micro-batch of b sequences
        makes `output` tokens each, b prompts arrive: one joins every `output / b`-th step, or `b / output` join each.
        """
        stages, prompt, output = self.sharding.pipeline, workload.prompt_tokens, max(1, workload.output_tokens)
        batch = max(1.0, concurrency / stages)
        joining = max(1.0, batch / output)
        mixed = self._step_seconds(prompt, joining, batch, prompt + output / 2)
        plain = self._step_seconds(prompt, 0.0, batch, prompt + output / 2)
        others = max(0.0, joining * output / batch - 1)
        each_request = (mixed + others * plain) / joining
        if stages > 1:
            each_request /= self.engine.pipeline_balance
        # With fewer sequences than stages some stages wait.
        rate = min(1.0, concurrency / stages) / each_request
        per_step = each_request * batch / output
        # The first token comes with the step that the prompt joins, passed on through all stages.
        waited = self.engine.arrival_wait_steps * per_step if concurrency > 1 else 0.0
        first = stages * mixed + waited
        # Little's law: so many in flight at that rate are so long in the engine, their waiting not counted.
        per_token = max(stages * plain, (concurrency / rate - stages * mixed) / max(1, output - 1))
        return Performance(
            time_to_first_token_ms=math.ceil(first * 1e3),
            time_per_output_token_us=math.ceil(per_token * 1e6),
            output_tokens_per_second=int(rate * output),
            requests_per_minute=int(rate * 60),
            concurrency=concurrency,
        )

    def prefill_stage_seconds(self, prompt_tokens: int, prompts: int = 1) -> float:
        """Time that one stage needs for so many prompts together, and nothing else."""
        return self._step_seconds(prompt_tokens, prompts, 0.0, 0.0)

    def decode_stage_seconds(self, batch: float, context_tokens: float) -> float:
        """Time that one stage needs for one token of each sequence of a micro-batch, and nothing else."""
        return self._step_seconds(0, 0.0, batch, context_tokens)

    def _step_seconds(self, prompt_tokens: int, prompts: float, batch: float, context_tokens: float) -> float:
        """Time that one stage needs for `prompts` prompts and one token of each of `batch` sequences together."""
        shape, engine = self.shape, self.engine
        tensor, stages = self.sharding.tensor, self.sharding.pipeline
        tokens = prompt_tokens * prompts + batch
        steps = math.ceil(tokens / _BATCHED_TOKENS)
        compute = tokens * shape.flops_per_token / self.flops_per_second / tensor
        weights = steps * shape.bytes_read(tokens / steps) / self.weight_bytes_per_second / tensor
        longer, shorter = max(compute, weights), min(compute, weights)
        products = longer * math.pow(
            1 + math.pow(shorter / longer, engine.overlap_exponent), 1 / engine.overlap_exponent
        )
        # A token of a prompt attends to half of it on average: two products of 2 x width x context flops per layer.
        width = shape.layers * shape.attention_width / tensor / self.attention_flops_per_second
        attention = 2 * width * prompts * float(prompt_tokens) ** 2 + max(
            4 * width * batch * context_tokens,
            batch * context_tokens * self.kv_bytes_per_token / self.cache_bytes_per_second,
        )
        overhead = steps * (engine.step_overhead_us + shape.layers / stages * engine.layer_overhead_us) * 1e-6
        return (products + attention) / stages + self._link_seconds(tokens, steps) + overhead

    def _link_seconds(self, tokens: float, steps: int) -> float:
        tensor, stages = self.sharding.tensor, self.sharding.pipeline
        size = tokens * self.shape.hidden * _ACTIVATION_BYTES
        seconds = 0.0
        if tensor > 1:
            per_second = self.link.gb_per_second * 1e9 * self.engine.link_efficiency
            # A ring moves every byte 2 (n - 1) / n times (Patarasuk and Yuan, 2009), a switch that adds up once.
            moved = 1.0 if self.link.reduction == "Switch" else 2 * (tensor - 1) / tensor
            each = steps * self.engine.link_latency_us * 1e-6 + moved * size / per_second
            seconds += _ALL_REDUCES_PER_LAYER * self.shape.layers / stages * each
        if stages > 1:
            between = self.link.node_gb_per_second if self.crosses_nodes else self.link.gb_per_second
            seconds += size / tensor / (between * 1e9 * self.engine.link_efficiency)
        return seconds
