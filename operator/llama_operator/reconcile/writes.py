"""Writes what shall exist, in the order that `desired` gives. Called by `reconcile.deployment`.

All writes are server-side apply under one field manager, but for the bounds of a RayCluster: KubeRay's worker groups are
one atomic list, so these are patched.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable
from typing import Any

from llama_operator.api.meta import LABEL_DEPLOYMENT
from llama_operator.desired.objects import Deletion, Desired
from llama_operator.desired.rayservice import Bounds
from llama_operator.kube import kinds
from llama_operator.kube.port import (
    Cluster,
    ConflictError,
    JsonPatch,
    Kind,
    NotFoundError,
    Object,
    Preconditions,
    Propagation,
    Ref,
)


async def write(cluster: Cluster, namespace: str, desired: Desired) -> None:
    """Apply, patch and delete.

    Args:
        cluster: Where to write.
        namespace: Namespace of the deployment, and of all its objects.
        desired: What shall exist, and what no longer.

    Raises:
        KubeError: If a write failed. Those of the same step were tried all the same, those after it were not.
    """
    for step in desired.steps:
        await _all(_apply_one(cluster, obj) for obj in step)
    for bounds in desired.bounds:
        # Meanwhile KubeRay may have replaced the cluster or its groups: the next pass sees what is there then.
        with contextlib.suppress(NotFoundError, ConflictError):
            await cluster.patch(Ref(kinds.RAY_CLUSTER, namespace, bounds.cluster), _bounds_patch(bounds))
    for child in desired.delete:
        with contextlib.suppress(NotFoundError):
            await cluster.delete(
                Ref(_kind(child), namespace, child.name),
                preconditions=Preconditions(uid=child.uid or None),
                # It stays visible until its pods are gone: a successor may have to wait for their hardware.
                propagation=Propagation.FOREGROUND,
            )


async def _apply_one(cluster: Cluster, obj: Object) -> None:
    await cluster.apply(obj, force=await _may_force(cluster, obj))


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of `work` side by side and to its end, also if some of it fails; then raise the first failure."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if outcome is not None:
            raise outcome


async def _may_force(cluster: Cluster, obj: Object) -> bool:
    """Whether `obj` may take fields over from other writers: only if it is ours already.

    Only we use names with the hash of a revision. An object with the name of the deployment may have been there first.
    """
    kind = kinds.find(obj["apiVersion"], obj["kind"])
    if kind not in {kinds.SERVICE, kinds.NETWORK_POLICY}:
        return True
    metadata = obj["metadata"]
    try:
        live = await cluster.get(Ref(kind, metadata["namespace"], metadata["name"]))
    except NotFoundError:
        return False
    labels: dict[str, str] = live["metadata"].get("labels") or {}
    owner: str = metadata["labels"][LABEL_DEPLOYMENT]
    return labels.get(LABEL_DEPLOYMENT) == owner


def _kind(child: Deletion) -> Kind:
    kind = kinds.find(child.api_version, child.kind)
    if kind is None:
        raise ValueError(f"{child.kind} is not a kind of ours")
    return kind


def _bounds_patch(bounds: Bounds) -> tuple[JsonPatch, ...]:
    group = f"/spec/workerGroupSpecs/{bounds.index}"
    return (
        JsonPatch("test", f"{group}/groupName", bounds.group),
        JsonPatch("add", f"{group}/minReplicas", bounds.min_pods),
        JsonPatch("add", f"{group}/maxReplicas", bounds.max_pods),
    )
