"""Pods that are only a trace of what was, and containers that hold up the others of their pod."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from llama_operator.api.reasons import Reason
from llama_operator.decide.diagnosis.causes import causes, next_look
from llama_operator.decide.observed import NodeFacts, RayClusterFacts
from llama_operator.decide.pods import AwayNode, PodFacts
from llama_operator.observe.pods import pod_facts
from llama_serving.contract.status import DeploymentIdentity, ServingStatus
from support import recordings
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
LEFT = pod("w0", node="gpu-9", ready=False, leaving=True)
PENDING = pod("w1", phase="Pending", ready=False, node="", unschedulable="0/2 nodes are available")


def world(pods, *, serves=True, running=None, now=NOW):
    service = service_facts_of(REVISION, endpoints=int(serves), status="RUNNING" if serves else "DEPLOYING")
    identity = DeploymentIdentity(namespace="team-a", name="chat", revision=REVISION)
    numbers = {"model_id": "m", "target_replicas": 2, "queue_depth": 0, "running_requests": 0}
    serving = None if running is None else ServingStatus(identity=identity, replicas=running, **numbers)
    facts = {"now": now, "away": (SILENT,), "pods": pods, "ray_clusters": (CLUSTER,)}
    return observed_of(nodes=(NODE,), ray_services=(service,), serving=serving, facts=facts)


def recorded(name):
    """A worker, as the kubelet told of it."""
    (item,) = [one for one in recordings.objects(name) if one["kind"] == "Pod"]
    item["metadata"]["labels"]["llama-operator.io/revision"] = REVISION
    return item


def facts_of(name):
    return replace(pod_facts(recorded(name)), node=NODE.name)


TRACES = {
    "refused by the kubelet": (facts_of("refused-by-kubelet"), Reason.CONTAINER_FAILED),
    "on a silent node": (LEFT, Reason.NODES_LOST),
}
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


GATE = facts_of("gate-waits")
LATER = GATE.preparing_since + timedelta(minutes=10)
"""When it has waited for long."""


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (pod("head", "head", ready_since=LATER - timedelta(minutes=5)), True),
        (pod("head", "head", ready_since=LATER - timedelta(seconds=30)), False),
        (pod("head", "head", ready=False), False),
    ],
    ids=["the head is ready", "since just now", "the head is not ready"],
)
def test_a_worker_that_waits_for_the_head_is_told_once_the_head_is_ready(head, told):
    found = causes(world((head, GATE), serves=False, now=LATER), REVISION)
    assert [cause.reason for cause in found] == [Reason.CONTAINER_FAILED] * told
    for cause in found:
        assert cause.message == (
            "1 of 1 worker pods is held up by container wait-gcs-ready, which runs since "
            f"{GATE.preparing_since:%Y-%m-%dT%H:%M:%SZ} and does not end"
        )
        assert "port 6379" in cause.hint
        assert "-c wait-gcs-ready" in cause.hint


def test_it_is_looked_at_again_when_it_has_waited_too_long():
    head = pod("head", "head", ready_since=LATER - timedelta(seconds=30))
    assert next_look(world((head, GATE), serves=False, now=LATER)) == 90


def test_a_container_that_holds_up_the_others_and_breaks_is_the_only_cause():
    (cause,) = causes(world((HEAD, facts_of("gate-out-of-memory")), serves=False), REVISION)
    assert cause.message == "a worker pod broke, container wait-gcs-ready ended: OOMKilled, exit code 137"


def test_a_sidecar_may_end_while_the_others_do_their_work():
    facts = facts_of("another-ended-well")
    assert (facts.phase, facts.last_exit, facts.container) == ("Running", "", "")


def test_a_sidecar_that_runs_holds_nothing_up():
    item = recorded("gate-waits")
    item["status"]["initContainerStatuses"][0]["ready"] = True
    facts = pod_facts(item)
    assert (facts.preparing, facts.starting) == ("", True)
