"""Garbage collection by owner references: what the controller manager does after an owner is gone.

Pure. Called by `memory` after every write. Only background deletion is here: the owner goes first, then what it owned.
Rules: https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from collections.abc import Sequence

from llama_operator.kube import kinds
from llama_operator.kube.managed_fields import Manager, Merged, update
from llama_operator.kube.store import Stored


def next_step(objects: Sequence[Stored]) -> tuple[Stored, frozenset[str] | None] | None:
    """Find one object to collect.

    Returns:
        The object, and the uids of owners to be struck from it because others are left; None in their place when no
        owner is left and the object itself must go. None when there is nothing to do.
    """
    homes = {stored.uid: stored.ref.namespace for stored in objects}
    for stored in objects:
        owners = {owner["uid"] for owner in stored.metadata.get("ownerReferences", ())}
        # An owner in another namespace is none; a cluster-scoped one may own everywhere.
        lost = {uid for uid in owners if homes.get(uid, "?") not in {"", stored.ref.namespace}}
        if lost and lost != owners:
            return stored, frozenset(lost)
        if lost and stored.deleted is None:
            return stored, None
    return None


def without_owners(stored: Stored, lost: frozenset[str], manager: Manager) -> Merged:
    """Strike the owners with the uids `lost`."""
    metadata = dict(stored.metadata)
    metadata["ownerReferences"] = [owner for owner in metadata["ownerReferences"] if owner["uid"] not in lost]
    ownership = {name: owned.paths for name, owned in stored.managers.items()}
    content = {**stored.content, "metadata": metadata}
    return update(stored.content, ownership, content, manager, merging=kinds.schema(stored.ref.kind).merging)
