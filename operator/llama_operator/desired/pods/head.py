"""The head of a Ray cluster: no GPU, no replicas; it runs Ray's and Serve's controllers. Called by `desired.rayservice`."""

from collections.abc import Mapping
from typing import Any, Final

from llama_operator.decide.placement.shape import PodShape
from llama_operator.desired.pods.parts import RESTRICTED, PodParts
from llama_operator.desired.pods.placed import placed, steady_resources
from llama_serving.config import HTTP_PORT

DASHBOARD_PORT = 8265
METRICS_PORT = 8080

_CONTAINER = "ray-head"

_ACCOUNT: Final = "kubernetes-api"
_ACCOUNT_FOLDER: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_ACCOUNT_FILES: Final[Mapping[str, Any]] = {
    "projected": {
        "sources": [
            {"serviceAccountToken": {"path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        ]
    }
}
"""What Kubernetes mounts into a container that may use the service account of its pod."""

_PENDING_IDLE = "RAY_AUTOSCALER_PENDING_NODE_IDLE_TIMEOUT_S"
_PORTS = {
    "gcs-server": 6379,
    "dashboard": DASHBOARD_PORT,
    "client": 10001,
    "metrics": METRICS_PORT,
    "serve": HTTP_PORT,
}


def template(shape: PodShape, image: str, parts: PodParts) -> dict[str, Any]:
    """Build the template of the head pod.

    Args:
        shape: What it asks of its node.
        image: Image of the container.
        parts: What all pods of the cluster have in common.
    """
    # KubeRay's service account of the head may patch every pod of the namespace. Only the autoscaler beside Ray needs it,
    # and gets it: code that runs in the head does not.
    return (RESTRICTED + placed(shape) + parts + PodParts(volumes={_ACCOUNT: _ACCOUNT_FILES})).template(
        {
            "name": _CONTAINER,
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "env": [],
            "securityContext": {},
            "ports": [{"name": name, "containerPort": port} for name, port in _PORTS.items()],
            "resources": steady_resources(shape.amounts),
        },
        {"automountServiceAccountToken": False},
    )


def autoscaler(idle_seconds: int) -> dict[str, Any]:
    """Options of the container that KubeRay puts beside Ray into the head: restricted, with the service account of the pod.

    Args:
        idle_seconds: How long a pod without a node stays that nobody needs any more. Ray's own answer is for ever: then it takes the next
            card that is free, and holds it for nothing.
    """
    return {
        "env": [{"name": _PENDING_IDLE, "value": str(idle_seconds)}],
        "securityContext": dict(RESTRICTED.container_security),
        "volumeMounts": [{"name": _ACCOUNT, "mountPath": _ACCOUNT_FOLDER, "readOnly": True}],
    }
