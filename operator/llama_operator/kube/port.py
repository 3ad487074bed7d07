"""The port to Kubernetes: the few verbs that a level-triggered reconcile needs.

Called by `observe`, `reconcile`, `local` and the command line. `twin.cluster` (in this process) and `server.client` implement it;
one contract suite (tests/contract) runs against both. Only here are objects plain JSON dictionaries.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol, TypeAlias

from typing_extensions import override

Object: TypeAlias = dict[str, Any]
"""A Kubernetes object as JSON."""
Selector: TypeAlias = Mapping[str, str]
"""Labels or fields with their values: only objects that have all of them are listed."""
NO_LABELS: Final[Selector] = MappingProxyType({})
"""Selects everything."""


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


class FieldConflictError(ConflictError):
    """409: another writer owns a field, and the apply was without force: trying again cannot help."""


class InvalidError(KubeError):
    """422: the object breaks its schema or an admission rule; retrying the same object cannot help."""


class ExpiredError(KubeError):
    """410: the resourceVersion of a watch is too old; list again."""


@dataclass(frozen=True, slots=True)
class Right:
    """A verb on a resource, in the terms of a Role.

    Attributes:
        user: Name of the user or service account.
        verb: `get`, `list`, `watch`, `create`, `patch`, `delete`.
        resource: Plural name: `rayservices`.
        group: API group; empty for the core group.
        subresource: `status`; empty for the object itself.
        namespace: Where; empty for the whole cluster.
        name: Of which object; empty for all.
    """

    user: str
    verb: str
    resource: str
    group: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def target(self) -> str:
        """The resource as `kubectl` takes it: `rayservices.ray.io`."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


class ForbiddenError(KubeError):
    """401 or 403: the credentials, the rights of their owner, a quota, or a namespace that is ending forbid it.

    Args:
        message: What was asked, and the server's words.
        missing: The right that the user lacks; None where something else forbids it.
        ending: Whether the namespace is being deleted, so that nothing new may be made in it.
    """

    def __init__(self, message: str, missing: Right | None = None, *, ending: bool = False) -> None:
        super().__init__(message)
        self.missing = missing
        self.ending = ending


class UnavailableError(KubeError):
    """No answer, 429 or 5xx, after as many tries as a caller should wait for; the same request may help later."""


class WebhookFailedError(UnavailableError):
    """An admission webhook does not answer, and its configuration lets nothing pass without it."""


@dataclass(frozen=True, slots=True)
class Preconditions:
    """A delete happens only if the live object still matches what is set here."""

    uid: str | None = None
    resource_version: str | None = None


NO_PRECONDITIONS = Preconditions()


class Propagation(Enum):
    """What a delete does to dependants, in Kubernetes' own words."""

    BACKGROUND = "Background"
    """The object goes at once, what it owned a moment later."""
    FOREGROUND = "Foreground"
    """The object stays, marked as being deleted, until everything that it owned with `blockOwnerDeletion` is gone."""


BACKGROUND: Final = Propagation.BACKGROUND


@dataclass(frozen=True, slots=True)
class JsonPatch:
    """One operation of a JSON patch (RFC 6902); `test` operations make a patch conditional.

    Attributes:
        op: `test`, `add`, `replace` or `remove`.
        path: JSON pointer (RFC 6901).
        value: What to test for or to set; ignored by `remove`.
    """

    op: Literal["test", "add", "replace", "remove"]
    path: str
    value: Any = None


class Cluster(Protocol):
    """What the reconcile may ask of Kubernetes. Every method may raise `KubeError`; objects returned are copies."""

    async def get(self, ref: Ref) -> Object:
        """Return the object, or raise `NotFoundError`."""
        ...

    async def list(
        self, kind: Kind, *, namespace: str | None = None, labels: Selector = ..., fields: Selector = ...
    ) -> Listing:
        """List a kind, in all namespaces when `namespace` is None; `labels` and `fields` must all be equal.

        A server selects by few fields of each kind: `metadata.name` and `metadata.namespace`, and `spec.nodeName` of
        pods.
        """
        ...

    def watch(self, kind: Kind, *, since: str, namespace: str | None = None) -> AsyncIterator[WatchEvent]:
        """Yield every change after resourceVersion `since`, in order; raise `ExpiredError` if it is too old."""
        ...

    async def apply(self, obj: Object, *, force: bool = True, manager: str = "") -> Object:
        """Server-side apply under this client's field manager, or under `manager`; create the object if it is absent.

        Fields sent become ours; fields sent before and not now are removed unless another manager owns them too;
        fields of others stay. `status` is ignored where the kind has a status subresource. An apply that changes
        nothing writes nothing: the resourceVersion stays.
        """
        ...

    async def apply_status(self, obj: Object) -> Object:
        """Server-side apply of the status subresource; only `status` of `obj` counts. `NotFoundError` if absent.

        A status has one author: fields are taken over from other writers, and those that are not sent go, whoever else owns
        them. Items of lists by key stay if others wrote them, as conditions do. Fields that the definition on the server does
        not have, because it is an older one, are left out.
        """
        ...

    async def patch(self, ref: Ref, operations: Sequence[JsonPatch]) -> Object:
        """Change parts of an object in place, also inside lists that server-side apply can only replace as a whole.

        All operations or none: `ConflictError` if a `test` does not hold, `InvalidError` if a path does not exist.
        A patch that changes nothing writes nothing.
        """
        ...

    async def delete(self, ref: Ref, *, preconditions: Preconditions = ..., propagation: Propagation = ...) -> None:
        """Delete; dependants go by their ownerReferences. `NotFoundError` if absent, `ConflictError` if it changed."""
        ...


class PodLogs(Protocol):
    """What the command line may ask beside `Cluster`, by the rights of its user. The operator reads no log, and may not."""

    async def log(self, pod: Ref, *, lines: int, container: str = "") -> str:
        """Return the last lines that a container of a pod wrote, oldest first; what is no UTF-8 is replaced.

        Args:
            pod: The pod.
            lines: How many lines at most.
            container: Which container. A pod of which only one is known needs no name; a cluster may put others beside it.

        Returns:
            The lines; empty while the pod is on no node.

        Raises:
            NotFoundError: If there is no such pod.
            UnavailableError: If nobody can tell: the container has not started, its node does not answer, or it is not said which one.
            ForbiddenError: If the user may not (`get` on `pods/log`).
        """
        ...


class Services(Protocol):
    """What the command line may ask Services, through the API server and by the rights of its user. The operator asks them itself."""

    async def ask(self, service: Ref, *, port: int, path: str) -> str:
        """Return what a Service answers to a GET; what is no UTF-8 is replaced.

        Args:
            service: The Service.
            port: One of its ports.
            path: What is asked for; begins with a slash.

        Raises:
            NotFoundError: If there is no such Service, or it knows no such path.
            ForbiddenError: If the user may not (`get` on `services/proxy`).
            UnavailableError: If nothing answers behind it.
        """
        ...
