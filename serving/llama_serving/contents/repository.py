"""Fetches the files of a LoRA adapter from the Hub, into the cache of this node. Called by `engine.vllm`, on each node of a replica.

At one commit, with the pod's own token, and only the two files that are read: nothing pickled comes to the node.
"""

from pathlib import Path
from typing import Final

from huggingface_hub import HfApi, try_to_load_from_cache

from llama_serving.contents.adapter import CONFIG, WEIGHTS, AdapterRefusedError
from llama_serving.contract.adapters import AdapterFault, Repository

_FILES: Final = (CONFIG, WEIGHTS)
MOST_BYTES: Final = 32 * 1024**3
"""Largest adapter that is fetched; that of a model of 405 B parameters with rank 512 has as much."""


def fetched(repository: Repository, *, endpoint: str | None = None) -> Path:
    """Return the folder with the adapter's files; fetch them first if they are not there. Blocks.

    Args:
        repository: Where it is.
        endpoint: Address of the Hub; None for that of the environment.

    Raises:
        AdapterRefusedError: If they cannot be fetched. The message says why, and has no token in it.
    """
    name, commit = repository.repository, repository.revision
    # A commit never changes: what is there needs no question to the Hub.
    held = [try_to_load_from_cache(name, file, revision=commit) for file in _FILES]
    if all(isinstance(path, str) and Path(path).is_file() for path in held):
        return Path(str(held[0])).parent
    try:
        api = HfApi(endpoint=endpoint)
        entries = [entry for entry in api.list_repo_tree(name, revision=commit) if entry.path in _FILES]
        is_small = sum(int(getattr(entry, "size", 0)) for entry in entries) <= MOST_BYTES
        paths = [Path(api.hf_hub_download(name, entry.path, revision=commit)) for entry in entries if is_small]
    except Exception as error:  # the hub's client raises errors of several libraries
        words = f"{name} at the hub: {type(error).__name__}; see that the commit is one of it, and that spec.weights.tokenSecret may read it"
        raise AdapterRefusedError(AdapterFault.NOT_FOUND, words) from error
    if not is_small:
        words = f"{name} has an adapter of more than {MOST_BYTES // 1024**3} GiB, which is none"
        raise AdapterRefusedError(AdapterFault.REFUSED, words)
    if not paths:
        raise AdapterRefusedError(AdapterFault.NOT_FOUND, f"{name} has neither {CONFIG} nor {WEIGHTS} at its top")
    return paths[0].parent
