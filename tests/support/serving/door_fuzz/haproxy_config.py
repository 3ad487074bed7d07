"""A program: writes the configuration with which Ray Serve runs HAProxy in front of replicas.

`python -W ignore -m support.serving.door_fuzz.haproxy_config FOLDER PORT METRICS_PORT STATS_PORT REPLICA_PORT...`. In a process of
its own, because it imports Ray. `KEEP_ALIVE` in the environment is how long a connection without a request stays open, in seconds.
"""

import os
import sys
from pathlib import Path

from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions


def main(folder: str, port: str, metrics_port: str, stats_port: str, *replica_ports: str) -> None:
    """Write `FOLDER/haproxy.cfg`."""
    path = Path(folder)
    backend = BackendConfig(
        name="http-llama",
        path_prefix="/",
        app_name="llama",
        servers=[
            ServerConfig(name=f"SERVE_REPLICA--llama-{number}-{port}", host="127.0.0.1", port=int(port))
            for number, port in enumerate(replica_ports)
        ],
    )
    settings = HAProxyConfig(
        socket_path=str(path / "admin.sock"),
        stats_port=int(stats_port),
        metrics_port=int(metrics_port),
        metrics_enabled=False,
        has_received_routes=True,
        has_received_servers=True,
        is_head=True,
        http_options=HTTPOptions(
            host="127.0.0.1", port=int(port), keep_alive_timeout_s=int(os.environ.get("KEEP_ALIVE", "90"))
        ),
    )
    api = HAProxyApi(settings, {"http-llama": backend}, str(path / "haproxy.cfg"))
    api._generate_config_file_internal()


if __name__ == "__main__":
    main(*sys.argv[1:])
