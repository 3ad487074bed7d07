"""Memory of one rank: what the engine may use, what weights and reserve take, what remains for the KV cache.

Called by `decide.plan.planner`. Sizes are bytes on the GPU that holds the fewest tokens; lengths are tokens. The formulas are
those of vLLM (v1/worker/gpu_worker.py, v1/core/kv_cache_utils.py, distributed/utils.py). Published bytes take precedence over
formulas. The reserve follows `catalog.figures.reserve`. docs/planning.md has the whole calculation.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

from llama_operator.catalog.accelerators import Accelerator
from llama_operator.catalog.figures import reserve as reserve_facts
from llama_operator.catalog.formulas import kv_bytes_per_layer, parameters
from llama_operator.catalog.models import Architecture, Model, Variant
from llama_operator.decide.plan.adapters import Places, place_bytes

GIB = 1 << 30
KV_BLOCK_TOKENS = 16
"""vLLM's block size on CUDA; a sequence takes whole blocks."""

TYPICAL_MAX_NUM_SEQS = 256
"""Sequences that the sampler is sized for unless the spec asks for more: by itself the planner sets no more."""

MIB = 1 << 20
_KIB = 1 << 10
_LARGEST_GRAPH, _LARGEST_GRAPH_OF_BLACKWELL, _BLACKWELL = 512, 1024, ("10.0", "10.3")
"""Tokens of the largest step for which graphs are captured, and the compute capabilities of the family with more."""

_CPU_KV_LEAST_MIB = 64
"""Lower limit. vLLM's blocks on a CPU hold 128 tokens; this is a few blocks for every sequence of a small batch."""

_WIDE = 2
"""Bytes of a 16-bit weight: embeddings, output layer and image encoder of every quantized variant (docs/catalog.md)."""


@dataclass(frozen=True, slots=True)
class Sharding:
    """Tensor and pipeline parallel sizes of one replica."""

    tensor: int
    pipeline: int

    @property
    def ranks(self) -> int:
        """Accelerators of one replica."""
        return self.tensor * self.pipeline

    def shards_cross_nodes(self, gpus_per_node: int) -> bool:
        """Whether the shards of a layer lie on several nodes, if ranks fill nodes of `gpus_per_node` one after the other."""
        return self.ranks > gpus_per_node and gpus_per_node % self.tensor != 0


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of the rank that holds the fewest tokens, in bytes."""

    budget: int
    """What the engine may use."""
    weights: int
    reserve: int
    """Activations, graphs, communication buffers, the CUDA context."""
    kv_bytes_per_token: int
    """KV cache of one token on this rank."""
    kv_bytes_per_sequence: int = 0
    """What one sequence takes at any length: the image that cross-attention layers attend to."""
    adapters: int = 0
    """Room for LoRA adapters, and the graphs that are captured once more for them."""
    guard: int = 0
    """What a guard takes of the same card."""
    others: tuple["Memory", ...] = ()
    """The other kinds of ranks; with another budget one of them may hold the fewest tokens."""

    @property
    def left_for_kv(self) -> int:
        """Bytes that remain for the KV cache; negative if weights, reserve, the room for adapters and a guard do not fit."""
        return self.budget - self.weights - self.reserve - self.adapters - self.guard

    @property
    def kv_tokens(self) -> int:
        """Tokens that the KV cache holds, in whole blocks."""
        blocks = self.left_for_kv // (self.kv_bytes_per_token * KV_BLOCK_TOKENS)
        return max(0, blocks) * KV_BLOCK_TOKENS

    def kv_tokens_beside(self, sequences: int) -> int:
        """Return how many tokens the KV cache holds beside what `sequences` sequences take at any length."""
        images = sequences * -(-self.kv_bytes_per_sequence // self.kv_bytes_per_token)
        return max(0, (self.kv_tokens - images) // KV_BLOCK_TOKENS * KV_BLOCK_TOKENS)

    def longest_context(self, sequences: int) -> int:
        """Return the longest context, in tokens, that is held for `sequences` sequences; 0 if there is none."""
        return longest_context(self.kv_tokens_beside(sequences), sequences)


@dataclass(frozen=True, slots=True)
class Step:
    """The largest step of the engine: it determines the size of the activations."""

    batched_tokens: int | None = None
    """Tokens; None for the engine's default on the card."""
    max_num_seqs: int = TYPICAL_MAX_NUM_SEQS
    graphs: bool = True
    """Whether graphs are captured."""


