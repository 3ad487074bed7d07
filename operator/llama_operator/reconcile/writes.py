"""Writes what shall exist, in the order that `desired` gives. Called by `reconcile.deployment`.

All writes are server-side apply under one field manager, but for the bounds of a RayCluster: KubeRay's worker groups are
one atomic list, so these are patched.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any

from llama_operator.api.meta import ANNOTATIONS, GROUP, LABEL_DEPLOYMENT
from llama_operator.api.readings import mappings
from llama_operator.decide.routes import RefusedWrite
from llama_operator.desired.objects import Deletion, Desired
from llama_operator.desired.rayservice import Bounds
from llama_operator.errors import NamespaceEndingError, WriteRefusedError
from llama_operator.kube import json_patch, kinds
from llama_operator.kube.port import (
    Cluster,
    ConflictError,
    FieldConflictError,
    ForbiddenError,
    InvalidError,
    JsonPatch,
    Kind,
    NotFoundError,
    Object,
    Preconditions,
    Propagation,
    Ref,
    WebhookFailedError,
)
from llama_operator.reconcile import queued
from llama_operator.reconcile.owners import Owners
from llama_operator.reconcile.repairs import Ledger
from llama_operator.reconcile.shared import let_go, write_shared

_OURS = f"{GROUP}/"


async def write(cluster: Cluster, namespace: str, desired: Desired, repairs: Ledger) -> tuple[RefusedWrite, ...]:
    """Apply, patch and delete; returns what nothing waits for and is refused.

    Args:
        cluster: Where to write.
        namespace: Namespace of the deployment, and of all its objects.
        desired: What shall exist, and what no longer.
        repairs: Says what is left alone for now because somebody keeps changing it; learns what was written.

    Raises:
        WriteRefusedError: If the API server refuses one, and will until somebody changes something.
        KubeError: If a write failed. In both cases those of the same step were tried all the same, those after it were not.
    """
    owners = Owners(cluster)
    try:
        return await _write(cluster, namespace, desired, repairs, owners)
    finally:
        await owners.take_back()


async def _write(
    cluster: Cluster, namespace: str, desired: Desired, repairs: Ledger, owners: Owners
) -> tuple[RefusedWrite, ...]:
    with _told_apart():
        await write_shared(cluster, namespace, desired.shared, repairs, owners)
    for step in desired.steps:
        await _all(_apply_one(cluster, obj, repairs, owners) for obj in step)
    for bounds in desired.bounds:
        # A patch is invalid also where KubeRay took the group away meanwhile: the next pass sees what is there then.
        with _told_apart(invalid_is=InvalidError):
            await _patch_one(cluster, namespace, bounds, repairs)
    for child in desired.delete:
        await _delete_one(cluster, namespace, child, repairs)
    with _told_apart():
        await let_go(cluster, namespace, desired.shared, repairs)
    return (
        *await _write_beside(cluster, desired.beside, repairs, owners),
        *await _write_routes(cluster, namespace, desired, repairs, owners),
    )


async def _write_beside(
    cluster: Cluster, objects: Iterable[Object], repairs: Ledger, owners: "Owners"
) -> tuple[RefusedWrite, ...]:
    """Write what nothing waits for; a refusal ends nothing."""
    refused: list[RefusedWrite] = []
    for obj in objects:
        # NotFound: the kind is not installed, or its namespace is gone.
        try:
            await _apply_one(cluster, obj, repairs, owners)
        except (WriteRefusedError, ForbiddenError, NotFoundError) as error:
            refused.append(RefusedWrite(obj["kind"], obj["metadata"]["name"], str(error)))
    return tuple(refused)


async def _write_routes(
    cluster: Cluster, namespace: str, desired: Desired, repairs: Ledger, owners: "Owners"
) -> tuple[RefusedWrite, ...]:
    """Write routes; an old route stays until the new one could be written."""
    refused = list(await _write_beside(cluster, desired.routes, repairs, owners))
    for child in () if refused else desired.old_routes:
        try:
            await _delete_one(cluster, namespace, child, repairs)
        except WriteRefusedError as error:
            refused.append(RefusedWrite(child.kind, child.name, str(error)))
    return tuple(refused)


async def _delete_one(cluster: Cluster, namespace: str, child: Deletion, repairs: Ledger) -> None:
    ref = Ref(_kind(child), namespace, child.name)
    repairs.deleted(ref)
    with _told_apart(), contextlib.suppress(NotFoundError):
        await cluster.delete(
            ref,
            preconditions=Preconditions(uid=child.uid or None),
            # It stays visible until its pods are gone: a successor may have to wait for their hardware.
            propagation=Propagation.FOREGROUND,
        )
        repairs.did(ref)


@contextlib.contextmanager
def _told_apart(*, invalid_is: type[Exception] = WriteRefusedError) -> Iterator[None]:
    """Tell what is refused, and will be until somebody changes something, from what another try may mend.

    Args:
        invalid_is: What an object or a patch that is invalid raises.
    """
    try:
        yield
    except ForbiddenError as error:
        kind = NamespaceEndingError if error.ending else WriteRefusedError
        raise kind(str(error)) from error
    except InvalidError as error:
        raise invalid_is(str(error)) from error
    except WebhookFailedError as error:
        raise WriteRefusedError(str(error)) from error


async def _apply_one(cluster: Cluster, obj: Object, repairs: Ledger, owners: "Owners") -> None:
    ref = kinds.address_to_write(obj)
    if repairs.holds(ref, obj):
        return
    before = await _find(cluster, ref)
    with _told_apart():
        await owners.are_there(ref, obj, before)
        try:
            after = await _apply_over(cluster, ref, obj, before)
        except FieldConflictError as error:
            # Somebody took the label away by which we know what is ours: then it was not seen before.
            before = await _find(cluster, ref)
            if not _may_force(obj, before):
                raise WriteRefusedError(f"{error}; it is not of this deployment: rename one of the two") from error
            await owners.are_there(ref, obj, before)
            after = await _apply_over(cluster, ref, obj, before)
    if before is not None:
        owners.wrote(ref, before, after)
    repairs.wrote(ref, obj, before, after)


async def _apply_over(cluster: Cluster, ref: Ref, obj: Object, before: Object | None) -> Object:
    """Apply `obj`, and mend what an apply cannot: it changes and removes only what nobody else owns as well.

    After a restore from a backup all is owned by the tool that made it, and belongs to a deployment of another uid.
    """
    if before is not None and queued.is_kept(before):
        operations = queued.changes(obj, before)
        return await cluster.patch(ref, operations) if operations else before
    force, sent = _may_force(obj, before), _with_memory(obj, before)
    if before is not None and force and (operations := _new_owner(obj, before)):
        await cluster.patch(ref, operations)
    after = await cluster.apply(sent, force=force)
    left = _left_over(sent, after)
    return await cluster.patch(ref, left) if left else after


async def _find(cluster: Cluster, ref: Ref) -> Object | None:
    try:
        return await cluster.get(ref)
    except NotFoundError:
        return None


async def _patch_one(cluster: Cluster, namespace: str, bounds: Bounds, repairs: Ledger) -> None:
    ref = Ref(kinds.RAY_CLUSTER, namespace, bounds.cluster)
    wanted = {f"spec.workerGroupSpecs.{bounds.group}": [bounds.least, bounds.most]}
    if repairs.holds(ref, wanted):
        return
    # Meanwhile KubeRay may have replaced the cluster or its groups: the next pass sees what is there then.
    with contextlib.suppress(NotFoundError, ConflictError):
        before = await cluster.get(ref)
        await cluster.patch(ref, _bounds_patch(bounds))
        repairs.patched(ref, wanted, before)


def _with_memory(obj: Object, live: Object | None) -> Object:
    """`obj` with the annotations of our group that this version does not know.

    A newer version remembers something there. An apply without them would take them away: they are of our field manager.
    """
    before = {} if live is None else live["metadata"].get("annotations") or {}
    kept = {name: value for name, value in before.items() if name.startswith(_OURS) and name not in ANNOTATIONS}
    if not kept:
        return obj
    metadata = obj["metadata"]
    return obj | {"metadata": metadata | {"annotations": kept | (metadata.get("annotations") or {})}}


def _new_owner(obj: Object, live: Object) -> tuple[JsonPatch, ...]:
    """Put our owner in the place of another one that is the controller: an object has only one, and then refuses ours."""
    wanted = obj["metadata"].get("ownerReferences") or []
    uids = {owner["uid"] for owner in wanted}
    owners = mappings(live["metadata"].get("ownerReferences"))
    if not wanted or not any(owner.get("controller") and owner.get("uid") not in uids for owner in owners):
        return ()
    others = [dict(owner) for owner in owners if not owner.get("controller") and owner.get("uid") not in uids]
    return (
        JsonPatch("test", "/metadata/uid", live["metadata"]["uid"]),
        JsonPatch("replace", "/metadata/ownerReferences", [*others, *wanted]),
    )


def _left_over(sent: Object, live: Object) -> tuple[JsonPatch, ...]:
    """Take away annotations of ours that are not wanted any more, and that somebody else owns as well."""
    wanted, there = (obj["metadata"].get("annotations") or {} for obj in (sent, live))
    return tuple(
        JsonPatch("remove", f"/metadata/annotations/{json_patch.segment(name)}")
        for name in sorted(ANNOTATIONS & there.keys() - wanted.keys())
    )


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of `work` side by side and to its end, also if some of it fails; then raise the first failure."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if outcome is not None:
            raise outcome


def _may_force(obj: Object, live: Object | None) -> bool:
    """Whether `obj` may take fields over from other writers: only if it is ours already, by its label or its owner.

    Only we use names with the hash of a revision. An object with the name of the deployment may have been there first.
    """
    ours = obj["metadata"]
    label: str = ours["labels"][LABEL_DEPLOYMENT]
    if ours["name"] != label:
        return True
    if live is None:
        return False
    theirs = live["metadata"]
    owners = {owner["uid"] for owner in ours.get("ownerReferences") or ()}
    return (theirs.get("labels") or {}).get(LABEL_DEPLOYMENT) == label or any(
        owner.get("controller") and owner.get("uid") in owners for owner in theirs.get("ownerReferences") or ()
    )


def _kind(child: Deletion) -> Kind:
    kind = kinds.find(child.api_version, child.kind)
    if kind is None:
        raise ValueError(f"{child.kind} is not a kind of ours")
    return kind


def _bounds_patch(bounds: Bounds) -> tuple[JsonPatch, ...]:
    group = f"/spec/workerGroupSpecs/{bounds.index}"
    return (
        JsonPatch("test", f"{group}/groupName", bounds.group),
        JsonPatch("add", f"{group}/minReplicas", bounds.least),
        JsonPatch("add", f"{group}/maxReplicas", bounds.most),
    )
