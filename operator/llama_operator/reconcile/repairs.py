"""What had to be written again because somebody changed or deleted it, and a back-off where somebody goes on doing so.

Called by `reconcile.writes` around each write; `reconcile.deployment` takes what the status and the events tell from here.
The memory of one process: a new leader repairs a few times at once, and then slows down as well.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from llama_operator.decide.observed import RepairFacts, RevisionFacts
from llama_operator.desired.naming import MANAGER
from llama_operator.kube import kinds
from llama_operator.kube.port import Object, Ref

_FREE: Final = 5
"""Repairs of one object that are made at once; people who try something out need not wait."""
_LONGEST_SECONDS: Final = 60.0
_CALM_SECONDS: Final = 600.0
"""After so long without a repair a fight is over."""
_PATHS: Final = 4
_DEPTH: Final = 3
_EMPTY: Final[tuple[object, ...]] = (None, {}, [])
_BY_SERVER: Final = frozenset({"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"})


@dataclass(slots=True)
class _Child:
    """Our last write of an object, and what was repaired of it."""

    sent: bytes
    uid: str = ""
    count: int = 0
    last: float = 0.0
    fields: tuple[str, ...] = ()
    writer: str = ""

    @property
    def wait(self) -> float:
        """Seconds between the last repair and the next."""
        return 0.0 if self.count < _FREE else min(_LONGEST_SECONDS, 2.0 ** min(self.count - _FREE, 16))


class Ledger:
    """Repairs of the objects of one deployment.

    Args:
        elapsed: Seconds on a clock that only goes forward.
    """

    def __init__(self, elapsed: Callable[[], float]) -> None:
        self._elapsed = elapsed
        self._children: dict[Ref, _Child] = {}
        self._uid = ""
        self._records: dict[str, RevisionFacts] = {}
        self._news: list[RepairFacts] = []
        self._done: set[tuple[str, str]] = set()

    @property
    def done(self) -> frozenset[tuple[str, str]]:
        """Kind and name of what this pass has written or deleted until now."""
        return frozenset(self._done)

    @property
    def records(self) -> tuple[RevisionFacts, ...]:
        """Revisions as the last pass knew them: what a ControllerRevision pins stands nowhere else."""
        return tuple(self._records.values())

    def begin(self, uid: str) -> None:
        """Begin a pass: if the deployment of that name is another one than before, everything is forgotten."""
        if self._uid not in {"", uid}:
            self._children, self._records, self._news = {}, {}, []
        self._uid = uid
        self._done.clear()

    def remember(self, revisions: Iterable[RevisionFacts]) -> None:
        """Take over the revisions that this pass knows."""
        self._records = {facts.name: facts for facts in revisions}

    def holds(self, child: Ref, sent: Object) -> bool:
        """Whether `child` is to be left as it is for now: somebody keeps changing it, and nothing else is wanted of it."""
        known = self._children.get(child)
        if known is None or self._elapsed() - known.last >= known.wait:
            return False
        return known.sent == _digest(sent)

    def wrote(self, child: Ref, sent: Object, before: Object | None, after: Object) -> None:
        """Take over a write.

        Args:
            child: What was written.
            sent: What was asked for.
            before: The object as it was known before; None if there was none.
            after: The object as it is now.
        """
        if before is not None and before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]:
            return
        self.did(child)
        digest, known, uid = _digest(sent), self._children.get(child), after["metadata"].get("uid", "")
        if known is None or known.sent != digest:
            self._children[child] = _Child(digest, uid)
            return
        deleted = before is None and uid != known.uid
        fields = () if deleted else tuple(_changed(before or {}, after))
        known.uid = uid
        if deleted or fields or before is None:
            self._repaired(child, known, fields or (() if deleted else ("metadata.labels",)), _writer(before))

    def patched(self, child: Ref, sent: Object, before: Object | None) -> None:
        """Take over a patch of what somebody else made, which is needed only where it is not as `sent` says."""
        digest, known = _digest(sent), self._children.get(child)
        if known is None or known.sent != digest:
            self._children[child] = _Child(digest)
            return
        self._repaired(child, known, tuple(sent), _writer(before))

    def did(self, child: Ref) -> None:
        """Note that this pass changed or deleted `child`."""
        self._done.add((child.kind.kind, child.name))

    def deleted(self, child: Ref) -> None:
        """Forget what is deleted on purpose."""
        self._children.pop(child, None)
        if child.kind == kinds.CONTROLLER_REVISION:
            self._records.pop(child.name, None)

    def news(self) -> tuple[RepairFacts, ...]:
        """Repairs since the last call that are no fight yet."""
        news, self._news = tuple(self._news), []
        return news

    def contested(self) -> tuple[RepairFacts, ...]:
        """Objects that somebody keeps changing."""
        now = self._elapsed()
        return tuple(
            _facts(ref, child, held=now - child.last < child.wait)
            for ref, child in sorted(self._contested(), key=lambda pair: str(pair[0]))
        )

    def next_check(self) -> float | None:
        """Seconds until an object is to be repaired again, or a fight is over; None if there is none."""
        now = self._elapsed()
        waits = (child.last + limit - now for _, child in self._contested() for limit in (child.wait, _CALM_SECONDS))
        return min((wait for wait in waits if wait > 0), default=None)

    def _contested(self) -> Iterator[tuple[Ref, _Child]]:
        now = self._elapsed()
        for ref, child in self._children.items():
            if child.count >= _FREE and now - child.last < _CALM_SECONDS:
                yield ref, child

    def _repaired(self, ref: Ref, child: _Child, fields: tuple[str, ...], writer: str) -> None:
        now = self._elapsed()
        child.count = 1 if now - child.last >= _CALM_SECONDS else child.count + 1
        child.last, child.fields, child.writer = now, fields, writer
        if child.count < _FREE:
            self._news.append(_facts(ref, child, held=False))


class Repairs:
    """The ledgers of all deployments.

    Args:
        elapsed: Seconds on a clock that only goes forward.
    """

    def __init__(self, elapsed: Callable[[], float]) -> None:
        self._elapsed = elapsed
        self._ledgers: dict[Ref, Ledger] = {}

    def of(self, deployment: Ref) -> Ledger:
        """Return the ledger of the deployment at an address."""
        return self._ledgers.setdefault(deployment, Ledger(self._elapsed))

    def forget(self, deployment: Ref) -> None:
        """Forget a deployment that is gone."""
        self._ledgers.pop(deployment, None)


def _facts(ref: Ref, child: _Child, *, held: bool) -> RepairFacts:
    return RepairFacts(ref.kind.kind, ref.name, child.fields, child.writer, held)


def _digest(sent: Object) -> bytes:
    return hashlib.blake2b(json.dumps(sent, sort_keys=True).encode(), digest_size=16).digest()


def _writer(before: Object | None) -> str:
    """Field manager that wrote the object last, other than us; empty if it does not tell.

    One that only took a field away leaves no trace.
    """
    entries = () if before is None else before["metadata"].get("managedFields") or ()
    foreign = [each for each in entries if each.get("manager") != MANAGER and not each.get("subresource")]
    latest: Mapping[str, Any] = max(foreign, key=lambda each: str(each.get("time") or ""), default={})
    return str(latest.get("manager") or "")


def _changed(before: Object, after: Object) -> list[str]:
    """Paths that differ, the first few; a list counts as one field, and what only the server writes does not count."""
    paths = sorted(_differences(_full(_content(before)), _full(_content(after)), "", 0))
    return paths[:_PATHS]


def _content(obj: Object) -> dict[str, Any]:
    metadata = {name: value for name, value in (obj.get("metadata") or {}).items() if name not in _BY_SERVER}
    return {name: value for name, value in obj.items() if name not in {"metadata", "status"}} | {"metadata": metadata}


def _full(value: Any) -> Any:
    """The value without what is empty: who writes back a whole object writes that out, as KubeRay does with its finalizer."""
    if isinstance(value, dict):
        return {name: full for name, part in value.items() if (full := _full(part)) not in _EMPTY}
    return [_full(part) for part in value] if isinstance(value, list) else value


def _differences(before: Any, after: Any, path: str, depth: int) -> Iterator[str]:
    if before == after:
        return
    if depth == _DEPTH or not (isinstance(before, dict) and isinstance(after, dict)):
        yield path
        return
    for name in before.keys() | after.keys():
        yield from _differences(before.get(name), after.get(name), f"{path}.{name}".lstrip("."), depth + 1)
