"""Karpenter, unmodified, with KWOK for a cloud: nodes come and go with the pods. Called by the tests and by `dev_cluster`.

What it may start is data: `karpenter/node-pool.yaml` and `karpenter/instance-types.json`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from control_plane import binaries, nodes
from control_plane.plane import ControlPlane
from control_plane.processes import answers, free_ports

POOL_LABEL: Final = "karpenter.sh/nodepool"
"""Label of the nodes that Karpenter made: its NodePool's name."""
_FILES: Final = Path(__file__).with_name("karpenter")
_NAME: Final = "karpenter"
_CRDS: Final = ("karpenter-crds", "karpenter-kwok-crds")
_DRAIN: Final = "90s"
"""Three times what a node gets to drain."""


def start(plane: ControlPlane) -> None:
    """Start Karpenter with a NodePool of 8-GPU H100 nodes, and KWOK, which keeps them Ready.

    Raises:
        BuildError: Karpenter is not built, and cannot be.
        PlaneError: It did not come up.
    """
    programs = binaries.ensure(("karpenter",))
    nodes.start_kwok(plane)
    for folder in _CRDS:
        plane.kubectl("apply", "--server-side", "-f", programs / "manifests" / folder)
    kinds = ("nodepools.karpenter.sh", "nodeclaims.karpenter.sh", "kwoknodeclasses.karpenter.kwok.sh")
    plane.kubectl("wait", "--for=condition=Established", "--timeout=240s", "crd", *kinds)
    plane.apply(_binding())
    metrics, probes = free_ports(2)
    environment = {
        "KUBECONFIG": str(plane.kubeconfig_for(_NAME)),
        "INSTANCE_TYPES_FILE_PATH": str(_FILES / "instance-types.json"),
        "DISABLE_LEADER_ELECTION": "true",
        "SYSTEM_NAMESPACE": "kube-system",
        "METRICS_PORT": str(metrics),
        "HEALTH_PROBE_PORT": str(probes),
    }
    plane.processes.start(_NAME, [programs / "karpenter"], environment)
    plane.processes.await_(_NAME, lambda: answers(f"http://127.0.0.1:{probes}/readyz"))
    plane.kubectl("apply", "--server-side", "-f", _FILES / "node-class.yaml", "-f", _FILES / "node-pool.yaml")


def stop(plane: ControlPlane) -> None:
    """Delete the NodePool, wait until its nodes are gone, and stop Karpenter; does nothing if it does not run.

    Raises:
        PlaneError: A node did not go.
    """
    if not plane.processes.runs(_NAME):
        return
    # Karpenter holds its nodes by a finalizer: it has to run until the last is gone.
    plane.kubectl("delete", "nodepools.karpenter.sh", "--all", "--cascade=foreground", f"--timeout={_DRAIN}")
    plane.kubectl("wait", "--for=delete", f"--timeout={_DRAIN}", "node", "-l", POOL_LABEL)
    plane.processes.stop(_NAME)


def _binding() -> Mapping[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": _NAME},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": _NAME}],
    }
