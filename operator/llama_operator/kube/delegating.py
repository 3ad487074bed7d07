"""The port once more, forwarding every verb to another cluster: the base of what fences, measures and caches.

A decorator overrides `_around`, which surrounds each request, or the verbs that it answers itself. A new verb of the port
is written in `port`, here, and in the two clusters that do it: `server.client` and `twin.cluster`.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from enum import StrEnum

from llama_operator.kube import kinds
from llama_operator.kube.port import (
    BACKGROUND,
    NO_LABELS,
    NO_PRECONDITIONS,
    Cluster,
    JsonPatch,
    Kind,
    Listing,
    Object,
    Preconditions,
    Propagation,
    Ref,
    Selector,
    WatchEvent,
)


class Verb(StrEnum):
    """The requests of the port that end; a watch goes on, so nothing surrounds it."""

    GET = "get"
    LIST = "list"
    APPLY = "apply"
    APPLY_STATUS = "apply_status"
    PATCH = "patch"
    DELETE = "delete"

    @property
    def writes(self) -> bool:
        """Whether it may change an object."""
        return self not in {Verb.GET, Verb.LIST}


class Delegating:
    """The port `Cluster`: does what `inner` does.

    Args:
        inner: The cluster that the requests go to.
    """

    def __init__(self, inner: Cluster) -> None:
        self._inner = inner

    def _around(self, verb: Verb, ref: Ref) -> AbstractAsyncContextManager[None]:
        """Surround one request about `ref`; of a list the name is empty, and the namespace where it lists all."""
        del verb, ref
        return nullcontext()

    async def get(self, ref: Ref) -> Object:
        """See `Cluster.get`."""
        async with self._around(Verb.GET, ref):
            return await self._inner.get(ref)

    async def list(
        self, kind: Kind, *, namespace: str | None = None, labels: Selector = NO_LABELS, fields: Selector = NO_LABELS
    ) -> Listing:
        """See `Cluster.list`."""
        async with self._around(Verb.LIST, Ref(kind, namespace or "", "")):
            return await self._inner.list(kind, namespace=namespace, labels=labels, fields=fields)

    def watch(self, kind: Kind, *, since: str, namespace: str | None = None) -> AsyncIterator[WatchEvent]:
        """See `Cluster.watch`."""
        return self._inner.watch(kind, since=since, namespace=namespace)

    async def apply(self, obj: Object, *, force: bool = True, manager: str = "") -> Object:
        """See `Cluster.apply`."""
        async with self._around(Verb.APPLY, kinds.address_to_write(obj)):
            return await self._inner.apply(obj, force=force, manager=manager)

    async def apply_status(self, obj: Object) -> Object:
        """See `Cluster.apply_status`."""
        async with self._around(Verb.APPLY_STATUS, kinds.address_to_write(obj)):
            return await self._inner.apply_status(obj)

    async def patch(self, ref: Ref, operations: Sequence[JsonPatch]) -> Object:
        """See `Cluster.patch`."""
        async with self._around(Verb.PATCH, ref):
            return await self._inner.patch(ref, operations)

    async def delete(
        self, ref: Ref, *, preconditions: Preconditions = NO_PRECONDITIONS, propagation: Propagation = BACKGROUND
    ) -> None:
        """See `Cluster.delete`."""
        async with self._around(Verb.DELETE, ref):
            await self._inner.delete(ref, preconditions=preconditions, propagation=propagation)
