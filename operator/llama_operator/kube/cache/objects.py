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
    a late event of a state before our own write, or of an object before its deletion, changes nothing.

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
        self._label = index
        self._keep = keep
        self._unreadable = unreadable
        self._kinds: defaultdict[Kind, _OfKind] = defaultdict(_OfKind)
        self._buried: OrderedDict[str, None] = OrderedDict()

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
        if ref is None or obj["metadata"]["uid"] in self._buried:
            return False
        of_kind = self._kinds[ref.kind]
        known = of_kind.objects.get(ref)
        if known is not None and version_of(obj) <= version_of(known):
            return False
        self._store(of_kind, ref, obj, known)
        return True

    def remove(self, obj: Object) -> bool:
        """Take over the end of an object, of which `obj` is the last state; False if it was not known."""
        ref = self._address(obj)
        if ref is None:
            return False
        self._bury(obj["metadata"]["uid"])
        of_kind = self._kinds[ref.kind]
        known = of_kind.objects.get(ref)
        # An object of the same name that was created since is another one.
        if known is None or known["metadata"]["uid"] != obj["metadata"]["uid"]:
            return False
        self._drop(of_kind, ref, known)
        return True

    def replace(self, kind: Kind, listing: Listing) -> None:
        """Take over a listing of `kind`: an object that is neither in it nor newer than it is gone."""
        of_kind = self._kinds[kind]
        listed = {ref: item for item in listing.items if (ref := self._address(item)) is not None}
        for ref, known in list(of_kind.objects.items()):
            item = listed.get(ref)
            gone = item is None and version_of(known) <= int(listing.resource_version)
            if gone or (item is not None and item["metadata"]["uid"] != known["metadata"]["uid"]):
                self._bury(known["metadata"]["uid"])
                self._drop(of_kind, ref, known)
        for item in listed.values():
            self.put(item)
        of_kind.version = max(of_kind.version, listing.resource_version, key=int)
        of_kind.complete = True

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
        if (value := rest.pop(self._label, None)) is not None:
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
                self._bury(known["metadata"]["uid"])
            self._unindex(of_kind, ref, known)
        of_kind.objects[ref] = _shared(self._keep(ref.kind, obj))
        of_kind.by_namespace[ref.namespace][ref] = None
        if (value := _labels(obj).get(self._label)) is not None:
            for namespace in {ref.namespace, ""}:
                of_kind.by_label[namespace, value][ref] = None
        of_kind.version = max(of_kind.version, obj["metadata"]["resourceVersion"], key=int)

    def _drop(self, of_kind: _OfKind, ref: Ref, known: Object) -> None:
        del of_kind.objects[ref]
        self._unindex(of_kind, ref, known)
        _discard(of_kind.by_namespace, ref.namespace, ref)

    def _unindex(self, of_kind: _OfKind, ref: Ref, known: Object) -> None:
        if (value := _labels(known).get(self._label)) is not None:
            for namespace in {ref.namespace, ""}:
                _discard(of_kind.by_label, (namespace, value), ref)

    def _bury(self, uid: str) -> None:
        self._buried[uid] = None
        while len(self._buried) > _BURIED:
            self._buried.popitem(last=False)


def version_of(obj: Object) -> int:
    """The resourceVersion as the number that orders the states of an object (KEP-5504)."""
    return int(obj["metadata"]["resourceVersion"])


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
