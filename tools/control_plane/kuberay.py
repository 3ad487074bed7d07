"""KubeRay, unmodified and under its own role, beside a control plane. Called by the tests and by `dev_cluster`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from control_plane import saved_planes
from control_plane.plane import ControlPlane
from control_plane.processes import answers, free_port, free_ports
from control_plane.simulated.dashboards import Dashboards

USER: Final = "system:serviceaccount:kuberay-system:kuberay-operator"
IMAGE: Final = "kuberay/operator:v1.6.2"
"""Name under which a pod asks for it."""
_DEPLOYMENT: Final = Path(__file__).with_name("kuberay") / "deployment.yaml"
_CONCURRENCY: Final = 10
"""RayServices that are looked after at once: each is visited every two seconds, for ever."""


def start(plane: ControlPlane, *, simulated: bool = True) -> None:
    """Start KubeRay, with its CRDs and role.

    Args:
        plane: The control plane.
        simulated: Whether Ray's dashboards are simulated, for pods that do not really run. Otherwise KubeRay asks the
            real ones, through the API server. The simulated ones are `plane.dashboards` then.

    Raises:
        PlaneError: It did not come up.
    """
    install(plane)
    proxy = _start_proxy(plane) if simulated else None
    metrics, probes = free_ports(2)
    command: list[str | Path] = [
        plane.binaries / "ray-operator",
        "-use-kubernetes-proxy",
        "-enable-leader-election=false",
        f"-reconcile-concurrency={_CONCURRENCY}",
        *("-qps=400", "-burst=800"),
        *("-kubeconfig", plane.kubeconfig_for(USER, server=proxy)),
        *("-metrics-addr", f"127.0.0.1:{metrics}"),
        *("-health-probe-bind-address", f"127.0.0.1:{probes}"),
    ]
    plane.processes.start("ray-operator", command)
    plane.processes.await_("ray-operator", lambda: answers(f"http://127.0.0.1:{probes}/readyz"))
    if proxy is not None:
        plane.dashboards = Dashboards(proxy)


def install(plane: ControlPlane) -> None:
    """Install its CRDs and its role, for whoever runs as its account.

    Raises:
        PlaneError: The API server refused something.
    """
    crds = plane.kubectl("get", "crd", "rayservices.ray.io", "-o", "name", check=False)
    if crds.returncode != 0:
        plane.kubectl("apply", "--server-side", "-f", saved_planes.kuberay_crds())
        plane.kubectl("wait", "--for=condition=Established", "--timeout=240s", "crd", "rayservices.ray.io")
    plane.kubectl("apply", "--server-side", "-f", plane.binaries / "manifests" / "kuberay" / "role.yaml")
    plane.apply(_binding())


def start_in_pod(plane: ControlPlane) -> None:
    """Run KubeRay in a pod, on a real node that has `IMAGE`; then it is a peer that NetworkPolicies know.

    Raises:
        PlaneError: The API server refused something.
    """
    install(plane)
    plane.kubectl("apply", "--server-side", "-f", _DEPLOYMENT)


def _start_proxy(plane: ControlPlane) -> str:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command: list[str | Path] = [
        *(sys.executable, "-m", "control_plane.simulated.proxy"),
        *("--kubeconfig", plane.kubeconfig_for(USER), "--port", str(port)),
    ]
    tools = str(Path(__file__).resolve().parents[1])
    plane.processes.start("dashboards", command, {"PYTHONPATH": tools})
    plane.processes.await_("dashboards", lambda: answers(f"{url}/simulated/ready"))
    return url


def _binding() -> Mapping[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "kuberay-operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "kuberay-operator"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
    }
