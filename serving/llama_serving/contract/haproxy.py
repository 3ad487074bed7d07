"""HAProxy's files and ports for a machine on which several Ray clusters run. Called by `local` and by the tests.

In a pod nobody else uses Ray's defaults. On one machine two clusters would share HAProxy's files and ports, and answer each
other's requests.
"""

from pathlib import Path
from typing import Final

from llama_serving.contract.routing import LAUNCHER_VARIABLE

_SETTLE_SECONDS: Final = 2
"""How long a replica that goes still takes connections: until HAProxy, on the same machine, has left it out."""
_OLD_PROCESS_SECONDS: Final = 60
"""How long HAProxy's process of before a change may serve open streams, and how long a port is not used again."""


_LAUNCHER: Final = "#!{python}\nfrom llama_serving.routing.launcher import main\n\nmain()\n"
_OWNERS: Final = 0o700


def launcher(folder: Path, python: str) -> dict[str, str]:
    """Write the program that nodes start as HAProxy, which in pods is part of the image; return its environment variable.

    Args:
        folder: An existing folder.
        python: The interpreter that runs Ray; it finds this package.
    """
    program = folder / "llama-haproxy"
    program.write_text(_LAUNCHER.format(python=python), encoding="utf-8")
    program.chmod(_OWNERS)
    return {LAUNCHER_VARIABLE: str(program)}


def private_to_one_cluster(
    folder: str, *, metrics_port: int, stats_port: int, replica_ports: tuple[int, int]
) -> dict[str, str]:
    """Return the environment variables of all nodes of a cluster on this machine.

    Args:
        folder: An existing folder; its path must be short, because sockets are made in it.
        metrics_port: Where HAProxy answers Prometheus.
        stats_port: Where HAProxy shows its own statistics.
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
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(first),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(last),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(_SETTLE_SECONDS),
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": str(_OLD_PROCESS_SECONDS),
        "RAY_SERVE_PORT_QUARANTINE_S": str(_OLD_PROCESS_SECONDS),
    }
