"""Where weights come from: `source_of` gives the source of a request. Called by `weights.fetching`.

A source lists its files and fetches one; which are wanted, and whether what came is right, is decided elsewhere.
"""

from llama_serving.contract.weights import CopyRequest, HubSource, PathSource, StoreSource
from llama_serving.weights.sources.base import Source


def source_of(request: CopyRequest, token: str) -> Source:
    """The source of a request. Imports the library that it needs, and no other."""
    match request.source:
        case HubSource() as hub:
            from llama_serving.weights.sources.hub import Hub  # noqa: PLC0415 - only where it is needed

            return Hub(hub, token)
        case StoreSource() as store:
            from llama_serving.weights.sources.store import Store  # noqa: PLC0415

            return Store(store)
        case PathSource() as path:
            from llama_serving.weights.sources.path import Folder  # noqa: PLC0415

            return Folder(path)
