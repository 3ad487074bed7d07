"""Inputs that once stopped a pass, or all of them, and everything of their kinds: none stops more than what depends on it.

Each row of these tables was written by somebody: a cloud's node, a tenant, a pod, an older operator, a person who edited.
docs/track-record.md says which of them was found how.
"""

import contextlib
import json

import pytest

from llama_operator.api.meta import (
    ANNOTATION_ATTEMPT,
    ANNOTATION_LICENSE,
    ANNOTATION_LICENSE_END,
    ANNOTATION_SERVED_AT,
    ANNOTATION_STRATEGY,
    ANNOTATION_TRAFFIC_SINCE,
    LABEL_ACCESS_CHECK,
    LABEL_DEPLOYMENT,
)
from llama_operator.api.reasons import Reason
from llama_operator.kube import kinds
from llama_operator.kube.port import KubeError, Ref
from llama_operator.observe.serving_http import read_answer
from llama_operator.observe.unreadable import Unreadable
from support.passes import condition, serving, settles


async def node(world, name, allocatable, labels=None):
    address = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    await world.user.apply({**address, "metadata": {"name": name, "labels": labels or {}}})
    await world.user.apply_status({**address, "status": {"allocatable": allocatable}})


GPU = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
AMOUNTS = (
    "1k",
    "10k",
    "100u",
    "5n",
    "1M",
    "2Ki",
    "1e3",
    "1.5",
    "x",
    "",
    "-1",
    "1" * 5000,
    "1e999",
    "NaN",
    8,
    1.5,
    True,
)


@pytest.mark.parametrize("amount", AMOUNTS, ids=lambda amount: repr(amount)[:20])
@pytest.mark.parametrize(("resource", "labels"), [("cpu", {}), ("nvidia.com/gpu", GPU)], ids=["cpu", "gpu"])
async def test_no_amount_of_a_node_stops_a_pass(world, resource, labels, amount):
    await node(world, "strange", {resource: amount}, labels)
    ref, _ = await serving(world)
    status = await settles(world, ref)
    assert condition(status, "Ready").status == "True"


async def test_a_node_that_cannot_be_read_offers_nothing_and_is_counted(world):
    await node(world, "strange", {"nvidia.com/gpu": "many"}, GPU)
    await world.add_node("plain")
    ref = await world.apply_sample("llama-3.1-8b-l4", hardware={"accelerator": "H100-80GB"})
    await world.apply_acceptance()
    status = await world.reconcile(ref)
    assert condition(status, "CapacityFound").status == "True"
    (left_out,) = world.unreadable.found
    assert (left_out.kind, left_out.name) == ("Node", "strange")
    assert left_out.why == "nvidia.com/gpu: 'many' is no amount"


@pytest.mark.parametrize("gpus", ["1k", "x", "-1", "1e999"])
async def test_a_pod_that_cannot_be_read_frees_nothing(world, gpus):
    await world.add_node("gpu-1", gpus=8)
    await world.hold_gpus("train", "gpu-1", gpus)
    ref = await world.apply_sample("llama-3.1-8b-l4", hardware={"accelerator": "H100-80GB"})
    await world.apply_acceptance()
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.serve(name, ref.namespace)
    await world.reconcile(ref)
    await world.apply_sample("llama-3.1-8b-l4", hardware={"accelerator": "H100-80GB"}, context={"maxModelLength": 4096})
    status = await world.reconcile(ref)
    assert "Recreate" in condition(status, "UpToDate").message


