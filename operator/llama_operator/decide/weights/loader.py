"""Which loader reads the weights into the engine, and why. Called by `desired.serve_config` and by `kubectl llama plan`. Pure.

`loadFormat: Auto` chooses only where the weights are a copy in a claim: elsewhere it stays what it was, because engines that run
would restart. docs/weights-copy.md has the grounds.
"""

from dataclasses import dataclass
from typing import Final

from llama_operator.api.v1alpha1.llamadeployment import EngineArguments, LoadFormat
from llama_operator.catalog.models import Architecture
from llama_operator.decide.plan.candidate import Candidate

_BUFFER_BYTES: Final = 8 << 30
"""Buffers of the streamer in each process. Its own default is 40 GB, and no limit at all where ranks share the reading: more
than pods are planned with (`decide.placement.requests`)."""
_STREAMS: Final = 16
"""Reads at once; the streamer's own default for files."""
_BYTES_PER_WEIGHT: Final = 2


@dataclass(frozen=True, slots=True)
class Loader:
    """How weights are read.

    Attributes:
        load_format: The loader; never `Auto`.
        why: For people.
        buffer_bytes: Buffers of one process; None for what does not stream, or for the loader's own default.
        streams: Reads at once; None as above.
        is_shared: Whether the ranks of a replica each read a part, and exchange it.
    """

    load_format: LoadFormat
    why: str
    buffer_bytes: int | None = None
    streams: int | None = None
    is_shared: bool = False


def loader(arguments: EngineArguments, architecture: Architecture, chosen: Candidate, *, copied: bool) -> Loader:
    """Choose a loader.

    Args:
        arguments: What the spec says.
        architecture: Shape of the model.
        chosen: Hardware and sharding.
        copied: Whether the weights are a copy in a claim.
    """
    asked = arguments.load_format
    if asked is not LoadFormat.AUTO:
        return Loader(asked, "spec.engine.arguments.loadFormat names it")
    if not copied:
        return Loader(LoadFormat.SAFETENSORS, "each node reads files of its own")
    if chosen.accelerator.device == "CPU":
        return Loader(LoadFormat.SAFETENSORS, "a CPU computes with the files as they are mapped")
    if architecture.moe is not None:
        return Loader(
            LoadFormat.SAFETENSORS,
            "the experts of a layer are one tensor, which can be larger than the buffers of a loader that streams",
        )
    largest = _largest_tensor(architecture)
    if largest > _BUFFER_BYTES:
        return Loader(
            LoadFormat.SAFETENSORS,
            f"its largest tensor, {largest:,} bytes, is larger than the buffers of a loader that streams",
        )
    is_shared = chosen.nodes == 1 and chosen.sharding.ranks > 1
    how = (
        f"the {chosen.sharding.ranks} ranks each read a part of the copy"
        if is_shared
        else f"{_STREAMS} reads of the copy at once"
    )
    return Loader(LoadFormat.RUNAI_STREAMER, how, _BUFFER_BYTES, _STREAMS, is_shared=is_shared)


def _largest_tensor(architecture: Architecture) -> int:
    """Bytes of the largest tensor of a dense model in its file: embedding or feed-forward, 16 bits a weight at most."""
    rows = max(architecture.vocab_size, architecture.intermediate_size)
    return rows * architecture.hidden_size * _BYTES_PER_WEIGHT
