"""The state of the in-memory cluster: objects, one counter of versions, and the history that watches read.

Only `twin.cluster` calls it and decides what is written. Stored objects are immutable; readers get copies.
"""

import asyncio
import contextlib
import marshal
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from llama_operator.api.paths import copied
from llama_operator.kube.port import EventType, ExpiredError, Kind, Object, Ref, WatchEvent
from llama_operator.kube.twin.fields import Path, encode
from llama_operator.kube.twin.managed_fields import Manager

_FIRST_VERSION = 1000
"""Not 1: a cluster has a past before the first object of ours, and no watch can start there."""


@dataclass(frozen=True, slots=True)
class Owned:
    """What a manager owns of an object, and since when."""

    paths: frozenset[Path]
    time: datetime


@dataclass(frozen=True, slots=True)
class Stored:
    """One state of one object: its content, and apart from it what only the server writes."""

    ref: Ref
    uid: str
    created: datetime
    version: int
    generation: int | None
    deleted: datetime | None
    """When its deletion was asked for; it stays until its finalizers are gone."""
    content: Mapping[str, Any]
    managers: Mapping[Manager, Owned]
    _answers: list[bytes] = field(default_factory=list, init=False, compare=False, repr=False)
    """The state as an answer, once it was asked for: it is read far more often than written."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The part of metadata that users write."""
        metadata: Mapping[str, Any] = self.content.get("metadata", {})
        return metadata

    @property
    def ownership(self) -> dict[Manager, frozenset[Path]]:
        """The fields of each manager."""
        return {manager: owned.paths for manager, owned in self.managers.items()}

    def to_object(self) -> Object:
        """Render as the API server answers; a copy."""
        if self._answers:
            answer: Object = marshal.loads(self._answers[0])  # noqa: S302 - our own bytes
            return answer
        rendered = self._rendered()
        with contextlib.suppress(ValueError):
            # Version 2 has no references: parts that are one object here are two in the copy. An enum cannot be written.
            self._answers.append(marshal.dumps(rendered, 2))
        return rendered

    def _rendered(self) -> Object:
        content = copied(dict(self.content))
        metadata: dict[str, Any] = {"name": self.ref.name}
        if self.ref.namespace:
            metadata["namespace"] = self.ref.namespace
        metadata |= {"uid": self.uid, "resourceVersion": str(self.version), "creationTimestamp": _rfc3339(self.created)}
        if self.generation is not None:
            metadata["generation"] = self.generation
        if self.deleted is not None:
            metadata |= {"deletionTimestamp": _rfc3339(self.deleted), "deletionGracePeriodSeconds": 0}
        metadata |= content.pop("metadata", {})
        if self.managers:
            metadata["managedFields"] = [self._managed(manager) for manager in sorted(self.managers, key=_by_name)]
        kind = self.ref.kind
        return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **content}

    def _managed(self, manager: Manager) -> dict[str, Any]:
        owned = self.managers[manager]
        entry: dict[str, Any] = {
            "manager": manager.name,
            "operation": manager.operation.value,
            "apiVersion": self.ref.kind.api_version,
            "time": _rfc3339(owned.time),
            "fieldsType": "FieldsV1",
            "fieldsV1": encode(owned.paths),
        }
        return entry | {"subresource": manager.subresource} if manager.subresource else entry


@dataclass(frozen=True, slots=True)
class _Change:
    type: EventType
    stored: Stored


class Store:
    """Objects by address and the changes that led there, as many as `history` says."""

    def __init__(self, history: int) -> None:
        self._objects: dict[Kind, dict[Ref, Stored]] = {}
        self._homes: dict[str, str] = {}
        self._ending: set[Ref] = set()
        self._version = _FIRST_VERSION
        self._forgotten = _FIRST_VERSION
        self._changes: deque[_Change] = deque()
        self._history = history
        self._waiting: set[asyncio.Event] = set()

    @property
    def version(self) -> int:
        """Version of the last write."""
        return self._version

    def next_version(self) -> int:
        """Count a write."""
        self._version += 1
        return self._version

    def get(self, ref: Ref) -> Stored | None:
        """Return the object at `ref`, if there is one."""
        return self._objects.get(ref.kind, {}).get(ref)

    def __iter__(self) -> Iterator[Stored]:
        """All objects, by kind, namespace and name, as etcd keeps them."""
        return iter(sorted((stored for of in self._objects.values() for stored in of.values()), key=_address))

    def of(self, kind: Kind) -> Iterator[Stored]:
        """Objects of a kind, in no order: a list of one kind must not cost more because there are others."""
        return iter(self._objects.get(kind, {}).values())

    @property
    def ending(self) -> bool:
        """Whether the deletion of any object has begun and not ended."""
        return bool(self._ending)

    def home(self, uid: str) -> str | None:
        """Namespace of the object with that uid, "" for a cluster-scoped one; None if there is none."""
        return self._homes.get(uid)

    def put(self, stored: Stored) -> None:
        """Add or replace an object."""
        objects = self._objects.setdefault(stored.ref.kind, {})
        known = stored.ref in objects
        objects[stored.ref] = stored
        self._homes[stored.uid] = stored.ref.namespace
        if stored.deleted is not None:
            self._ending.add(stored.ref)
        self._tell(_Change(EventType.MODIFIED if known else EventType.ADDED, stored))

    def remove(self, last: Stored) -> None:
        """Remove an object; watches see `last`."""
        del self._objects[last.ref.kind][last.ref]
        del self._homes[last.uid]
        self._ending.discard(last.ref)
        self._tell(_Change(EventType.DELETED, last))

    def forget(self) -> None:
        """Lose the history, as by compaction: only watches that start or stand at the present go on."""
        self._changes.clear()
        self._forgotten = self._version

    async def watch(self, kind: Kind, *, since: str, namespace: str | None) -> AsyncIterator[WatchEvent]:
        """Yield the changes after `since` in order, without an end.

        Raises:
            ExpiredError: If `since` is no version of this cluster, or changes after it are forgotten.
        """
        seen = int(since) if since.isdecimal() else -1
        while True:
            changes = self._after(seen, since)
            if not changes:
                await self._wait()
            for change in changes:
                seen = change.stored.version
                ref = change.stored.ref
                if ref.kind == kind and namespace in {None, ref.namespace}:
                    yield WatchEvent(change.type, change.stored.to_object())

    def _after(self, seen: int, since: str) -> list[_Change]:
        if not self._forgotten <= seen <= self._version:
            raise ExpiredError(f"resourceVersion {since!r} is too old or unknown; list again and watch from there")
        return [change for change in self._changes if change.stored.version > seen]

    async def _wait(self) -> None:
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            await event.wait()
        finally:
            self._waiting.discard(event)

    def _tell(self, change: _Change) -> None:
        self._changes.append(change)
        while len(self._changes) > self._history:
            self._forgotten = self._changes.popleft().stored.version
        for event in self._waiting:
            event.set()


def _by_name(manager: Manager) -> tuple[str, str, str]:
    return manager.operation.value, manager.name, manager.subresource


def _address(stored: Stored) -> tuple[str, str, str, str]:
    ref = stored.ref
    return ref.kind.api_version, ref.kind.kind, ref.namespace, ref.name


def _rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
