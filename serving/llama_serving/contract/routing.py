"""How the replica of a request is chosen on the direct path.

The operator renders it into the environment of all Ray pods (`config.pod_environment`); `llama_serving.routing` reads it when
Ray Serve starts HAProxy. Imports nothing but the standard library, because HAProxy waits for it at every reload.
"""

from enum import StrEnum
from typing import Final

ROUTING_VARIABLE: Final = "LLAMA_SERVING_ROUTING"
"""Environment variable with the `Routing`. Without it HAProxy chooses by itself: pods of older revisions have none."""

LAUNCHER_VARIABLE: Final = "RAY_SERVE_HAPROXY_BINARY_PATH"
"""What Ray Serve starts as HAProxy. The image of the pods sets it to `llama_serving.routing.launcher`; an image without it
serves by least connections."""

_BUFFER_BYTES: Final = 256 * 1024
_CONNECTIONS: Final = 1024


class Routing(StrEnum):
    """By what HAProxy chooses the replica of a request."""

    LEAST_CONNECTIONS = "LeastConnections"
    """The fewest open connections."""
    CONSISTENT_HASH = "ConsistentHash"
    """Tenant and conversation: what belongs together goes to one replica."""
    PREFIX_AWARE = "PrefixAware"
    """The replica that has answered the longest common beginning of the request."""


def environment(routing: Routing | None) -> dict[str, str]:
    """Return the environment variables of all nodes for `routing`.

    The buffer is how much of a body HAProxy holds to read it, twice for each connection, so there may be fewer connections: at
    most 512 MiB on a node.
    """
    if routing is None or routing is Routing.LEAST_CONNECTIONS:
        return {}
    return {
        ROUTING_VARIABLE: routing.value,
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(_BUFFER_BYTES),
        "RAY_SERVE_HAPROXY_MAXCONN": str(_CONNECTIONS),
    }
