"""What is a cause and what is not, in the order of the table of causes; the objects of others are in test_recordings."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.llamadeployment_status import PlanStatus
from llama_operator.decide.conditions import ConditionFacts
from llama_operator.decide.diagnosis import hints
from llama_operator.decide.diagnosis.causes import causes, next_look, none_left
from llama_operator.decide.observed import (
    NodeFacts,
    RayClusterFacts,
    RevisionFacts,
    ServeDeploymentFacts,
    Unread,
)
from llama_operator.decide.platform import Platform
from llama_operator.decide.pods import AwayNode, PodFacts
from support.deployments import observed_of, service_facts_of

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
REVISION = "chat-1"
CLUSTER = RayClusterFacts("chat-1-abcde", REVISION, created=NOW - timedelta(hours=1))
NODES = (NodeFacts("gpu-1", "L40S-48GB", 1), NodeFacts("gpu-2", "L40S-48GB", 1))


def ago(seconds):
    return NOW - timedelta(seconds=seconds)


def pod(name, role="worker", **more):
    facts = {"phase": "Running", "ready": True, "node": "gpu-1"} | more
    return PodFacts(name=name, revision=REVISION, role=role, **facts)


HEAD = pod("head", "head")
WELL = (HEAD, pod("w1"))


def world(*, service=None, pods=WELL, clusters=(CLUSTER,), nodes=NODES, served=False, **more):
    service = service or service_facts_of(REVISION, created=ago(3600))
    pinned = RevisionFacts(REVISION, 1, PlanStatus(), {}, {}, {}, served_at="2026-03-02T09:00:00Z" if served else "")
    facts = {"pods": pods, "ray_clusters": clusters, "now": NOW, "revisions": (pinned,)} | more
    return observed_of(nodes=nodes, ray_services=(service,), facts=facts)


def starting(**more):
    return service_facts_of(REVISION, status="", endpoints=0, **({"created": ago(3600)} | more))


def reasons(observed):
    return [cause.reason for cause in causes(observed, REVISION)]


def test_what_serves_has_no_cause():
    assert causes(world(), REVISION) == ()
    assert next_look(world()) is None


def test_what_is_going_has_no_cause():
    service = replace(service_facts_of(REVISION, status="UNHEALTHY", endpoints=0), leaving=True)
    assert causes(world(service=service), REVISION) == ()
    assert causes(world(), "another") == ()


def test_pods_that_a_namespace_takes_no_more_because_it_is_deleted_are_no_cause():
    text = 'pods "w2" is forbidden: unable to create new content in namespace a because it is being terminated'
    refused = ConditionFacts("ReplicaFailure", "True", "FailedCreateWorkerPod", text)
    assert causes(world(clusters=(replace(CLUSTER, conditions=(refused,)),)), REVISION) == ()
    quota = replace(refused, message='pods "w2" is forbidden: exceeded quota: small')
    assert reasons(world(clusters=(replace(CLUSTER, conditions=(quota,)),))) == [Reason.PODS_REFUSED]


@pytest.mark.parametrize("reason", ["ValidationFailed", "InitializingTimeout"])
def test_what_kuberay_refuses_is_told_in_its_words(reason):
    service = starting(conditions=(ConditionFacts("Ready", "False", reason, "the name is too long"),))
    (cause,) = causes(world(service=service, clusters=(), pods=()), REVISION)
    assert cause.reason is Reason.CLUSTER_NOT_MADE
    assert cause.message == f"KubeRay refuses RayService chat-1: {reason}: the name is too long"
    assert "supported version" in cause.hint


@pytest.mark.parametrize(
    ("seconds", "more", "told"),
    [
        (10, {}, False),
        (31, {}, True),
        (31, {"platform": Platform(kinds={"rayservices.ray.io": ("v1",)})}, False),
        (31, {"unknown": (Unread("rayclusters", "no right"),)}, False),
    ],
    ids=["just made", "late", "nothing makes clusters here", "clusters may not be seen"],
)
def test_a_cluster_that_kuberay_does_not_make_is_missed_after_a_while(seconds, more, told):
    observed = world(service=starting(created=ago(seconds)), clusters=(), pods=(), **more)
    assert reasons(observed) == [Reason.CLUSTER_NOT_MADE] * told
    assert next_look(observed) == (20 if seconds == 10 else None)


HAD_PODS = (ConditionFacts("HeadPodReady", "True", "", ""),)


@pytest.mark.parametrize(
    ("cluster", "told"),
    [
        (replace(CLUSTER, created=ago(5)), ""),
        (replace(CLUSTER, created=ago(40)), "has no pods 30 s after it was made"),
        (replace(CLUSTER, conditions=HAD_PODS), "has no pods any more"),
        (replace(CLUSTER, conditions=HAD_PODS, leaving=True), ""),
        (replace(CLUSTER, created=ago(40), leaving=True), ""),
    ],
)
def test_a_cluster_without_pods_is_missed(cluster, told):
    found = causes(world(service=starting(), clusters=(cluster,), pods=()), REVISION)
    assert [told in cause.message for cause in found] == [True] * bool(told)


def test_pods_that_were_not_read_are_not_missed():
    assert causes(world(service=starting(), pods=None), REVISION) == ()


AWAY = AwayNode("gpu-1", "L40S-48GB", 1, "is not ready", lost=True, since=ago(52))
CORDONED = AwayNode("gpu-1", "L40S-48GB", 1, "is cordoned")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"nodes": NODES[1:], "away": (AWAY,), "pods": (pod("h", "head", ready=False), pod("w", ready=False))},
            "node gpu-1 is not ready since 2026-03-02T09:29:08Z, with 2 pods of this revision",
        ),
        (
            {"nodes": NODES[1:], "pods": (HEAD, pod("w", node="gpu-2"))},
            "node gpu-1 is gone, with 1 pod of this revision",
        ),
        (
            {"nodes": NODES[1:], "pods": (pod("h", "head", leaving=True), pod("w", node="gpu-2"))},
            "node gpu-1 is gone, with 1 pod of this revision",
        ),
    ],
    ids=["silent", "gone", "gone, and its pods are on their way out"],
)
def test_a_node_that_is_lost_is_named_since_when(more, message):
    (cause,) = causes(world(**more), REVISION)
    assert (cause.reason, cause.condition, cause.message) == (Reason.NODES_LOST, ConditionType.CAPACITY_FOUND, message)


@pytest.mark.parametrize(
    "more",
    [
        {"nodes": NODES[1:], "away": (CORDONED,)},
        {"nodes": None},
        {"nodes": NODES[1:], "pods": (pod("w", phase="Pending", ready=False),)},
    ],
    ids=["cordoned", "nodes were not read", "a node that was made just now"],
)
def test_a_node_that_may_be_well_is_no_cause(more):
    assert causes(world(**more), REVISION) == ()


@pytest.mark.parametrize(
    ("more", "none"),
    [
        ({}, False),
        ({"nodes": NODES[1:]}, True),
        ({"nodes": NODES[1:], "pods": (HEAD, pod("w", node="gpu-2"))}, False),
        ({"nodes": NODES[1:], "pods": (HEAD, pod("w", node="gpu-2", ready=False))}, True),
        ({"nodes": NODES[1:], "away": (CORDONED,)}, False),
        ({"nodes": NODES[1:], "away": (AWAY,)}, True),
        ({"nodes": None}, False),
        ({"pods": None}, False),
        ({"pods": ()}, False),
    ],
    ids=["well", "gone", "one is left", "one is left, not ready", "cordoned", "silent", "nodes", "pods", "none at all"],
)
def test_whether_a_pod_is_left_that_could_answer(more, none):
    assert none_left(world(**more), REVISION) is none


def test_pods_without_a_node_are_counted_and_told_in_the_words_of_the_scheduler():
    said = (
        "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: 0/3 nodes are "
        "available: 3 Preemption is not helpful for scheduling."
    )
    stuck = [pod(f"w{n}", node="", phase="Pending", ready=False, unschedulable=said) for n in range(2)]
    (cause,) = causes(world(pods=(HEAD, pod("w9"), *stuck)), REVISION)
    assert cause.message == (
        "2 of 3 worker pods are placed on no node: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    )
    assert cause.condition is ConditionType.CAPACITY_FOUND


def test_the_head_comes_first_for_no_worker_starts_without_it():
    stuck = [
        pod("a", node="", phase="Pending", ready=False, unschedulable="taint a"),
        pod("h", "head", node="", phase="Pending", ready=False, unschedulable="taint b"),
    ]
    assert [cause.message for cause in causes(world(pods=tuple(stuck)), REVISION)] == [
        "the head pod is placed on no node: taint b",
        "1 of 1 worker pods is placed on no node: taint a",
    ]


BROKEN = {"ready": False, "container": "ray-worker", "last_exit": "OOMKilled", "exit_code": 137}


def test_what_a_pod_died_of_outlives_it_until_the_next_one_is_ready():
    ended = pod("w1", ended=True, **BROKEN)
    fresh = pod("w2", ready=False, phase="Pending")
    here, gone = (
        causes(world(service=starting(), pods=(HEAD, ended)), REVISION),
        causes(world(service=starting(), pods=(HEAD, fresh), ended=(ended,)), REVISION),
    )
    assert here == gone
    assert here[0].message == "a worker pod broke, container ray-worker ended: OOMKilled, exit code 137"
    assert causes(world(service=starting(), pods=(HEAD, pod("w2")), ended=(ended,)), REVISION) == ()
    assert causes(world(pods=(HEAD, replace(fresh, phase="Running")), ended=(ended,)), REVISION) == ()


def test_an_end_is_told_in_the_same_words_whichever_container_of_the_next_pod_is_seen_first():
    remembered = pod("w1", ended=True, **BROKEN | {"container": "autoscaler"})
    again = pod("w2", ended=True, **BROKEN)
    found = causes(world(service=starting(), pods=(HEAD, again), ended=(remembered,)), REVISION)
    assert [cause.message for cause in found] == [
        "a worker pod broke, container autoscaler ended: OOMKilled, exit code 137"
    ]
    other = replace(again, last_exit="Error", exit_code=1)
    found = causes(world(service=starting(), pods=(HEAD, other), ended=(remembered,)), REVISION)
    assert [cause.message.partition(": ")[2] for cause in found] == ["Error, exit code 1", "OOMKilled, exit code 137"]


def test_a_pod_that_is_deleted_ends_and_is_no_cause():
    assert causes(world(pods=(HEAD, pod("w", ended=True, leaving=True, **BROKEN))), REVISION) == ()


def test_a_worker_that_is_not_ready_while_the_model_loads_is_no_cause():
    loading = service_facts_of(REVISION, status="DEPLOYING", endpoints=0, created=ago(600))
    observed = world(service=loading, pods=(HEAD, pod("w", ready=False, unready_since=ago(600))))
    assert causes(observed, REVISION) == ()
    assert reasons(
        replace(observed, revisions=(replace(observed.revisions[0], served_at="2026-03-02T09:00:00Z"),))
    ) == [Reason.PROBE_FAILED]


@pytest.mark.parametrize(("seconds", "told"), [(60, False), (200, True)])
def test_a_head_that_runs_and_is_not_ready_is_a_cause_after_a_while(seconds, told):
    observed = world(service=starting(), pods=(pod("h", "head", ready=False, unready_since=ago(seconds)),))
    found = causes(observed, REVISION)
    assert [cause.condition for cause in found] == [ConditionType.ENDPOINT_READY] * told
    assert next_look(observed) == (None if told else 120)


ENGINE = "LLMServer"


def engine(message, *, status="DEPLOY_FAILED", said=""):
    parts = (ServeDeploymentFacts(ENGINE, "UNHEALTHY", message),)
    return replace(service_facts_of(REVISION, status=status, endpoints=0, message=said), deployments=parts)


def test_what_serve_says_twice_is_told_once():
    (cause,) = causes(world(service=engine("CUDA out of memory", said="CUDA out of memory")), REVISION)
    assert cause.message == "CUDA out of memory"
    (cause,) = causes(world(service=engine("CUDA out of memory", said="Deploying failed")), REVISION)
    assert cause.message == "Deploying failed LLMServer: CUDA out of memory"


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("huggingface_hub.errors.HfHubHTTPError: 429 Client Error: Too Many Requests for url", "hub-rate-limit"),
        ("RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ... of port 40122", "gpu-memory"),
        (
            "requests.exceptions.ConnectionError: Max retries exceeded with url: /api (Caused by NameResolutionError)",
            "hub-unreachable",
        ),
        ("vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue", "engine-died"),
        ("something that nobody foresaw", "engine"),
        ("the aggregated statistics of a delegated worker", "engine"),
        ("took 401.5 s and 4290 tokens at 10.0.0.1:40415", "engine"),
    ],
)
def test_words_that_no_recording_has_are_of_a_kind_too(message, kind):
    (cause,) = causes(world(service=engine(message)), REVISION)
    assert cause.reason is Reason.ENGINE_FAILED
    found = hints.hint(cause.reason, cause.message)
    assert found.kind == kind
    assert cause.hint


def test_kinds_are_unique_and_the_last_hint_of_a_reason_fits_all():
    kinds = [one.kind for one in hints.HINTS]
    assert len(set(kinds)) == len(kinds)
    for reason in hints.reasons():
        assert not [one for one in hints.HINTS if one.reason is reason][-1].words, reason
        assert hints.general(reason)
