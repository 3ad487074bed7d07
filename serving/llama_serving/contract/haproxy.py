"""What Ray's HAProxy is told: times in every pod, and files and ports on a machine on which several Ray clusters run.

In a pod nobody else uses Ray's default files and ports. On one machine two clusters would share them, and answer each other's requests
(called by `local` and by the tests).
"""

from pathlib import Path
from typing import Final

from llama_serving.contract.routing import LAUNCHER_VARIABLE

HAPROXY_METRICS_PORT: Final = 9101
"""Where HAProxy answers Prometheus in a pod: Ray's default, on all addresses; no setting binds it to one."""

SWITCH_VARIABLE: Final = "RAY_SERVE_ENABLE_HA_PROXY"
"""Whether nodes run HAProxy."""

KEEP_ALIVE_SECONDS: Final = 650
"""How long a connection without a request stays open.

Load balancers and gateways keep theirs for 60 to 600 seconds. The side that closes first must be theirs: a request that crosses with our
close is lost, and a POST is not sent again.
"""

CLIENT_SECONDS: Final = 120
"""How long HAProxy waits for a client that has to send or to read.

A request that waits for the engine is not meant: then the client has nothing to do. By itself HAProxy would keep connections that died
within a request for an hour, of 4,096 in all.
"""

HEADER_SECONDS: Final = 30
"""How long the headers of a request may take in all; then a client gets 408. The launcher writes it, Serve has no setting."""

_SETTLE_SECONDS: Final = 2
"""How long a replica that goes still takes connections: until HAProxy, on the same machine, has left it out."""
_OLD_PROCESS_SECONDS: Final = 60
"""How long HAProxy's process of before a change may serve open streams, and how long a port is not used again."""


LAUNCHER_NAME: Final = "llama-haproxy"
"""Name of the program that nodes start as HAProxy."""
LAUNCHER_WORDS: Final = "llama-haproxy.words"
"""File beside HAProxy's configuration in which the program says what it could not do; empty if it did all."""

_LAUNCHER: Final = "#!{python}\nfrom llama_serving.routing.launcher import main\n\nmain()\n"
_OWNERS: Final = 0o700


def launcher(folder: Path, python: str) -> dict[str, str]:
    """Write the program that nodes start as HAProxy, which in pods is part of the image; return its environment variable.

    Args:
        folder: An existing folder.
        python: The interpreter that runs Ray; it finds this package.
    """
    program = folder / LAUNCHER_NAME
    program.write_text(_LAUNCHER.format(python=python), encoding="utf-8")
    program.chmod(_OWNERS)
    return {LAUNCHER_VARIABLE: str(program)}


def times(longest_request_seconds: int) -> dict[str, str]:
    """Return the environment variables for the times of HAProxy in all pods.

    Args:
        longest_request_seconds: Longest request, with its stream.
    """
    return {
        # A reload keeps the old process for the connections that it has: for the stream of each, for the time that it then may stay
        # open, and for one more request, which HAProxy still takes. By itself it would cut all of them after two minutes. Serve
        # keeps ports of replicas that are gone for as long, so that no other one gets such a request.
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": str(2 * longest_request_seconds + KEEP_ALIVE_SECONDS),
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(CLIENT_SECONDS),
        # Later than Serve's own end of a request, whose answer is the better one. What is gone is found by health checks.
        "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": str(longest_request_seconds + 60),
    }


def private_to_one_cluster(
    folder: str, *, metrics_port: int, stats_port: int, fallback_port: int, replica_ports: tuple[int, int]
) -> dict[str, str]:
    """Return the environment variables of all nodes of a cluster on this machine.

    Args:
        folder: An existing folder; its path must be short, because sockets are made in it.
        metrics_port: Where HAProxy answers Prometheus.
        stats_port: Where HAProxy shows its own statistics.
        fallback_port: Where Serve's own proxy answers while an application has no replica. Proxies of two clusters share a
            port without a word, and one then answers for the other.
        replica_ports: First and last port on which replicas answer HTTP.
    """
    first, last = replica_ports
    return {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/admin.sock",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{folder}/metrics.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": folder,
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/server-state",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics_port),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats_port),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback_port),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(first),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(last),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(_SETTLE_SECONDS),
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": str(_OLD_PROCESS_SECONDS),
        "RAY_SERVE_PORT_QUARANTINE_S": str(_OLD_PROCESS_SECONDS),
    }
