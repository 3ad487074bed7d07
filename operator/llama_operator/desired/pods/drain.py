"""How long pods may take to end: Ray drains a node when its pod is asked to stop. Called by `desired.rayservice`.

Ray waits until the node is idle: Serve takes it out of the routes, and its replicas finish. The kubelet has to wait longer than Ray.
"""

from llama_operator.desired.pods.parts import PodParts
from llama_serving.config import RequestPath

_VARIABLE = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
_MARGIN_SECONDS = 30
"""For Ray's own processes, after the replicas."""
_DIRECT_SECONDS = 35
"""A replica that listens itself stays for 30 s, until HAProxy on every node knows that it goes, and Serve adds 5."""
_HEAD_SECONDS = 30
"""The head has no replica; an ingress there answers what it has begun."""


def of_head() -> PodParts:
    """The head's time to end."""
    return _within(_HEAD_SECONDS)


def of_worker(drain_seconds: int, path: RequestPath) -> PodParts:
    """A worker's time to end.

    Args:
        drain_seconds: How long a replica may take to finish its requests.
        path: How requests reach it.
    """
    return _within(max(drain_seconds, _DIRECT_SECONDS) if path is RequestPath.DIRECT else drain_seconds)


def _within(seconds: int) -> PodParts:
    return PodParts(
        environment={_VARIABLE: str(seconds)},
        pod_fields={"terminationGracePeriodSeconds": seconds + _MARGIN_SECONDS},
    )
