"""Revisions: which fields of the spec need new engines, and the name that follows from them.

Called by `decide.decision`; `FIELD_CLASSES` is the one table that says what a change of a field means.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment

_HASH_LENGTH = 8


class FieldClass(StrEnum):
    """What a change of a field does."""

    RESTART = "Restart"
    """New engines are needed: a new revision."""
    LIVE = "Live"
    """Changed in place, engines go on."""


FIELD_CLASSES: Mapping[str, FieldClass] = {
    "model": FieldClass.RESTART,
    "context": FieldClass.RESTART,
    "hardware.accelerator": FieldClass.RESTART,
    "hardware.gpusPerNode": FieldClass.RESTART,
    "hardware.maxGPUs": FieldClass.LIVE,
    "parallelism": FieldClass.RESTART,
    "engine": FieldClass.RESTART,
    "objectives": FieldClass.RESTART,
    "image": FieldClass.RESTART,
    "scaling": FieldClass.LIVE,
    "replicas": FieldClass.LIVE,
    "license": FieldClass.LIVE,
    # Pods name the Secret. What is in it may change at any time.
    "weights": FieldClass.RESTART,
    "rollout.strategy": FieldClass.LIVE,
    "rollout.progressDeadlineSeconds": FieldClass.LIVE,
    "rollout.drainSeconds": FieldClass.LIVE,
    "rollout.revisionHistoryLimit": FieldClass.LIVE,
    "rollout.restartedAt": FieldClass.RESTART,
    "activation": FieldClass.LIVE,
}
"""Fields of the spec by API path; a path stands for everything below it."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One immutable rollout unit."""

    name: str
    """Name of its RayService and of its ControllerRevision, and value of the revision label."""
    inputs: Mapping[str, Any]
    """Restart fields as the user wrote them, nested as in the spec."""


def revision_of(deployment: LlamaDeployment) -> Revision:
    """Name the revision that the spec asks for.

    Only what the user wrote counts: a default, a plan or an estimate that changes with the operator's version must not
    restart a running model. So fields at their default are left out of the hash.
    """
    written = deployment.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    values = {path: _at(written, path) for path, kind in FIELD_CLASSES.items() if kind is FieldClass.RESTART}
    set_by_user = {path: value for path, value in values.items() if value is not None}
    identity = [deployment.metadata.namespace, deployment.metadata.name]
    canonical = json.dumps([identity, set_by_user], sort_keys=True)
    digest = hashlib.sha256(canonical.encode()).hexdigest()[:_HASH_LENGTH]
    return Revision(f"{deployment.metadata.name}-{digest}", _nested(set_by_user))


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path, value in values.items():
        *parents, last = path.split(".")
        place = found
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return found


def _at(values: Any, path: str) -> Any:
    for part in path.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values
