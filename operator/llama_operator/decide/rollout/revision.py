"""Revisions: the name that follows from the fields of the spec that need new engines. Called by `decide.decision`."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llama_operator.api import paths
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.decide.rollout.fields import FIELDS

_HASH_LENGTH = 8


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
    values = FIELDS.restart_values(deployment.spec)
    identity = [deployment.metadata.namespace, deployment.metadata.name]
    canonical = json.dumps([identity, values], sort_keys=True)
    digest = hashlib.sha256(canonical.encode()).hexdigest()[:_HASH_LENGTH]
    return Revision(f"{deployment.metadata.name}-{digest}", paths.nested(values))
