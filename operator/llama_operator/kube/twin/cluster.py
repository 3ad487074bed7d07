"""A Kubernetes API server in this process: the twin on which `kubectl llama run` and the transition tests stand.

One `MemoryCluster` is the state; each writer gets its own view of it with `client(field_manager)`.
docs/designs/0002-in-memory-twin.md says what it has of a real server and what it leaves out; one suite, tests/contract, holds
both to the same behavior.

Every request first yields to the event loop once, so that requests of several tasks interleave as over a network. Then it runs
in one piece. One event loop, one thread.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from llama_operator.api import paths
from llama_operator.kube import json_patch, kinds
from llama_operator.kube.port import (
    BACKGROUND,
    NO_LABELS,
    NO_PRECONDITIONS,
    ConflictError,
    FieldConflictError,
    InvalidError,
    JsonPatch,
    Kind,
    Listing,
    NotFoundError,
    Object,
    Preconditions,
    Propagation,
    Ref,
    Selector,
    UnavailableError,
    WatchEvent,
)
from llama_operator.kube.twin import garbage, schemas, validation
from llama_operator.kube.twin.fields import Path, describe
from llama_operator.kube.twin.garbage import Action, Step
from llama_operator.kube.twin.journal import Interceptor, PassThrough, Verb, Write
from llama_operator.kube.twin.managed_fields import Conflicts, Manager, Merged, Operation, apply, update
from llama_operator.kube.twin.store import Owned, Store, Stored

_USER_METADATA = ("annotations", "finalizers", "labels", "ownerReferences")
_UID_NAMESPACE = uuid.UUID("6f0cbe07-7a5e-4b8c-93a5-5a4d27a1c3f0")
_GARBAGE_COLLECTOR = "kube-controller-manager"
_STATUS = "status"


def _wall_clock() -> datetime:
    return datetime.now(UTC)


class MemoryCluster:
    """State that several clients share.

    Args:
        now: The clock that timestamps come from, in UTC.
        history: Changes that are kept for watches; a watch that is further behind gets `ExpiredError`.
    """

    def __init__(self, *, now: Callable[[], datetime] = _wall_clock, history: int = 1000) -> None:
        self._store = Store(history)
        self._now = now
        self._uids = 0
        self._writes: list[Write] = []
        self._logs: dict[Ref, str] = {}
        self._answers: dict[Ref, dict[str, str]] = {}

    @property
    def writes(self) -> tuple[Write, ...]:
        """All writes so far, in order, those of the garbage collector included."""
        return tuple(self._writes)

    def client(self, field_manager: str, *, interceptor: Interceptor | None = None) -> "MemoryClient":
        """Return a view that writes as `field_manager`, with `interceptor` before its writes."""
        return MemoryClient(self, self._store, field_manager, interceptor or PassThrough())

    def forget_history(self) -> None:
        """Make every resourceVersion but the newest too old for a watch, as compaction does."""
        self._store.forget()

    def write_log(self, pod: Ref, text: str) -> None:
        """Let a pod have written `text`: there is no node here that would run it."""
        self._logs[pod] = text

    def log(self, pod: Ref) -> str | None:
        """Return what a pod has written; None if it runs on no node."""
        return self._logs.get(pod)

    def write_answer(self, service: Ref, path: str, text: str) -> None:
        """Let what stands behind a Service answer `text` on `path`."""
        self._answers.setdefault(service, {})[path] = text

    def answer(self, service: Ref, path: str) -> str | None:
        """Return what a Service answers; None if nothing stands behind it."""
        return self._answers.get(service, {}).get(path)

    def moment(self) -> datetime:
        """Return the time now, in the whole seconds that Kubernetes keeps."""
        return self._now().astimezone(UTC).replace(microsecond=0)

    def new_uid(self) -> str:
        """Return a uid that no object had; the same sequence in every run."""
        self._uids += 1
        return str(uuid.uuid5(_UID_NAMESPACE, str(self._uids)))

    def commit(self, write: Write, new: Stored, interceptor: Interceptor) -> Stored:
        """Store `new`, or remove the object when its deletion waits for nothing more; then collect garbage."""
        interceptor.before(write)
        new = self._record(write, new)
        if new.deleted is not None or self._store.ending or self._lacks_owner(new):
            self._collect()
        interceptor.after(write)
        return new

    def _record(self, write: Write, new: Stored) -> Stored:
        new = replace(new, version=self._store.next_version())
        if new.deleted is not None and not new.metadata.get("finalizers"):
            self._store.remove(new)
        else:
            self._store.put(new)
        self._writes.append(write)
        return new

    def _lacks_owner(self, stored: Stored) -> bool:
        """Whether an owner that the object names does not exist. Saves a look at all objects after each write."""
        homes = (self._store.home(owner["uid"]) for owner in stored.metadata.get("ownerReferences", ()))
        return any(home not in {"", stored.ref.namespace} for home in homes)

    def _collect(self) -> None:
        """Delete what has lost its last owner, until nothing more does. A real server does so a moment later."""
        while (step := garbage.next_step(tuple(self._store))) is not None:
            self._step(step)

    def _step(self, step: Step) -> None:
        stored, collector = step.stored, Manager(_GARBAGE_COLLECTOR, Operation.UPDATE)
        if step.action in {Action.DELETE, Action.DELETE_FOREGROUND}:
            new = marked_deleted(stored, self.moment(), foreground=step.action is Action.DELETE_FOREGROUND)
            self._record(Write(Verb.DELETE, stored.ref, _GARBAGE_COLLECTOR, ()), new)
            return
        if step.action is Action.STRIKE:
            merged = garbage.without_owners(stored, step.owners, collector)
        else:
            merged = garbage.released(stored, collector)
        new = written(stored, merged, self.moment())
        self._record(Write(Verb.PATCH, stored.ref, _GARBAGE_COLLECTOR, described(merged.changed)), new)


class MemoryClient:
    """One writer's view of a `MemoryCluster`: the ports `Cluster`, `PodLogs` and `Services`, and the patch that rivals write with."""

    def __init__(self, cluster: MemoryCluster, store: Store, field_manager: str, interceptor: Interceptor) -> None:
        self._cluster = cluster
        self._store = store
        self._field_manager = field_manager
        self._interceptor = interceptor

    async def get(self, ref: Ref) -> Object:
        """Return a copy of the object, or raise `NotFoundError`."""
        await asyncio.sleep(0)
        return self._live(ref).to_object()

    async def list(
        self, kind: Kind, *, namespace: str | None = None, labels: Selector = NO_LABELS, fields: Selector = NO_LABELS
    ) -> Listing:
        """List a kind, by namespace and name; see `Cluster.list`."""
        await asyncio.sleep(0)
        chosen = [
            stored
            for stored in self._store.of(kind)
            if namespace in {None, stored.ref.namespace} and labels.items() <= stored.metadata.get("labels", {}).items()
        ]
        chosen.sort(key=lambda stored: (stored.ref.namespace, stored.ref.name))
        objects = (stored.to_object() for stored in chosen)
        if fields:
            objects = (obj for obj in objects if all(_field(obj, path) == value for path, value in fields.items()))
        return Listing(tuple(objects), str(self._store.version))

    def watch(self, kind: Kind, *, since: str, namespace: str | None = None) -> AsyncIterator[WatchEvent]:
        """Yield every change after `since`; see `Cluster.watch`."""
        return self._store.watch(kind, since=since, namespace=namespace)

    async def apply(self, obj: Object, *, force: bool = True, manager: str = "") -> Object:
        """Server-side apply; see `Cluster.apply`."""
        await asyncio.sleep(0)
        ref, sent = _addressed(obj)
        content = _writable(sent)
        schema = schemas.schema(ref.kind)
        if schema.status:
            content.pop(_STATUS, None)
        validation.check_content(content)
        live = self._store.get(ref)
        self._check_sent(ref, sent["metadata"], live)
        writer = Manager(manager or self._field_manager, Operation.APPLY)
        base = live or self._blank(ref)
        return self._finish(Verb.APPLY, base, self._merge(base, content, writer, force=force), new=live is None)

    async def apply_status(self, obj: Object) -> Object:
        """Server-side apply of the status; see `Cluster.apply_status`. Takes fields over from other managers."""
        await asyncio.sleep(0)
        ref, sent = _addressed(obj)
        if not schemas.schema(ref.kind).status:
            raise NotFoundError(f"{ref}: the kind has no status subresource")
        content = {_STATUS: sent[_STATUS]} if _STATUS in sent else {}
        validation.check_content(content)
        live = self._live(ref)
        # The uid that is sent counts for nothing here: a server takes all metadata from the live object.
        _check_expected(ref, live, Preconditions(resource_version=sent["metadata"].get("resourceVersion")))
        manager = Manager(self._field_manager, Operation.APPLY, _STATUS)
        after = self._finish(Verb.APPLY_STATUS, live, self._merge(live, content, manager, force=True))
        left = paths.beyond(after.get(_STATUS), content.get(_STATUS, {}))
        return self._take_from_status(ref, left) if left else after

    def _take_from_status(self, ref: Ref, left: Object) -> Object:
        live = self._live(ref)
        content = paths.merged(live.content, {_STATUS: left})
        manager, merging = Manager(self._field_manager, Operation.UPDATE, _STATUS), schemas.schema(ref.kind).merging
        return self._finish(Verb.PATCH, live, update(live.content, live.ownership, content, manager, merging=merging))

    async def patch(self, ref: Ref, operations: Sequence[JsonPatch]) -> Object:
        """Change parts of an object in place; see `Cluster.patch`."""
        await asyncio.sleep(0)
        live = self._live(ref)
        return self._update(live, json_patch.apply(live.to_object(), operations, str(ref)))

    async def log(self, pod: Ref, *, lines: int, container: str = "") -> str:
        """Return the last lines of a pod's log; see `PodLogs.log`."""
        await asyncio.sleep(0)
        live = self._live(pod).to_object()
        names = [each["name"] for each in live.get("spec", {}).get("containers", ())]
        if len(names) > 1 and not container:
            raise UnavailableError(f"log of {pod}: a container name must be specified, choose one of: {names}")
        if container and names and container not in names:
            raise UnavailableError(f"log of {pod}: container {container} is not valid for pod {pod.name}")
        on_node, text = _field(live, "spec.nodeName"), self._cluster.log(pod)
        if text is None and on_node:
            raise UnavailableError(f"log of {pod}: its node {on_node} does not answer")
        text = text or ""
        return "".join(text.splitlines(keepends=True)[-lines:])

    async def ask(self, service: Ref, *, port: int, path: str) -> str:
        """Return what a Service answers; see `Services.ask`."""
        await asyncio.sleep(0)
        live = self._live(service).to_object()
        answer = self._cluster.answer(service, path)
        if answer is None or port not in {one["port"] for one in live["spec"].get("ports", ())}:
            raise UnavailableError(f"answer of {service}: no endpoints available for service")
        return answer

    async def merge_patch(self, ref: Ref, patch: Object) -> Object:
        """Apply a JSON merge patch, as `kubectl edit`, `kubectl patch` and most controllers do: never a conflict.

        Not part of the port: the product itself only applies. It makes rivals realistic, who remove what we own.
        """
        await asyncio.sleep(0)
        live = self._live(ref)
        self._check_sent(ref, patch.get("metadata", {}), live)
        return self._update(live, paths.merged(live.to_object(), paths.copied(patch)))

    async def delete(
        self, ref: Ref, *, preconditions: Preconditions = NO_PRECONDITIONS, propagation: Propagation = BACKGROUND
    ) -> None:
        """Delete; see `Cluster.delete`. With finalizers the object stays, marked, until they are gone."""
        await asyncio.sleep(0)
        live = self._live(ref)
        _check_expected(ref, live, preconditions)
        if live.deleted is None:
            new = marked_deleted(live, self._cluster.moment(), foreground=propagation is Propagation.FOREGROUND)
            self._cluster.commit(Write(Verb.DELETE, ref, self._field_manager, ()), new, self._interceptor)

    def _update(self, live: Stored, wanted: Object) -> Object:
        """Replace an object by a changed copy of it, as patches do."""
        self._check_sent(live.ref, wanted.get("metadata", {}), live)
        content, schema = _writable(wanted), schemas.schema(live.ref.kind)
        if schema.status:
            content.pop(_STATUS, None)
            content |= {_STATUS: live.content[_STATUS]} if _STATUS in live.content else {}
        content = _tidy(content)
        validation.check_content(content)
        manager = Manager(self._field_manager, Operation.UPDATE)
        merged = update(live.content, live.ownership, content, manager, merging=schema.merging)
        return self._finish(Verb.PATCH, live, merged)

    def _live(self, ref: Ref) -> Stored:
        if (stored := self._store.get(ref)) is None:
            raise NotFoundError(f"{ref} not found")
        return stored

    def _blank(self, ref: Ref) -> Stored:
        generation = 0 if schemas.schema(ref.kind).generation else None
        now = self._cluster.moment()
        return Stored(ref, "", now, 0, generation, deleted=None, content={}, managers={})

    def _check_sent(self, ref: Ref, metadata: Mapping[str, Any], live: Stored | None) -> None:
        """Check the uid and resourceVersion in an applied object: they say which object the writer means."""
        uid, version = metadata.get("uid"), metadata.get("resourceVersion")
        if live is None and uid is not None:
            raise ConflictError(f"{ref}: uid mismatch: {uid} is given, and the object does not exist")
        if live is not None:
            _check_expected(ref, live, Preconditions(resource_version=version))
            if uid not in {None, live.uid}:
                raise InvalidError(f"metadata.uid: {uid} is not that of {ref}, {live.uid}, which cannot change")

    def _merge(self, live: Stored, content: Object, manager: Manager, *, force: bool) -> Merged:
        merging = schemas.schema(live.ref.kind).merging
        outcome = apply(live.content, live.ownership, content, manager, merging=merging, force=force)
        if isinstance(outcome, Conflicts):
            raise FieldConflictError(f"{live.ref}: {outcome}")
        return outcome

    def _finish(self, verb: Verb, live: Stored, merged: Merged, *, new: bool = False) -> Object:
        if not new and not merged.changed and merged.ownership == live.ownership:
            return live.to_object()
        validation.check_owners(merged.content.get("metadata", {}))
        _check_change(live, merged.content, new=new)
        result = written(live, merged, self._cluster.moment())
        if new:
            result = replace(result, uid=self._cluster.new_uid())
        write = Write(verb, live.ref, self._field_manager, described(merged.changed), created=new)
        return self._cluster.commit(write, result, self._interceptor).to_object()


