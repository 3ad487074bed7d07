"""Reads each list once and keeps it: for a command that looks at many deployments. Wired in by `cli.license`."""

import asyncio

from typing_extensions import override

from llama_operator.kube.delegating import Delegating
from llama_operator.kube.port import NO_LABELS, Cluster, Kind, Listing, NotFoundError, Object, Ref, Selector


class ReadOnce(Delegating):
    """A view of a cluster at the time of its first reads.

    Args:
        inner: Where to read.
        namespace: Namespace in which everything of interest stands; None for all of them.
    """

    def __init__(self, inner: Cluster, namespace: str | None) -> None:
        super().__init__(inner)
        self._namespace = namespace
        self._lists: dict[Kind, asyncio.Future[Listing]] = {}

    @override
    async def get(self, ref: Ref) -> Object:
        """Return the object; see `Cluster.get`."""
        for item in (await self.list(ref.kind, namespace=ref.namespace or None)).items:
            if item["metadata"]["name"] == ref.name:
                return item
        raise NotFoundError(f"{ref} not found")

    @override
    async def list(
        self, kind: Kind, *, namespace: str | None = None, labels: Selector = NO_LABELS, fields: Selector = NO_LABELS
    ) -> Listing:
        """List a kind; see `Cluster.list`. A list by fields is asked for again each time."""
        if fields:
            return await super().list(kind, namespace=namespace, labels=labels, fields=fields)
        if kind not in self._lists:
            scope = self._namespace if kind.namespaced else None
            self._lists[kind] = asyncio.ensure_future(super().list(kind, namespace=scope))
        # A failure is kept too: a missing right does not come back within one command.
        listing = await self._lists[kind]
        return Listing(
            tuple(item for item in listing.items if _matches(item, namespace, labels)), listing.resource_version
        )


def _matches(item: Object, namespace: str | None, labels: Selector) -> bool:
    metadata = item["metadata"]
    if namespace is not None and metadata.get("namespace") != namespace:
        return False
    return labels.items() <= (metadata.get("labels") or {}).items()
