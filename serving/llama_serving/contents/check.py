"""Refuses to start an engine on a model folder that is not what was declared. Called by `engine.server` and `engine.vllm`.

Twice: before anything is downloaded or reserved, as far as the place can be asked; and when the files are on the node and
vLLM is about to read them, which nothing can evade. The digest of all bytes is not computed here: a copy in a claim was hashed when
it was made, and `contents.copies` sees that it is still that copy.
"""

import logging
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from llama_serving.config import CHECKPOINT_REFUSED, ServingConfig
from llama_serving.contents import copies, headers, places, weights
from llama_serving.contents.json_text import loaded
from llama_serving.contents.places import CONFIG, MOST_CONFIG_BYTES, MOST_INDEX_BYTES
from llama_serving.contents.shape import differences
from llama_serving.contract.contents import DeclaredContents

_MOST_FAULTS: Final = 6
_STREAMING: Final = frozenset({"runai_streamer", "runai_streamer_sharded", "tensorizer"})
_LOGGER = logging.getLogger("ray.serve")


class CheckpointRefusedError(RuntimeError):
    """The folder is not what was declared, or holds what is never read. The engine must not start."""


def check_source(config: ServingConfig) -> bool:
    """Check the weights where they come from. Blocks.

    Returns:
        Whether they could be looked at; `check_loaded` has to, if not.

    Raises:
        CheckpointRefusedError: If they are not what was declared.
    """
    declared, source = config.contents, config.source
    if declared is None or source.kind == "Generated":
        return True
    if source.kind == "Path":
        _check_folder(config, Path(source.location), declared, whole=True)
        return True
    try:
        place = places.look_at(source)
    except places.PlaceUnavailableError as error:
        _LOGGER.warning("The files of %s cannot be looked at before they are downloaded: %s", config.model_id, error)
        return False
    where = source.location
    faults = [*_shape_faults(place.config, declared)]
    if place.sizes is not None:
        faults += weights.faults(place.sizes, place.index, declared, reads_all=_streams(config))
        faults += _tokenizer_faults(place.sizes)
    _refuse(config.model_id, where, faults, declared)
    return True


def check_loaded(config: ServingConfig, location: str, *, looked_at: bool) -> None:
    """Check what vLLM is about to read, after every download. Blocks.

    Args:
        config: What is served.
        location: The folder, or the name at the Hub, that vLLM was told.
        looked_at: Whether `check_source` saw the files.

    Raises:
        CheckpointRefusedError: If it is not what was declared, or cannot be looked at.
    """
    declared, source = config.contents, config.source
    if declared is None or source.kind == "Generated":
        return
    folder = Path(location) if Path(location).is_dir() else places.cached(source)
    if folder is not None:
        # A cache of the Hub has the weights only later, and weights that are streamed are never on disk.
        streamed = source.kind == "ObjectStore" and _streams(config)
        _check_folder(config, folder, declared, whole=source.kind != "HuggingFace" and not streamed)
    elif not looked_at:
        raise CheckpointRefusedError(
            f"{CHECKPOINT_REFUSED}: {config.model_id} was not started: its files at {source.location} could not be "
            "looked at, so it is not known whether they are what was declared; set spec.rollout.restartedAt to try again"
        )


def _streams(config: ServingConfig) -> bool:
    return config.engine.load_format in _STREAMING


def _check_folder(config: ServingConfig, folder: Path, declared: DeclaredContents, *, whole: bool) -> None:
    """Check a folder on this node; its weights only if `whole`, because a cache may not have them yet."""
    if faults := [*copies.faults(folder)] if copies.is_one(folder) else []:
        _refuse(config.model_id, str(folder), faults, declared)
    content = _read(folder / CONFIG, MOST_CONFIG_BYTES)
    faults = [*_shape_faults(content, declared)]
    if content is None and (hint := _hint(folder)):
        faults.append(hint)
    elif whole:
        faults += _weight_faults(folder, declared, reads_all=_streams(config))
    _refuse(config.model_id, str(folder), faults, declared)


def _hint(folder: Path) -> str:
    """Say what a folder without config.json probably is; empty if nothing tells."""
    if (folder / "snapshots").is_dir():
        return "it is the folder of a cache of the Hub: the model is in snapshots/COMMIT below it"
    if (folder / "adapter_config.json").is_file():
        return "it is an adapter: serve it with its base model (spec.adapters), or merge it into it"
    if (folder / "params.json").is_file():
        return "it has a params.json, which is the format of Mistral or of Meta's own downloads: take the copy for transformers"
    return ""


def _shape_faults(content: bytes | None, declared: DeclaredContents) -> Iterator[str]:
    if content is None:
        yield f"it has no {CONFIG} that can be read"
        return
    if len(content) > MOST_CONFIG_BYTES:
        yield f"{CONFIG} has more than {MOST_CONFIG_BYTES} bytes"
        return
    try:
        parsed = loaded(content)
    except (ValueError, RecursionError):
        yield f"{CONFIG} is no JSON in UTF-8 without a byte order mark, as engines read it"
        return
    yield from (f"{CONFIG}: {difference}" for difference in differences(parsed, declared))


def _weight_faults(folder: Path, declared: DeclaredContents, *, reads_all: bool) -> list[str]:
    try:
        sizes = {entry.name: entry.stat().st_size for entry in os.scandir(folder) if entry.is_file()}
    except OSError as error:
        return [f"it cannot be read: {error.strerror}"]
    index = places.parsed(_read(folder / weights.INDEX, MOST_INDEX_BYTES)) if weights.INDEX in sizes else None
    found = [*weights.faults(sizes, index, declared, reads_all=reads_all), *_tokenizer_faults(sizes)]
    if found:
        return found
    names = sorted(name for name in sizes if name.endswith(".safetensors"))
    return [*headers.faults(folder, weights.read_by_engine(names, index), declared, weights.placed(index))]


def _tokenizer_faults(names: Iterable[str]) -> list[str]:
    missing = weights.without_tokenizer(names)
    return [] if missing is None else [missing]


def _read(path: Path, most: int) -> bytes | None:
    """Read a regular file, one byte more than `most` at most; None if there is none that can be read."""
    try:
        # Not blocking: opening a pipe would wait for a writer.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            return file.read(most + 1)
    except OSError:
        return None


def _refuse(model_id: str, where: str, faults: list[str], declared: DeclaredContents) -> None:
    if not faults:
        return
    shown = "; ".join(faults[:_MOST_FAULTS])
    more = f"; and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
    raise CheckpointRefusedError(
        f"{CHECKPOINT_REFUSED}: {model_id} was not started: {where} is not what {declared.declared_by} declares: "
        f"{shown}{more}. {_cure(declared)}; then set spec.rollout.restartedAt"
    )


def _cure(declared: DeclaredContents) -> str:
    if declared.declared_by.startswith("LlamaModel "):
        return (
            "Put the declared weights there, or have an administrator declare what is there in the LlamaModel "
            "(spec.architectureFingerprint, spec.weights, spec.lineage)"
        )
    return "Put the weights of that model there, or have an administrator add these as a LlamaModel with their lineage"
