"""Lists the watched kinds into the cache: at the start, when a replica takes over, and now and then. Called by `process`.

A watch may miss a deletion: after a gap it starts from a new list, which cannot name what is gone. A list that replaces
what the cache holds corrects that.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from llama_operator.handlers.watched import Watched
from llama_operator.kube.cache.objects import ObjectCache
from llama_operator.kube.port import Cluster, ForbiddenError, Kind, Listing, NotFoundError

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kinds:
    """Which kinds the cluster has, and which namespaces may not be read."""

    present: tuple[Watched, ...]
    missing: tuple[Watched, ...]
    barred: frozenset[str] = frozenset()
    """Namespaces that are named in the settings and may not be read: one of many is left out, until that changes."""


class Resync:
    """Compares the cache with the API server.

    Args:
        cluster: The API server itself, not the cache.
        cache: Is brought up to date.
        namespaces: Where to look; empty for everywhere.
        clock: Seconds of Unix time.
    """

    def __init__(
        self, cluster: Cluster, cache: ObjectCache, namespaces: Sequence[str], clock: Callable[[], float] = time.time
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._namespaces = namespaces
        self._clock = clock
        self._listed: dict[Kind, float] = {}

    @property
    def listed(self) -> Mapping[Kind, float]:
        """When each kind was listed last with success, in seconds of Unix time."""
        return self._listed

    async def run(self, watched: Sequence[Watched]) -> Kinds:
        """List some kinds; what the API server no longer has leaves the cache.

        Raises:
            KubeError: If a list fails for another reason than that the kind does not exist, or that one namespace of
                several may not be read.
        """
        barred: dict[str, ForbiddenError] = {}
        found = await self._run(watched, barred)
        if barred:
            # What was listed before the first refusal may be of a barred namespace.
            found = await self._run(watched, barred)
        for namespace, error in barred.items():
            _LOG.warning("namespace %s may not be read, goes on without it: %s", namespace, error)
        return Kinds(found.present, found.missing, frozenset(barred))

    async def may_read(self, namespace: str, watched: Sequence[Watched]) -> bool:
        """Whether all kinds may be read in a namespace.

        Raises:
            KubeError: If it cannot be asked.
        """
        try:
            for one in watched:
                if one.kind.namespaced:
                    await self._cluster.list(one.kind, namespace=namespace, labels=one.labels)
        except ForbiddenError:
            return False
        return True

    async def _run(self, watched: Sequence[Watched], barred: dict[str, ForbiddenError]) -> Kinds:
        present, missing = [], []
        for one in watched:
            asked_at = self._cache.version(one.kind)
            try:
                listing = await self._list(one, barred)
            except NotFoundError:
                # The kind is not installed; writes will fail with a clear error.
                self._cache.replace(one.kind, Listing((), "0"), asked_at=asked_at)
                missing.append(one)
                continue
            if self._cache.replace(one.kind, listing, asked_at=asked_at):
                _LOG.warning(
                    "the API server has an older state of %s than it had before: its store was put back, "
                    "what is known follows it",
                    one.kind.plural,
                )
            self._listed[one.kind] = self._clock()
            present.append(one)
        return Kinds(tuple(present), tuple(missing))

    async def _list(self, watched: Watched, barred: dict[str, ForbiddenError]) -> Listing:
        if not (watched.kind.namespaced and self._namespaces):
            return await self._cluster.list(watched.kind, labels=watched.labels)
        parts = [part for name in self._namespaces if (part := await self._list_one(watched, name, barred)) is not None]
        # The oldest version: an object that changed after it may be newer in the cache than in one of the lists.
        oldest = min((part.resource_version for part in parts), key=int)
        return Listing(tuple(obj for part in parts for obj in part.items), oldest)

    async def _list_one(self, watched: Watched, name: str, barred: dict[str, ForbiddenError]) -> Listing | None:
        """The objects in one namespace; None if it may not be read, which with its deletion its RoleBinding takes along."""
        if name in barred:
            return None
        try:
            return await self._cluster.list(watched.kind, namespace=name, labels=watched.labels)
        except ForbiddenError as error:
            barred[name] = error
            if set(barred) >= set(self._namespaces):
                raise
            return None
