"""Looks at a model's config.json and list of files at the Hub or in an object store. Called by `contents.check`.

With the pod's own credentials, and without the weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from huggingface_hub import HfApi, snapshot_download

from llama_serving.config import ModelSource
from llama_serving.contents.json_text import loaded
from llama_serving.contents.weights import INDEX

CONFIG: Final = "config.json"
MOST_CONFIG_BYTES: Final = 4 * 1024**2
MOST_INDEX_BYTES: Final = 64 * 1024**2


class PlaceUnavailableError(Exception):
    """The place could not be asked. The message says why, and has no token in it."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a place has of a model.

    Attributes:
        config: Content of config.json; None if there is none.
        sizes: Bytes of every file at the top, by its name; None if the place was not asked for them.
        index: Content of `INDEX`, parsed; None if there is none.
    """

    config: bytes | None
    sizes: Mapping[str, int] | None = None
    index: Any = None


def look_at(source: ModelSource, *, endpoint: str | None = None) -> Place:
    """Return what the source has. Blocks.

    Args:
        source: A repository of the Hub or a folder of an object store.
        endpoint: Address of the Hub; None for that of the environment.

    Raises:
        PlaceUnavailableError: If it could not be asked.
    """
    if source.kind == "ObjectStore":
        return _object_store(source)
    api = HfApi(endpoint=endpoint)
    try:
        entries = api.list_repo_tree(source.location, revision=source.revision)
        sizes = {entry.path: int(entry.size) for entry in entries if hasattr(entry, "size")}
        config = _downloaded(api, source, CONFIG, sizes, MOST_CONFIG_BYTES)
        index = _downloaded(api, source, INDEX, sizes, MOST_INDEX_BYTES)
    except Exception as error:  # the hub's client raises errors of several libraries
        raise PlaceUnavailableError(f"{source.location} at the hub: {type(error).__name__}") from error
    return Place(config, sizes, parsed(index))


def cached(source: ModelSource) -> Path | None:
    """Return the folder of the revision in the Hub's cache on this node; None if it is not there."""
    if source.kind != "HuggingFace":
        return None
    try:
        return Path(snapshot_download(source.location, revision=source.revision, local_files_only=True))
    except (OSError, ValueError):
        return None


def parsed(content: bytes | None) -> Any:
    """Parse an index; an empty object, which names no files, for one that is no JSON."""
    if content is None:
        return None
    try:
        return loaded(content)
    except (ValueError, RecursionError):
        return {}


def _downloaded(api: HfApi, source: ModelSource, name: str, sizes: Mapping[str, int], most: int) -> bytes | None:
    if name not in sizes:
        return None
    if sizes[name] > most:
        return b""
    return Path(api.hf_hub_download(source.location, name, revision=source.revision)).read_bytes()


def _object_store(source: ModelSource) -> Place:
    # Imports torch and vLLM: only a process that has them already comes here.
    from ray.llm._internal.common.utils.cloud_utils import CloudFileSystem  # noqa: PLC0415

    try:
        config = CloudFileSystem.get_file(f"{source.location.rstrip('/')}/{CONFIG}", decode_as_utf_8=False)
    except Exception as error:
        # Only what an import says is told: other messages may hold signed addresses.
        why = f": {error}" if isinstance(error, ImportError) else ""
        raise PlaceUnavailableError(f"{source.location}: {type(error).__name__}{why}") from error
    if config is None:
        # Ray's client says the same of a file that is not there and of a store that does not answer.
        raise PlaceUnavailableError(f"{source.location} has no {CONFIG}, or does not answer")
    return Place(config if isinstance(config, bytes) else config.encode())
