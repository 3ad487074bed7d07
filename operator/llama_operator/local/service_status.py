"""Pure: what a Ray cluster shows -> the status that KubeRay 1.6 would write for its RayService.

Called by `cluster`. The rules follow KubeRay's RayService controller (v1.6.2, `calculateStatus`): a first cluster is
*pending* until all its applications have run once, then it stays *active*; endpoints count the healthy proxy
of the active cluster and nothing else, so `Ready` stays True when an application fails later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llama_operator.local.dashboard import ApplicationState

_INITIALIZING = "RayService is initializing"


@dataclass(frozen=True, slots=True)
class Observation:
    """What one look at a local cluster showed.

    Attributes:
        generation: Generation of the RayService that the cluster realizes.
        cluster_name: Name of its RayCluster.
        applications: As Serve reports them; empty while nothing answers.
        proxy_healthy: Whether Serve's HTTP proxy passes its health check.
        trouble: What keeps it from serving, for people; empty if nothing does. KubeRay would record it as an event.
    """

    generation: int
    cluster_name: str
    applications: Sequence[ApplicationState] = ()
    proxy_healthy: bool = False
    trouble: str = ""


def next_status(previous: Mapping[str, Any], seen: Observation, *, now: datetime) -> dict[str, Any]:
    """Calculate the RayService's status from the one before and an observation."""
    promoted = bool((previous.get("activeServiceStatus") or {}).get("rayClusterName"))
    running = bool(seen.applications) and all(app.status == "RUNNING" for app in seen.applications)
    promoted = promoted or running
    endpoints = int(promoted and seen.proxy_healthy)
    cluster = {"rayClusterName": seen.cluster_name, "applicationStatuses": _applications(seen.applications)}
    conditions = {condition["type"]: condition for condition in previous.get("conditions") or []}
    was_ready = conditions.get("Ready", {}).get("status") == "True"
    old_reason = conditions.get("Ready", {}).get("reason", "Initializing")
    if endpoints:
        ready = ("True", "NonZeroServeEndpoints", "Number of serve endpoints is greater than 0")
    elif was_ready or old_reason == "ZeroServeEndpoints":
        ready = ("False", "ZeroServeEndpoints", seen.trouble or "Number of serve endpoints dropped to 0")
    else:
        ready = ("False", "Initializing", seen.trouble or _INITIALIZING)
    if promoted:
        upgrade = ("False", "NoPendingCluster", "Active Ray cluster exists and no pending Ray cluster")
    else:
        upgrade = ("False", "Initializing", _INITIALIZING)
    return {
        "observedGeneration": seen.generation,
        "numServeEndpoints": endpoints,
        "serviceStatus": "Running" if endpoints else "",
        "conditions": [
            _condition(conditions, "Ready", ready, generation=seen.generation, now=now),
            _condition(conditions, "UpgradeInProgress", upgrade, generation=seen.generation, now=now),
        ],
        "activeServiceStatus": cluster if promoted else {},
        "pendingServiceStatus": {} if promoted else cluster,
    }


def invalid_status(previous: Mapping[str, Any], problem: str, *, generation: int, now: datetime) -> dict[str, Any]:
    """Status of a RayService that fails validation: KubeRay leaves `observedGeneration` at the last valid one."""
    conditions = {condition["type"]: condition for condition in previous.get("conditions") or []}
    ready = _condition(conditions, "Ready", ("False", "ValidationFailed", problem), generation=generation, now=now)
    others = [condition for name, condition in conditions.items() if name != "Ready"]
    return {**previous, "conditions": [ready, *others]}


def _applications(applications: Sequence[ApplicationState]) -> dict[str, Any]:
    return {
        application.name: {
            "status": application.status,
            "message": application.message,
            "serveDeploymentStatuses": {
                deployment.name: {"status": deployment.status, "message": deployment.message}
                for deployment in application.deployments
            },
        }
        for application in applications
    }


def _condition(
    previous: Mapping[str, Mapping[str, Any]],
    name: str,
    value: tuple[str, str, str],
    *,
    generation: int,
    now: datetime,
) -> dict[str, Any]:
    status, reason, message = value
    old = previous.get(name)
    changed = old is None or old["status"] != status
    moment = now.strftime("%Y-%m-%dT%H:%M:%SZ") if changed or old is None else old["lastTransitionTime"]
    return {
        "type": name,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": moment,
    }
