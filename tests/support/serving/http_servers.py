"""The HTTP servers of Serve on a cluster of the tests: those of HAProxy, of proxies and of replicas."""

import concurrent.futures

import httpx
import psutil

from support.serving.ray_cluster import RayCluster

_TITLES = ("ServeReplica", "ProxyActor", "haproxy")


def servers_of(cluster: RayCluster) -> set[int]:
    """Return the ports on which a process of the cluster answers HTTP for Serve."""
    titles = {process.pid: " ".join(process.cmdline()) for process in cluster.processes()}
    pids = {pid for pid, title in titles.items() if any(server in title for server in _TITLES)}
    listening = {
        each.laddr.port
        for each in psutil.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN and each.pid in pids
    }
    # Some of them are for Ray's own protocol, and never answer.
    with concurrent.futures.ThreadPoolExecutor(max_workers=64) as pool:
        return {port for port, answers in zip(listening, pool.map(_answers_health, listening), strict=True) if answers}


def _answers_health(port: int) -> bool:
    try:
        return "success" in httpx.get(f"http://127.0.0.1:{port}/-/healthz", timeout=5).text
    except httpx.HTTPError:
        return False
