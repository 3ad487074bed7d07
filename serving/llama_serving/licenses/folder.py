"""Finds the folder with a model's license texts. Called by `server` before an engine starts.

vLLM downloads weights and configuration from the hub, but not the texts beside them. This module fetches those: into the same
cache, from the same revision, with the same token.
"""

import itertools
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download

from llama_serving.config import ModelSource
from llama_serving.generated import checkpoint
from llama_serving.licenses.files import MOST_BYTES, MOST_FILES, kind_of, read_license_files


class FolderUnavailableError(Exception):
    """The hub could not be asked, and its cache does not have the repository."""


_SUBSTRINGS = ("LICENSE", "LICENCE", "USE_POLICY", "NOTICE", "License", "Licence", "Use_Policy", "Notice")
_COMMIT = re.compile("[0-9a-f]{40}")


def license_folder(source: ModelSource, *, endpoint: str | None = None) -> Path:
    """Return the folder; download the license files of a hub model first. Blocks.

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
    if source.kind == "ObjectStore":
        return _from_object_store(source)
    return _from_hub(source, endpoint)


def _from_object_store(source: ModelSource) -> Path:
    """Download the texts with the library that downloads the weights, and with the same credentials of the pod."""
    # Imports torch and vLLM: only a process that has them already comes here.
    from ray.llm._internal.common.utils.cloud_utils import CloudFileSystem  # noqa: PLC0415

    folder = Path(tempfile.mkdtemp(prefix="licenses-"))
    try:
        CloudFileSystem.download_files(str(folder), source.location, substrings_to_include=list(_SUBSTRINGS))
    except Exception as error:
        # Only the message of a failed import is passed on: other messages may hold signed addresses.
        why = f": {error}" if isinstance(error, ImportError) else ""
        raise FolderUnavailableError(f"{source.location}: {type(error).__name__}{why}") from error
    return folder


def _from_hub(source: ModelSource, endpoint: str | None) -> Path:
    cached = _cached(source)
    # A commit never changes, and the client tries an unreachable hub for 20 seconds.
    settled = constants.HF_HUB_OFFLINE or _COMMIT.fullmatch(source.revision or "") is not None
    if cached is not None and settled and read_license_files(cached):
        return cached
    try:
        return _downloaded(source, endpoint)
    except FolderUnavailableError:
        if cached is None:
            raise
        return cached


def _downloaded(source: ModelSource, endpoint: str | None) -> Path:
    if constants.HF_HUB_OFFLINE:
        raise FolderUnavailableError(f"{source.location} is not in the cache, and the hub is switched off")
    api = HfApi(endpoint=endpoint)
    try:
        names = itertools.islice(_names(api, source), MOST_FILES)
        paths = [Path(api.hf_hub_download(source.location, name, revision=source.revision)) for name in names]
    except Exception as error:  # the hub's client raises errors of several libraries
        raise FolderUnavailableError(f"{source.location} at the hub: {type(error).__name__}") from error
    if not paths:
        raise FolderUnavailableError(f"{source.location} at the hub has no such file")
    return paths[0].parent


def _names(api: HfApi, source: ModelSource) -> Iterator[str]:
    """Yield the license files at the top of the repository that are small enough to be texts."""
    for entry in api.list_repo_tree(source.location, revision=source.revision):
        if kind_of(entry.path) is not None and getattr(entry, "size", MOST_BYTES + 1) <= MOST_BYTES:
            yield entry.path


def _cached(source: ModelSource) -> Path | None:
    """Return the folder of the revision in the cache, with or without its texts; None if it is not there."""
    try:
        return Path(snapshot_download(source.location, revision=source.revision, local_files_only=True))
    except (OSError, ValueError):
        return None