@pytest.mark.parametrize("phase", [["Running"], {"a": 1}, 1, True, ""], ids=repr)
async def test_no_phase_of_a_pod_stops_a_pass(world, phase):
    await world.add_node("gpu-1", gpus=8)
    ref = await world.apply_sample("llama-3.1-8b-l4", hardware={"accelerator": "H100-80GB"})
    await world.apply_acceptance()
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.serve(name, ref.namespace)
    await world.reconcile(ref)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "strange", "namespace": ref.namespace}}
    await world.user.apply({**pod, "spec": {"nodeName": "gpu-1", "containers": [{"name": "a", "image": "a"}]}})
    await world.user.apply_status({**pod, "status": {"phase": phase, "conditions": [{"type": phase, "status": phase}]}})
    # A second copy asks what is free.
    await world.apply_sample("llama-3.1-8b-l4", hardware={"accelerator": "H100-80GB"}, context={"maxModelLength": 4096})
    status = await settles(world, ref)
    assert condition(status, "UpToDate").message


URLS = (
    "http://[",
    "https://[é]",
    "http://[::1",
    "http://]",
    "http://[v1.x]:x/",
    "http://℀.com",
    "https://:0",
    "http:///page",
)


@pytest.mark.parametrize("url", URLS)
async def test_no_address_of_the_attribution_stops_a_pass(world, url):
    await world.add_node("gpu-1", product="NVIDIA-L4")
    await world.apply_acceptance()
    license_ = {"acceptance": "acme-llama-3-1", "purpose": "Production", "attributionURL": url}
    ref = await world.apply_sample("llama-3.1-8b-l4", license=license_)
    status = await world.reconcile(ref)
    assert condition(status, "Ready").status != "True"
    assert condition(status, "Ready").reason != Reason.INTERNAL_ERROR


IDENTITY = {"namespace": "default", "name": "tiny", "revision": "tiny-0"}
NUMBERS = {"replicas": 1, "target_replicas": 1, "queue_depth": 0, "running_requests": 0}
TOO_MUCH = (
    "1e30",
    "1e400",
    "9007199254740992",
    "1" + "0" * 400,
    "-1",
    "NaN",
    "Infinity",
    "true",
    '"1"',
    "null",
    "[]",
    "{}",
)
FIELDS = (*NUMBERS, "kv_cache_tokens", "max_concurrency")


@pytest.mark.parametrize("written", TOO_MUCH, ids=lambda written: written[:20])
@pytest.mark.parametrize("field", FIELDS)
async def test_no_number_of_a_pod_stops_a_pass(world, field, written):
    ref, name = await serving(world)
    content = {"identity": IDENTITY | {"revision": name}, "model_id": "tiny", **NUMBERS, "kv_cache_tokens": 4096}
    body = json.dumps(content | {field: "@"}).replace('"@"', written)
    world.reader.answer = read_answer(body.encode(), "default/tiny", world.unreadable)
    status = await settles(world, ref)
    assert condition(status, "Ready").status == "True"
    assert (world.reader.answer is None) == any(left.kind == "ServingStatus" for left in world.unreadable.found)


@pytest.mark.parametrize("body", [b"", b"x", b"[" * 100_000, b"null", b"\xff", b'{"identity": 1}', b"1" * 5000])
def test_an_answer_that_is_none_is_counted(body):
    unreadable = Unreadable()
    assert read_answer(body, "default/tiny", unreadable) is None
    assert len(unreadable.found) == 1


TIMES = (
    "2026-03-02",
    "2026-03-02T09:30:00",
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00+23:59",
    "2036-01-01T00:00:00Z",
    "1969-01-01T00:00:00Z",
    "soon",
    "",
    "1" * 5000,
    "[" * 100_000,
)


@pytest.mark.parametrize("written", TIMES, ids=lambda written: written[:20])
async def test_no_time_of_the_service_stops_a_pass_or_a_drain(world, written):
    ref, _ = await serving(world)
    await world.apply_sample("tiny-cpu", context={"maxModelLength": 512})
    await world.reconcile(ref)
    for name in await world.names(kinds.RAY_SERVICE):
        await world.serve(name)
    await world.reconcile(ref)
    assert len(await world.names(kinds.RAY_SERVICE)) == 2
    patch = {"metadata": {"annotations": {ANNOTATION_TRAFFIC_SINCE: written}}}
    await world.user.merge_patch(Ref(kinds.SERVICE, "default", "tiny"), patch)
    await world.reconcile(ref)
    world.clock.advance(301)
    await settles(world, ref)
    assert len(await world.names(kinds.RAY_SERVICE)) == 1


