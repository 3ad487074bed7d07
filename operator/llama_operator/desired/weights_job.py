"""The Job that copies weights into a claim, or erases them there. Called by `desired.objects`.

It runs in the tenant's namespace, with the tenant's token: the operator only names the Secret. Its name follows from the copy and the
attempt, whoever asks: a second deployment that wants the same copy finds the Job taken, and waits for it.
"""

import json
from typing import Any, Final

from llama_operator.api.meta import (
    ANNOTATION_ATTEMPT,
    ANNOTATION_SUBJECT,
    ANNOTATION_WEIGHTS_SOURCE,
    ANNOTATION_WEIGHTS_TASK,
    LABEL_WEIGHTS,
)
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.decide.copies.source import CLAIM_PREFIX, Copy, SourceKind, to_json
from llama_operator.decide.observed import Settings
from llama_operator.decide.placement.resolve import resolve
from llama_operator.decide.platform import Platform
from llama_operator.decide.weights.copying import deadline_seconds, subject_of
from llama_operator.desired import naming
from llama_operator.desired.contents import Expected
from llama_operator.desired.pods import pod_settings, weights
from llama_operator.desired.pods.parts import RESTRICTED, PodParts
from llama_serving.contract.weights import (
    CLAIM_FOLDER,
    COPY,
    ERASE,
    EXIT_FINAL,
    MODULE,
    REQUEST_VARIABLE,
    SOURCE_FOLDER,
    CopyRequest,
    CopySource,
    HubSource,
    PathSource,
    StoreSource,
)

API_VERSION: Final = "batch/v1"
KIND: Final = "Job"
CONTAINER: Final = "weights"

_TRIES: Final = 6
"""Pods of one Job: each goes on with the files that are whole."""
_TTL_SECONDS: Final = 7200
"""The words of a Job that has ended are read within seconds; an operator that is down for longer asks again."""
_ERASE_SECONDS: Final = 3600
_CPU, _MEMORY, _MOST_MEMORY = "500m", "1Gi", "4Gi"
_GROUP: Final = 1000
"""Group of the volume's files, where the cluster does not choose one; the user of the serving image has the same number."""
_SCRATCH: Final = "/tmp"  # noqa: S108 - a volume of the pod
_OPENSHIFT: Final = "securitycontextconstraints.security.openshift.io"


def job_name(copy_id: str, attempt: int) -> str:
    """Name of a Job, at most 57 characters: pods and labels take 63."""
    return f"{CLAIM_PREFIX}{copy_id}-{attempt}"


def copying(
    deployment: LlamaDeployment,
    copy: Copy,
    attempt: int,
    revision: str,
    expected: Expected,
    settings: Settings,
    platform: Platform,
) -> dict[str, Any]:
    """Build the Job that copies.

    Args:
        deployment: Who asks; its Secret is used.
        copy: What is copied.
        attempt: Number of the Job.
        revision: Revision that waits for it.
        expected: What its small files have to say.
        settings: Settings of the operator.
        platform: What the cluster is.
    """
    subject = subject_of(deployment, copy, revision)
    parts = _source(deployment, copy) + _asked_for(copy, settings, expected)
    return _job(deployment, copy, COPY, attempt, subject, deadline_seconds(copy), parts, settings, platform)


def erasing(
    deployment: LlamaDeployment, copy: Copy, attempt: int, settings: Settings, platform: Platform
) -> dict[str, Any]:
    """Build the Job that erases a copy; it needs no token."""
    parts = _asked_for(copy, settings, Expected())
    return _job(deployment, copy, ERASE, attempt, copy.id, _ERASE_SECONDS, parts, settings, platform)


