"""The claim of a copy of weights: this deployment's entry in it, and what it remembers. Called by `desired.objects`.

Several deployments write one claim, each under a field manager of its own, and nobody but them knows it: what one stops to send goes,
unless another sends it too. The claim's own spec is sent by all of them as it is, for what nobody sends any more would go as well.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from llama_operator.api.meta import (
    ANNOTATION_WEIGHTS_COPIED,
    ANNOTATION_WEIGHTS_ERASED,
    ANNOTATION_WEIGHTS_SOURCE,
    API_VERSION,
    LABEL_WEIGHTS,
    USER_PREFIX,
    rfc3339,
)
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.api.v1alpha1.weights import Retention
from llama_operator.decide.copies.facts import ClaimFacts, CopiedFacts, ErasedFacts
from llama_operator.decide.copies.source import Copy, source_json
from llama_operator.decide.weights.claims import Hold, gibibytes
from llama_operator.desired import naming

CLAIM_API_VERSION: Final = "v1"
CLAIM_KIND: Final = "PersistentVolumeClaim"
RETAIN: Final = "Retain"
"""Word behind the uid of a user that says that the claim is to stay."""


def manager(deployment: LlamaDeployment) -> str:
    """Field manager of the entry of a deployment."""
    return f"{naming.MANAGER}-{deployment.metadata.uid}"


def entry(deployment: LlamaDeployment, hold: Hold) -> dict[str, Any]:
    """Build what the deployment writes into a claim: that it uses it and owns it, or neither."""
    live, copy = hold.live, hold.copy
    if live is None and copy is None:
        raise ValueError("a claim that is let go of exists")
    identity = copy.id if copy is not None else (live.id if live is not None else "")
    name = copy.claim if copy is not None else (live.name if live is not None else "")
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": deployment.metadata.namespace,
        "labels": {
            "app.kubernetes.io/name": "llama-weights",
            "app.kubernetes.io/managed-by": naming.MANAGER,
            LABEL_WEIGHTS: identity,
        },
    }
    if live is not None and live.uid:
        metadata["uid"] = live.uid
    if live is not None and live.version and not hold.uses:
        # Of two users that let go at once, the second one sees that it is the last, and deletes the claim.
        metadata["resourceVersion"] = live.version
    annotations: dict[str, str] = {}
    known = copy if copy is not None else (None if live is None else live.copy)
    if known is not None:
        annotations[ANNOTATION_WEIGHTS_SOURCE] = json.dumps(source_json(known), sort_keys=True)
    if hold.uses:
        retains = deployment.spec.weights.cache.retention is Retention.RETAIN
        uid = deployment.metadata.uid
        annotations[f"{USER_PREFIX}{deployment.metadata.name}"] = f"{uid} {RETAIN}" if retains else uid
    if annotations:
        metadata["annotations"] = annotations
    if hold.owns:
        metadata["ownerReferences"] = [_owner(deployment)]
    spec = _spec(deployment, copy) if live is None else _live_spec(live)
    return {"apiVersion": CLAIM_API_VERSION, "kind": CLAIM_KIND, "metadata": metadata, "spec": spec}


def _owner(deployment: LlamaDeployment) -> dict[str, Any]:
    # No controller, for a claim may have several owners; and the deletion of none of them waits for it.
    return {
        "apiVersion": API_VERSION,
        "kind": deployment.kind,
        "name": deployment.metadata.name,
        "uid": deployment.metadata.uid,
    }


def _spec(deployment: LlamaDeployment, copy: Copy | None) -> dict[str, Any]:
    if copy is None:
        raise ValueError("a claim is made for a copy")
    cache = deployment.spec.weights.cache
    named = {} if cache.storage_class_name is None else {"storageClassName": cache.storage_class_name}
    return {
        "accessModes": [cache.access_mode.value],
        "resources": {"requests": {"storage": f"{gibibytes(copy)}Gi"}},
    } | named


def _live_spec(live: ClaimFacts) -> dict[str, Any]:
    """What the claim has: a deployment that comes later asks for the same, whatever the catalog says by then."""
    named = {"storageClassName": live.storage_class} if live.storage_class else {}
    return {
        "accessModes": list(live.access_modes),
        "resources": {"requests": {"storage": live.requested}},
    } | named


def memory(
    deployment: LlamaDeployment, claim: ClaimFacts, copied: CopiedFacts | None, erased: ErasedFacts | None
) -> dict[str, Any]:
    """Build what a claim remembers, for whoever looks at it next. All deployments write it under the operator's own field manager."""
    values: dict[str, Mapping[str, Any]] = {}
    if copied is not None:
        values[ANNOTATION_WEIGHTS_COPIED] = {
            "digest": copied.digest,
            "bytes": copied.bytes,
            "files": copied.files,
            "commit": copied.commit,
            "seconds": copied.seconds,
            "at": rfc3339(copied.at),
        }
    if erased is not None:
        values[ANNOTATION_WEIGHTS_ERASED] = {"bytes": erased.bytes, "files": erased.files, "at": rfc3339(erased.at)}
    annotations = {name: json.dumps(value, sort_keys=True) for name, value in values.items()}
    metadata: dict[str, Any] = {"name": claim.name, "namespace": deployment.metadata.namespace}
    # With the uid: of a claim that is gone by now, an apply would make another one.
    metadata |= {"uid": claim.uid, "annotations": annotations}
    return {"apiVersion": CLAIM_API_VERSION, "kind": CLAIM_KIND, "metadata": metadata}
