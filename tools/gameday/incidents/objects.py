"""Somebody deletes or changes what the operator made."""

from typing import Final

from gameday.incident import Incident, Play, condition, event, explain, logged, never
from gameday.stage import NAME, Stage


def _serves(stage: Stage) -> None:
    stage.deploy()
    stage.served()


def _deleted(kind: str, heir: str = "") -> Play:
    """Delete the one object of the kind, and wait until there is another one."""

    def cause(stage: Stage) -> None:
        labels = f"llama-operator.io/deployment={NAME}"
        before = {one["metadata"]["uid"] for one in stage.objects(kind, labels)}
        name = heir or stage.objects(kind, labels)[0]["metadata"]["name"]
        stage.known()
        stage.plane.api.delete(kind, name, namespace=stage.namespace)

        def back() -> bool:
            return any(one["metadata"]["uid"] not in before for one in stage.objects(kind, labels))

        stage.until(back, f"there is a {kind} again")

    return cause


def _cluster_deleted(stage: Stage) -> None:
    _deleted("rayclusters.ray.io")(stage)


def _service_edited(stage: Stage) -> None:
    name = stage.revision()
    stage.known()
    change = {"spec": {"rayClusterConfig": {"rayVersion": "2.1.0"}}}
    stage.plane.api.patch("rayservices.ray.io", name, change, namespace=stage.namespace)

    def undone() -> bool:
        live = stage.plane.api.find("rayservices.ray.io", name, namespace=stage.namespace) or {}
        return bool(live) and live["spec"]["rayClusterConfig"].get("rayVersion") != "2.1.0"

    stage.until(undone, "the change is undone")


def _fight(stage: Stage) -> None:
    """Another tool changes the Service each time that it was set right."""
    for number in range(6):
        change = {"spec": {"selector": {"rival": str(number)}}}
        stage.plane.api.patch("services", NAME, change, namespace=stage.namespace)
        stage.until(
            lambda: _undone(stage) or stage.condition("ObjectsKept").get("status") == "False", "it is set right"
        )
    stage.known()


def _undone(stage: Stage) -> bool:
    live = stage.plane.api.find("services", NAME, namespace=stage.namespace) or {}
    return bool(live) and "rival" not in live["spec"]["selector"]


_SERVES: Final = never(condition("Ready", "False"))
_NO_ROLLOUT: Final = never(condition("UpToDate", "", "RollingOut"))

INCIDENTS: Final = (
    Incident(
        name="service-deleted",
        title="Somebody deletes the Service of a deployment",
        before=_serves,
        cause=_deleted("services", NAME),
        says=(
            _SERVES,
            event("Repaired", "", has=("Service", "made again")),
            logged(has=(NAME, "Service", "made again")),
        ),
    ),
    Incident(
        name="fought-over",
        title="Another tool changes the Service of a deployment again and again",
        before=_serves,
        cause=_fight,
        reasons=("ChangedByOthers",),
        says=(
            condition("ObjectsKept", "False", "ChangedByOthers", has=("spec.selector.rival",)),
            event("Contested", has=("spec.selector.rival",)),
            explain("objects", "Warning", has=("spec.selector.rival", "kubectl get events")),
        ),
        own=True,
    ),
    Incident(
        name="network-policy-deleted",
        title="Somebody deletes a NetworkPolicy of a deployment",
        before=_serves,
        cause=_deleted("networkpolicies"),
        says=(
            _SERVES,
            event("Repaired", "", has=("NetworkPolicy", "made again")),
            logged(has=(NAME, "NetworkPolicy", "made again")),
        ),
    ),
    Incident(
        name="raycluster-deleted",
        title="Somebody deletes the RayCluster of a deployment",
        before=_serves,
        cause=_cluster_deleted,
        says=(
            _NO_ROLLOUT,
            event("NotReady", has=("the RayCluster of", "is gone"), lacks=("yet",)),
            condition("Ready", "True"),
        ),
    ),
    Incident(
        name="rayservice-deleted",
        title="Somebody deletes the RayService of a deployment",
        before=_serves,
        cause=_deleted("rayservices.ray.io"),
        says=(
            _NO_ROLLOUT,
            event("Repaired", "", has=("RayService", "made again")),
            logged(has=(NAME, "RayService", "made again")),
            condition("Ready", "True"),
        ),
    ),
    Incident(
        name="rayservice-edited",
        title="Somebody edits the RayService of a deployment",
        before=_serves,
        cause=_service_edited,
        says=(
            _SERVES,
            event("Repaired", "", has=("RayService", "rayVersion")),
            logged(has=(NAME, "rayVersion")),
        ),
    ),
)
