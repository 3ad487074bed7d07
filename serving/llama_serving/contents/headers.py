"""Reads the headers of safetensors files on disk: whole, without doubt, of the declared shape? Called by `contents.check`.

A header is a length of eight bytes and JSON with the name, shape and place of every tensor. Nothing else is read.
"""

import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from llama_serving.contents.json_text import loaded
from llama_serving.contents.weights import INDEX, shown
from llama_serving.contract.contents import DeclaredContents

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
    places: dict[str, list[str]] = field(default_factory=dict)
    """The files that hold each tensor."""


def faults(
    folder: Path, names: Iterable[str], declared: DeclaredContents, placed: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Say which files are damaged; where none is, which tensors are in doubt or not of the declared shape.

    Args:
        folder: The model's folder.
        names: The weight files in it that the engine reads.
        declared: The shape that was declared.
        placed: The file of every tensor, as the index tells it; None without an index.
    """
    seen, damaged = _Seen(), False
    for name in names:
        try:
            header = header_of(folder / name)
        except DamagedError as error:
            damaged = True
            yield str(error)
        except OSError as error:
            damaged = True
            yield f"{name} cannot be read: {error.strerror}"
        else:
            _note(name, header, seen)
    if not damaged:
        yield from _misplaced(seen, placed or {})
        yield from _shapes(seen, declared)


def header_of(path: Path) -> Mapping[str, Any]:
    """Read the header of a file: its tensors by name.

    Raises:
        DamagedError: If it is no whole safetensors file.
        OSError: If it cannot be read.
    """
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
        content = loaded(header)
        tensors = {name: tensor for name, tensor in content.items() if name != "__metadata__"}
        whole = _LENGTH.size + length + max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError, IndexError):
        raise DamagedError(f"{path.name} is no safetensors file: its header cannot be read") from None
    if whole != size:
        raise DamagedError(f"{path.name} has {size} bytes, its header says {whole}: it is not whole")
    return tensors


def _note(file: str, header: Mapping[str, Any], seen: _Seen) -> None:
    for name, tensor in header.items():
        seen.places.setdefault(name, []).append(file)
        if (layer := _LAYER.fullmatch(name)) is not None:
            seen.layers.add(int(layer[1]))
        elif _EMBEDDING.fullmatch(name) is not None:
            seen.embedding = tensor.get("shape")


def _misplaced(seen: _Seen, placed: Mapping[str, str]) -> Iterator[str]:
    """Tell tensors of which an engine may load another copy than the index says.

    vLLM takes from the index which files to read, and then loads every tensor of each: of two copies the last one wins.
    """
    if absent := sorted(name for name, file in placed.items() if file not in seen.places.get(name, ())):
        yield f"{INDEX} says that {placed[absent[0]]} has {shown(absent)}, which it has not"
    if twice := sorted(name for name, files in seen.places.items() if len(files) > 1):
        files = " and ".join(seen.places[twice[0]][:2])
        yield f"{shown(twice)} is in {files}: remove the copy that does not count (the engine would load the last one)"


def _shapes(seen: _Seen, declared: DeclaredContents) -> Iterator[str]:
    """Compare; names that are not those of a Llama tell nothing."""
    layers, widths = declared.sizes.get("num_hidden_layers", ()), declared.sizes.get("hidden_size", ())
    # Other classes may have layers beside those that they count.
    if declared.architectures and seen.layers and layers and len(seen.layers) not in layers:
        yield f"its weights have {len(seen.layers)} layers, declared num_hidden_layers {layers[0]}"
    shape = seen.embedding
    if shape is not None and widths and (not isinstance(shape, list) or not shape or shape[-1] not in widths):
        yield f"the shape of embed_tokens.weight is {str(shape)[:48]}, declared hidden_size {widths[0]}"
