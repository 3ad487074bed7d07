"""A cluster that refuses writes unless the Lease is held for certain. Wired in by `process` around the real client.

A leader that was stopped (SIGSTOP, a frozen machine) finds its time over when it goes on, before it asks anybody. A write
that is under way when the time ends is cancelled; one that waits for a connection then has not been sent.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Final

from llama_operator.kube import kinds
from llama_operator.kube.leadership.lease import Leadership
from llama_operator.kube.port import (
    NO_PRECONDITIONS,
    Cluster,
    JsonPatch,
    Kind,
    KubeError,
    Listing,
    Object,
    Preconditions,
    Propagation,
    Ref,
    WatchEvent,
)

_NO_LABELS: Final[Mapping[str, str]] = MappingProxyType({})


class NotLeaderError(KubeError):
    """This process does not hold the Lease for certain, so it must not write. Not to be tried again here."""


class FencedCluster:
    """Reads go through; writes only while `leadership` lasts.

    Args:
        inner: The cluster itself.
        leadership: Until when this process may write.
        wrote: Told after each write of an object, other than its status.
    """

    def __init__(
        self, inner: Cluster, leadership: Leadership, *, wrote: Callable[[Kind], None] = lambda _: None
    ) -> None:
        self._inner = inner
        self._leadership = leadership
        self._wrote = wrote

    async def get(self, ref: Ref) -> Object:
        """See `Cluster.get`."""
        return await self._inner.get(ref)

    async def list(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] = _NO_LABELS,
        fields: Mapping[str, str] = _NO_LABELS,
    ) -> Listing:
        """See `Cluster.list`."""
        return await self._inner.list(kind, namespace=namespace, labels=labels, fields=fields)

    def watch(self, kind: Kind, *, since: str, namespace: str | None = None) -> AsyncIterator[WatchEvent]:
        """See `Cluster.watch`."""
        return self._inner.watch(kind, since=since, namespace=namespace)

    async def apply(self, obj: Object, *, force: bool = True) -> Object:
        """See `Cluster.apply`; raises `NotLeaderError` without the Lease, as all writes here."""
        async with self._as_leader():
            live = await self._inner.apply(obj, force=force)
        if (kind := kinds.find(obj["apiVersion"], obj["kind"])) is not None:
            self._wrote(kind)
        return live

    async def apply_status(self, obj: Object) -> Object:
        """See `Cluster.apply_status`."""
        async with self._as_leader():
            return await self._inner.apply_status(obj)

    async def patch(self, ref: Ref, operations: Sequence[JsonPatch]) -> Object:
        """See `Cluster.patch`."""
        async with self._as_leader():
            live = await self._inner.patch(ref, operations)
        self._wrote(ref.kind)
        return live

    async def delete(
        self,
        ref: Ref,
        *,
        preconditions: Preconditions = NO_PRECONDITIONS,
        propagation: Propagation = Propagation.BACKGROUND,
    ) -> None:
        """See `Cluster.delete`."""
        async with self._as_leader():
            await self._inner.delete(ref, preconditions=preconditions, propagation=propagation)
        self._wrote(ref.kind)

    @asynccontextmanager
    async def _as_leader(self) -> AsyncIterator[None]:
        left = self._leadership.seconds_left()
        if left <= 0:
            raise NotLeaderError("this replica does not hold the Lease, so it writes nothing")
        try:
            async with asyncio.timeout(left) as limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise NotLeaderError(
                "the Lease ended during a write; whether it was done, its successor will see"
            ) from None