def marked_deleted(stored: Stored, moment: datetime, *, foreground: bool) -> Stored:
    """Return `stored` as it is once its deletion was asked for."""
    marked = replace(stored, deleted=moment, generation=_next(stored.generation))
    return garbage.waits(marked) if foreground else marked


def written(live: Stored, merged: Merged, moment: datetime) -> Stored:
    """Return `live` after a write; a manager whose fields stay the same keeps its time."""
    asked = {"metadata"} | ({_STATUS} if schemas.schema(live.ref.kind).status else set())
    more = any(path[0].removeprefix("f:") not in asked for path in merged.changed)
    return replace(
        live,
        generation=_next(live.generation) if more or live.generation == 0 else live.generation,
        content=merged.content,
        managers={
            manager: old if (old := live.managers.get(manager)) and old.paths == paths else Owned(paths, moment)
            for manager, paths in merged.ownership.items()
        },
    )


def described(paths: frozenset[Path]) -> tuple[str, ...]:
    """Paths as Kubernetes writes them, sorted."""
    return tuple(sorted(map(describe, paths)))


def _next(generation: int | None) -> int | None:
    return None if generation is None else generation + 1


def _addressed(obj: Object) -> tuple[Ref, Object]:
    """Address of an applied object, and a copy of the object."""
    kind = kinds.address_to_write(obj).kind
    sent = paths.copied(obj)
    metadata = sent.setdefault("metadata", {})
    validation.check_address(kind, metadata)
    if metadata.get("managedFields"):
        raise InvalidError("metadata.managedFields: the server writes these; leave them out of an apply")
    return Ref(kind, metadata.get("namespace") or "", metadata["name"]), sent