_DEFAULT_STEP = Step()


def tokens_needed(max_model_length: int, concurrent_sequences: int) -> int:
    """Return the KV cache tokens that hold a context: whole blocks for each sequence, and vLLM's one null block.

    Args:
        max_model_length: Length of a sequence, in tokens.
        concurrent_sequences: Sequences at the same time.
    """
    return whole_blocks(max_model_length) * concurrent_sequences + KV_BLOCK_TOKENS


def whole_blocks(tokens: int) -> int:
    """Return `tokens`, rounded up to whole blocks of the KV cache."""
    return -(-tokens // KV_BLOCK_TOKENS) * KV_BLOCK_TOKENS


def cpu_kv_cache_mib(memory: Memory, max_model_length: int, max_num_seqs: int) -> int:
    """Return the size of the KV cache that the operator sets for each rank on a CPU, in MiB.

    It is what a full batch needs, not all that remains: vLLM fills it with zeros at every start.

    Args:
        memory: Memory of the rank.
        max_model_length: Length of a sequence, in tokens.
        max_num_seqs: Sequences of a full batch.
    """
    needed = min(memory.kv_tokens, tokens_needed(max_model_length, max_num_seqs))
    return max(_CPU_KV_LEAST_MIB, -(-needed * memory.kv_bytes_per_token // MIB))


def longest_context(kv_tokens: int, concurrent_sequences: int) -> int:
    """Return the longest context, in tokens, that `kv_tokens` hold for so many sequences; 0 if there is none."""
    blocks = kv_tokens // KV_BLOCK_TOKENS - 1
    return max(0, blocks // concurrent_sequences) * KV_BLOCK_TOKENS


def layers_of_stages(layers: int, stages: int) -> list[int]:
    """Return the layers of each pipeline stage, as vLLM's `get_pp_indices` cuts them.

    The remainder goes to the stages before the last, from the back: the last stage also holds the output layer, and the
    first one the embedding.
    """
    cut = [layers // stages] * stages
    for position in range(2, layers % stages + 2):
        cut[-position] += 1
    return cut


def estimate(
    model: Model,
    variant: Variant,
    accelerator: Accelerator,
    sharding: Sharding,
    *,
    utilization_percent: int,
    kv_element_bytes: int,
    step: Step = _DEFAULT_STEP,
    weights: "Weights | None" = None,
    adapters: Places | None = None,
    guard: int = 0,
) -> Memory:
    """Estimate the memory of the rank that holds the fewest tokens: it limits the KV cache of all ranks.

    Args:
        model: Architecture facts.
        variant: Weights; its bytes are for the whole model.
        accelerator: Card, with its usable memory.
        sharding: Tensor and pipeline parallel sizes.
        utilization_percent: Share of the card's total memory that the engine may use.
        kv_element_bytes: Bytes of one element of the KV cache.
        step: Largest step of the engine.
        weights: Result of `weights_of` for the variant, for callers that estimate many shardings.
        adapters: Room for LoRA adapters; None for none.
        guard: Bytes of each card that a guard takes.
    """
    shape = model.architecture
    budget = accelerator.usable_memory_bytes * utilization_percent // 100
    reserve = reserve_bytes(shape, accelerator, sharding, step)
    held = weights or weights_of(shape, variant)
    stages = [
        Memory(
            budget,
            held.on(stage, sharding),
            reserve,
            *_kv_bytes(shape, stage.layers, sharding.tensor, kv_element_bytes),
            adapters=_adapter_bytes(shape, variant, accelerator, sharding, stage, step, adapters),
            guard=guard,
        )
        for stage in _stages(shape.num_hidden_layers, sharding.pipeline)
    ]
    if guard:
        stages = _alike(stages)
    fewest = min(stages, key=lambda memory: memory.left_for_kv // memory.kv_bytes_per_token)
    return replace(fewest, others=tuple(stage for stage in stages if stage is not fewest))


def _alike(ranks: list[Memory]) -> list[Memory]:
    """The ranks with the same bytes for the KV cache: beside a guard the engine is told one size for all of them."""
    least = min(rank.left_for_kv for rank in ranks)
    return [replace(rank, budget=rank.budget - (rank.left_for_kv - least)) for rank in ranks]


def _adapter_bytes(
    shape: Architecture,
    variant: Variant,
    accelerator: Accelerator,
    sharding: Sharding,
    stage: "Stage",
    step: Step,
    adapters: Places | None,
) -> int:
    """Room for adapters on a rank of `stage`. vLLM captures graphs with and without adapters (`cudagraph_specialize_lora`)."""
    if adapters is None:
        return 0
    one = place_bytes(
        shape,
        variant.vocab_size or shape.vocab_size,
        adapters.room.max_lora_rank,
        layers=stage.layers,
        tensor=sharding.tensor,
        first=stage.first,
        last=stage.last,
    )
    captured = step.graphs and accelerator.device == "GPU"
    graphs = reserve_facts.load().graph_mib_per_layer * stage.layers * MIB if captured else 0
    return adapters.count(accelerator) * one + graphs


def reserve_bytes(shape: Architecture, accelerator: Accelerator, sharding: Sharding, step: Step = _DEFAULT_STEP) -> int:
    """Return the bytes that the engine needs on each GPU beside weights and KV cache, by the constants of `catalog.figures.reserve`.

    Args:
        shape: Architecture facts.
        accelerator: Card; on a CPU the reserve is a share of its memory.
        sharding: Tensor and pipeline parallel sizes.
        step: Largest step of the engine.
    """
    known = reserve_facts.load()
    if accelerator.device == "CPU":
        return accelerator.usable_memory_bytes * known.cpu_share_percent // 100
    layers = -(-shape.num_hidden_layers // sharding.pipeline)
    fixed = known.base_mib
    if sharding.ranks > 1:
        fixed += known.communication_mib
    if shape.vision is not None:
        fixed += known.image_encoder_mib
    tokens = step.batched_tokens or accelerator.engine_batched_tokens
    widths = known.hidden_widths * shape.hidden_size + -(-known.feed_forward_widths * _widest(shape) // sharding.tensor)
    layer = tokens * widths * _WIDE + (known.experts_mib * MIB if shape.moe is not None else 0)
    at_the_start = layer + _counted_graphs(layers, accelerator, step)
    sampler = step.max_num_seqs * shape.vocab_size * known.logits_bytes_per_entry
    while_it_samples = sampler + (known.graph_mib_per_layer * layers * MIB if step.graphs else 0)
    return (fixed * MIB + max(at_the_start, while_it_samples)) * (100 + known.margin_percent) // 100


def _counted_graphs(layers: int, accelerator: Accelerator, step: Step) -> int:
    """Bytes that vLLM takes off for graphs before it sizes the KV cache: more than they take in the end.

    It captures every size in pieces, one a layer and one more, then two of the graphs for whole decode steps, and reckons from
    these two (`profile_cudagraph_memory` in v1/worker/gpu/cudagraph_utils.py).
    """
    if not step.graphs:
        return 0
    known = reserve_facts.load()
    sizes = _captured_sizes(accelerator, step)
    pieces = (layers + 1) * len(sizes) * known.graph_piece_kib
    whole = sum(size <= step.max_num_seqs for size in sizes) * known.whole_graph_kib
    return (pieces + whole) * _KIB


def _captured_sizes(accelerator: Accelerator, step: Step) -> tuple[int, ...]:
    """Numbers of tokens for which vLLM captures graphs (`_set_cudagraph_sizes` in config/vllm.py)."""
    largest = _LARGEST_GRAPH_OF_BLACKWELL if accelerator.compute_capability in _BLACKWELL else _LARGEST_GRAPH
    tokens = step.batched_tokens or accelerator.engine_batched_tokens
    most = min(2 * step.max_num_seqs, largest, tokens)
    return (*(size for size in (1, 2, 4) if size <= most), *range(8, min(most + 1, 256), 8), *range(256, most + 1, 16))


def _widest(shape: Architecture) -> int:
    """Width of the widest feed-forward block that a token passes, in elements."""
    moe = shape.moe
    if moe is None:
        return shape.intermediate_size
    through_experts = moe.experts_per_token * shape.intermediate_size + moe.shared_intermediate_size
    return max(moe.dense_intermediate_size, through_experts)


@dataclass(frozen=True, slots=True)
class Stage:
    """One kind of pipeline stage."""

    layers: int
    first: bool
    last: bool


@lru_cache(maxsize=1024)
def _stages(layers: int, stages: int) -> tuple[Stage, ...]:
    """The stages that can differ: the first, the longest in between, the last."""
    cut = layers_of_stages(layers, stages)
    if stages == 1:
        return (Stage(layers, first=True, last=True),)
    ends = (Stage(cut[0], first=True, last=False), Stage(cut[-1], first=False, last=True))
    between = cut[1:-1]
    return (*ends, Stage(max(between), first=False, last=False)) if between else ends


@dataclass(frozen=True, slots=True)
class Weights:
    """Bytes of a model's weights, by the place where they lie."""

    layer: int
    """One layer on average, rounded up."""
    period: int
    """Layers after which the kinds of layers repeat; routed experts may be in every second layer."""
    embedding: int
    """The output layer is as large."""
    tied: bool
    everywhere: int
    """The image encoder, which every stage holds."""
    keys_and_values: int
    """Projections to keys and values of one layer; replicated if there are more ranks than KV heads."""
    kv_heads: int
    on_every_rank: int
    """Norms and router of one layer; tensor parallelism does not cut them."""

    def on(self, stage: Stage, sharding: Sharding) -> int:
        """Return the bytes of weights on one rank of `stage`."""
        layers = -(-stage.layers // self.period) * self.period
        held = self.layer * layers + self.everywhere
        if stage.first:
            held += self.embedding
        # A tied output layer is a second copy of the embedding if another stage has the embedding.
        if stage.last and not (self.tied and stage.first):
            held += self.embedding
        tensor = sharding.tensor
        copies = max(0, tensor - self.kv_heads) * self.keys_and_values // self.kv_heads
        copies += (tensor - 1) * self.on_every_rank
        return -(-(held + copies * stage.layers) // tensor)


def weights_of(shape: Architecture, variant: Variant) -> Weights:
    """Split the bytes of `variant` by place: the total is published, the embedding and the output layer follow formulas."""
    hidden, moe = shape.hidden_size, shape.moe
    embedding = (variant.vocab_size or shape.vocab_size) * hidden * _WIDE
    vision = parameters(shape).vision * _WIDE if shape.vision is not None else 0
    layers = shape.num_hidden_layers
    # Outside the layers: the embedding, the output layer unless it is tied, the image encoder.
    apart = embedding * (1 if shape.tie_word_embeddings else 2) + vision
    in_layers = max(0, variant.weight_bytes - apart)
    # The projections have the precision of the layers; this assumes 16 bits, as in the widest variants.
    return Weights(
        layer=-(-in_layers // layers),
        period=1 if moe is None else layers // moe.moe_layers,
        embedding=embedding,
        tied=shape.tie_word_embeddings,
        everywhere=vision,
        keys_and_values=2 * hidden * shape.num_key_value_heads * shape.head_dim * _WIDE,
        kv_heads=shape.num_key_value_heads,
        on_every_rank=(2 + (0 if moe is None else moe.experts)) * hidden * _WIDE,
    )


def _kv_bytes(shape: Architecture, layers: int, tensor: int, element_bytes: int) -> tuple[int, int]:
    """KV cache on one rank of a stage: bytes of a token, and of a sequence at any length."""
    per_layer = kv_bytes_per_layer(shape, tensor, element_bytes)
    cross = shape.cross_attention
    if cross is None:
        # Another check refuses a stage without a layer; it must not cause a division by zero here.
        return max(1, layers) * per_layer, 0
    text = -(-max(1, layers) * shape.self_attention_layers // shape.num_hidden_layers)
    images = -(-layers * cross.layers // shape.num_hidden_layers)
    return text * per_layer, images * cross.vision_tokens_per_image * per_layer
