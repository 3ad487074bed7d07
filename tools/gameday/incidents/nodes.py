"""Nodes that go away, take no pods, or are too few. Each kind of node belongs to one incident at a time."""

from typing import Any, Final

from gameday.incident import Incident, column, condition, doctor, event, explain, never, once, within
from gameday.stage import Stage

_NODE_DIED: Final = "The replica's actor died because its node has died."
"""What Serve says of a replica on a node that is gone, half a minute later."""
_GROWS: Final = {"mode": "QueueDepth", "targetQueueDepth": 4}


def _deploy(stage: Stage, accelerator: str, least: int = 1, most: int | None = None, **spec: Any) -> None:
    scaling = _GROWS | {"minReplicas": least, "maxReplicas": most or least}
    stage.deploy(hardware={"accelerator": accelerator}, scaling=scaling, **spec)


def _worker_node(stage: Stage) -> str:
    return str(stage.running("worker")[0]["spec"]["nodeName"])


def _serves_on_a100(stage: Stage) -> None:
    stage.nodes("a100-4", 2)
    _deploy(stage, "A100-80GB")
    stage.served()
    stage.running("worker")


def _cordon(stage: Stage) -> None:
    stage.cordon(_worker_node(stage))


def _node_deleted(stage: Stage) -> None:
    node = _worker_node(stage)
    stage.plane.api.delete("nodes", node)
    stage.known()
    stage.serve("UNHEALTHY", _NODE_DIED)


def _serves_on_h200(stage: Stage) -> None:
    stage.nodes("h200-8", 2)
    _deploy(stage, "H200-141GB", 2)
    stage.served()
    stage.running("worker", 2)


def _all_lost(stage: Stage) -> None:
    for node in stage.plane.api.list("nodes", labels="llama-operator.io/simulated-profile=h200-8"):
        stage.node_is_lost(node["metadata"]["name"])
    stage.known()
    stage.serve("UNHEALTHY", _NODE_DIED)


def _h200_nodes_lost(stage: Stage) -> None:
    for node in stage.nodes("h200-8", 2):
        stage.node_is_lost(node)


def _new_on_h200(stage: Stage) -> None:
    stage.serve("DEPLOYING")
    _deploy(stage, "H200-141GB")
    _unschedulable(stage)


def _unschedulable(stage: Stage) -> None:
    def told() -> bool:
        conditions = [one for pod in stage.pods() for one in (pod.get("status") or {}).get("conditions", ())]
        return any(one["type"] == "PodScheduled" and one["status"] == "False" for one in conditions)

    stage.until(told, "the scheduler places a pod on no node")
    stage.known()


def _one_full_one_tainted(stage: Stage, **rollout: Any) -> None:
    stage.nodes("b200-8", 1)
    _deploy(stage, "B200-180GB", 8, rollout={"progressDeadlineSeconds": 15, "drainSeconds": 0, **rollout})
    stage.served()
    stage.running("worker", 8)
    (added,) = stage.nodes("b200-8", 1)
    stage.taint(added, "maintenance", "true")


def _one_full_one_tainted_blue_green(stage: Stage) -> None:
    _one_full_one_tainted(stage, strategy="BlueGreen")


def _new_context(stage: Stage) -> None:
    stage.change({"context": {"maxModelLength": 512}})


def _new_context_that_waits(stage: Stage) -> None:
    old = stage.revision()
    _new_context(stage)
    new = stage.until(lambda: stage.revision() if stage.revision() != old else "", "the new revision starts")
    stage.serve("DEPLOYING", of=new)
    _unschedulable(stage)


def _neighbor_on_l40s(stage: Stage) -> None:
    stage.nodes("l40s-8", 2)
    other = stage.manifest(hardware={"accelerator": "L40S-48GB"}, scaling=_GROWS | {"minReplicas": 6, "maxReplicas": 6})
    other["metadata"]["name"] = "neighbor"
    stage.plane.apply(other)

    def placed() -> bool:
        found = stage.objects("pods", "llama-operator.io/deployment=neighbor,ray.io/node-type=worker")
        return len([pod for pod in found if pod["spec"].get("nodeName")]) == 6  # noqa: PLR2004 - as many as it asks for

    stage.until(placed, "the neighbor holds six GPUs")


def _too_many(stage: Stage) -> None:
    stage.serve("DEPLOYING")
    _deploy(stage, "L40S-48GB", 12, 20)
    _unschedulable(stage)


def _no_node_at_all(stage: Stage) -> None:
    stage.deploy("llama-3.1-8b-l4")


def _two_serve(stage: Stage) -> None:
    stage.deploy(scaling=_GROWS | {"minReplicas": 2, "maxReplicas": 2})
    stage.served()
    stage.running("worker", 2)


def _one_not_ready(stage: Stage) -> None:
    pod = stage.running("worker", 2)[0]
    stage.known()
    stage.kubelet_says(pod, {"running": {"startedAt": "2026-01-01T00:00:00Z"}})


def _one_dies(stage: Stage) -> None:
    pod = stage.running("worker", 2)[0]
    stage.known()
    waits = {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}
    stage.kubelet_says(pod, {"waiting": waits}, {"terminated": {"exitCode": 137, "reason": "OOMKilled"}})


_SERVES: Final = never(condition("Ready", "False"))