@pytest.mark.parametrize("written", TIMES, ids=lambda written: written[:20])
@pytest.mark.parametrize(
    "annotation", [ANNOTATION_SERVED_AT, ANNOTATION_LICENSE, ANNOTATION_LICENSE_END, ANNOTATION_STRATEGY]
)
async def test_no_annotation_of_a_revision_stops_a_pass(world, annotation, written):
    ref, name = await serving(world)
    record = Ref(kinds.CONTROLLER_REVISION, "default", name)
    await world.user.merge_patch(record, {"metadata": {"annotations": {annotation: written}}})
    await settles(world, ref)


@pytest.mark.parametrize(
    "attempt", ["9" * 4301, "0", "-1", "x", "", "1.5", "١", "1e9", str(2**63)], ids=lambda a: a[:20]
)
async def test_no_attempt_of_an_access_check_stops_a_pass(world, attempt):
    world.ports = world.ports_with(world.memory.client("llama-operator"), checks_access=True)
    ref = await world.apply_sample("tiny-cpu")
    metadata = {
        "name": "tiny-preflight-0",
        "namespace": "default",
        "labels": {LABEL_DEPLOYMENT: "tiny", LABEL_ACCESS_CHECK: "tiny-preflight-0"},
        "annotations": {ANNOTATION_ATTEMPT: attempt},
    }
    await world.user.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata})
    await settles(world, ref)


CHOSEN = {
    "model": "tiny",
    "precision": "BF16",
    "accelerator": "CPU",
    "tensorParallelSize": 1,
    "pipelineParallelSize": 1,
    "gpusPerReplica": 1,
    "nodesPerReplica": 1,
    "maxModelLength": 256,
    "maxNumSeqs": 4,
    "memoryBytesPerGpu": 1,
    "weightBytesPerGpu": 1,
    "reserveBytesPerGpu": 1,
    "kvCacheBytesPerGpu": 1,
    "kvCacheTokens": 256,
}
SERVE = {"applications": [{"args": {"engine": {"x": 1}}, "deployments": [{"autoscaling_config": {"a": 1}}]}]}
CLUSTER = {"headGroupSpec": {"template": {}}, "workerGroupSpecs": [{"groupName": "cpu"}]}
GOOD = {
    "inputs": {"model": {"name": "tiny-random"}},
    "plan": {"chosen": CHOSEN},
    "serveConfig": SERVE,
    "cluster": CLUSTER,
}
DATA = (
    [1],
    "x",
    3,
    {},
    {"plan": {}, "inputs": {}, "serveConfig": {}, "cluster": {}},
    GOOD | {"serveConfig": {"applications": []}},
    GOOD | {"serveConfig": {"applications": ["x"]}},
    GOOD | {"serveConfig": {"applications": [{"deployments": [1]}]}},
    GOOD | {"cluster": {"workerGroupSpecs": ["x"]}},
    GOOD | {"cluster": {"workerGroupSpecs": [{}]}},
    GOOD | {"inputs": [1]},
    GOOD | {"inputs": {"model": "x"}},
    *(
        GOOD | {"plan": {"chosen": CHOSEN | {name: 0}}}
        for name in CHOSEN
        if name.endswith(("Size", "Replica", "Length"))
    ),
    GOOD | {"plan": {"chosen": CHOSEN | {"nodesPerReplica": 2**53 - 1}}},
    GOOD | {"plan": {"chosen": CHOSEN | {"maxNumSeqs": 0}}},
    GOOD | {"plan": {"chosen": "x"}},
)