def _writable(obj: Object) -> Object:
    """The content of an object: without its address, and without the fields that only the server writes."""
    content = {name: value for name, value in obj.items() if name not in {"apiVersion", "kind", "metadata"}}
    metadata = {name: value for name, value in obj.get("metadata", {}).items() if name in _USER_METADATA}
    return content | ({"metadata": metadata} if metadata else {})


def _tidy(content: Object) -> Object:
    """Content without empty lists and maps of metadata: the server drops them."""
    metadata = {name: value for name, value in content.get("metadata", {}).items() if value}
    rest = {name: value for name, value in content.items() if name != "metadata"}
    return rest | ({"metadata": metadata} if metadata else {})


def _check_expected(ref: Ref, live: Stored, expected: Preconditions) -> None:
    if expected.uid is not None and expected.uid != live.uid:
        raise ConflictError(f"{ref}: uid is {live.uid}, not {expected.uid}; the object was replaced, read it again")
    if expected.resource_version is not None and expected.resource_version != str(live.version):
        raise ConflictError(
            f"{ref}: resourceVersion is {live.version}, not {expected.resource_version}; it changed, read it again"
        )


def _check_change(live: Stored, content: Mapping[str, Any], *, new: bool) -> None:
    """Check the rules about a change from one state to the next."""
    if live.deleted is not None:
        finalizers = set(content.get("metadata", {}).get("finalizers", ()))
        if added := finalizers - set(live.metadata.get("finalizers", ())):
            raise InvalidError(f"metadata.finalizers: {sorted(added)} cannot be added, {live.ref} is being deleted")
    for name in () if new else schemas.schema(live.ref.kind).immutable:
        if content.get(name) != live.content.get(name):
            raise InvalidError(f"{name}: cannot change in a {live.ref.kind.kind}; delete it and create another")


def _field(obj: Object, path: str) -> Any:
    """Value of a field for a field selector; the empty string where it is not set, as a server has it."""
    value: Any = obj
    for name in path.split("."):
        value = value.get(name, "") if isinstance(value, dict) else ""
    return value
