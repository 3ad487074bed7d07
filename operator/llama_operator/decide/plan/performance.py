"""Speed of one replica: time to first token, time per output token, and the rate it sustains.

Called by `decide.plan.planner` for each candidate that fits. A roofline with fitted shares. A matrix product takes the time
of its arithmetic or of reading its weights, whichever is longer; attention that of its arithmetic or of reading its KV
cache. All-reduces and a fixed overhead are added. docs/performance-model.md has the formulas, the calibration and its error. The
estimate serves to choose between candidates; only a load test proves a rate.
"""

import math
from dataclasses import dataclass

from llama_operator.catalog.accelerators import Accelerator
from llama_operator.catalog.figures import performance as facts
from llama_operator.catalog.figures.performance import EngineCoefficients, Link
from llama_operator.catalog.formulas import kv_bytes_per_layer
from llama_operator.catalog.models import Model, Variant
from llama_operator.decide.plan.memory import Sharding

_ENGINE = "vLLM"
_ACTIVATION_BYTES = 2
_BATCHED_TOKENS = 8192
"""Upper limit on the tokens of one step of vLLM (`max_num_batched_tokens` of a server on H100). A longer prompt takes several
steps, and each of them reads the weights."""

_ALL_REDUCES_PER_LAYER = 2
"""After attention and after the feed-forward block (Megatron-LM, arXiv 1909.08053)."""


@dataclass(frozen=True, slots=True)
class Workload:
    """The load of the whole deployment."""

    prompt_tokens: int
    output_tokens: int
    requests_per_minute: int
    """Of all replicas together; 0 for as many as they can serve."""


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
    """Rate that one replica sustains, rounded down."""
    concurrency: int
    """Sequences in flight at that rate."""

    def within(self, limits: Limits) -> bool:
        """Whether both latencies are within `limits`."""
        first_ms, token_us = limits.time_to_first_token_ms, limits.time_per_output_token_us
        return (first_ms is None or self.time_to_first_token_ms <= first_ms) and (
            token_us is None or self.time_per_output_token_us <= token_us
        )


