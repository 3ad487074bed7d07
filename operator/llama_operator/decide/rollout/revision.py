"""Revisions: the name that follows from the fields of the spec that need new engines. Called by `decide.decision`."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from llama_operator.api import paths
from llama_operator.api.manifest import unknown_fields
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment, LlamaDeploymentSpec
from llama_operator.decide.observed import RevisionFacts
from llama_operator.decide.rollout.fields import FIELDS

HASH_LENGTH = 8


@dataclass(frozen=True, slots=True)
class Revision:
    """One immutable rollout unit."""

    name: str
    """Name of its RayService and of its ControllerRevision, and value of the revision label."""
    inputs: Mapping[str, Any]
    """Restart fields as the user wrote them, nested as in the spec."""


def revision_of(deployment: LlamaDeployment, pinned: Iterable[RevisionFacts] = ()) -> Revision:
    """Name the revision that the spec asks for.

    Only what the user wrote counts: a default, a plan or an estimate that changes with the operator's version must not
    restart a running model. So fields at their default are left out of the hash.

    Args:
        deployment: The deployment.
        pinned: Its revisions. A newer operator may have named one of them by fields that this version does not know; while
            the spec still has these fields with the same values, it asks for that one.
    """
    values = FIELDS.restart_values(deployment.spec)
    identity = [deployment.metadata.namespace, deployment.metadata.name]
    canonical = json.dumps([identity, values], sort_keys=True)
    digest = hashlib.sha256(canonical.encode()).hexdigest()[:HASH_LENGTH]
    own = Revision(f"{deployment.metadata.name}-{digest}", paths.nested(values))
    records = tuple(pinned)
    found = (_of_newer(deployment, own, records) or own) if deployment.beyond else own
    return _copy_of(found, records) or found


def _copy_of(revision: Revision, pinned: Iterable[RevisionFacts]) -> Revision | None:
    """The second copy that stands for `revision`: the newest one that served, or is to serve; None if there is none."""
    copies = (
        record
        for record in pinned
        if record.copy_of == revision.name and not record.failed_at and (record.served_at or record.live is not None)
    )
    newest = max(copies, key=lambda record: record.number, default=None)
    return None if newest is None else Revision(newest.name, revision.inputs)


def _of_newer(deployment: LlamaDeployment, own: Revision, pinned: Iterable[RevisionFacts]) -> Revision | None:
    """The pinned revision that has most of what the spec says beyond this version, and else the inputs of `own`."""
    said, inputs = paths.leaves(deployment.beyond), paths.leaves(own.inputs)
    found = []
    for record in pinned:
        beyond = paths.leaves(unknown_fields(LlamaDeploymentSpec, record.inputs))
        known = {path: value for path, value in paths.leaves(record.inputs).items() if path not in beyond}
        if beyond and known == inputs and all(said.get(path) == value for path, value in beyond.items()):
            found.append((len(beyond), record.number, record.name, record.inputs))
    if not found:
        return None
    _, _, name, written = max(found, key=lambda each: each[:3])
    return Revision(name, written)
