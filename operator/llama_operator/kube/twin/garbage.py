"""Garbage collection by owner references: what the controller manager does once an owner is gone, or while it waits.

Pure. `twin.cluster` calls it after every write. In background deletion the owner goes first, then what it owned; in foreground
deletion the owner stays, with a finalizer, until what it owned with `blockOwnerDeletion` is gone.
Rules: https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from llama_operator.kube.twin import schemas
from llama_operator.kube.twin.managed_fields import Manager, Merged, update
from llama_operator.kube.twin.store import Stored

FOREGROUND = "foregroundDeletion"
"""The finalizer of an object that waits for what it owns."""


class Action(Enum):
    """What happens to an object."""

    STRIKE = "strike owners"
    DELETE = "delete"
    DELETE_FOREGROUND = "delete and wait"
    RELEASE = "end waiting"


@dataclass(frozen=True, slots=True)
class Step:
    """One object to collect, or to go on with; `owners` are those to strike."""

    stored: Stored
    action: Action
    owners: frozenset[str] = frozenset()


def next_step(objects: Sequence[Stored]) -> Step | None:
    """Find one object with which there is something to do."""
    homes = {stored.uid: stored.ref.namespace for stored in objects}
    waiting = {stored.uid for stored in objects if is_waiting(stored)}
    owned = {owner["uid"] for stored in objects for owner in _owners(stored)}
    blocked = {owner["uid"] for stored in objects for owner in _owners(stored) if owner.get("blockOwnerDeletion")}
    for stored in objects:
        if stored.uid in waiting and stored.uid not in blocked:
            return Step(stored, Action.RELEASE)
        owners = {owner["uid"] for owner in _owners(stored)}
        # An owner in another namespace is none; a cluster-scoped one may own everywhere.
        lost = {uid for uid in owners if homes.get(uid, "?") not in {"", stored.ref.namespace}}
        going = lost | (owners & waiting)
        if going and going != owners:
            return Step(stored, Action.STRIKE, frozenset(going))
        if going and stored.deleted is None:
            foreground = going != lost and stored.uid in owned
            return Step(stored, Action.DELETE_FOREGROUND if foreground else Action.DELETE)
    return None


def is_waiting(stored: Stored) -> bool:
    """Whether an object is being deleted in the foreground."""
    return stored.deleted is not None and FOREGROUND in stored.metadata.get("finalizers", ())


def waits(stored: Stored) -> Stored:
    """Return `stored` with the finalizer of foreground deletion, which no manager owns."""
    finalizers = [name for name in stored.metadata.get("finalizers", ()) if name != FOREGROUND]
    return replace(stored, content=_with(stored, "finalizers", [*finalizers, FOREGROUND]))


def without_owners(stored: Stored, lost: frozenset[str], manager: Manager) -> Merged:
    """Strike the owners with the uids `lost`."""
    left = [owner for owner in _owners(stored) if owner["uid"] not in lost]
    return _updated(stored, _with(stored, "ownerReferences", left), manager)


def released(stored: Stored, manager: Manager) -> Merged:
    """Take the finalizer of foreground deletion away."""
    left = [name for name in stored.metadata["finalizers"] if name != FOREGROUND]
    return _updated(stored, _with(stored, "finalizers", left), manager)


def _owners(stored: Stored) -> Sequence[Mapping[str, Any]]:
    owners: Sequence[Mapping[str, Any]] = stored.metadata.get("ownerReferences", ())
    return owners


def _with(stored: Stored, name: str, values: list[Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in stored.metadata.items() if key != name}
    return {**stored.content, "metadata": metadata | ({name: values} if values else {})}


def _updated(stored: Stored, content: dict[str, Any], manager: Manager) -> Merged:
    return update(stored.content, stored.ownership, content, manager, merging=schemas.schema(stored.ref.kind).merging)
