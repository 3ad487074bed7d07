"""The head of a Ray cluster: no GPU, no replicas; it runs Ray's and Serve's controllers. Called by `desired.rayservice`."""

from typing import Any

from llama_operator.desired.pods.parts import RESTRICTED, PodParts, steady_resources
from llama_serving.config import HTTP_PORT

DASHBOARD_PORT = 8265
METRICS_PORT = 8080

_CONTAINER = "ray-head"
_MEMORY_GIB = 8
"""Generous: a head that is killed for memory takes the whole cluster down, and an ingress may run there."""

_PORTS = {
    "gcs-server": 6379,
    "dashboard": DASHBOARD_PORT,
    "client": 10001,
    "metrics": METRICS_PORT,
    "serve": HTTP_PORT,
}


def template(image: str, parts: PodParts) -> dict[str, Any]:
    """Build the template of the head pod.

    Args:
        image: Image of the container.
        parts: What all pods of the cluster have in common.
    """
    # The autoscaler beside the head needs the service account, so its token stays mounted here and only here.
    return (RESTRICTED + parts).template(
        {
            "name": _CONTAINER,
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "env": [],
            "securityContext": {},
            "ports": [{"name": name, "containerPort": port} for name, port in _PORTS.items()],
            "resources": steady_resources(cpu=2, memory_gib=_MEMORY_GIB),
        }
    )
