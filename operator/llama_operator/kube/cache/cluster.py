"""The port over a cache: reads cost nothing, and an apply that could change nothing is not sent.

Wired in by `process` between the reconcile and the client. The result of a write is in the cache at once, so a pass never
decides on a state from before its own last write. A server would answer a needless apply by writing nothing. But a look
at a thousand deployments makes four thousand needless applies, which cost it seconds.
"""

import contextlib
import hashlib
import json
import marshal
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from typing_extensions import override

from llama_operator.kube.cache.objects import ObjectCache
from llama_operator.kube.delegating import Delegating, Verb
from llama_operator.kube.kinds import address
from llama_operator.kube.port import (
    NO_LABELS,
    Cluster,
    ConflictError,
    JsonPatch,
    Kind,
    Listing,
    NotFoundError,
    Object,
    Ref,
    Selector,
)

_Part: TypeAlias = Literal["object", "status"]


@dataclass(slots=True)
class _Applied:
    """Our last apply of one object: request, result, and the last resourceVersion at which the result still held.

    A resourceVersion holds in its era only.
    """

    sent: bytes
    outcome: bytes
    version: str
    era: int


class CachedCluster(Delegating):
    """Reads watched kinds from memory; sends everything else on.

    Objects that are read are shared with the cache and with other readers: a reader must not change them.

    Args:
        cache: The watches fill it.
        inner: The cluster that writes go to.
        kinds: The kinds that are watched. Until the first listing of one is in the cache, reads of it go to `inner`.
        indexed: Those of them of which the cache has only objects with its indexed label: a list of others goes to `inner`.
    """

    def __init__(
        self, cache: ObjectCache, inner: Cluster, *, kinds: Collection[Kind], indexed: Collection[Kind] = ()
    ) -> None:
        super().__init__(inner)
        self._cache = cache
        self._watched = frozenset(kinds)
        self._indexed = frozenset(indexed)
        self._applied: dict[tuple[Ref, _Part], _Applied] = {}

    @override
    async def get(self, ref: Ref) -> Object:
        """Return the object as far as is known; see `Cluster.get`."""
        if not self._reads(ref.kind) or ref.kind in self._indexed:
            return await super().get(ref)
        if (known := self._cache.find(ref)) is not None:
            return known
        if not self._cache.left(ref):
            raise NotFoundError(f"{ref} not found")
        # Somebody deleted it, or took the label away by which it is watched: the server is asked once.
        try:
            live = await super().get(ref)
        except NotFoundError:
            self._cache.absent(ref)
            raise
        self._cache.found(live)
        return live

    @override
    async def list(
        self, kind: Kind, *, namespace: str | None = None, labels: Selector = NO_LABELS, fields: Selector = NO_LABELS
    ) -> Listing:
        """List a kind as far as is known; see `Cluster.list`."""
        partly = kind in self._indexed and self._cache.index not in labels
        if fields or partly or not self._reads(kind):
            return await super().list(kind, namespace=namespace, labels=labels, fields=fields)
        return Listing(self._cache.list(kind, namespace, labels), self._cache.version(kind))

    @override
    async def apply(self, obj: Object, *, force: bool = True, manager: str = "") -> Object:
        """Apply unless it is known to change nothing; see `Cluster.apply`."""
        if manager:
            # What another field manager sent last is not remembered: who writes under one asks first whether it has to.
            live = await super().apply(obj, force=force, manager=manager)
            self._learn(live)
            return live
        if (known := self._settled(obj, "object")) is not None:
            return known
        return self._remember(obj, "object", await super().apply(obj, force=force))

    @override
    async def apply_status(self, obj: Object) -> Object:
        """Apply the status unless that is known to change nothing; see `Cluster.apply_status`."""
        if (known := self._settled(obj, "status")) is not None:
            return known
        return self._remember(obj, "status", await super().apply_status(obj))

    @override
    async def patch(self, ref: Ref, operations: Sequence[JsonPatch]) -> Object:
        """See `Cluster.patch`."""
        live = await super().patch(ref, operations)
        self._learn(live)
        return live

    def _reads(self, kind: Kind) -> bool:
        return kind in self._watched and self._cache.complete(kind)

    def _settled(self, obj: Object, part: _Part) -> Object | None:
        """The live object, if it is still what our last apply of the same made of it."""
        ref = address(obj)
        applied = self._applied.get((ref, part)) if ref else None
        live = self._cache.find(ref) if ref else None
        if applied is None or live is None or applied.era != self._cache.era or applied.sent != _digest(obj):
            return None
        version = live["metadata"]["resourceVersion"]
        if version != applied.version:
            if _outcome(live, part) != applied.outcome:
                return None
            # Something else changed; the next look need not compare again.
            applied.version = version
        return live

    def _remember(self, obj: Object, part: _Part, live: Object) -> Object:
        self._learn(live)
        if (ref := address(live)) and ref.kind in self._watched:
            version = live["metadata"]["resourceVersion"]
            self._applied[ref, part] = _Applied(_digest(obj), _outcome(live, part), version, self._cache.era)
        return live

    def _learn(self, live: Object) -> None:
        if (ref := address(live)) and ref.kind in self._watched:
            self._cache.wrote(live)

    @override
    @contextlib.asynccontextmanager
    async def _around(self, verb: Verb, ref: Ref) -> AsyncIterator[None]:
        """Drop what the cluster does not find: it is gone, though no watch has said so yet.

        After a deletion, read what is left.
        """
        known = self._cache.find(ref)
        try:
            yield
        except NotFoundError:
            if known is not None:
                self._cache.gone(known)
                self._applied.pop((ref, "object"), None)
                self._applied.pop((ref, "status"), None)
            raise
        except ConflictError:
            # What it conflicts with may have left the selection of the watch: somebody took its label away.
            if verb is Verb.APPLY and known is None and ref.kind in self._watched:
                with contextlib.suppress(NotFoundError):
                    self._cache.found(await super().get(ref))
            raise
        if verb is Verb.DELETE and self._cache.find(ref) is not None:
            with contextlib.suppress(NotFoundError):
                self._learn(await super().get(ref))


def _outcome(live: Object, part: _Part) -> bytes:
    """What of a live object an apply decides, and what says that it is the same object."""
    if part == "status":
        return _digest_of_live({"uid": live["metadata"]["uid"], "status": live.get("status")})
    metadata = {
        name: value for name, value in live["metadata"].items() if name not in {"managedFields", "resourceVersion"}
    }
    return _digest_of_live({**{name: value for name, value in live.items() if name != "status"}, "metadata": metadata})


def _digest(content: Object) -> bytes:
    """Digest of what is to be applied; keys are sorted: what was built from a pinned revision has them in another order."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _digest_of_live(content: Object) -> bytes:
    """Digest of what a server sent, which keeps its order; another order costs one request that changes nothing."""
    # Version 2 knows no references, which depend on what is shared and not on what is equal.
    return hashlib.blake2b(marshal.dumps(content, 2), digest_size=16).digest()
