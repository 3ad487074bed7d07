"""Incidents that only a kubelet tells of: pods on a real node, with the labels that KubeRay's have. Called by `recordings`."""

import time
from collections.abc import Callable, Iterable, Mapping
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


def _containers(pod: Object) -> list[Mapping[str, Any]]:
    return list((pod.get("status") or {}).get("containerStatuses") or ())


def _env_from(name: str) -> list[Mapping[str, Any]]:
    return [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": name, "key": "token"}}}]


_PROBE: Final = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}

INCIDENTS: Final[Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any], Callable[[Object], bool]]]] = {
    "image-missing": ({"image": "registry.invalid/acme/serving:1"}, {}, _waiting("ImagePullBackOff")),
    "image-missing-tried": ({"image": "registry.invalid/acme/serving:1"}, {}, _waiting("ErrImagePull")),
    "image-name-invalid": ({"image": "Acme//Serving"}, {}, _waiting("InvalidImageName")),
    "secret-missing": ({"env": _env_from("hugging-face")}, {}, _waiting("CreateContainerConfigError")),
    "exit": ({"command": ["python3", "-c", "raise SystemExit(3)"]}, {}, _ended),
    "crash-loop": ({"command": ["false"]}, {"restartPolicy": "Always"}, _waiting("CrashLoopBackOff")),
    "command-missing": ({"command": ["nowhere"]}, {}, _ended),
    "out-of-memory": (
        {
            "command": ["python3", "-c", "x = bytearray(1 << 30); print(len(x))"],
            "resources": {"limits": {"memory": "64Mi"}},
        },
        {},
        _ended,
    ),
    "probe-fails": ({"readinessProbe": _PROBE}, {}, _phase("Running")),
    "killed-by-probe": (
        {
            "livenessProbe": _PROBE,
            "command": ["python3", "-c", "import time, signal; signal.signal(15, lambda *_: None); time.sleep(600)"],
        },
        {"restartPolicy": "Always", "terminationGracePeriodSeconds": 2},
        _killed,
    ),
    "volume-missing": (
        {"volumeMounts": [{"name": "acme", "mountPath": "/acme"}]},
        {"volumes": [{"name": "acme", "secret": {"secretName": "acme"}}]},
        _waiting("ContainerCreating"),
    ),
    "disk-share-full": (
        {
            "command": ["python3", "-c", "import time; open('/tmp/x', 'wb').write(bytes(1 << 26)); time.sleep(600)"],
            "resources": {"limits": {"ephemeral-storage": "1Mi"}},
        },
        {},
        _phase("Failed"),
    ),
}


def play(folder: Path, write: Write) -> None:
    """Play all incidents on one node."""
    programs = binaries.ensure(("node",))
    with (
        saved_planes.control_plane(folder / "plane-of-node") as plane,
        real_node(plane, programs, folder, _NODE, IPv4Network(SERVICE_RANGE)),
    ):
        plane.apply(*(_pod(name) for name in INCIDENTS))
        left, end = dict(INCIDENTS), time.monotonic() + _PATIENCE
        while left and time.monotonic() < end:
            for pod in plane.api.list("pods", namespace="default"):
                name = pod["metadata"]["name"]
                if name in left and left[name][2](pod):
                    write(name, [pod])
                    del left[name]
            time.sleep(0.2)
        for name in left:
            print(f"never seen: {name}: {_state(plane, name)}")


def _state(plane: ControlPlane, name: str) -> object:
    pod = plane.api.find("pods", name, namespace="default") or {}
    return pod.get("status")


def _pod(name: str) -> Object:
    container, spec, _ = INCIDENTS[name]
    whole = {
        "name": "ray-worker",
        "image": _IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": _SLEEP,
        **container,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": _LABELS},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, **spec, "containers": [whole]},
    }
