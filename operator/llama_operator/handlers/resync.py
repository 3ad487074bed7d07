"""Lists what is watched into the cache: at the start, when a replica takes over, and every now and then. Called by `process`.

A watch may miss a deletion: after a gap it starts from a new list, which cannot name what is gone. A list that replaces what
the cache holds finds that out.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from llama_operator.handlers.watched import Watched, slim
from llama_operator.kube.cache.objects import ObjectCache
from llama_operator.kube.port import Cluster, Listing, NotFoundError

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """Which kinds the cluster has."""

    present: tuple[Watched, ...]
    missing: tuple[Watched, ...]


class Resync:
    """Compares the cache with the API server.

    Args:
        cluster: The API server itself, not the cache.
        cache: What is brought up to date.
        namespaces: Where to look; empty for everywhere.
    """

    def __init__(self, cluster: Cluster, cache: ObjectCache, namespaces: Sequence[str]) -> None:
        self._cluster = cluster
        self._cache = cache
        self._namespaces = namespaces

    async def run(self, watched: Sequence[Watched]) -> Found:
        """List some kinds; what the API server does not have leaves the cache.

        Raises:
            KubeError: If a list fails for another reason than that the kind does not exist.
        """
        present, missing = [], []
        for each in watched:
            try:
                listing = await self._list(each)
            except NotFoundError:
                # Nothing of it exists, and whoever writes it is told so by the API server.
                self._cache.replace(each.kind, Listing((), "0"))
                missing.append(each)
                continue
            items = tuple(slim(each.kind, obj) for obj in listing.items)
            self._cache.replace(each.kind, Listing(items, listing.resource_version))
            present.append(each)
        return Found(tuple(present), tuple(missing))

    async def _list(self, watched: Watched) -> Listing:
        if not (watched.kind.namespaced and self._namespaces):
            return await self._cluster.list(watched.kind, labels=watched.labels)
        parts = [
            await self._cluster.list(watched.kind, namespace=name, labels=watched.labels) for name in self._namespaces
        ]
        # The oldest: whatever changed after it may be newer in the cache than in one of the lists.
        oldest = min((part.resource_version for part in parts), key=int)
        return Listing(tuple(obj for part in parts for obj in part.items), oldest)
