"""The Job that asks the Hub whether the weights may be downloaded. Called by `desired.objects`.

It runs in the tenant's namespace, because the token is there: the operator only names the Secret. Its name follows from
what it asks and how often that was asked, and no Job is ever changed, so a crash between two writes repeats nothing.
"""

import hashlib
from typing import Any

from llama_operator.api.meta import ANNOTATION_ATTEMPT, ANNOTATION_SUBJECT, LABEL_PREFLIGHT, LABEL_REVISION
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.decide.access_check import LONGEST_WAIT_SECONDS, Subject
from llama_operator.decide.observed import Settings
from llama_operator.desired import naming
from llama_serving.config import TOKEN_VARIABLE

API_VERSION = "batch/v1"
KIND = "Job"
CONTAINER = "preflight"

_DEADLINE_SECONDS = 1800
"""The probe gives up after a minute; the rest is for pulling the image, which the head of the cluster needs as well."""
_TTL_SECONDS = 2 * LONGEST_WAIT_SECONDS
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
    metadata["labels"] |= {LABEL_PREFLIGHT: name, LABEL_REVISION: subject.revision}
    metadata["annotations"] = {ANNOTATION_SUBJECT: subject.digest, ANNOTATION_ATTEMPT: str(attempt)}
    pod_labels = {
        "app.kubernetes.io/name": "llama-preflight",
        "app.kubernetes.io/instance": deployment.metadata.name,
        "app.kubernetes.io/managed-by": naming.MANAGER,
        LABEL_PREFLIGHT: name,
    }
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
            "ttlSecondsAfterFinished": _TTL_SECONDS,
            "template": {"metadata": {"labels": pod_labels}, "spec": _pod(deployment, subject, settings)},
        },
    }


def _pod(deployment: LlamaDeployment, subject: Subject, settings: Settings) -> dict[str, Any]:
    environment: list[dict[str, Any]] = [
        {"name": "DO_NOT_TRACK", "value": "1"},
        {"name": "HF_HOME", "value": "/nonexistent"},
        {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
    ]
    if subject.token is not None:
        # Optional: a Secret that is not there shall be a verdict, not a pod that never starts.
        source = {"name": subject.token.name, "key": subject.token.key, "optional": True}
        environment.append({"name": TOKEN_VARIABLE, "valueFrom": {"secretKeyRef": source}})
    module = ["python", "-m", "llama_serving.preflight"]
    asked = ["--repository", subject.repository, "--revision", subject.commit, "--endpoint", settings.hub_endpoint]
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": CONTAINER,
                "image": deployment.spec.image or settings.image,
                "imagePullPolicy": "IfNotPresent",
                "command": [*module, *asked],
                "env": environment,
                "resources": {
                    "requests": {"cpu": _CPU, "memory": _MEMORY},
                    "limits": {"cpu": "1", "memory": _MEMORY},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "readOnlyRootFilesystem": True,
                },
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }
        ],
    }