@pytest.mark.parametrize("data", DATA, ids=lambda data: json.dumps(data)[:60])
@pytest.mark.parametrize("revision", [1, 2**63 - 1])
async def test_no_record_of_another_revision_stops_a_pass(world, data, revision):
    ref, _ = await serving(world)
    metadata = {"name": "tiny-other", "namespace": "default", "labels": {LABEL_DEPLOYMENT: "tiny"}}
    content = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": metadata}
    await world.user.apply(content | {"data": data, "revision": revision})
    status = await settles(world, ref)
    assert condition(status, "Ready").status == "True"


@pytest.mark.parametrize("data", DATA, ids=lambda data: json.dumps(data)[:60])
async def test_no_record_of_the_wanted_revision_is_a_defect(world, data):
    ref, name = await serving(world)
    record = Ref(kinds.CONTROLLER_REVISION, "default", name)
    live = await world.user.get(record)
    await world.user.delete(record)
    await world.user.apply(
        {key: live[key] for key in ("apiVersion", "kind", "revision")}
        | {"metadata": {"name": name, "namespace": "default", "labels": live["metadata"]["labels"]}, "data": data}
    )
    for _ in range(2):
        # The server refuses to change what is pinned: Kubernetes' word, and no defect of ours.
        with contextlib.suppress(KubeError):
            await world.reconcile(ref)
    assert name in await world.names(kinds.RAY_SERVICE)


STATUSES = (
    {"replicas": "x"},
    {"replicas": 10.5},
    {"conditions": [{"type": "Ready"}]},
    {"conditions": "x"},
    {"scalingHistory": [{}]},
    {"kvCache": {"revision": "r"}},
    {"plan": {"chosen": {}}},
    {"observedGeneration": -1},
    [],
    "x",
)


@pytest.mark.parametrize("status", STATUSES, ids=str)
async def test_no_half_written_status_stops_a_pass(world, status):
    ref = await world.apply_sample("tiny-cpu")
    live = await world.user.get(ref)
    await world.user.apply_status(
        {key: live[key] for key in ("apiVersion", "kind")}
        | {"metadata": {"name": "tiny", "namespace": "default"}, "status": status}
    )
    found = await settles(world, ref)
    assert condition(found, "Ready").reason == Reason.STARTING


REPORTS = (
    {"numServeEndpoints": -1},
    {"numServeEndpoints": "many"},
    {"numServeEndpoints": 2**70},
    {"activeServiceStatus": []},
    {"activeServiceStatus": {"applicationStatuses": {"llama": "RUNNING"}}},
    {"activeServiceStatus": {"applicationStatuses": {"llama": {"status": 1, "message": []}}}},
    {
        "activeServiceStatus": {
            "applicationStatuses": {"llama": {"serveDeploymentStatuses": {"a": 1, "b": {"status": {}}}}}
        }
    },
    {"conditions": "x"},
    {"conditions": [{"type": 3}, {"type": "Ready", "status": False, "message": 3}]},
)


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: json.dumps(report)[:60])
async def test_no_report_of_kuberay_stops_a_pass(world, report):
    ref, name = await serving(world)
    address = {"apiVersion": "ray.io/v1", "kind": "RayService", "metadata": {"name": name, "namespace": "default"}}
    await world.kuberay.apply_status(address | {"status": report})
    status = await settles(world, ref)
    assert condition(status, "Ready").status == "False"


GROUPS = ([1], "x", [{}], [{"groupName": 3, "minReplicas": "x"}], [None], {"a": 1})


@pytest.mark.parametrize("groups", GROUPS, ids=str)
async def test_no_worker_group_stops_a_pass(world, groups):
    ref, name = await serving(world)
    await world.ray_cluster(name)
    cluster = Ref(kinds.RAY_CLUSTER, "default", f"{name}-abcde")
    await world.kuberay.merge_patch(
        cluster,
        {"spec": {"workerGroupSpecs": [g for g in groups if g is not None] if isinstance(groups, list) else groups}},
    )
    await settles(world, ref)
