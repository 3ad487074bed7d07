"""The operator's processes beside a cluster: all incidents share one. Called by `runner` and by the plays."""

import sys
from pathlib import Path
from typing import Final

from control_plane.plane import ControlPlane

NAMESPACE: Final = "llama-system"
"""Of the Lease."""
_GRACE_SECONDS: Final = 30.0
_LEASE: Final = "llama-operator"


class Operators:
    """Starts and stops operators that watch all namespaces.

    Args:
        plane: The cluster.
    """

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._started = 0

    def start(self, flags: tuple[str, ...] = (), name: str = "operator-0") -> None:
        """Start one, and wait until somebody leads."""
        plane = self._plane
        # As a pod does, each comes under another name than the one before.
        self._started += 1
        plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        command = [
            *(sys.executable, "-m", "llama_operator.main", f"--kubeconfig={plane.kubeconfig}"),
            *(
                f"--lease-namespace={NAMESPACE}",
                f"--identity={name}-{self._started}",
                "--probe-port=0",
                "--log-format=Json",
            ),
            # No pod runs there: nobody can be asked for its queue, and nobody could ask the Hub.
            *("--serving-status=Off", "--weights-preflight=Disabled"),
        ]
        plane.processes.start(name, [*command, *flags])
        plane.processes.await_(name, self._led)

    def stop(self, name: str = "operator-0") -> None:
        """Ask one to end, and wait until it has."""
        self._plane.processes.stop(name, _GRACE_SECONDS)

    def runs(self, name: str = "operator-0") -> bool:
        """Whether it was started and has not ended."""
        return self._plane.processes.runs(name)

    def log(self, name: str = "operator-0") -> Path:
        """Where it writes."""
        return self._plane.processes.log(name)

    def _led(self) -> bool:
        lease = self._plane.api.find("leases", _LEASE, namespace=NAMESPACE)
        return bool(lease and lease["spec"].get("holderIdentity"))
