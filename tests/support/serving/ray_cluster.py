"""A real Ray cluster in processes of this machine, configured over the dashboard's API, as KubeRay does it.

For `tests/serving` and for `make bench-serving`. The process that calls it never imports Ray: that import warns, and warnings
are errors in tests.
"""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import openai
import platformdirs
import psutil
import pytest

from llama_operator.local.ports import reserve
from llama_operator.local.rundir import default_root
from llama_serving.config import APPLICATION_NAME, STATUS_PATH
from llama_serving.contract import haproxy
from llama_serving.contract.status import ServingStatus

SERVING_SOURCES = Path(__file__).parents[3] / "serving"
_TESTS = Path(__file__).parents[2]
READY_SECONDS = 600
"""To the first answer on two cores, with other work beside it."""
_STARTS = 3
"""Ray gives a node half a minute to come up, which a busy machine may not have; a pod would be started again too."""
_MARKER = "LLAMA_SERVING_TEST_CLUSTER"
LOOPBACK = "127.0.0.1"
T = TypeVar("T")


def wait_for(condition: Callable[[], T], *, seconds: float, what: str) -> T:
    """Return the first true value of `condition`, asked four times a second."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:g} s for {what}; last seen: {value!r}")
        time.sleep(0.25)


class RayCluster:
    """Ray nodes on this machine, with their own ports, folder and token."""

    def __init__(
        self, environment: dict[str, str], *, api_key: str = "none", overrides: dict[str, str] | None = None
    ) -> None:
        self.api_key = api_key
        self._mark = uuid.uuid4().hex
        # Ray makes sockets in it, and the path of a socket may have 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        token = self.folder / "token"
        token.write_text(secrets.token_hex(32))
        # Replicas and HAProxy of two clusters on one machine must not meet: then one answers for the other.
        self._reserved = reserve(default_root() / "ports", http=None, pick=secrets.randbelow)
        # In a pod HAProxy shares its port with nobody, so here as well.
        self._reserved.free_http()
        reserved = self._reserved.ports
        self._gcs, self._dashboard, self.http_port = reserved.gcs, reserved.dashboard, reserved.http
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "PYTEST"))} | {
            **environment,
            _MARKER: self._mark,
            "PYTHONPATH": f"{SERVING_SOURCES}{os.pathsep}{_TESTS}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
            # Ray retitles its processes, which would overwrite the mark in their environment.
            "SPT_NOENV": "1",
            "TMPDIR": str(self.folder),
            # Torch compiles one function of a sharded embedding, also in eager mode: once on a machine, not in each run.
            "TORCHINDUCTOR_CACHE_DIR": str(platformdirs.user_cache_path("llama-operator") / "tests" / "torchinductor"),
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
            # Without workers for a driver: nothing here is one.
            "RAY_prestart_worker_first_driver": "false",
            **haproxy.private_to_one_cluster(
                str(self.folder),
                metrics_port=reserved.haproxy_metrics,
                stats_port=reserved.haproxy_stats,
                fallback_port=reserved.fallback,
                replica_ports=(reserved.replica_min, reserved.replica_max),
            ),
            **haproxy.launcher(self.folder, sys.executable),
            **(overrides or {}),
        }
        self._nodes: list[subprocess.Popen[bytes]] = []
        self._metrics_ports: list[int] = []
        self._api = httpx.Client(
            base_url=f"http://{LOOPBACK}:{self._dashboard}",
            headers={"Authorization": f"Bearer {token.read_text()}"},
            timeout=120,
        )
        self._http = httpx.Client(
            base_url=f"http://{LOOPBACK}:{self.http_port}",
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=120,
        )

    def start_node(self, *, cpus: int, stand_in_gpus: int = 0) -> None:
        """Start the head at the first call, a worker node at every later one."""
        log = self.folder / f"node-{len(self._nodes)}.log"
        for _ in range(_STARTS):
            command, metrics_port = self._command(cpus=cpus, stand_in_gpus=stand_in_gpus)
            with log.open("ab") as stream:
                node = subprocess.Popen(command, env=self._environment, stdout=stream, stderr=stream, cwd=self.folder)
            self._nodes.append(node)
            wait_for(
                lambda node=node: node.poll() is not None or self._all_nodes_are_alive(), seconds=300, what="the node"
            )
            if node.poll() is None:
                self._metrics_ports.append(metrics_port)
                return
            self._nodes.remove(node)
            if not self._nodes:
                self._kill_all()
        pytest.fail(log.read_text())

    def _command(self, *, cpus: int, stand_in_gpus: int) -> tuple[list[str], int]:
        """What starts a node, and its port of metrics. With other ports at each call: somebody may take one that is free now."""
        role = ["--head", f"--port={self._gcs}", f"--dashboard-port={self._dashboard}", "--include-dashboard=true"]
        if self._nodes:
            role = [f"--address={LOOPBACK}:{self._gcs}"]
        else:
            role += ["--no-monitor", f"--ray-client-server-port={free_ports(1)[0]}", f"--temp-dir={self.folder}"]
        flags = (
            *("dashboard-agent-grpc-port", "dashboard-agent-listen-port", "runtime-env-agent-port"),
            *("metrics-export-port", "node-manager-port", "object-manager-port"),
        )
        ports = dict(zip(flags, free_ports(len(flags)), strict=True))
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"),
            # It copies logs to drivers; there is none.
            "--include-log-monitor=false",
            *role,
            f"--node-ip-address={LOOPBACK}",
            f"--num-cpus={cpus}",
            f"--num-gpus={stand_in_gpus}",
            f"--object-store-memory={128 * 1024**2}",
            *(f"--{flag}={port}" for flag, port in ports.items()),
        ]
        return command, ports["metrics-export-port"]

    def deploy(self, serve_config: dict[str, Any]) -> None:
        """Replace the Serve config. As KubeRay does, ask again when Serve could not start in time on a busy machine."""
        for _ in range(_STARTS):
            response = self._api.put("/api/serve/applications/", json=serve_config)
            if response.status_code != httpx.codes.INTERNAL_SERVER_ERROR:
                break
        assert response.status_code == httpx.codes.OK, response.text

    def application(self) -> dict[str, Any]:
        """Return what Ray says about the application; empty before it knows it."""
        found: dict[str, Any] = self._serve_details()["applications"].get(APPLICATION_NAME, {})
        return found

    def replicas(self, deployment: str) -> dict[str, str]:
        """Return the state of every replica of `deployment`, by its identifier."""
        listed = self.application().get("deployments", {}).get(deployment, {}).get("replicas", [])
        return {replica["replica_id"]: replica["state"] for replica in listed}

    def deployment_config(self, deployment: str) -> dict[str, Any]:
        """Return the settings of `deployment` that are in force."""
        found: dict[str, Any] = self.application()["deployments"][deployment]["deployment_config"]
        return found

    def nodes_of_ranks(self) -> list[str]:
        """Return the Ray node of every vLLM rank that is a Ray actor."""
        workers = [actor for actor in self._state("actors") if (actor["name"] or "").startswith("vllm_Worker")]
        return [worker["node_id"] for worker in workers if worker["state"] == "ALIVE"]

    def wait_until_running(self) -> None:
        """Wait for the application, and fail at once with Ray's own message when it cannot be deployed."""

        def running() -> bool:
            application = self.application()
            if application.get("status") in {"DEPLOY_FAILED", "UNHEALTHY"}:
                pytest.fail(f"{application['status']}: {application['message']} {application.get('deployments')}")
            return application.get("status") == "RUNNING"

        wait_for(running, seconds=READY_SECONDS, what="the application")

    def client(self) -> openai.OpenAI:
        """Return the unmodified OpenAI client."""
        return openai.OpenAI(
            base_url=f"http://{LOOPBACK}:{self.http_port}/v1", api_key=self.api_key, timeout=120, max_retries=0
        )

    def async_client(self) -> openai.AsyncOpenAI:
        """Return the unmodified asynchronous OpenAI client."""
        return openai.AsyncOpenAI(
            base_url=f"http://{LOOPBACK}:{self.http_port}/v1", api_key=self.api_key, timeout=120, max_retries=0
        )

    def get(self, path: str) -> httpx.Response:
        """GET from the serving port."""
        return self._http.get(path)

    def post(self, path: str, content: bytes) -> httpx.Response:
        """POST a body that no client would send."""
        return self._http.post(path, content=content, headers={"Content-Type": "application/json"})

    def post_with(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
        """POST a body with headers that no client would send."""
        return self._http.post(path, json=body, headers=headers)

    def status(self) -> ServingStatus:
        """Read the status endpoint."""
        response = self.get(STATUS_PATH)
        assert response.status_code == httpx.codes.OK, response.text
        return ServingStatus.model_validate(response.json())

    def metrics(self) -> str:
        """Return what all nodes publish, in Prometheus' text format; Ray gathers it every few seconds."""
        return "".join(httpx.get(f"http://{LOOPBACK}:{port}/metrics", timeout=30).text for port in self._metrics_ports)

    def processes(self) -> list[psutil.Process]:
        """Return the processes that carry this cluster's mark."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(_MARKER) == self._mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def named(self, title: str) -> list[psutil.Process]:
        """Return those of them that Ray has given a title."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if " ".join(process.cmdline()).startswith(title):
                    found.append(process)
        return found

    def stop(self) -> None:
        """Stop every process and remove the folder; fail if a process is left."""
        self._api.close()
        self._http.close()
        for node in reversed(self._nodes):
            node.terminate()
        for node in self._nodes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                node.wait(10)
        self._kill_all()
        for node in self._nodes:
            node.wait()
        wait_for(lambda: not self.processes(), seconds=300, what="the processes to be gone")
        self._reserved.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _kill_all(self) -> None:
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()

    def _serve_details(self) -> dict[str, Any]:
        details: dict[str, Any] = self._api.get("/api/serve/applications/").raise_for_status().json()
        return details

    def _all_nodes_are_alive(self) -> bool:
        try:
            self._serve_details()
            return len([node for node in self._state("nodes") if node["state"] == "ALIVE"]) == len(self._nodes)
        except httpx.HTTPError:
            return False

    def _state(self, kind: str) -> list[dict[str, Any]]:
        """List what Ray's state API knows."""
        answer = self._api.get(f"/api/v0/{kind}", params={"detail": True}).raise_for_status().json()
        found: list[dict[str, Any]] = answer["data"]["result"]["result"]
        return found


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for found in sockets:
            found.bind((LOOPBACK, 0))
        return [found.getsockname()[1] for found in sockets]