def sequences_held(kv_tokens: int, workload: Workload) -> int:
    """Return how many sequences a KV cache holds in steady state, when they are evenly spread over their lengths.

    Together n sequences hold at most n prompts and (n + 1) / 2 answers; a single one holds its whole answer.

    Args:
        kv_tokens: Tokens that the KV cache holds.
        workload: Lengths of prompt and answer, in tokens.
    """
    prompt, output = workload.prompt_tokens, workload.output_tokens
    return max(0, (2 * kv_tokens - output) // max(1, 2 * prompt + output))


def replicas_needed(performance: Performance, workload: Workload) -> int:
    """Return how many replicas together sustain the requests per minute of `workload`; at least 1."""
    return max(1, math.ceil(workload.requests_per_minute / max(1, performance.requests_per_minute)))


def network_gigabits(accelerator: Accelerator) -> int | None:
    """Return the network between nodes that estimates assume, in gigabits a second for each card; None for an unknown one."""
    link = facts.load().link(accelerator.name)
    return None if link is None else round(link.node_gb_per_second * 8)


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
    """Build the model of one replica.

    Args:
        model: Architecture facts.
        variant: Weights and their precision.
        accelerator: Card.
        sharding: Tensor and pipeline parallel sizes.
        gpus_per_node: Cards of a node; stages on other nodes are reached over the network.
        kv_element_bytes: Bytes of one element of the KV cache.
        engine: Coefficients; None for those of vLLM. The calibration passes others.

    Returns:
        The model; None for a card whose speed is not known (the CPU).
    """
    link = facts.load().link(accelerator.name)
    if link is None or accelerator.memory_bandwidth_gb_per_second is None or accelerator.bf16_tflops is None:
        return None
    used = engine or facts.load().engine(_ENGINE)
    native_8_bit = variant.precision == "FP8" and accelerator.fp8 == "Native" and accelerator.fp8_tflops is not None
    tflops = accelerator.fp8_tflops if native_8_bit else accelerator.bf16_tflops
    share = used.compute_efficiency_8_bit if native_8_bit else used.compute_efficiency_16_bit
    architecture = model.architecture
    bandwidth = accelerator.memory_bandwidth_gb_per_second * 1e9
    cache_share = used.cache_read_efficiency_8_bit if kv_element_bytes == 1 else used.cache_read_efficiency_16_bit
    return ReplicaModel(
        sharding=sharding,
        shape=_Shape.of(model, variant),
        kv_bytes_per_token=architecture.self_attention_layers
        * kv_bytes_per_layer(architecture, sharding.tensor, kv_element_bytes),
        flops_per_second=(tflops or 0) * 1e12 * share,
        attention_flops_per_second=accelerator.bf16_tflops * 1e12 * used.attention_compute_efficiency,
        weight_bytes_per_second=bandwidth * used.weight_read_efficiency,
        cache_bytes_per_second=bandwidth * cache_share,
        link=link,
        crosses_nodes=sharding.ranks > gpus_per_node,
        shards_cross_nodes=sharding.shards_cross_nodes(gpus_per_node),
        engine=used,
    )


@dataclass(frozen=True, slots=True)
class _Shape:
    """What one token costs in the whole model."""

    layers: int
    hidden: int
    attention_width: int
    flops_per_token: float
    """Operations of the matrix products, without attention over the context."""
    dense_bytes: float
    """Bytes of the weights that every step reads."""
    expert_bytes: float
    """Bytes of the routed experts; a step reads those to which at least one of its tokens is routed."""
    share_per_token: float
    """Share of the routed experts that one token passes."""

    @staticmethod
    def of(model: Model, variant: Variant) -> "_Shape":
        architecture, moe = model.architecture, model.architecture.moe
        # The input embedding is looked up, not multiplied; a tied one is the output layer too.
        lookup = 0 if architecture.tie_word_embeddings else architecture.vocab_size * architecture.hidden_size
        # A file with a quantized embedding may be smaller than that embedding in 16 bits.
        read = max(1, variant.weight_bytes - lookup * _ACTIVATION_BYTES)
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
        """Return the bytes of weights that a step over `tokens` tokens reads, if tokens are routed evenly."""
        return self.dense_bytes + self.expert_bytes * (1 - math.pow(1 - self.share_per_token, tokens))


@dataclass(frozen=True, slots=True)
class ReplicaModel:
    """One replica: everything that does not depend on the load. Times are in seconds."""

    sharding: Sharding
    shape: _Shape
    kv_bytes_per_token: float
    """On one rank, as if it held the layers of all stages."""
    flops_per_second: float
    """What one card reaches in the precision of the matrix products."""
    attention_flops_per_second: float
    weight_bytes_per_second: float
    cache_bytes_per_second: float
    link: Link
    crosses_nodes: bool
    """Whether a stage hands its activations to one on another node."""
    shards_cross_nodes: bool
    """Whether the all-reduces of a layer go over the network."""
    engine: EngineCoefficients

    def best(self, kv_tokens: int, workload: Workload, *, max_num_seqs: int, limits: Limits) -> Performance:
        """Predict the replica at the highest concurrency within its KV cache and `limits`.

        If a single sequence already exceeds a limit, the result is for that sequence: compare it with `Performance.within`.

        Args:
            kv_tokens: Tokens that the KV cache of the replica holds.
            workload: Lengths of prompt and answer; its rate does not matter here.
            max_num_seqs: Upper limit on the sequences that the engine computes at once.
            limits: Latencies to keep.
        """
        low, high = 1, max(1, min(max_num_seqs, sequences_held(kv_tokens, workload)))
        best = self.at(high, workload)
        if high == low or best.within(limits):
            return best
        best = self.at(low, workload)
        if not best.within(limits):
            return best
        # Latencies grow with concurrency, so the highest one within the limits is found by halving.
        while high - low > 1:
            middle = (low + high) // 2
            slower = self.at(middle, workload)
            if slower.within(limits):
                low, best = middle, slower
            else:
                high = middle
        return best

    def at(self, concurrency: int, workload: Workload) -> Performance:
        """Predict the steady state: `concurrency` sequences in flight, and a new one for each that ends.

        vLLM computes prompts in the same steps as the tokens of running answers. While each of the b sequences of a
        micro-batch makes `output` tokens, b prompts arrive: one joins every `output / b`-th step, or `b / output` join
        each step.

        Args:
            concurrency: Sequences in flight in the replica.
            workload: Lengths of prompt and answer, in tokens; its rate does not matter here.
        """
        stages, prompt, output = self.sharding.pipeline, workload.prompt_tokens, max(1, workload.output_tokens)
        micro_batch = max(1.0, concurrency / stages)
        # On average, half of an answer is already in the context.
        context_tokens = prompt + output / 2
        prompts_per_mixed_step = max(1.0, micro_batch / output)
        mixed_step = self._step_seconds(prompt, prompts_per_mixed_step, micro_batch, context_tokens)
        plain_step = self._step_seconds(prompt, 0.0, micro_batch, context_tokens)
        plain_per_mixed = max(0.0, prompts_per_mixed_step * output / micro_batch - 1)
        seconds_per_request = (mixed_step + plain_per_mixed * plain_step) / prompts_per_mixed_step
        if stages > 1:
            seconds_per_request /= self.engine.pipeline_balance
        # With fewer sequences than stages some stages have nothing to do.
        requests_per_second = min(1.0, concurrency / stages) / seconds_per_request
        average_step = seconds_per_request * micro_batch / output
        # The first token comes with the step that the prompt joins, after it has passed all stages.
        waiting = self.engine.arrival_wait_steps * average_step if concurrency > 1 else 0.0
        first_token = stages * mixed_step + waiting
        # Little's law: sequences in flight / requests per second = seconds in the engine, without the waiting.
        seconds_in_engine = concurrency / requests_per_second
        seconds_per_token = max(stages * plain_step, (seconds_in_engine - stages * mixed_step) / max(1, output - 1))
        return Performance(
            time_to_first_token_ms=math.ceil(first_token * 1e3),
            time_per_output_token_us=math.ceil(seconds_per_token * 1e6),
            output_tokens_per_second=int(requests_per_second * output),
            requests_per_minute=int(requests_per_second * 60),
            concurrency=concurrency,
        )

    def prefill_stage_seconds(self, prompt_tokens: int, prompts: int = 1) -> float:
        """Return the seconds that one stage needs for `prompts` prompts of `prompt_tokens` each, and nothing else."""
        return self._step_seconds(prompt_tokens, prompts, 0.0, 0.0)

    def decode_stage_seconds(self, batch: float, context_tokens: float) -> float:
        """Return the seconds that one stage needs for one token of each of `batch` sequences, and nothing else."""
        return self._step_seconds(0, 0.0, batch, context_tokens)

    def _step_seconds(self, prompt_tokens: int, prompts: float, batch: float, context_tokens: float) -> float:
        """Seconds that one stage needs for `prompts` prompts and one token of each of `batch` sequences together."""
        shape, engine = self.shape, self.engine
        tensor, stages = self.sharding.tensor, self.sharding.pipeline
        tokens = prompt_tokens * prompts + batch
        steps = math.ceil(tokens / _BATCHED_TOKENS)
        arithmetic = tokens * shape.flops_per_token / self.flops_per_second / tensor
        reading_weights = steps * shape.bytes_read(tokens / steps) / self.weight_bytes_per_second / tensor
        longer, shorter = max(arithmetic, reading_weights), min(arithmetic, reading_weights)
        # The p-norm of both times: the shorter one is partly hidden behind the longer one.
        products = longer * math.pow(
            1 + math.pow(shorter / longer, engine.overlap_exponent), 1 / engine.overlap_exponent
        )
        # Two products of 2 x width x context flops per layer; a token of a prompt attends to half of it on average.
        seconds_per_pair = shape.layers * shape.attention_width / tensor / self.attention_flops_per_second
        prompt_attention = 2 * seconds_per_pair * prompts * float(prompt_tokens) ** 2
        answer_attention = 4 * seconds_per_pair * batch * context_tokens
        reading_cache = batch * context_tokens * self.kv_bytes_per_token / self.cache_bytes_per_second
        attention = prompt_attention + max(answer_attention, reading_cache)
        overhead = steps * (engine.step_overhead_us + shape.layers / stages * engine.layer_overhead_us) * 1e-6
        return (products + attention) / stages + self._link_seconds(tokens, steps) + overhead

    def _link_seconds(self, tokens: float, steps: int) -> float:
        """Seconds that one stage needs for its all-reduces, and to hand its activations to the next stage."""
        tensor, stages = self.sharding.tensor, self.sharding.pipeline
        activation_bytes = tokens * self.shape.hidden * _ACTIVATION_BYTES
        seconds = 0.0
        if tensor > 1:
            gb_per_second = self.link.node_gb_per_second if self.shards_cross_nodes else self.link.gb_per_second
            bytes_per_second = gb_per_second * 1e9 * self.engine.link_efficiency
            # A ring moves every byte 2 (n - 1) / n times (Patarasuk and Yuan, 2009), a switch that adds up once.
            switched = self.link.reduction == "Switch" and not self.shards_cross_nodes
            moves = 1.0 if switched else 2 * (tensor - 1) / tensor
            all_reduce = steps * self.engine.link_latency_us * 1e-6 + moves * activation_bytes / bytes_per_second
            seconds += _ALL_REDUCES_PER_LAYER * self.shape.layers / stages * all_reduce
        if stages > 1:
            between = self.link.node_gb_per_second if self.crosses_nodes else self.link.gb_per_second
            seconds += activation_bytes / tensor / (between * 1e9 * self.engine.link_efficiency)
        return seconds
