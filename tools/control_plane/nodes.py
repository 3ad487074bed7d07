"""Simulated nodes: KWOK makes their pods run, and nothing does. Called by the tests and by `dev_cluster`.

What a kind of node has is data: `profiles/*.yaml`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from control_plane.plane import ControlPlane
from control_plane.processes import answers, free_port

_PROFILES: Final = Path(__file__).with_name("profiles")
PROFILE_LABEL: Final = "llama-operator.io/simulated-profile"
"""Label of the nodes that `add_nodes` made: the profile's name."""
_ANNOTATION: Final = "kwok.x-k8s.io/node"
_USER: Final = "kwok-controller"
_STAGES: Final = ("node-initialize", "node-heartbeat-with-lease", "pod-ready", "pod-complete", "pod-delete")


class UnknownProfileError(ValueError):
    """There is no such kind of node; the message names those that there are."""


def profiles() -> tuple[str, ...]:
    """Names of the kinds of nodes."""
    return tuple(sorted(path.stem for path in _PROFILES.glob("*.yaml")))


def profile(name: str) -> Mapping[str, Any]:
    """Capacity and labels of a kind of node.

    Raises:
        UnknownProfileError: There is no such kind.
    """
    if name not in profiles():
        raise UnknownProfileError(f"no profile {name!r}: choose from {', '.join(profiles())}")
    found: Mapping[str, Any] = yaml.safe_load((_PROFILES / f"{name}.yaml").read_text(encoding="utf-8"))
    return found


def start_kwok(plane: ControlPlane) -> None:
    """Start KWOK, which keeps simulated nodes Ready and runs their pods; does nothing if it runs.

    Raises:
        PlaneError: It did not come up.
    """
    if plane.processes.runs("kwok"):
        return
    plane.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "kwok"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": _USER}],
        }
    )
    port = free_port()
    stages = plane.binaries / "manifests" / "kwok"
    command: list[str | Path] = [
        plane.binaries / "kwok",
        f"--kubeconfig={plane.kubeconfig_for(_USER)}",
        *(f"--config={stages / name}.yaml" for name in _STAGES),
        f"--manage-nodes-with-annotation-selector={_ANNOTATION}=fake",
        "--node-lease-duration-seconds=40",
        "--cidr=10.64.0.0/14",
        "--node-ip=10.63.0.1",
        f"--server-address=127.0.0.1:{port}",
    ]
    plane.processes.start("kwok", command)
    plane.processes.await_("kwok", lambda: answers(f"http://127.0.0.1:{port}/healthz"))


def add_nodes(
    plane: ControlPlane, name: str, count: int = 1, *, taints: Sequence[Mapping[str, str]] = ()
) -> tuple[str, ...]:
    """Add nodes of a kind and wait until they are Ready; returns their names. Starts KWOK if it does not run.

    Args:
        plane: The control plane.
        name: Name of a profile.
        count: How many.
        taints: Their taints, from their first moment: pods are bound in less than a second.

    Raises:
        UnknownProfileError: There is no such kind.
        PlaneError: They were not Ready within half a minute.
    """
    facts = profile(name)
    start_kwok(plane)
    taken = {node["metadata"]["name"] for node in plane.api.list("nodes")}
    free = (each for number in range(count + len(taken)) if (each := f"{name}-{number}") not in taken)
    names = tuple(each for each, _ in zip(free, range(count), strict=False))
    if names:
        plane.apply(*(_node(each, name, facts, taints) for each in names))
        plane.kubectl("wait", "--for=condition=Ready", "--timeout=30s", *(f"node/{each}" for each in names))
    return names


def remove_nodes(plane: ControlPlane, names: Sequence[str]) -> None:
    """Delete nodes; the pods on them are gone with them."""
    if names:
        plane.kubectl("delete", "node", "--ignore-not-found", *names)


def _node(name: str, kind: str, facts: Mapping[str, Any], taints: Sequence[Mapping[str, str]]) -> Mapping[str, Any]:
    labels = {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        PROFILE_LABEL: kind,
        **facts["labels"],
    }
    capacity = dict(facts["capacity"])
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {_ANNOTATION: "fake"}},
        "spec": {"taints": list(taints)} if taints else {},
        "status": {"capacity": capacity, "allocatable": capacity},
    }
