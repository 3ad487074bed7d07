"""Whether the owners of what is about to be written are there. Called by `reconcile.writes` and `reconcile.shared`."""

import asyncio
import contextlib

from llama_operator.api.readings import mappings
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, ConflictError, Kind, NotFoundError, Object, Preconditions, Ref


class Owners:
    """Asks the server, in one pass, whether the owners of what is written are there.

    The garbage collector deletes what names an owner that is gone, and what is made for one that is gone may stay for ever
    where the collector's own view is as old as ours.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._seen: set[str] = set()
        self._making: list[tuple[Ref, Kind, Object, Object | None]] = []
        self._asking = asyncio.Lock()

    async def are_there(self, ref: Ref, obj: Object, before: Object | None) -> None:
        """Ask before an object is made, and before one that is there gets its owner again.

        A deployment that is deleted with `--cascade=orphan` is first taken out of its children: then this is asked for each
        of them, since the pass may have seen it before that. For what is made one answer in a pass is enough: it finds the
        deployment that is gone from a store that was put back.

        Raises:
            ConflictError: If an owner is gone, is going, or is another one by now.
        """
        has = {owner.get("uid") for owner in mappings(before["metadata"].get("ownerReferences"))} if before else set()
        for owner in obj["metadata"].get("ownerReferences") or ():
            kind = kinds.find(owner["apiVersion"], owner["kind"])
            if owner["uid"] in has or kind is None:
                continue
            if before is None:
                self._making.append((ref, kind, owner, None))
            async with self._asking:
                if before is None and owner["uid"] in self._seen:
                    continue
                if not await self._is_there(kind, owner, ref):
                    raise _without_owner(ref, owner)
                self._seen.add(owner["uid"])

    def wrote(self, ref: Ref, before: Object, after: Object) -> None:
        """Learn that what was written is another object than the one that was seen: it was made, and nobody asked for its owner."""
        if before["metadata"].get("uid") == after["metadata"].get("uid"):
            return
        for owner in after["metadata"].get("ownerReferences") or ():
            if (kind := kinds.find(owner["apiVersion"], owner["kind"])) is not None:
                self._making.append((ref, kind, owner, after))
                self._seen.add(owner["uid"])

    async def take_back(self) -> None:
        """Ask once more after objects were made, and delete those whose only owner is gone: the pass is at its end.

        Between the first answer and a write a store may have been put back. What is made then has an owner that the
        collector still believes in.

        Raises:
            ConflictError: If an owner is gone.
        """
        there = {
            owner["uid"]: await self._is_there(kind, owner, ref)
            for ref, kind, owner in {owner["uid"]: (ref, kind, owner) for ref, kind, owner, _ in self._making}.values()
            if owner["uid"] in self._seen
        }
        lost = [(ref, owner, made) for ref, _, owner, made in self._making if not there.get(owner["uid"], True)]
        for ref, owner, made in lost:
            with contextlib.suppress(NotFoundError, ConflictError):
                # Of one that was made anew a cache may still have the one of before.
                live = (made or await self._cluster.get(ref))["metadata"]
                if [one.get("uid") for one in mappings(live.get("ownerReferences"))] == [owner["uid"]]:
                    await self._cluster.delete(ref, preconditions=Preconditions(uid=live["uid"]))
        for ref, owner, _ in lost:
            raise _without_owner(ref, owner)

    async def _is_there(self, kind: Kind, owner: Object, ref: Ref) -> bool:
        # A list by a field is answered by the server and never by a cache.
        named = {"metadata.name": owner["name"]}
        live = (await self._cluster.list(kind, namespace=ref.namespace, fields=named)).items
        return any(
            one["metadata"]["uid"] == owner["uid"] and "deletionTimestamp" not in one["metadata"] for one in live
        )


def _without_owner(ref: Ref, owner: Object) -> ConflictError:
    return ConflictError(f"{owner['kind']} {owner['name']} is gone or going: {ref} is left without an owner")
