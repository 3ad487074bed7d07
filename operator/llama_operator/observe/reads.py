"""The two verbs of the port that reading the world needs. Implemented by every `Cluster`."""

from collections.abc import Mapping
from typing import Protocol

from llama_operator.kube.port import Kind, Listing, Object, Ref


class Reads(Protocol):
    """What `observe` asks of Kubernetes; see `kube.port.Cluster`."""

    async def get(self, ref: Ref) -> Object:
        """Return the object, or raise `NotFoundError`."""
        ...

    async def list(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] = ...,
        fields: Mapping[str, str] = ...,
    ) -> Listing:
        """List a kind, in all namespaces when `namespace` is None."""
        ...
