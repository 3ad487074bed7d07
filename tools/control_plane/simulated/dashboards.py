"""Client of the simulated dashboards, for tests: decides how Serve fares, and tells what was submitted to it."""

import json
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from control_plane.simulated.serve import Behavior, Status

_OPENER: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Dashboards:
    """Ray's dashboards as KubeRay sees them: what was submitted, and how it fares. Works from any process.

    Args:
        url: Where the simulation listens.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def set(
        self,
        namespace: str,
        prefix: str,
        application_status: Status = "RUNNING",
        message: str = "",
        deploying_seconds: float = 1.0,
    ) -> None:
        """Decide how the clusters of a RayService fare, those to come included.

        Args:
            namespace: Their namespace.
            prefix: How their names begin: that of a RayCluster, a RayService, or a LlamaDeployment.
            application_status: What becomes of what is submitted: RUNNING, DEPLOYING for good, DEPLOY_FAILED, UNHEALTHY.
            message: What Serve says about it.
            deploying_seconds: How long it is DEPLOYING first.
        """
        self._ask("PUT", namespace, prefix, asdict(Behavior(application_status, message, deploying_seconds)))

    def puts(self, namespace: str, prefix: str) -> list[Mapping[str, Any]]:
        """Every configuration that was submitted to the clusters of a name, by cluster, the newest last."""
        found: list[Mapping[str, Any]] = json.loads(self._ask("GET", namespace, prefix))
        return found

    def looks(self, namespace: str, prefix: str) -> int:
        """How often KubeRay has asked the clusters of a name how they fare: once in every reconcile of a RayService."""
        return int(json.loads(self._ask("GET", namespace, prefix, what="/looks")))

    def _ask(
        self, method: str, namespace: str, prefix: str, body: Mapping[str, Any] | None = None, what: str = ""
    ) -> bytes:
        path = f"{self.url}/simulated/{urllib.parse.quote(namespace)}/{urllib.parse.quote(prefix)}{what}"
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(path, data=data, headers=headers, method=method)  # noqa: S310 - our own loopback
        with _OPENER.open(request, timeout=10) as response:
            found: bytes = response.read()
            return found