def _job(
    deployment: LlamaDeployment,
    copy: Copy,
    task: str,
    attempt: int,
    subject: str,
    deadline: int,
    parts: PodParts,
    settings: Settings,
    platform: Platform,
) -> dict[str, Any]:
    metadata = naming.metadata(deployment, job_name(copy.id, attempt))
    metadata["labels"] |= {LABEL_WEIGHTS: copy.id}
    metadata["annotations"] = {
        ANNOTATION_SUBJECT: subject,
        ANNOTATION_ATTEMPT: str(attempt),
        ANNOTATION_WEIGHTS_TASK: task,
        # A license may end before a revision is made, which would say what is in a claim of the user's.
        ANNOTATION_WEIGHTS_SOURCE: json.dumps(to_json(copy), sort_keys=True),
    }
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": metadata,
        "spec": {
            "backoffLimit": _TRIES,
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {
                        "action": "FailJob",
                        "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [EXIT_FINAL]},
                    },
                ]
            },
            "activeDeadlineSeconds": deadline,
            "ttlSecondsAfterFinished": _TTL_SECONDS,
            "template": _pod(deployment, copy, task, parts, settings, platform),
        },
    }


def _pod(
    deployment: LlamaDeployment, copy: Copy, task: str, parts: PodParts, settings: Settings, platform: Platform
) -> dict[str, Any]:
    own = PodParts(
        labels={
            "app.kubernetes.io/name": "llama-weights",
            "app.kubernetes.io/instance": deployment.metadata.name,
            "app.kubernetes.io/managed-by": naming.MANAGER,
            LABEL_WEIGHTS: copy.id,
        },
        environment={
            "DO_NOT_TRACK": "1",
            "HOME": _SCRATCH,
            "HF_HOME": f"{_SCRATCH}/huggingface",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        },
        mounts={CLAIM_FOLDER: {"name": "copy"}, _SCRATCH: {"name": "scratch"}},
        volumes={"copy": {"persistentVolumeClaim": {"claimName": copy.claim}}, "scratch": {"emptyDir": {}}},
        container_security={"readOnlyRootFilesystem": True},
        # OpenShift chooses a group for each namespace, and refuses another one.
        pod_security={} if platform.has(_OPENSHIFT) else {"fsGroup": _GROUP, "fsGroupChangePolicy": "OnRootMismatch"},
    )
    container = {
        "name": CONTAINER,
        "image": deployment.spec.image or settings.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", MODULE, task],
        "env": [],
        "resources": {"requests": {"cpu": _CPU, "memory": _MEMORY}, "limits": {"memory": _MOST_MEMORY}},
        "securityContext": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }
    spec = {"restartPolicy": "Never", "automountServiceAccountToken": False, "enableServiceLinks": False}
    wanted = resolve(deployment.spec, settings.pods).jobs
    return (RESTRICTED + pod_settings.over(own + parts, wanted, {LABEL_WEIGHTS: copy.id})).template(container, spec)


def _asked_for(copy: Copy, settings: Settings, expected: Expected) -> PodParts:
    request = CopyRequest(
        id=copy.id,
        source=_asked(copy, settings),
        expected_bytes=copy.expected_bytes,
        requires_license=expected.license,
        contents=expected.shape,
    )
    return PodParts(environment={REQUEST_VARIABLE: request.to_json()})


def _source(deployment: LlamaDeployment, copy: Copy) -> PodParts:
    """What the pod needs to get at the source: a token, the address and the credentials of a store, or a volume."""
    source, spec = copy.source, deployment.spec.weights
    if source.kind is SourceKind.HUB:
        return weights.token_variable(spec.token_secret)
    if source.kind is SourceKind.STORE:
        return weights.store(source.location, source.endpoint, source.region, spec.store_secret)
    claim = {"claimName": source.claim, "readOnly": True}
    return PodParts(
        mounts={SOURCE_FOLDER: {"name": "source", "readOnly": True}},
        volumes={"source": {"persistentVolumeClaim": claim}},
    )


def _asked(copy: Copy, settings: Settings) -> CopySource:
    source = copy.source
    if source.kind is SourceKind.HUB:
        return HubSource(repository=source.location, commit=source.commit, endpoint=settings.hub_endpoint)
    if source.kind is SourceKind.IMAGE:
        raise ValueError("no Job copies an image")
    if source.kind is SourceKind.STORE:
        return StoreSource(uri=source.location)
    return PathSource(path="/".join(filter(None, (SOURCE_FOLDER, source.location))))
