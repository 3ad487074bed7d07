"""Incidents that only a kubelet tells of: pods on a real node, with the labels that KubeRay's have. Called by `recordings`."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final

from control_plane import binaries, saved_planes
from control_plane.node.real_node import NodeSettings, real_node
from control_plane.plane import SERVICE_RANGE, ControlPlane

Object = Mapping[str, Any]
Write = Callable[[str, Iterable[Object]], None]

_IMAGE: Final = "llama-operator/llama-serving:recorded"
_NODE: Final = NodeSettings(name="real", images=(_IMAGE,), promised={"cpu": "16", "memory": "32Gi"})
_MOUNT: Final = {"volumeMounts": [{"name": "weights", "mountPath": "/models/acme", "readOnly": True}]}
_PATIENCE: Final = 240.0
_LABELS: Final = {
    "llama-operator.io/deployment": "chat",
    "llama-operator.io/revision": "chat-aaaaaaaa",
    "app.kubernetes.io/managed-by": "llama-operator",
    "ray.io/node-type": "worker",
}
_SLEEP: Final = ["sleep", "600"]


def _waiting(*reasons: str) -> Callable[[Object], bool]:
    return lambda pod: any(
        (one.get("state") or {}).get("waiting", {}).get("reason") in reasons for one in _containers(pod)
    )


def _ended(pod: Object) -> bool:
    return any("terminated" in (one.get("state") or {}) for one in _containers(pod))


def _killed(pod: Object) -> bool:
    return any("terminated" in (one.get("lastState") or {}) for one in _containers(pod))


def _phase(phase: str) -> Callable[[Object], bool]:
    return lambda pod: (pod.get("status") or {}).get("phase") == phase


def _ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _preparing(pod: Object) -> bool:
    return any("running" in (one.get("state") or {}) for one in _first(pod))


def _first(pod: Object) -> list[Mapping[str, Any]]:
    return list((pod.get("status") or {}).get("initContainerStatuses") or ())


def _containers(pod: Object) -> list[Mapping[str, Any]]:
    return list((pod.get("status") or {}).get("containerStatuses") or ())


def _env_from(name: str) -> list[Mapping[str, Any]]:
    return [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": name, "key": "token"}}}]


def _mounted(reference: str) -> Mapping[str, Any]:
    return {"volumes": [{"name": "weights", "image": {"reference": reference, "pullPolicy": "IfNotPresent"}}]}


_DIGEST: Final = f"sha256:{'0' * 64}"
_PROBE: Final = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
_GATE: Final = {"name": "wait-gcs-ready", "image": _IMAGE, "imagePullPolicy": "IfNotPresent"}
"""As KubeRay names the container that waits for Ray's head."""
_PROXY: Final = {"name": "proxy", "image": _IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["true"]}
_TOO_MUCH: Final = {
    "command": ["python3", "-c", "x = bytearray(1 << 30); print(len(x))"],
    "resources": {"limits": {"memory": "64Mi"}},
}
_ALWAYS: Final = {"restartPolicy": "Always"}


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident of one pod.

    Attributes:
        seen: Whether the kubelet tells of it.
        container: What is other in its container.
        spec: What is other in its spec.
        others: Containers beside it.
        warned: Reason of an event that is part of it; empty for none.
    """

    seen: Callable[[Object], bool]
    container: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    others: tuple[Mapping[str, Any], ...] = ()
    warned: str = ""


INCIDENTS: Final[Mapping[str, Incident]] = {
    "image-missing": Incident(_waiting("ImagePullBackOff"), {"image": "registry.invalid/acme/serving:1"}),
    "image-missing-tried": Incident(_waiting("ErrImagePull"), {"image": "registry.invalid/acme/serving:1"}),
    "image-name-invalid": Incident(_waiting("InvalidImageName"), {"image": "Acme//Serving"}),
    "mounted-image-missing": Incident(
        _waiting("ImagePullBackOff"), _MOUNT, _mounted(f"127.0.0.1:1/acme/weights@{_DIGEST}")
    ),
    "mounted-image-missing-tried": Incident(
        _waiting("ErrImagePull"), _MOUNT, _mounted(f"127.0.0.1:1/acme/weights@{_DIGEST}")
    ),
    # Only by a containerd older than 2.1.
    "runtime-mounts-no-images": Incident(_waiting("CreateContainerError"), _MOUNT, _mounted(_IMAGE)),
    "secret-missing": Incident(_waiting("CreateContainerConfigError"), {"env": _env_from("hugging-face")}),
    "exit": Incident(_ended, {"command": ["python3", "-c", "raise SystemExit(3)"]}),
    "crash-loop": Incident(_waiting("CrashLoopBackOff"), {"command": ["false"]}, _ALWAYS),
    "command-missing": Incident(_ended, {"command": ["nowhere"]}),
    "out-of-memory": Incident(_ended, _TOO_MUCH),
    "probe-fails": Incident(_phase("Running"), {"readinessProbe": _PROBE}, warned="Unhealthy"),
    "killed-by-probe": Incident(
        _killed,
        {
            "livenessProbe": _PROBE,
            "command": ["python3", "-c", "import time, signal; signal.signal(15, lambda *_: None); time.sleep(600)"],
        },
        {"restartPolicy": "Always", "terminationGracePeriodSeconds": 2},
    ),
    "liveness-fails": Incident(_phase("Failed"), {"livenessProbe": _PROBE}, warned="Unhealthy"),
    "volume-missing": Incident(
        _waiting("ContainerCreating"),
        {"volumeMounts": [{"name": "acme", "mountPath": "/acme"}]},
        {"volumes": [{"name": "acme", "secret": {"secretName": "acme"}}]},
        warned="FailedMount",
    ),
    "disk-share-full": Incident(
        _phase("Failed"),
        {
            "command": ["python3", "-c", "import time; open('/tmp/x', 'wb').write(bytes(1 << 26)); time.sleep(600)"],
            "resources": {"limits": {"ephemeral-storage": "1Mi"}},
        },
    ),
    "runs": Incident(_ready),
    "ended-well": Incident(_phase("Succeeded"), {"command": ["true"]}),
    "ended-well-beside-another": Incident(_phase("Succeeded"), {"command": ["true"]}, others=(_PROXY,)),
    "another-ended-well": Incident(_ended, others=(_PROXY,)),
    "broke-after-another": Incident(
        lambda pod: _phase("Failed")(pod) and all("terminated" in one["state"] for one in _containers(pod)),
        {"command": ["sh", "-c", "sleep 12; exit 1"]},
        # The kubelet sorts containers by name: the first in its list ended last.
        others=({**_PROXY, **_TOO_MUCH, "name": "zzz"},),
    ),
    "gate-waits": Incident(_preparing, spec={"initContainers": [{**_GATE, "command": _SLEEP}]}),
    "gate-out-of-memory": Incident(
        lambda pod: any(
            "terminated" in (one.get("lastState") or {}) and "waiting" in one["state"] for one in _first(pod)
        ),
        spec={**_ALWAYS, "initContainers": [{**_GATE, **_TOO_MUCH}]},
    ),
    "refused-by-kubelet": Incident(
        _phase("Failed"), {"resources": {"requests": {"cpu": "64"}}}, {"nodeName": _NODE.name}
    ),
    "held-by-a-queue": Incident(
        lambda pod: bool((pod.get("status") or {}).get("conditions")),
        spec={"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]},
    ),
}


def play(folder: Path, write: Write, chosen: Callable[[str], bool]) -> None:
    """Play the chosen incidents on one node."""
    left = {name: incident for name, incident in INCIDENTS.items() if chosen(name)}
    if not left:
        return
    programs = binaries.ensure(("node",))
    with (
        saved_planes.control_plane(folder / "plane-of-node") as plane,
        real_node(plane, programs, folder, _NODE, IPv4Network(SERVICE_RANGE)),
    ):
        plane.apply(*(_pod(name, incident) for name, incident in left.items()))
        end = time.monotonic() + _PATIENCE
        while left and time.monotonic() < end:
            for pod in plane.api.list("pods", namespace="default"):
                name = pod["metadata"]["name"]
                if name not in left or not left[name].seen(pod):
                    continue
                events = _warnings(plane, name, left[name].warned) if left[name].warned else []
                if events or not left[name].warned:
                    write(name, [pod, *events])
                    del left[name]
            time.sleep(0.2)
        for name in left:
            print(f"never seen: {name}: {_state(plane, name)}")


def _warnings(plane: ControlPlane, pod: str, reason: str) -> list[Object]:
    events = plane.api.list("events.v1.events.k8s.io", namespace="default")
    return [one for one in events if one["regarding"].get("name") == pod and one["reason"] == reason]


def _state(plane: ControlPlane, name: str) -> object:
    pod = plane.api.find("pods", name, namespace="default") or {}
    return pod.get("status")


def _pod(name: str, incident: Incident) -> Object:
    whole = {
        "name": "ray-worker",
        "image": _IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": _SLEEP,
        **incident.container,
    }
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, **incident.spec}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": _LABELS},
        "spec": {**spec, "containers": [whole, *incident.others]},
    }
