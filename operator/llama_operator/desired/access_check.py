"""The Job that asks the Hub whether the weights may be downloaded. Called by `desired.objects`.

It runs in the tenant's namespace, because the token is there: the operator only names the Secret. The name of the Job
follows from the question and the attempt, and the operator changes no Job, so a crash between two writes repeats nothing.
"""

import hashlib
from typing import Any

from llama_operator.api.meta import ANNOTATION_ATTEMPT, ANNOTATION_SUBJECT, LABEL_ACCESS_CHECK, LABEL_REVISION
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.decide.access_check import LONGEST_WAIT_SECONDS, Subject
from llama_operator.decide.copies.needed import caches
from llama_operator.decide.observed import Settings
from llama_operator.decide.placement.resolve import resolve
from llama_operator.desired import naming
from llama_operator.desired.pods import pod_settings, weights
from llama_operator.desired.pods.parts import RESTRICTED, PodParts

API_VERSION = "batch/v1"
KIND = "Job"
# The old word stays on live objects (container, names, labels) and in the command: Jobs of an older operator carry it,
# NetworkPolicies of users select it, and older images know the module by it.
CONTAINER = "preflight"
_MODULE = "llama_serving.preflight"

_DEADLINE_SECONDS = 1800
"""The probe gives up after a minute. The other minutes are for pulling the image, which the head needs as well."""
_TTL_SECONDS = 2 * LONGEST_WAIT_SECONDS
_COPY_TTL_SECONDS = 24 * 3600
"""Its answer is needed until the weights are copied: it may have the commit that is copied."""
_CPU, _MEMORY = "100m", "256Mi"
"""A Python process with one HTTPS connection takes 60 MiB."""


def job_name(deployment: LlamaDeployment, subject: Subject, attempt: int) -> str:
    """Name of a Job, at most 57 characters: pods and labels take 63."""
    digest = hashlib.sha256(f"{subject.digest}/{attempt}".encode()).hexdigest()[:8]
    return f"{deployment.metadata.name}-preflight-{digest}"


def build(deployment: LlamaDeployment, subject: Subject, attempt: int, settings: Settings) -> dict[str, Any]:
    """Build the Job that asks `subject`.

    Pods without the deployment's label: its NetworkPolicy does not apply to them, and opens no port of Ray for them.
    """
    name = job_name(deployment, subject, attempt)
    metadata = naming.metadata(deployment, name)
    metadata["labels"] |= {LABEL_ACCESS_CHECK: name, LABEL_REVISION: subject.revision}
    metadata["annotations"] = {ANNOTATION_SUBJECT: subject.digest, ANNOTATION_ATTEMPT: str(attempt)}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": metadata,
        "spec": {
            # The operator asks again, later and with a back-off of its own for each answer.
            "backoffLimit": 0,
            "podFailurePolicy": {
                "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
            },
            "activeDeadlineSeconds": _DEADLINE_SECONDS,
            "ttlSecondsAfterFinished": _COPY_TTL_SECONDS if caches(deployment) else _TTL_SECONDS,
            "template": _pod(deployment, subject, name, settings),
        },
    }


def _pod(deployment: LlamaDeployment, subject: Subject, name: str, settings: Settings) -> dict[str, Any]:
    parts = PodParts(
        labels={
            "app.kubernetes.io/name": "llama-preflight",
            "app.kubernetes.io/instance": deployment.metadata.name,
            "app.kubernetes.io/managed-by": naming.MANAGER,
            LABEL_ACCESS_CHECK: name,
        },
        environment={"DO_NOT_TRACK": "1", "HF_HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"},
        container_security={"readOnlyRootFilesystem": True},
    )
    asked = ["--repository", subject.repository, "--revision", subject.commit, "--endpoint", settings.hub_endpoint]
    if subject.file is not None:
        asked += ["--file", subject.file]
    container = {
        "name": CONTAINER,
        "image": deployment.spec.image or settings.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", _MODULE, *asked],
        "env": [],
        "resources": {"requests": {"cpu": _CPU, "memory": _MEMORY}, "limits": {"cpu": "1", "memory": _MEMORY}},
        "securityContext": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }
    own = {"restartPolicy": "Never", "automountServiceAccountToken": False, "enableServiceLinks": False}
    peers = {LABEL_ACCESS_CHECK: name}
    wanted = resolve(deployment.spec, settings.pods).jobs
    parts = pod_settings.over(parts + weights.token_variable(subject.token), wanted, peers)
    return (RESTRICTED + parts).template(container, own)
