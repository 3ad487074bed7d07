"""Room for LoRA adapters: its memory on one rank, and what stands against the adapters of a spec, whatever its license says.

Pure. `decide.plan.memory` subtracts the memory from the KV cache: vLLM takes it when it starts, for the largest rank that is
allowed, whatever adapters come. `decide.decision`, `decide.mistakes` and `decide.plan.request` tell what stands against them.
Names and licenses of adapters are judged by the license chain (`decide.license.rules.adapters`). What is wrong with an adapter's
files is no problem of the deployment: the pods tell it, and `status.adapters` repeats it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.adapters import AdapterSlotsSpec
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec
from llama_operator.catalog.accelerators import Accelerator
from llama_operator.catalog.models import Architecture, Model
from llama_operator.decide.problem import Problem
from llama_operator.decide.serve_application import arguments
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


_MOST_VOCABULARY = 258_048
"""Rows of the output layer that vLLM makes room for adapters beside (`LogitsProcessorWithLoRA`)."""


def slots_problem(spec: LlamaDeploymentSpec, model: Model) -> Problem | None:
    """Return why no adapter can be loaded into a model; None if one can be, or if none is asked for."""
    if spec.adapter_slots is None:
        return None
    shape = model.architecture
    if shape.moe is not None or shape.vision is not None or shape.cross_attention is not None:
        why = "takes images" if shape.moe is None else "has experts"
        text = f"{model.id} {why}, and room for adapters is planned for dense models of text only; leave it out"
    elif shape.vocab_size > _MOST_VOCABULARY:
        text = f"{model.id} has more than {_MOST_VOCABULARY:,} tokens, beside which vLLM makes no room for adapters; leave it out"
    else:
        return None
    return Problem(ConditionType.PLANNED, Reason.ADAPTERS_NOT_SUPPORTED, text, "spec.adapterSlots")


def room_of(serve_config: Mapping[str, Any]) -> AdapterRoom | None:
    """Return the room for adapters of a pinned revision; None if it has none, or if it cannot be read.

    Args:
        serve_config: Its Serve config, of whatever version pinned it.
    """
    pinned = arguments(serve_config).get("adapters")
    try:
        return None if pinned is None else AdapterRoom.model_validate(pinned)
    except ValidationError:
        return None


def names_problem(spec: LlamaDeploymentSpec, model: Model) -> Problem | None:
    """Return the problem of an adapter that has the name of the model; None if there is none.

    Names differ by more than the case of letters: people would take one for the other. That they differ from each other and from the
    aliases is a rule of the resource (`api.adapter_rules`); what a model is called only the catalog knows.
    """
    for adapter in spec.adapters:
        if adapter.name.casefold() == model.served_name.casefold():
            text = f"{adapter.name!r} is the name of the model; give the adapter another one"
            return Problem(ConditionType.ADAPTERS_READY, Reason.ADAPTER_NAME_TAKEN, text, "spec.adapters")
    return None
