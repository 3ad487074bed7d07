"""Two clusters on one machine must share no port: Serve's proxies would join each other without a word."""

import importlib.util
import re
from pathlib import Path

from llama_serving.contract import haproxy

GRPC = {
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT",
    "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT",
    "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT",
    "RAY_SERVE_WORKER_PROXY_GRPC_PORT",
}
"""Nothing listens there: our applications offer no gRPC."""
OF_THE_CONFIG = {"RAY_SERVE_WORKER_PROXY_HTTP_PORT"}
"""Unset, it is the port of the Serve config, which is the cluster's own."""


def test_every_port_of_serve_is_the_clusters_own():
    spec = importlib.util.find_spec("ray")
    assert spec is not None
    assert spec.origin is not None
    source = (Path(spec.origin).parent / "serve/_private/constants.py").read_text(encoding="utf-8")
    known = set(re.findall(r'"(RAY_SERVE_\w+_PORT)"', source))
    assert len(known) > 8

    ours = haproxy.private_to_one_cluster("/f", metrics_port=1, stats_port=2, fallback_port=3, replica_ports=(4, 5))

    assert known - GRPC - OF_THE_CONFIG <= set(ours)
