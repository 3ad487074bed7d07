"""A cluster whose pods really run, looked at as a user does. For `tests/e2e` and `tests/two_nodes`."""

import concurrent.futures
import contextlib
import json
import shutil
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[3]
NAMESPACE = "default"
OPERATOR_NAMESPACE = "llama-operator"
OPERATOR_SECONDS = 600
FAILED = ("DEPLOY_FAILED",)
BAD_WAITING = (
    "CrashLoopBackOff",
    "CreateContainerError",
    "CreateContainerConfigError",
    "ErrImagePull",
    "InvalidImageName",
)
TAIL_LINES = 15


class ClusterError(Exception):
    """Something will not come up by waiting longer."""


class Cluster:
    """Looks at the cluster as a user does: with kubectl, and with requests to the deployment's Service."""

    def __init__(self, plane, nodes, logs):
        self._plane = plane
        self._nodes = nodes
        self._logs = logs

    def kubectl(self, *arguments, check=True, stdin=None):
        done = self._plane.kubectl(*arguments, check=False, stdin=stdin)
        if check and done.returncode:
            pytest.fail(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done

    def json(self, *arguments):
        return json.loads(self.kubectl("get", *arguments, "--namespace", NAMESPACE, "--output", "json").stdout)

    def items(self, kind, selector=""):
        return self.json(kind, *(("--selector", selector) if selector else ()))["items"]

    def deployment(self, name):
        return self.json("llamadeployments", name)

    def patch(self, name, spec):
        self.kubectl("patch", "llamadeployment", name, "--type=merge", "--patch", json.dumps({"spec": spec}))

    def is_ready(self, name):
        """Whether the deployment answers with what its spec asks for."""
        waits = (("wait", f"--for=condition={kind}", f"llamadeployment/{name}") for kind in ("UpToDate", "Ready"))
        return all(self.kubectl(*wait, "--timeout=1s", check=False).returncode == 0 for wait in waits)

    def operator_is_available(self):
        command = ("wait", "--for=condition=Available", "deployment/llama-operator", "--timeout=1s")
        return self.kubectl(*command, "--namespace", OPERATOR_NAMESPACE, check=False).returncode == 0

    def pods(self, kind=""):
        """Pods of the deployment, by name: uid and restarts; `kind` is head or worker."""
        selector = "llama-operator.io/deployment" + (f",ray.io/node-type={kind}" if kind else "")
        return {
            pod["metadata"]["name"]: (
                pod["metadata"]["uid"],
                sum(container["restartCount"] for container in pod.get("status", {}).get("containerStatuses", ())),
            )
            for pod in self.items("pods", selector)
        }

    def operator_said(self, container):
        """Lines that a container of the operator's pods printed, without what the container runtime writes before each."""
        logs = [log for log in self.pod_logs() if log.match(f"{OPERATOR_NAMESPACE}_*/{container}/*.log")]
        return [line.split(" ", 3)[3] for log in logs for line in log.read_text(errors="replace").splitlines()]

    def pod_logs(self):
        """Logs of all containers, on all nodes."""
        return [log for node in self._nodes for log in node.pod_logs()]

    def operator_restarts(self):
        """How often containers of the operator's pods were started again, those that began before it included."""
        pods = json.loads(self.kubectl("get", "pods", "-n", OPERATOR_NAMESPACE, "--output", "json").stdout)["items"]
        parts = ("initContainerStatuses", "containerStatuses")
        return {
            each["name"]: each["restartCount"] for pod in pods for part in parts for each in pod["status"].get(part, ())
        }

    def until(self, probe, *, seconds, what):
        """Return the first true value of `probe`; fail with the logs when that is not to be expected any more."""
        end = time.monotonic() + seconds
        try:
            while True:
                value = probe()
                if value:
                    return value
                self._check(f"waited {seconds} s for {what}; last seen: {value!r}" if time.monotonic() > end else "")
                time.sleep(1)
        except ClusterError as error:
            pytest.fail(f"{error}\n\n{self.evidence()}", pytrace=False)

    def _check(self, trouble):
        if trouble:
            raise ClusterError(trouble)
        if any(node.ended() for node in self._nodes):
            raise ClusterError("a node has ended")
        for service in self.items("rayservices"):
            for application in _applications(service):
                if application["status"] in FAILED:
                    raise ClusterError(f"{service['metadata']['name']}: {application}")
        for pod in json.loads(self.kubectl("get", "pods", "--all-namespaces", "--output", "json").stdout)["items"]:
            for container in pod.get("status", {}).get("containerStatuses", ()):
                waiting = container["state"].get("waiting", {})
                if waiting.get("reason") in BAD_WAITING:
                    raise ClusterError(f"pod {pod['metadata']['name']}, container {container['name']}: {waiting}")

    def evidence(self):
        """What one wants to read after a failure; the whole logs are kept and named."""
        kinds = "llamadeployments,rayservices,rayclusters,pods"
        shown = [
            self.kubectl("get", kinds, "--all-namespaces", "--output", "wide", check=False).stdout,
            self.kubectl("describe", "llamadeployments", "--all-namespaces", check=False).stdout,
            self.kubectl("get", "events", "--all-namespaces", "--field-selector=type=Warning", check=False).stdout,
        ]
        ray = sorted(
            path
            for node in self._nodes
            for path in node.folder.glob("kubelet/pods/*/volumes/kubernetes.io~empty-dir/ray-logs")
        )
        for number, folder in enumerate(ray):
            shutil.copytree(folder, self._logs / f"ray-{number}", ignore=_no_sockets, dirs_exist_ok=True)
        serve = sorted(self._logs.glob("ray-*/session_2*/logs/serve/*.log"))
        shown += [_tail(path) for path in (*self.pod_logs(), *serve)]
        folders = " and ".join(str(node.folder) for node in self._nodes)
        return "\n".join([*shown, f"All logs: {self._logs} and {folders}"])


class Endpoint:
    """The deployment's Service, reached at its cluster address through kube-proxy's rules."""

    def __init__(self, address):
        self._client = httpx.Client(base_url=f"http://{address}:8000", timeout=120, trust_env=False)

    def close(self):
        self._client.close()

    def chat(self, *, model, tokens=16):
        """Ask, and try again for a while when nobody listens: kube-proxy may be a moment behind the endpoints."""
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": tokens}
        for _ in range(20):
            with contextlib.suppress(httpx.ConnectError):
                return self._client.post("/v1/chat/completions", json=body)
            time.sleep(0.5)
        return self._client.post("/v1/chat/completions", json=body)

    def status(self):
        with contextlib.suppress(httpx.HTTPError):
            answer = self._client.get("/llama/status", timeout=10)
            if answer.status_code == httpx.codes.OK:
                return answer.json()
        return None

    @contextlib.contextmanager
    def load(self, *, model, clients):
        """Keep `clients` requests open until the end of the context; yield the list of status codes, which grows."""
        codes, over = [], threading.Event()

        def ask():
            while not over.is_set():
                codes.append(self.chat(model=model, tokens=200).status_code)

        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            futures = [pool.submit(ask) for _ in range(clients)]
            try:
                yield codes
            finally:
                over.set()
        for future in futures:
            future.result()


def install(plane, chart, *values):
    """Install a chart of ours as users do."""
    command = [
        *(plane.binaries / "helm", "upgrade", "--install", chart, ROOT / "charts" / chart),
        *(f"--kubeconfig={plane.kubeconfig}", f"--namespace={OPERATOR_NAMESPACE}", "--create-namespace"),
        *values,
    ]
    done = subprocess.run([str(part) for part in command], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _applications(ray_service):
    active = ray_service.get("status", {}).get("activeServiceStatus", {})
    pending = ray_service.get("status", {}).get("pendingServiceStatus", {})
    return [entry for part in (active, pending) for entry in part.get("applicationStatuses", {}).values()]


def _no_sockets(folder, names):
    return [name for name in names if not (Path(folder) / name).is_dir() and not (Path(folder) / name).is_file()]


def _tail(path):
    lines = path.read_text(errors="replace").splitlines()[-TAIL_LINES:]
    return f"--- {path}\n" + "\n".join(lines)
