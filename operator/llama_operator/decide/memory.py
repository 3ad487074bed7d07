"""Memory of one rank: what the engine may use, what weights and reserve take, what is left for the KV cache.

Called by `decide.planner`. Sizes are bytes on the fullest GPU, lengths are tokens. The formulas are vLLM's own
(v1/worker/gpu_worker.py, v1/core/kv_cache_utils.py); published bytes beat formulas.
"""

import math
from dataclasses import dataclass

from llama_operator.catalog.accelerators import Accelerator
from llama_operator.catalog.models import Model, Variant

GIB = 1 << 30
KV_BLOCK_TOKENS = 16
"""vLLM's block size on CUDA; a sequence takes whole blocks."""

_EMBEDDING_BYTES = 2
"""Embeddings and the output layer stay in 16 bits in every quantized variant (catalog, docs/catalog.md)."""

_RESERVE_DENSE = 5 * GIB
_RESERVE_MOE = 9 * GIB
"""Activations, graphs, communication buffers. Upper bounds implied by published working points: 70B FP8 on one H100
leaves at most 4.7 to 5.0 GiB, Maverick FP8 on eight at most 8.8 GiB."""

_RESERVE_SHARE = 0.10
"""On small cards the same points scale with the card: about a tenth of a 24 GB card."""


@dataclass(frozen=True, slots=True)
class Sharding:
    """Tensor and pipeline parallel sizes of one replica."""

    tensor: int
    pipeline: int

    @property
    def ranks(self) -> int:
        """Accelerators of one replica."""
        return self.tensor * self.pipeline


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of the fullest rank, in bytes."""

    budget: int
    """What the engine may use."""
    weights: int
    reserve: int
    kv_bytes_per_token: int
    """KV cache that one token takes on this rank."""

    @property
    def left_for_kv(self) -> int:
        """Bytes for the KV cache; negative when the weights alone do not fit."""
        return self.budget - self.weights - self.reserve

    @property
    def kv_tokens(self) -> int:
        """Tokens that the KV cache holds, in whole blocks."""
        blocks = self.left_for_kv // (self.kv_bytes_per_token * KV_BLOCK_TOKENS)
        return max(0, blocks) * KV_BLOCK_TOKENS


def tokens_needed(max_model_length: int, concurrent_sequences: int) -> int:
    """KV cache tokens that hold the context: whole blocks per sequence, and vLLM's one null block."""
    per_sequence = math.ceil(max_model_length / KV_BLOCK_TOKENS) * KV_BLOCK_TOKENS
    return per_sequence * concurrent_sequences + KV_BLOCK_TOKENS


def longest_context(kv_tokens: int, concurrent_sequences: int) -> int:
    """Longest context that `kv_tokens` hold for so many sequences; 0 when there is none."""
    blocks = kv_tokens // KV_BLOCK_TOKENS - 1
    return max(0, blocks // concurrent_sequences) * KV_BLOCK_TOKENS


def estimate(
    model: Model,
    variant: Variant,
    accelerator: Accelerator,
    sharding: Sharding,
    *,
    utilization_percent: int,
    kv_element_bytes: int,
) -> Memory:
    """Estimate the memory of the fullest rank.

    Args:
        model: Architecture facts.
        variant: Weights; its bytes are for the whole model.
        accelerator: Card, with its usable memory.
        sharding: Tensor and pipeline parallel sizes.
        utilization_percent: Share of the card's total memory that the engine may use.
        kv_element_bytes: Bytes of one element of the KV cache.
    """
    usable = accelerator.usable_memory_bytes
    return Memory(
        budget=usable * utilization_percent // 100,
        weights=_weights_per_rank(model, variant, sharding),
        reserve=_reserve(model, accelerator),
        kv_bytes_per_token=_kv_per_rank(model, sharding, kv_element_bytes),
    )


def _weights_per_rank(model: Model, variant: Variant, sharding: Sharding) -> int:
    architecture = model.architecture
    ends = 1 if architecture.tie_word_embeddings else 2
    embedding = architecture.vocab_size * architecture.hidden_size * _EMBEDDING_BYTES
    layers = architecture.num_hidden_layers
    blocks = variant.weight_bytes - ends * embedding
    stage_layers = math.ceil(layers / sharding.pipeline)
    # With several stages the first holds the embedding and the last the output layer: one of them on the fullest rank.
    on_stage = ends * embedding if sharding.pipeline == 1 else embedding
    return math.ceil((blocks / layers * stage_layers + on_stage) / sharding.tensor)


def _kv_per_rank(model: Model, sharding: Sharding, kv_element_bytes: int) -> int:
    architecture = model.architecture
    stage_layers = math.ceil(architecture.self_attention_layers / sharding.pipeline)
    # Beyond one KV head per rank the heads are replicated.
    heads = max(1, architecture.num_key_value_heads // sharding.tensor)
    return 2 * stage_layers * heads * architecture.head_dim * kv_element_bytes


def _reserve(model: Model, accelerator: Accelerator) -> int:
    by_architecture = _RESERVE_MOE if model.architecture.moe is not None else _RESERVE_DENSE
    return min(by_architecture, int(accelerator.usable_memory_bytes * _RESERVE_SHARE))
