"""Finds the folder with a model's license texts. Called by `server` before an engine starts.

vLLM downloads weights and configuration from the hub, not the texts beside them, so those are fetched here: into the
same cache, of the same revision, with the same token.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download

from llama_serving import checkpoint
from llama_serving.config import ModelSource
from llama_serving.license_files import MOST_BYTES, MOST_FILES, kind_of


class FolderUnavailableError(Exception):
    """The hub could not be asked, and its cache does not have the repository."""


def license_folder(source: ModelSource, *, endpoint: str | None = None) -> Path:
    """Return the folder; for a hub model after its license files have been downloaded. Blocks.

    Args:
        source: Where the weights come from.
        endpoint: Address of the hub; None for that of the environment.

    Raises:
        FolderUnavailableError: If there is none. The message says why, and has no token in it.
    """
    if source.kind == "Path":
        return Path(source.location)
    if source.kind == "Generated":
        return checkpoint.default_folder()
    return _from_hub(source, endpoint)


def _from_hub(source: ModelSource, endpoint: str | None) -> Path:
    try:
        if constants.HF_HUB_OFFLINE:
            return _cached(source)
        api = HfApi(endpoint=endpoint)
        names = itertools.islice(_names(api, source), MOST_FILES)
        paths = [Path(api.hf_hub_download(source.location, name, revision=source.revision)) for name in names]
    except Exception as error:  # noqa: BLE001 - the hub's client raises errors of several libraries
        try:
            return _cached(source)
        except Exception:  # noqa: BLE001 - as above
            raise FolderUnavailableError(f"{source.location} at the hub: {type(error).__name__}") from error
    if not paths:
        raise FolderUnavailableError(f"{source.location} at the hub has no such file")
    return paths[0].parent


def _names(api: HfApi, source: ModelSource) -> Iterator[str]:
    """Yield the license files at the top of the repository that are small enough to be texts."""
    for entry in api.list_repo_tree(source.location, revision=source.revision):
        if kind_of(entry.path) is not None and getattr(entry, "size", MOST_BYTES + 1) <= MOST_BYTES:
            yield entry.path


def _cached(source: ModelSource) -> Path:
    """Return the folder of the revision in the cache: somebody has put it there with its texts, or without."""
    return Path(snapshot_download(source.location, revision=source.revision, local_files_only=True))