INCIDENTS: Final = (
    Incident(
        name="node-cordoned",
        title="A GPU node is cordoned under a replica",
        before=_serves_on_a100,
        cause=_cordon,
        takes=frozenset({"a100-4"}),
        says=(
            _SERVES,
            never(event("")),
            doctor("accelerators", has=("4 A100-80GB on 1 node",)),
            condition("Ready", "True"),
        ),
    ),
    Incident(
        name="node-deleted",
        title="A GPU node is deleted under a replica",
        before=_serves_on_a100,
        cause=_node_deleted,
        takes=frozenset({"a100-4"}),
        reasons=("NodesLost",),
        says=(
            once(condition("Ready", "False", "NodesLost", has=("a100-4-",), lacks=("yet",))),
            once(condition("CapacityFound", "False", "NodesLost", has=("a100-4-",))),
            condition("UpToDate", "True"),
            event("", has=("a100-4-",)),
            once(explain("", "Failed", has=("a100-4-",))),
        ),
    ),
    Incident(
        name="all-nodes-not-ready",
        title="The kubelets of all GPU nodes fall silent",
        before=_serves_on_h200,
        cause=_all_lost,
        takes=frozenset({"h200-8"}),
        reasons=("NodesLost",),
        says=(
            condition("Ready", "False", "NodesLost", has=("not ready",), lacks=("yet",)),
            condition("CapacityFound", "False", "NodesLost", has=("not ready",)),
            condition("UpToDate", "True"),
            event("", has=("not ready",)),
            explain("capacity", "Failed", has=("not ready",), lacks=("16 on 2 node",)),
            explain("cluster", lacks=("3 of 3 pods run",)),
            doctor("accelerators", lacks=("16 H200-141GB on 2",)),
        ),
        sampled=True,
    ),
    Incident(
        name="new-while-nodes-not-ready",
        title="A deployment is created while all its nodes are not ready",
        before=_h200_nodes_lost,
        cause=_new_on_h200,
        takes=frozenset({"h200-8"}),
        reasons=("NodesLost", "PodsUnschedulable"),
        says=(
            condition("CapacityFound", "False", lacks=("0 H200-141GB exist",)),
            condition("Ready", "False", has=("taint",)),
            event("", has=("taint",)),
            explain("capacity", "Failed", has=("taint", "not ready"), lacks=("16 on 2 node", " 8 free", "16 free")),
        ),
    ),
    Incident(
        name="tainted-node-is-no-room",
        title="A new revision is wanted; one node is full, the other one tainted",
        before=_one_full_one_tainted,
        cause=_new_context,
        takes=frozenset({"b200-8"}),
        says=(
            once(explain("rollout", has=("Recreate",), lacks=("room for 8",))),
            within(40, condition("UpToDate", "True")),
            doctor("accelerators", lacks=("16 B200-180GB on 2",)),
        ),
    ),
    Incident(
        name="given-up-for-a-taint",
        title="A rollout is given up because its pods find no node",
        before=_one_full_one_tainted_blue_green,
        cause=_new_context_that_waits,
        takes=frozenset({"b200-8"}),
        reasons=("ProgressDeadlineExceeded", "PodsUnschedulable"),
        says=(
            _SERVES,
            once(condition("CapacityFound", "False", "PodsUnschedulable", has=("taint",))),
            within(30, condition("UpToDate", "False", "ProgressDeadlineExceeded", has=("taint",))),
            within(30, condition("Stalled", "True", has=("taint",))),
            within(30, event("RolledBack", has=("taint",))),
            once(explain("capacity", "Failed", has=("taint",))),
        ),
    ),
    Incident(
        name="too-few-gpus",
        title="More GPUs are wanted than are free",
        before=_neighbor_on_l40s,
        cause=_too_many,
        takes=frozenset({"l40s-8"}),
        reasons=("PodsUnschedulable",),
        says=(
            condition("CapacityFound", "False", "PodsUnschedulable", has=("Insufficient nvidia.com/gpu",)),
            condition("Ready", "False", "PodsUnschedulable", has=("Insufficient nvidia.com/gpu",)),
            event("PodsUnschedulable", has=("Insufficient nvidia.com/gpu",)),
            explain("capacity", "Failed", has=("Insufficient nvidia.com/gpu", "held by")),
        ),
    ),
    Incident(
        name="maximum-out-of-reach",
        title="maxReplicas asks for more GPUs than the cluster has",
        before=lambda stage: stage.nodes("l40s-8", 1) and None,
        cause=lambda stage: _deploy(stage, "L40S-48GB", 1, 12),
        takes=frozenset({"l40s-8"}),
        says=(condition("CapacityFound", has=("12", "more than exist")), within(60, condition("Ready", "True"))),
        own=True,
    ),
    Incident(
        name="zero-without-nodes",
        title="A deployment that scales to zero has no node for its first request",
        cause=_no_node_at_all,
        reasons=("NodesMissing",),
        says=(
            condition("CapacityFound", "False", has=("L4-24GB",)),
            within(20, condition("Ready", has=("L4-24GB",))),
            never(condition("Ready", "True", "Serving")),
            never(explain("capacity", "Passed")),
        ),
    ),
    Incident(
        name="one-of-two-dies",
        title="One of two replicas is killed for its memory again and again",
        before=_two_serve,
        cause=_one_dies,
        reasons=("Degraded",),
        says=(
            condition("Ready", "True", "Degraded", has=("OOMKilled",)),
            condition("EndpointReady", "True"),
            event("Degraded", "Warning", has=("OOMKilled",)),
            column("Ready", has=("True",)),
            explain("cluster", "Failed", has=("OOMKilled",)),
        ),
        own=True,
    ),
    Incident(
        name="one-of-two-not-ready",
        title="One of two replicas does not become ready any more",
        before=_two_serve,
        cause=_one_not_ready,
        # KubeRay calls a worker without a replica not ready, and it is well: the pods alone are no reason for Degraded.
        says=(
            condition("Ready", "True"),
            condition("EndpointReady", "True"),
            column("Ready", has=("True",)),
            explain("cluster", lacks=("3 of 3 pods run",)),
        ),
        own=True,
    ),
)
