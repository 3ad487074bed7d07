"""The port to Kubernetes: the few verbs that a level-triggered reconcile needs.

Called by `observe`, `reconcile` and `local`. Implemented by `kube.memory` (in this process) and by the real client;
one contract suite (tests/contract) runs against both. Objects are plain JSON dictionaries here and nowhere else.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeAlias

from typing_extensions import override

Object: TypeAlias = dict[str, Any]
"""A Kubernetes object as JSON."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A resource type, with what is needed to address it over HTTP."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True


@dataclass(frozen=True, slots=True)
class Ref:
    """Address of one object; `namespace` is empty for a cluster-scoped kind."""

    kind: Kind
    namespace: str
    name: str

    @override
    def __str__(self) -> str:
        """Address as people write it: `RayService team-a/chat`."""
        return f"{self.kind.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Listing:
    """A consistent list and the resourceVersion from which a watch continues without a gap."""

    items: tuple[Object, ...]
    resource_version: str


class EventType(Enum):
    """What happened to a watched object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change; for `DELETED` the object is its last state."""

    type: EventType
    object: Object


class KubeError(Exception):
    """The API server (or the twin) refused or failed; subclasses name the cases that callers tell apart."""


class NotFoundError(KubeError):
    """404: no such object."""


class ConflictError(KubeError):
    """409: another writer owns a field (apply without force), or a precondition (uid, resourceVersion) failed."""


class InvalidError(KubeError):
    """422: the object breaks its schema or an admission rule; retrying the same object cannot help."""


class ExpiredError(KubeError):
    """410: the resourceVersion of a watch is too old; list again."""


@dataclass(frozen=True, slots=True)
class Preconditions:
    """A delete happens only if the live object still matches what is set here."""

    uid: str | None = None
    resource_version: str | None = None


NO_PRECONDITIONS = Preconditions()


class Cluster(Protocol):
    """What the reconcile may ask of Kubernetes. Every method may raise `KubeError`; objects returned are copies."""

    async def get(self, ref: Ref) -> Object:
        """Return the object, or raise `NotFoundError`."""
        ...

    async def list(self, kind: Kind, *, namespace: str | None = None, labels: Mapping[str, str] = ...) -> Listing:
        """List a kind, in all namespaces when `namespace` is None; `labels` must all be equal."""
        ...

    def watch(self, kind: Kind, *, since: str, namespace: str | None = None) -> AsyncIterator[WatchEvent]:
        """Yield every change after resourceVersion `since`, in order; raise `ExpiredError` if it is too old."""
        ...

    async def apply(self, obj: Object, *, force: bool = True) -> Object:
        """Server-side apply under this client's field manager; create the object if it is absent.

        Fields sent become ours; fields sent before and not now are removed unless another manager owns them too;
        fields of others stay. `status` is ignored where the kind has a status subresource. An apply that changes
        nothing writes nothing: the resourceVersion stays.
        """
        ...

    async def apply_status(self, obj: Object) -> Object:
        """Server-side apply of the status subresource; only `status` of `obj` counts. `NotFoundError` if absent.

        Takes the fields over from whoever else wrote them: there is one author of a status.
        """
        ...

    async def delete(self, ref: Ref, *, preconditions: Preconditions = ...) -> None:
        """Delete; dependants go by their ownerReferences. `NotFoundError` if absent, `ConflictError` if it changed."""
        ...
