"""Reads the headers of safetensors files on disk: are they whole, and of the declared shape? Called by `contents.check`.

A header is a length of eight bytes and JSON with the name, shape and place of every tensor. Nothing else is read.
"""

import json
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from llama_serving.config import DeclaredContents

_LARGEST: Final = 100_000_000
"""Bytes; the limit of the format itself."""
_LENGTH: Final = struct.Struct("<Q")
_LFS: Final = b"version "
"""How a pointer of Git LFS begins."""
_LAYER: Final = re.compile(r"(?:model\.)?(?:language_model\.)?(?:model\.)?layers\.(\d{1,6})\..*")
_EMBEDDING: Final = re.compile(r"(?:model\.)?(?:language_model\.)?(?:model\.)?embed_tokens\.weight")


class DamagedError(Exception):
    """A file is no whole safetensors file; the message says in what."""


@dataclass(slots=True)
class _Seen:
    """What the headers of all files say of the language model."""

    layers: set[int] = field(default_factory=set)
    embedding: Any = None


def faults(folder: Path, names: Iterable[str], declared: DeclaredContents) -> Iterator[str]:
    """Say which of the files `names` are damaged; where none is, in what the tensors are not of the declared shape."""
    seen, damaged = _Seen(), False
    for name in names:
        try:
            header = _header(folder / name)
        except DamagedError as error:
            damaged = True
            yield str(error)
        except OSError as error:
            damaged = True
            yield f"{name} cannot be read: {error.strerror}"
        else:
            _note(header, seen)
    if not damaged:
        yield from _shapes(seen, declared)


def _header(path: Path) -> Mapping[str, Any]:
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(_LENGTH.size)
        if start == _LFS:
            raise DamagedError(f"{path.name} is a pointer of Git LFS and no weights (git lfs pull)")
        length = _LENGTH.unpack(start)[0] if len(start) == _LENGTH.size else 0
        if not 0 < length <= min(_LARGEST, size - len(start)):
            raise DamagedError(f"{path.name} is no safetensors file, or its beginning is damaged ({size} bytes)")
        header = file.read(length)
    try:
        content = json.loads(header)
        tensors = {name: tensor for name, tensor in content.items() if name != "__metadata__"}
        whole = _LENGTH.size + length + max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError, IndexError):
        raise DamagedError(f"{path.name} is no safetensors file: its header cannot be read") from None
    if whole != size:
        raise DamagedError(f"{path.name} has {size} bytes, its header says {whole}: it is not whole")
    return tensors


def _note(header: Mapping[str, Any], seen: _Seen) -> None:
    for name, tensor in header.items():
        if (layer := _LAYER.fullmatch(name)) is not None:
            seen.layers.add(int(layer[1]))
        elif _EMBEDDING.fullmatch(name) is not None:
            seen.embedding = tensor.get("shape")


def _shapes(seen: _Seen, declared: DeclaredContents) -> Iterator[str]:
    """Compare; names that are not those of a Llama tell nothing."""
    layers, widths = declared.sizes.get("num_hidden_layers", ()), declared.sizes.get("hidden_size", ())
    # Other classes may have layers beside those that they count.
    if declared.architectures and seen.layers and layers and len(seen.layers) not in layers:
        yield f"its weights have {len(seen.layers)} layers, declared num_hidden_layers {layers[0]}"
    shape = seen.embedding
    if shape is not None and widths and (not isinstance(shape, list) or not shape or shape[-1] not in widths):
        yield f"the shape of embed_tokens.weight is {str(shape)[:48]}, declared hidden_size {widths[0]}"
