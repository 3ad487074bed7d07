"""Memory of the room for LoRA adapters on one rank. Pure; `decide.plan.memory` subtracts it from the KV cache.

vLLM takes it when it starts, for the largest rank that is allowed, whatever adapters come.
"""

from dataclasses import dataclass

from llama_operator.api.v1alpha1.adapters import AdapterSlotsSpec
from llama_operator.catalog.accelerators import Accelerator
from llama_operator.catalog.models import Architecture
from llama_serving.contract.adapters import AdapterRoom, cpu_places, engine_rank

_ELEMENT_BYTES = 2
"""vLLM keeps adapters in the type of the activations, which is a 16-bit one, also beside quantized weights."""


@dataclass(frozen=True, slots=True)
class Places:
    """Room for adapters in an engine.

    Attributes:
        room: What the spec asks for, in the ranks that vLLM knows.
    """

    room: AdapterRoom

    def count(self, accelerator: Accelerator) -> int:
        """Return how many places an engine has; on a CPU it has one for each adapter that may be loaded."""
        return cpu_places(self.room) if accelerator.device == "CPU" else self.room.max_loras


def places_of(slots: AdapterSlotsSpec | None, folder: str | None = None) -> Places | None:
    """Return the room that a spec asks for; None if it asks for none.

    Args:
        slots: `spec.adapterSlots`.
        folder: Where the volume with the adapters is mounted.
    """
    if slots is None:
        return None
    rank = engine_rank(slots.max_lora_rank)
    return Places(
        AdapterRoom(max_loras=slots.max_loras, max_lora_rank=rank, max_cpu_loras=slots.max_adapters, folder=folder)
    )


def host_bytes(places: Places | None, shape: Architecture, *, ranks: int, stages: int) -> int:
    """Return the memory of a node that adapters take: each process keeps them whole, as far as its stage has their layers.

    Args:
        places: Room for adapters; None for none.
        shape: Architecture facts.
        ranks: Processes on the node.
        stages: Pipeline stages of the replica.
    """
    if places is None:
        return 0
    rank, layers = places.room.max_lora_rank, shape.num_hidden_layers
    whole = place_bytes(shape, shape.vocab_size, rank, layers=layers, tensor=1, first=True, last=True)
    return -(-places.room.max_cpu_loras * whole * ranks // stages)


def place_bytes(
    shape: Architecture, vocabulary: int, rank: int, *, layers: int, tensor: int, first: bool, last: bool
) -> int:
    """Return the bytes of one place on one rank.

    Each projection has two matrices, A (`rank` × input) and B (output × `rank`). Tensor parallelism cuts B of the projections
    that it cuts by columns (q, k, v, gate, up) and A of those that it cuts by rows (o, down); the other matrix is whole on each
    rank. So one layer has `rank` × (7 × hidden + (2 × query width + 3 × intermediate) / tensor + 2 × key width of the rank)
    elements. The embedding and the output layer have `rank` × (vocabulary + hidden) each, uncut. Source: `create_lora_weights` of the
    layers in vLLM's lora/layers (column_parallel_linear.py, row_parallel_linear.py, vocab_parallel_embedding.py,
    logits_processor.py) without `fully_sharded_loras`.

    Args:
        shape: Architecture facts.
        vocabulary: Rows of the embedding.
        rank: Largest rank.
        layers: Layers of the pipeline stage.
        tensor: Tensor parallel size.
        first: Whether the stage has the embedding.
        last: Whether it has the output layer.
    """
    hidden, queries = shape.hidden_size, shape.num_attention_heads * shape.head_dim
    keys = max(1, -(-shape.num_key_value_heads // tensor)) * shape.head_dim
    layer = 7 * hidden + -(-(2 * queries + 3 * shape.intermediate_size) // tensor) + 2 * keys
    ends = (int(first) + int(last)) * (vocabulary + hidden)
    return (layers * layer + ends) * rank * _ELEMENT_BYTES
