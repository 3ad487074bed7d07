"""What the watches have reported so far: objects in memory, found by address and by label without a scan.

The event handlers fill it, and `cache.cluster`, which puts the results of its writes; both read it. Pure state, one event loop.
Objects in it never change: code that wants to change one makes a copy first.
"""

import sys
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar

from llama_operator.kube.kinds import address
from llama_operator.kube.port import NO_LABELS, Kind, Listing, Object, Ref, Selector

_SHORT: Final = 64
"""Longest string, in characters, that is worth sharing."""
_BURIED: Final = 10_000
"""Uids of deleted objects that are remembered; events of an object come for seconds after its end, not for so many others."""
_FOR_GOOD: Final = sys.maxsize
_Bucket: TypeAlias = dict[Ref, None]
_Key = TypeVar("_Key")


@dataclass(slots=True)
class _OfKind:
    objects: dict[Ref, Object] = field(default_factory=dict)
    by_namespace: defaultdict[str, _Bucket] = field(default_factory=lambda: defaultdict(dict))
    by_label: defaultdict[tuple[str, str], _Bucket] = field(default_factory=lambda: defaultdict(dict))
    """By namespace and value of the indexed label; the namespace "" means all."""
    version: str = "0"
    complete: bool = False


class ObjectCache:
    """Objects of the kinds that are watched.

    The newest resourceVersion of an object wins, whatever the order of arrival, and what was deleted does not come back:
    a late event of a state before our own write, or of an object before its deletion, changes nothing. An object that only
    left the selection of its watch, because somebody took its label away, may come back: then it is newer than its end.

    Args:
        index: The label whose values are indexed; other labels are compared one by one.
        keep: Returns what the cache keeps of an object; it may share parts with it.
        unreadable: Called with kind, name and reason of an object that is left out: of one without an identity nobody could
            say which state of which object it is.
    """

    def __init__(
        self,
        *,
        index: str = "",
        keep: Callable[[Kind, Object], Object] = lambda _, obj: obj,
        unreadable: Callable[[str, str, str], None] = lambda *_: None,
    ) -> None:
        self.index = index
        """The label whose values are indexed."""
        self._keep = keep
        self._unreadable = unreadable
        self.on_write: Callable[[Ref, Object | None, Object], None] = lambda *_: None
        """Called with what a write of ours changed: address, state before (None for a new object) and after."""
        self._kinds: defaultdict[Kind, _OfKind] = defaultdict(_OfKind)
        self._buried: OrderedDict[str, int] = OrderedDict()
        """By uid: the resourceVersion of the end."""
        self._left: OrderedDict[Ref, None] = OrderedDict()
        """Addresses of objects that a watch or a listing does not have any more; see `left`."""
        self.era = 0
        """Counts how often the server came back with an older state: resourceVersions of two eras say nothing of each other."""

    def count(self, kind: Kind) -> int:
        """Number of objects of a kind."""
        return len(self._kinds[kind].objects)

    def complete(self, kind: Kind) -> bool:
        """Whether a listing of `kind` came in, so that what is not here does not exist."""
        return self._kinds[kind].complete

    def version(self, kind: Kind) -> str:
        """Newest resourceVersion of `kind` that was seen; "0" before the first."""
        return self._kinds[kind].version

    def put(self, obj: Object) -> bool:
        """Take over a state of an object.

        Returns:
            Whether it is news: False for a state that is not newer than the known one, and for a deleted object.
        """
        ref = self._address(obj)
        if ref is None or version_of(obj) <= self._buried.get(obj["metadata"]["uid"], -1):
            return False
        of_kind = self._kinds[ref.kind]
        known = of_kind.objects.get(ref)
        if known is not None and version_of(obj) <= version_of(known):
            return False
        self._store(of_kind, ref, obj, known)
        return True

    def wrote(self, obj: Object) -> None:
        """Take over what a write of ours returned. No watch tells of it as news any more, so `on_write` is called here."""
        ref = self._address(obj)
        before = None if ref is None else self.find(ref)
        if self.put(obj) and ref is not None and (after := self.find(ref)) is not None:
            self.on_write(ref, before, after)

    def left(self, ref: Ref) -> bool:
        """Whether the object at `ref` left the selection of its watch, so that only the server knows whether it exists."""
        return ref in self._left

    def found(self, obj: Object) -> None:
        """Take over an object that the server was asked for by name: it exists, whether or not the watch selects it."""
        uid = obj["metadata"]["uid"]
        if self._buried.get(uid) != _FOR_GOOD:
            self._buried.pop(uid, None)
        self.put(obj)

    def remove(self, obj: Object) -> bool:
        """Take over the end of an object, of which `obj` is the last state; False if it was not known.

        The event of an end has the resourceVersion of the end.
        """
        ref = self._address(obj)
        if ref is None:
            return False
        self._bury(obj["metadata"]["uid"], version_of(obj))
        of_kind = self._kinds[ref.kind]
        known = of_kind.objects.get(ref)
        # An object of the same name that was created since is another one.
        if known is None or known["metadata"]["uid"] != obj["metadata"]["uid"]:
            return False
        self._drop(of_kind, ref, known)
        return True

    def gone(self, obj: Object) -> None:
        """Take over that the server does not find an object any more, whose end no event has told yet."""
        self.remove(obj)
        self._bury(obj["metadata"]["uid"], _FOR_GOOD)
        if (ref := address(obj)) is not None:
            self.absent(ref)

    def absent(self, ref: Ref) -> None:
        """Take over that the server has nothing at `ref`."""
        self._left.pop(ref, None)

    def replace(self, kind: Kind, listing: Listing, *, asked_at: str = "0") -> bool:
        """Take over a listing of `kind`: an object that is neither in it nor newer than it is gone.

        Args:
            kind: What was listed.
            listing: What the server has.
            asked_at: `version` of the kind before the server was asked: a server never answers with an older state, unless
                its store was put back to one. Then what it has is true, however new what is known looks.

        Returns:
            Whether the store of the server was put back.
        """
        of_kind, version = self._kinds[kind], int(listing.resource_version)
        listed = {ref: item for item in listing.items if (ref := self._address(item)) is not None}
        put_back = version < int(asked_at) or any(_older(item, of_kind, ref, version) for ref, item in listed.items())
        if put_back:
            self.era += 1
            self._buried.clear()
            for ref, known in list(of_kind.objects.items()):
                self._drop(of_kind, ref, known)
            of_kind.version = "0"
        for ref, known in list(of_kind.objects.items()):
            item = listed.get(ref)
            ended = item is None and version_of(known) <= version
            if ended or (item is not None and item["metadata"]["uid"] != known["metadata"]["uid"]):
                self._bury(known["metadata"]["uid"], version)
                self._drop(of_kind, ref, known)
        for item in listed.values():
            self.put(item)
        of_kind.version = max(of_kind.version, listing.resource_version, key=int)
        of_kind.complete = True
        return put_back

    def _address(self, obj: Object) -> Ref | None:
        """Address of an object; None for a kind that is not ours, and for an object without an identity."""
        metadata = obj.get("metadata")
        ref = address(obj) if isinstance(metadata, dict) else None
        if ref is None or _identified(obj["metadata"]):
            return ref
        self._unreadable(ref.kind.kind, f"{ref.namespace}/{ref.name}".removeprefix("/"), "no uid or resourceVersion")
        return None

    def find(self, ref: Ref) -> Object | None:
        """Return an object, not to be changed; None if there is none."""
        return self._kinds[ref.kind].objects.get(ref)

    def list(self, kind: Kind, namespace: str | None = None, labels: Selector = NO_LABELS) -> tuple[Object, ...]:
        """Return the objects of a kind, by namespace and name, that have all `labels`; not to be changed."""
        return tuple(self._select(self._kinds[kind], namespace, labels))

    def _select(self, of_kind: _OfKind, namespace: str | None, labels: Selector) -> Iterator[Object]:
        refs: Collection[Ref]
        rest = dict(labels)
        if (value := rest.pop(self.index, None)) is not None:
            refs = of_kind.by_label.get((namespace or "", value), ())
        elif namespace is not None:
            refs = of_kind.by_namespace.get(namespace, ())
        else:
            refs = of_kind.objects
        for ref in sorted(refs, key=lambda ref: (ref.namespace, ref.name)) if len(refs) > 1 else refs:
            obj = of_kind.objects[ref]
            if rest.items() <= _labels(obj).items():
                yield obj

    def _store(self, of_kind: _OfKind, ref: Ref, obj: Object, known: Object | None) -> None:
        if known is not None:
            if known["metadata"]["uid"] != obj["metadata"]["uid"]:
                self._bury(known["metadata"]["uid"], _FOR_GOOD)
            self._unindex(of_kind, ref, known)
        self._left.pop(ref, None)
        of_kind.objects[ref] = _shared(self._keep(ref.kind, obj))
        of_kind.by_namespace[ref.namespace][ref] = None
        if (value := _labels(obj).get(self.index)) is not None:
            for namespace in {ref.namespace, ""}:
                of_kind.by_label[namespace, value][ref] = None
        of_kind.version = max(of_kind.version, obj["metadata"]["resourceVersion"], key=int)

    def _drop(self, of_kind: _OfKind, ref: Ref, known: Object) -> None:
        del of_kind.objects[ref]
        self._left[ref] = None
        _trim(self._left)
        self._unindex(of_kind, ref, known)
        _discard(of_kind.by_namespace, ref.namespace, ref)

    def _unindex(self, of_kind: _OfKind, ref: Ref, known: Object) -> None:
        if (value := _labels(known).get(self.index)) is not None:
            for namespace in {ref.namespace, ""}:
                _discard(of_kind.by_label, (namespace, value), ref)

    def _bury(self, uid: str, version: int) -> None:
        self._buried[uid] = max(version, self._buried.get(uid, 0))
        _trim(self._buried)


