"""What a play does and sees: the hands of the incidents in `incidents/`. Made by `runner`, one per incident.

Everything is done as a person, a node or another controller would: by the API server, or by a signal to a process.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from control_plane import nodes
from control_plane.plane import ControlPlane
from gameday.operators import Operators
from llama_operator.cli.shared.documents import documents

NAME: Final = "chat"
"""The deployment of every incident."""
_ROOT: Final = Path(__file__).resolve().parents[2]
_SAMPLES: Final = _ROOT / "manifests" / "samples"
_LABEL: Final = f"llama-operator.io/deployment={NAME}"
_PATIENCE_SECONDS: Final = 90.0
_GPU_TAINT: Final = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
"""As clusters keep from nodes of GPUs what needs none: a head that went there would be disturbed by another incident."""
_REST_SECONDS: Final = 3.0
_WARNINGS: Final = 3
_PAUSE_SECONDS: Final = 0.2

T = TypeVar("T")


class StageError(Exception):
    """The incident could not be played; the message says what did not come."""


class Stage:
    """One namespace of a cluster, with the licenses of the samples accepted for it.

    Args:
        plane: The cluster.
        operators: The operator's processes.
        namespace: Of this incident only.

    Attributes:
        plane: The cluster.
        operators: The operator's processes.
        namespace: Of this incident only.
        answers: What the commands of the play said, with the time.
        since: When Kubernetes knew of the incident, by the clock that does not go backwards.
    """

    def __init__(self, plane: ControlPlane, operators: Operators, namespace: str) -> None:
        self.plane, self.operators, self.namespace = plane, operators, namespace
        self.answers: list[tuple[float, str]] = []
        self.since = time.monotonic()
        self._nodes: list[str] = []

    def open(self) -> None:
        """Make the namespace, and accept the licenses in it."""
        self.plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
        for record in documents(_SAMPLES / "license-acceptance.yaml"):
            spec = record["spec"] | {"namespaces": [self.namespace]}
            self.plane.apply(
                record | {"metadata": {"name": self.acceptance(record["spec"]["families"][0])}, "spec": spec}
            )
        self.until(
            lambda: self.plane.api.find("serviceaccount", "default", namespace=self.namespace), "a service account"
        )

    def close(self) -> None:
        """Remove what was made; the namespace goes in its own time."""
        self.plane.api.delete("namespaces", self.namespace)
        nodes.remove_nodes(self.plane, self._nodes)
        for record in self.plane.api.list("licenseacceptances"):
            if record["metadata"]["name"].startswith(f"{self.namespace}-"):
                self.plane.api.delete("licenseacceptances", record["metadata"]["name"])

    def acceptance(self, family: str) -> str:
        """Name of the record of a license family."""
        return f"{self.namespace}-{family.replace('.', '-')}"

    def known(self) -> None:
        """From now on Kubernetes knows of it; without this word, from when the cause begins."""
        self.since = time.monotonic()

    # What people do.

    def manifest(self, sample: str = "tiny-cpu", **spec: Any) -> dict[str, Any]:
        """A sample for this namespace, with other sections of its spec."""
        (made,) = documents(_SAMPLES / f"{sample}.yaml")
        made["metadata"] = {"name": NAME, "namespace": self.namespace}
        made["spec"] |= spec
        if named := made["spec"].get("license", {}).get("acceptance"):
            made["spec"]["license"]["acceptance"] = f"{self.namespace}-{named.removeprefix('acme-')}"
        return made

    def deploy(self, sample: str = "tiny-cpu", **spec: Any) -> None:
        """Apply a sample."""
        self.plane.apply(self.manifest(sample, **spec))

    def change(self, spec: Mapping[str, Any]) -> None:
        """Change parts of the spec."""
        self.plane.api.patch("lld", NAME, {"spec": spec}, namespace=self.namespace)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply objects of this namespace."""
        for obj in objects:
            self.plane.apply(obj | {"metadata": {"namespace": self.namespace} | obj["metadata"]})

    def tries(self, *arguments: str, stdin: Mapping[str, Any] | None = None) -> None:
        """Have kubectl do what may be refused; what it says is an answer."""
        text = None if stdin is None else json.dumps(stdin)
        done = self.plane.kubectl(*arguments, "-n", self.namespace, stdin=text, check=False)
        self.answers.append((time.monotonic(), done.stderr + done.stdout))

    def says(self, text: str) -> None:
        """Note an answer that is no command's."""
        self.answers.append((time.monotonic(), text))

    def refuses(self, obj: Mapping[str, Any]) -> bool:
        """Whether the API server refuses to create an object of this namespace; nothing is created."""
        command = ("create", "-n", self.namespace, "--dry-run=server", "-f", "-")
        return self.plane.kubectl(*command, stdin=json.dumps(obj), check=False).returncode != 0

    def llama(self, *arguments: str, stdin: Mapping[str, Any] | None = None) -> str:
        """Run `kubectl llama` in this namespace; what it says is an answer."""
        text = self.look("-n", self.namespace, command=arguments, stdin=stdin)
        self.answers.append((time.monotonic(), text))
        return text

    def look(self, *more: str, command: Sequence[str], stdin: Mapping[str, Any] | None = None) -> str:
        """Output of a `kubectl llama`, that of its errors last."""
        words = [
            sys.executable,
            "-m",
            "llama_operator.cli.main",
            *command,
            *more,
            f"--kubeconfig={self.plane.kubeconfig}",
        ]
        text = None if stdin is None else json.dumps(stdin)
        done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    # What Serve, nodes and kubelets do.

    def serve(self, status: str, message: str = "", of: str = NAME) -> None:
        """Have Serve report this of the Ray clusters whose names begin with `of`, those to come included."""
        self.plane.dashboards.set(self.namespace, of, application_status=status, message=message)  # type: ignore[arg-type]

    def nodes(self, profile: str, count: int) -> tuple[str, ...]:
        """Add nodes that go with the incident."""
        added = nodes.add_nodes(self.plane, profile, count, taints=[_GPU_TAINT])
        self._nodes += added
        return added

    def node_is_lost(self, name: str) -> None:
        """Have the node be one whose kubelet is silent, as the node controller writes it 50 seconds after the last word.

        It writes so of the pods on the node as well, of which the incident's are done here.
        """
        # Without it KWOK looks after the node no more.
        self.plane.api.patch("nodes", name, {"metadata": {"annotations": {"kwok.x-k8s.io/node": None}}})
        told = {
            "type": "Ready",
            "status": "Unknown",
            "reason": "NodeStatusUnknown",
            "message": "Kubelet stopped posting node status.",
        }
        self.plane.api.patch("nodes", name, {"status": {"conditions": [told]}}, part="status")
        silent = {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "NodeNotReady"}]}}
        for pod in self.pods():
            if pod["spec"].get("nodeName") == name:
                self.plane.api.patch("pods", pod["metadata"]["name"], silent, namespace=self.namespace, part="status")

    def taint(self, name: str, key: str, value: str) -> None:
        """Taint a node of GPUs with NoSchedule."""
        self._taints(name, [_GPU_TAINT, {"key": key, "value": value, "effect": "NoSchedule"}])

    def cordon(self, name: str) -> None:
        """Let a node take no more pods."""
        self.plane.api.patch("nodes", name, {"spec": {"unschedulable": True}})

    def kubelet_says(
        self, pod: Mapping[str, Any], state: Mapping[str, Any], last: Mapping[str, Any] | None = None
    ) -> None:
        """Have the kubelet report this state of the first container, in the form in which a kubelet reports it."""
        containers = [dict(each) for each in pod["status"].get("containerStatuses", ())]
        containers[0] |= {"ready": False, "started": False, "state": state, "lastState": last or {}}
        containers[0] |= {"restartCount": 4} if last else {}
        name = containers[0]["name"]
        unready = {
            "status": "False",
            "reason": "ContainersNotReady",
            "message": f"containers with unready status: [{name}]",
        }
        conditions = [{"type": kind, **unready} for kind in ("Ready", "ContainersReady")]
        status = {"containerStatuses": containers, "conditions": conditions}
        self.plane.api.patch(
            "pods", pod["metadata"]["name"], {"status": status}, namespace=self.namespace, part="status"
        )

    # What there is.

    def objects(self, kinds: str, labels: str = _LABEL) -> list[dict[str, Any]]:
        """Objects of this namespace; by default those of the deployment."""
        return self.plane.api.list(kinds, namespace=self.namespace, labels=labels)

    def pods(self, role: str = "") -> list[dict[str, Any]]:
        """Pods that nobody deletes, of a role."""
        labels = f"{_LABEL},ray.io/node-type={role}" if role else _LABEL
        return [pod for pod in self.objects("pods", labels) if "deletionTimestamp" not in pod["metadata"]]

    def running(self, role: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until so many pods of a role run; returns them."""

        def look() -> list[dict[str, Any]]:
            found = [pod for pod in self.pods(role) if pod.get("status", {}).get("phase") == "Running"]
            return found if len(found) >= count else []

        return self.until(look, f"{count} pods of role {role} run")

    def condition(self, kind: str) -> Mapping[str, Any]:
        """A condition of the deployment that is about its current generation; empty if there is none."""
        live = self.plane.api.find("lld", NAME, namespace=self.namespace) or {"metadata": {}}
        status = live.get("status") or {}
        if status.get("observedGeneration") != live["metadata"].get("generation"):
            return {}
        return next((one for one in status.get("conditions", ()) if one["type"] == kind), {})

    def served(self) -> None:
        """Wait until the deployment serves what its spec asks for."""
        for kind in ("Ready", "UpToDate"):
            self.reaches(kind, "True")

    def reaches(self, kind: str, status: str, reason: str = "") -> None:
        """Wait for a condition."""

        def look() -> bool:
            found = self.condition(kind)
            return found.get("status") == status and reason in {"", found.get("reason")}

        self.until(look, f"{kind} is {status} {reason}".strip())

    def version(self) -> str:
        """The resourceVersion of the deployment: it changes with each write."""
        live = self.until(lambda: self.plane.api.find("lld", NAME, namespace=self.namespace), "the deployment is there")
        return str(live["metadata"]["resourceVersion"])

    def rests(self) -> None:
        """Wait until nobody writes the deployment any more."""

        def still() -> bool:
            before = self.version()
            time.sleep(_REST_SECONDS)
            return self.version() == before

        self.until(still, "nobody writes the deployment")

    def reported(self, status: str) -> None:
        """Wait until KubeRay has this word of Serve about an application; then Kubernetes knows of it."""

        def told() -> bool:
            parts = [
                (service.get("status") or {}).get(part) or {}
                for service in self.objects("rayservices.ray.io")
                for part in ("activeServiceStatus", "pendingServiceStatus")
            ]
            applications = [one for part in parts for one in (part.get("applicationStatuses") or {}).values()]
            return any(one.get("status") == status for one in applications)

        self.until(told, f"Serve reports {status}")
        self.known()

    def revision(self) -> str:
        """Name of the newest RayService."""
        found = self.until(lambda: self.objects("rayservices.ray.io"), "a RayService")
        return str(max(found, key=lambda one: one["metadata"]["creationTimestamp"])["metadata"]["name"])

    def until(self, look: Callable[[], T], what: str, seconds: float = _PATIENCE_SECONDS) -> T:
        """Wait until `look` returns something true; returns it.

        Raises:
            StageError: It did not within `seconds`.
        """
        end = time.monotonic() + seconds
        while not (found := look()):
            if time.monotonic() > end:
                raise StageError(f"after {seconds:.0f} s it is not so that {what}; {self._pods()}")
            time.sleep(_PAUSE_SECONDS)
        return found

    def _pods(self) -> str:
        """Pods of the deployment and how they fare, for a message."""
        told = [f"{pod['metadata']['name']} {_fares(pod.get('status') or {})}" for pod in self.pods()]
        warned = [one for one in self.objects("events.v1.events.k8s.io", "") if one["type"] == "Warning"]
        told += [f"{one['regarding'].get('name')}: {one.get('note', '')}" for one in warned[-_WARNINGS:]]
        return "; ".join(told) or "there is no pod"

    def _taints(self, name: str, taints: Sequence[Mapping[str, str]]) -> None:
        self.plane.api.patch("nodes", name, {"spec": {"taints": taints}})

    # What is done to processes.

    def pause(self, process: str, seconds: float) -> None:
        """Stop a process of the cluster for a while, without its knowledge."""
        pid = self.plane.processes.pid(process)
        subprocess.run(["kill", f"-{signal.SIGSTOP}", str(pid)], check=True)
        time.sleep(seconds)
        subprocess.run(["kill", f"-{signal.SIGCONT}", str(pid)], check=True)


def _fares(status: Mapping[str, Any]) -> str:
    states = [json.dumps(one.get("state")) for one in status.get("containerStatuses") or ()]
    return " ".join((str(status.get("phase", "")), *states))
