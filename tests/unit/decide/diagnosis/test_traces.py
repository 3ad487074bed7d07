"""Pods that are only a trace of what was, and containers that hold up the others of their pod."""

from datetime import UTC, datetime, timedelta

import pytest

from llama_operator.api.reasons import Reason
from llama_operator.decide.diagnosis.causes import causes, next_look
from llama_operator.decide.observed import NodeFacts, RayClusterFacts
from llama_operator.decide.pods import AwayNode, PodFacts
from llama_operator.observe.pods import pod_facts
from llama_serving.config import DeploymentIdentity, ServingStatus
from support.deployments import observed_of, service_facts_of

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
REVISION = "chat-1"
CLUSTER = RayClusterFacts("chat-1-abcde", REVISION, created=NOW - timedelta(hours=2))
NODE = NodeFacts("gpu-1", "L40S-48GB", 4)
SILENT = AwayNode("gpu-9", "L40S-48GB", 1, "is not ready", lost=True, since=NOW - timedelta(hours=1))


def pod(name, role="worker", **more):
    facts = {"phase": "Running", "ready": True, "node": "gpu-1"} | more
    return PodFacts(name=name, revision=REVISION, role=role, **facts)


HEAD = pod("head", "head", ready_since=NOW - timedelta(minutes=10))
REFUSED = pod("w0", phase="Failed", ready=False, failed="UnexpectedAdmissionError", failed_message="GPU is lost")
LEFT = pod("w0", node="gpu-9", ready=False, leaving=True)
PENDING = pod("w1", phase="Pending", ready=False, node="", unschedulable="0/2 nodes are available")


def world(pods, *, serves=True, running=None):
    service = service_facts_of(REVISION, endpoints=int(serves), status="RUNNING" if serves else "DEPLOYING")
    identity = DeploymentIdentity(namespace="team-a", name="chat", revision=REVISION)
    numbers = {"model_id": "m", "target_replicas": 2, "queue_depth": 0, "running_requests": 0}
    serving = None if running is None else ServingStatus(identity=identity, replicas=running, **numbers)
    facts = {"now": NOW, "away": (SILENT,), "pods": pods, "ray_clusters": (CLUSTER,)}
    return observed_of(nodes=(NODE,), ray_services=(service,), serving=serving, facts=facts)


TRACES = {"refused by the kubelet": (REFUSED, Reason.CONTAINER_FAILED), "on a silent node": (LEFT, Reason.NODES_LOST)}
OTHERS = {
    "replaced": ((pod("w1"),), {}, False),
    "all run": ((pod("w1"), pod("w2")), {"running": 2}, False),
    "the others of an engine over several nodes are not ready": ((pod("w1"), pod("w2", ready=False)), {}, False),
    "a replica is missed": ((pod("w1"),), {"running": 1}, True),
    "the next one has no node": ((pod("w1"), PENDING), {}, True),
    "the other one is on a silent node": ((pod("w1", ready=False, node="gpu-9"),), {}, True),
    "there is no other": ((), {}, True),
    "nothing serves": ((pod("w1"),), {"serves": False}, True),
}


@pytest.mark.parametrize(("trace", "reason"), TRACES.values(), ids=TRACES)
@pytest.mark.parametrize(("others", "more", "told"), OTHERS.values(), ids=OTHERS)
def test_a_pod_whose_work_others_do_is_no_cause(trace, reason, others, more, told):
    found = {cause.reason for cause in causes(world((HEAD, trace, *others), **more), REVISION)}
    assert (reason in found) is told


def waiting(gate, *, conditions=()):
    """A worker whose container waits for another one, as the kubelet tells of it."""
    labels = {"llama-operator.io/revision": REVISION, "ray.io/node-type": "worker"}
    since = {"type": "Ready", "status": "False", "lastTransitionTime": "2026-03-02T09:00:00Z"}
    status = {
        "phase": "Pending",
        "conditions": [since, *conditions],
        "initContainerStatuses": [{"name": "wait-gcs-ready", "image": "acme/ray:1", "ready": False, **gate}],
        "containerStatuses": [
            {"name": "ray-worker", "image": "acme/ray:1", "state": {"waiting": {"reason": "PodInitializing"}}}
        ],
    }
    return pod_facts({"metadata": {"name": "w0", "labels": labels}, "spec": {"nodeName": "gpu-1"}, "status": status})


RUNS = {"state": {"running": {"startedAt": "2026-03-02T09:00:05Z"}}}


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (HEAD, True),
        (pod("head", "head", ready_since=NOW - timedelta(seconds=30)), False),
        (pod("head", "head", ready=False), False),
    ],
    ids=["the head is ready", "since just now", "the head is not ready"],
)
def test_a_worker_that_waits_for_the_head_is_told_once_the_head_is_ready(head, told):
    found = causes(world((head, waiting(RUNS)), serves=False), REVISION)
    assert [cause.reason for cause in found] == [Reason.CONTAINER_FAILED] * told
    for cause in found:
        assert cause.message == (
            "1 of 1 worker pods is held up by container wait-gcs-ready, which runs since 2026-03-02T09:00:05Z and does not end"
        )
        assert "port 6379" in cause.hint
        assert "-c wait-gcs-ready" in cause.hint


def test_it_is_looked_at_again_when_it_has_waited_too_long():
    head = pod("head", "head", ready_since=NOW - timedelta(seconds=30))
    assert next_look(world((head, waiting(RUNS)), serves=False)) == 90


def test_a_container_that_holds_up_the_others_and_breaks_is_the_only_cause():
    again = {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}
    killed = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    gate = {"state": {"waiting": again}, "lastState": killed}
    (cause,) = causes(world((HEAD, waiting(gate)), serves=False), REVISION)
    assert cause.message == "a worker pod broke, container wait-gcs-ready ended: OOMKilled, exit code 137"
    assert "KubeRay gives this container 256Mi" in cause.hint


@pytest.mark.parametrize("sidecar", [{"exitCode": 0, "reason": "Completed"}, {}], ids=["ended", "none"])
def test_a_pod_that_ended_without_an_error_has_ended_all_the_same(sidecar):
    ended = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    containers = [{"name": "ray-worker", "image": "acme/ray:1", "state": ended}]
    containers += [{"name": "proxy", "image": "acme/proxy:1", "state": {"terminated": sidecar}}] if sidecar else []
    labels = {"llama-operator.io/revision": REVISION, "ray.io/node-type": "worker"}
    status = {"phase": "Succeeded", "containerStatuses": containers}
    pod = {"metadata": {"name": "w0", "labels": labels}, "spec": {"nodeName": "gpu-1"}, "status": status}
    (cause,) = causes(world((HEAD, pod_facts(pod)), serves=False), REVISION)
    assert cause.reason is Reason.CONTAINER_FAILED
    assert cause.message == "a worker pod broke, container ray-worker ended: Completed, exit code 0"
    # A sidecar may end while the others do their work.
    facts = pod_facts(pod | {"status": status | {"phase": "Running"}})
    assert (facts.last_exit, facts.container) == ("", "")


def test_a_sidecar_that_runs_holds_nothing_up():
    facts = waiting({"state": RUNS["state"], "ready": True})
    assert (facts.preparing, facts.starting) == ("", True)


def test_a_pod_that_a_queue_holds_back_is_told_with_who_may_let_it_go():
    told = "Scheduling is blocked due to non-empty scheduling gates"
    held = pod("w0", phase="Pending", ready=False, node="", unschedulable=told)
    (cause,) = causes(world((HEAD, held), serves=False), REVISION)
    assert cause.reason is Reason.PODS_UNSCHEDULABLE
    assert "as Kueue does" in cause.hint