def _older(item: Object, of_kind: _OfKind, ref: Ref, version: int) -> bool:
    """Whether a listing of `version` has an object in an older state than the one that was known before that version."""
    known = of_kind.objects.get(ref)
    same = known is not None and known["metadata"]["uid"] == item["metadata"]["uid"]
    return known is not None and same and version_of(item) < version_of(known) <= version


def version_of(obj: Object) -> int:
    """The resourceVersion as the number that orders the states of an object (KEP-5504)."""
    return int(obj["metadata"]["resourceVersion"])


def _trim(remembered: OrderedDict[Any, Any]) -> None:
    while len(remembered) > _BURIED:
        remembered.popitem(last=False)


def _identified(metadata: Mapping[str, Any]) -> bool:
    """Whether metadata says which state of which object it belongs to."""
    uid, version = metadata.get("uid"), metadata.get("resourceVersion")
    return isinstance(uid, str) and isinstance(version, str) and version.isdecimal()


def _labels(obj: Object) -> dict[str, str]:
    labels = obj["metadata"].get("labels")
    return labels if isinstance(labels, dict) else {}


def _discard(buckets: defaultdict[_Key, _Bucket], key: _Key, ref: Ref) -> None:
    bucket = buckets[key]
    bucket.pop(ref, None)
    if not bucket:
        del buckets[key]


def _shared(value: Any) -> Any:
    """A copy whose keys and short strings are shared with all others: half the memory of a thousand like objects."""
    if isinstance(value, dict):
        return {sys.intern(key): _shared(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shared(item) for item in value]
    return sys.intern(value) if type(value) is str and len(value) <= _SHORT else value
