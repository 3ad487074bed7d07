"""Lists the watched kinds into the cache: at the start, when a replica takes over, and now and then. Called by `process`.

A watch may miss a deletion: after a gap it starts from a new list, which cannot name what is gone. A list that replaces
what the cache holds corrects that.
"""

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from llama_operator.handlers.watched import Watched
from llama_operator.kube.cache.objects import ObjectCache
from llama_operator.kube.port import Cluster, ForbiddenError, Kind, Listing, NotFoundError

_LOG = logging.getLogger(__name__)


async def _yes(kind: Kind, namespace: str) -> bool:
    del kind, namespace
    return True


@dataclass(frozen=True, slots=True)
class Refused:
    """A kind that the operator does without because a right is missing."""

    watched: Watched
    why: str
    """Which right."""


@dataclass(frozen=True, slots=True)
class Kinds:
    """Which kinds the cluster has, and which namespaces may not be read."""

    present: tuple[Watched, ...]
    missing: tuple[Watched, ...]
    barred: frozenset[str] = frozenset()
    """Namespaces that are named in the settings and may not be read: one of many is left out, until that changes."""
    refused: tuple[Refused, ...] = ()
    """Kinds that may not be listed or watched, and are not needed."""


class Resync:
    """Compares the cache with the API server.

    Args:
        cluster: The API server itself, not the cache.
        cache: Is brought up to date.
        namespaces: Where to look; empty for everywhere.
        clock: Seconds of Unix time.
        may_watch: Whether a kind may be watched in a namespace, or everywhere if that is empty.
    """

    def __init__(
        self,
        cluster: Cluster,
        cache: ObjectCache,
        namespaces: Sequence[str],
        clock: Callable[[], float] = time.time,
        *,
        may_watch: Callable[[Kind, str], Awaitable[bool]] = _yes,
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._namespaces = namespaces
        self._clock = clock
        self._may_watch = may_watch
        self._listed: dict[Kind, float] = {}

    @property
    def listed(self) -> Mapping[Kind, float]:
        """When each kind was listed last with success, in seconds of Unix time."""
        return self._listed

    async def run(self, watched: Sequence[Watched]) -> Kinds:
        """List some kinds; what the API server no longer has leaves the cache.

        Raises:
            KubeError: If a list fails for another reason than that the kind does not exist, that one namespace of several may
                not be read, or that a right is missing for what is not needed.
        """
        barred: dict[str, ForbiddenError] = {}
        found = await self._run(watched, barred)
        if barred:
            # What was listed before the first refusal may be of a barred namespace.
            found = await self._run(watched, barred)
        for namespace, error in barred.items():
            _LOG.warning("namespace %s may not be read, goes on without it: %s", namespace, error)
        return Kinds(found.present, found.missing, frozenset(barred), found.refused)

    async def permitted(self, refused: Sequence[Watched]) -> tuple[Watched, ...]:
        """Return those of the refused kinds that may be listed and watched now; the cache does not learn of it.

        Raises:
            KubeError: If it cannot be asked.
        """
        now = []
        for one in refused:
            with contextlib.suppress(ForbiddenError):
                await self._list(one, {})
                if await self._not_watched(one, {}) is None:
                    now.append(one)
        return tuple(now)

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
        refused: list[Refused] = []
        for one in watched:
            asked_at = self._cache.version(one.kind)
            try:
                listing = await self._list(one, barred)
            except NotFoundError:
                # The kind is not installed; writes will fail with a clear error.
                self._cache.replace(one.kind, Listing((), "0"), asked_at=asked_at)
                missing.append(one)
                continue
            except ForbiddenError as error:
                if one.needed:
                    raise
                refused.append(Refused(one, str(error)))
                continue
            if (why := await self._not_watched(one, barred)) is not None:
                refused.append(Refused(one, why))
                continue
            if self._cache.replace(one.kind, listing, asked_at=asked_at):
                _LOG.warning(
                    "the API server has an older state of %s than it had before: its store was put back, "
                    "what is known follows it",
                    one.kind.plural,
                )
            self._listed[one.kind] = self._clock()
            present.append(one)
        return Kinds(tuple(present), tuple(missing), refused=tuple(refused))

    async def _not_watched(self, watched: Watched, barred: Mapping[str, ForbiddenError]) -> str | None:
        """Why a kind cannot be watched that is not needed; None if it can: of others the watch itself finds out, and ends."""
        if watched.needed:
            return None
        for namespace in (name for name in self._namespaces or ("",) if name not in barred):
            if not await self._may_watch(watched.kind, namespace):
                where = f"in namespace {namespace}" if namespace else "in all namespaces"
                return f"missing right: verb `watch` on `{watched.kind.plural}` {where}; grant it by a role"
        return None

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
            if not watched.needed:
                raise
            barred[name] = error
            if set(barred) >= set(self._namespaces):
                raise
            return None
