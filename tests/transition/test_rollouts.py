"""Revisions over time: pinned plans, strategies, deadlines, history. State -> State over the in-memory cluster."""

import json

import pytest

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.decide.diagnosis.cause import Cause
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref

BIG = "llama-3.3-70b-fp8-h100"


def condition(status, kind):
    return next(found for found in status.conditions if found.type == kind)


async def serving(world, sample="tiny-cpu", **spec):
    """A deployment of `sample` whose first revision serves; returns its address and the revision."""
    await world.apply_acceptance()
    ref = await world.apply_sample(sample, **spec)
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.serve(name, ref.namespace)
    await world.reconcile(ref)
    await world.reconcile(ref)
    return ref, name


async def other(world, *known):
    (found,) = set(await world.names(kinds.RAY_SERVICE)) - set(known)
    return found


async def traffic(world, ref):
    live = await world.user.get(Ref(kinds.SERVICE, ref.namespace, ref.name))
    return live["spec"]["selector"]["llama-operator.io/revision"]


def remembered(found, name):
    return found[name]["metadata"].get("annotations", {})


async def records(world):
    return {item["metadata"]["name"]: item for item in (await world.user.list(kinds.CONTROLLER_REVISION)).items}


async def test_a_revision_is_pinned_with_what_the_user_wrote_and_what_was_planned(world):
    _, name = await serving(world)
    record = (await records(world))[name]
    assert record["revision"] == 1
    assert record["data"]["inputs"]["model"] == {"name": "tiny-random-llama"}
    assert record["data"]["plan"]["chosen"]["tensorParallelSize"] == 1
    assert record["metadata"]["annotations"]["llama-operator.io/served-at"] == "2026-03-02T09:30:00Z"


@pytest.mark.parametrize("sample", ["tiny-cpu", BIG])
async def test_an_operator_of_another_version_changes_nothing_that_runs(world, sample, monkeypatch):
    for node in ("gpu-0", "gpu-1"):
        await world.add_node(node)
    ref, _ = await serving(world, sample)
    before = await world.snapshot()
    world.ports = world.ports_with(
        world.memory.client("llama-operator"), image="llama-operator/llama-serving:9.9.9", ray_version="2.99.0"
    )
    monkeypatch.setattr("llama_operator.decide.plan.memory.reserve_bytes", lambda *_: 1 << 30)
    await world.reconcile(ref)
    assert await world.snapshot() == before
    pinned = await records(world)
    await world.reconcile(await world.apply_sample(sample, name="another"))
    (fresh,) = (found for name, found in (await records(world)).items() if name not in pinned)
    (old,) = pinned.values()
    assert fresh["data"]["plan"] != old["data"]["plan"], "a plan made now would be another one"


async def test_nodes_that_come_and_change_change_nothing_that_runs(world):
    await world.add_node("gpu-0")
    ref, _ = await serving(world, BIG, hardware={"accelerator": "Auto"})
    before = await world.snapshot()
    await world.add_node("gpu-1", product="NVIDIA-H200")
    await world.reconcile(ref)
    await world.add_node("gpu-1", product="NVIDIA-H100-80GB-HBM3", gpus=4)
    await world.reconcile(ref)
    assert await world.snapshot() == before


async def test_recreate_frees_the_hardware_before_it_asks_for_more(world):
    ref, old = await serving(world)
    await world.apply_sample("tiny-cpu", context={"maxModelLength": 512}, rollout={"strategy": "Recreate"})
    await world.ray_cluster(old)
    status = await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == [old], "it is being deleted, and still holds its pods"
    status = await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == [old]
    assert old in condition(status, "UpToDate").message
    await world.pods_are_gone(old)
    await world.reconcile(ref)
    new = await other(world, old)
    assert await world.names(kinds.RAY_SERVICE) == [new]
    assert await traffic(world, ref) == new


@pytest.mark.parametrize(
    ("held", "priority", "strategy"),
    [
        (4, 0, "BlueGreen"),
        (5, 0, "Recreate"),
        pytest.param(8, -10, "BlueGreen", id="placeholders: project-codeflare/multi-cluster-app-dispatcher#418"),
    ],
)
async def test_auto_takes_the_free_gpus_for_a_second_copy_or_frees_them_first(world, held, priority, strategy):
    for node in ("gpu-0", "gpu-1"):
        await world.add_node(node)
    unlimited = {"hardware": {"accelerator": "H100-80GB"}}
    ref, old = await serving(world, BIG, **unlimited)
    await world.hold_gpus("ours", "gpu-0", 4)
    await world.hold_gpus("training", "gpu-1", held, priority=priority)
    await world.hold_gpus("more-training", "gpu-0", 4)
    context = {"maxModelLength": 16384, "concurrentSequences": 18}
    await world.apply_sample(BIG, context=context, **unlimited)
    await world.reconcile(ref)
    assert (old in await world.names(kinds.RAY_SERVICE)) is (strategy == "BlueGreen")
    chosen = {
        item["metadata"].get("annotations", {}).get("llama-operator.io/strategy")
        for item in (await records(world)).values()
    }
    assert strategy in chosen


async def test_a_revision_that_does_not_serve_in_time_is_rolled_back_with_the_engines_own_words(world):
    ref, old = await serving(world)
    await world.apply_sample("tiny-cpu", context={"maxModelLength": 512})
    await world.reconcile(ref)
    new = await other(world, old)
    await world.serve(new, status="DEPLOY_FAILED", endpoints=0, message="CUDA out of memory")
    world.clock.advance(3599)
    await world.reconcile(ref)
    assert sorted([old, new]) == await world.names(kinds.RAY_SERVICE)
    world.clock.advance(1)
    await world.reconcile(ref)
    status = await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == [old]
    assert await traffic(world, ref) == old
    assert condition(status, "UpToDate").reason == Reason.PROGRESS_DEADLINE_EXCEEDED
    assert "CUDA out of memory" in condition(status, "UpToDate").message
    assert condition(status, "EndpointReady").status == "True"
    assert condition(status, "Stalled").status == "True"
    assert (status.revisions.active, status.revisions.last_failed) == (old, new)
    assert ("Warning", "RolledBack") in world.events.told
    before = await world.snapshot()
    world.clock.advance(86_400)
    await world.reconcile(ref)
    assert await world.snapshot() == before, "it is not tried again"


async def test_a_failed_revision_is_tried_anew_after_the_spec_went_elsewhere(world):
    ref, old = await serving(world)
    await world.apply_sample("tiny-cpu", context={"maxModelLength": 512})
    await world.reconcile(ref)
    new = await other(world, old)
    world.clock.advance(3600)
    await world.reconcile(ref)
    await world.apply_sample("tiny-cpu")
    await world.reconcile(ref)
    assert remembered(await records(world), new)["llama-operator.io/failed-at"] == "2026-03-02T10:30:00Z"
    await world.apply_sample("tiny-cpu", context={"maxModelLength": 512})
    await world.reconcile(ref)
    assert sorted([old, new]) == await world.names(kinds.RAY_SERVICE)
    told = await records(world)
    assert "llama-operator.io/failed-at" not in remembered(told, new)
    assert told[new]["revision"] > told[old]["revision"]


async def test_the_nearest_cause_is_in_the_record_before_anything_is_deleted(world, monkeypatch):
    ref, old = await serving(world)
    await world.apply_sample("tiny-cpu", context={"maxModelLength": 512})
    await world.reconcile(ref)
    new = await other(world, old)
    said = "0/3 nodes are available: 3 node(s) had untolerated taint(s)"

    def causes(observed, revision):
        # As long as its RayService is there, so are its pods.
        here = any(service.name == revision == new for service in observed.ray_services)
        return (Cause(Reason.PODS_UNSCHEDULABLE, ConditionType.CAPACITY_FOUND, said),) if here else ()

    monkeypatch.setattr("llama_operator.decide.rollout.why.causes", causes)
    await world.serve(new, status="DEPLOYING", endpoints=0, message="RayService is initializing")
    world.clock.advance(3600)
    await world.reconcile(ref)
    status = await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == [old]
    assert remembered(await records(world), new)["llama-operator.io/failure"] == said
    assert said in condition(status, "UpToDate").message
    await world.apply_sample("tiny-cpu")
    await world.reconcile(ref)
    assert remembered(await records(world), new)["llama-operator.io/failure"] == said


async def test_one_that_is_replaced_before_it_served_leaves_what_kept_it(world):
    ref, old = await serving(world)
    await world.apply_sample("tiny-cpu", context={"maxModelLength": 512})
    await world.reconcile(ref)
    second = await other(world, old)
    await world.serve(second, status="DEPLOY_FAILED", endpoints=0, message="CUDA out of memory")
    await world.apply_sample("tiny-cpu", context={"maxModelLength": 256})
    await world.reconcile(ref)
    kept = remembered(await records(world), second)
    assert kept["llama-operator.io/failure"] == "CUDA out of memory"
    assert "llama-operator.io/failed-at" not in kept
    await world.apply_sample("tiny-cpu", context={"maxModelLength": 512})
    await world.reconcile(ref)
    assert "llama-operator.io/failure" not in remembered(await records(world), second), "it is a new try"


@pytest.mark.parametrize("limit", [0, 1, 2])
async def test_failures_are_kept_to_the_limit_and_take_no_way_back(world, limit):
    rollout = {"drainSeconds": 0, "revisionHistoryLimit": limit}
    ref, first = await serving(world, rollout=rollout)
    await world.apply_sample("tiny-cpu", context={"maxModelLength": 128}, rollout=rollout)
    await world.reconcile(ref)
    second = await other(world, first)
    await world.serve(second)
    for _ in range(3):
        await world.reconcile(ref)
    failed = []
    for length in (256, 512, 640):
        await world.apply_sample("tiny-cpu", context={"maxModelLength": length}, rollout=rollout)
        await world.reconcile(ref)
        failed.append(await other(world, second))
        world.clock.advance(3600)
        await world.reconcile(ref)
        await world.reconcile(ref)
    await world.apply_sample("tiny-cpu", context={"maxModelLength": 128}, rollout=rollout)
    for _ in range(2):
        await world.reconcile(ref)
    kept = {second, *failed[len(failed) - limit :], *([first] if limit else [])}
    assert set(await records(world)) == kept


async def test_restarted_at_starts_the_same_spec_again(world):
    ref, old = await serving(world)
    await world.apply_sample("tiny-cpu", rollout={"restartedAt": "2026-03-02T10:00:00Z"})
    await world.reconcile(ref)
    assert await other(world, old)


async def test_after_a_failed_recreate_the_old_revision_is_started_again_from_its_record(world):
    ref, old = await serving(world, rollout={"strategy": "Recreate"})
    pinned = (await world.user.get(Ref(kinds.RAY_SERVICE, "default", old)))["spec"]
    await world.apply_sample("tiny-cpu", context={"maxModelLength": 512}, rollout={"strategy": "Recreate"})
    await world.reconcile(ref)
    await world.reconcile(ref)
    new = await other(world)
    assert new != old
    world.ports = world.ports_with(world.memory.client("llama-operator"), image="acme/other:2")
    world.clock.advance(3600)
    await world.reconcile(ref)
    # A process that has just started looks twice before it takes the clock at its word.
    world.clock.advance(world.outcome.next_check)
    await world.reconcile(ref)
    await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == [old]
    assert (await world.user.get(Ref(kinds.RAY_SERVICE, "default", old)))["spec"] == pinned
    assert await traffic(world, ref) == old


async def test_the_first_revision_is_tried_on_after_its_deadline(world):
    ref = await world.apply_sample("tiny-cpu")
    await world.reconcile(ref)
    world.clock.advance(3600)
    status = await world.reconcile(ref)
    assert len(await world.names(kinds.RAY_SERVICE)) == 1
    assert condition(status, "UpToDate").reason == Reason.PROGRESS_DEADLINE_EXCEEDED
    # Tools that wait for the change (helm --wait, Flux, Argo CD) end here, although it is tried on.
    stalled = condition(status, "Stalled")
    assert (stalled.status, stalled.reason) == ("True", Reason.PROGRESS_DEADLINE_EXCEEDED)
    assert condition(status, "Reconciling").status == "False"
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.serve(name)
    status = await world.reconcile(ref)
    assert [condition(status, kind).status for kind in ("Ready", "UpToDate", "Stalled")] == ["True", "True", "False"]


async def test_going_back_reuses_the_pinned_revision_and_makes_it_the_newest(world):
    ref, first = await serving(world)
    await world.apply_sample("tiny-cpu", context={"maxModelLength": 512}, rollout={"drainSeconds": 0})
    await world.reconcile(ref)
    second = await other(world, first)
    await world.serve(second)
    await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == [second]
    await world.apply_sample("tiny-cpu", rollout={"drainSeconds": 0})
    await world.reconcile(ref)
    assert first in await world.names(kinds.RAY_SERVICE)
    assert {name: record["revision"] for name, record in (await records(world)).items()} == {first: 3, second: 2}


async def test_history_is_kept_to_its_limit(world):
    rollout = {"drainSeconds": 0, "revisionHistoryLimit": 2}
    ref, _ = await serving(world, rollout=rollout)
    for length in (128, 256, 512, 640):
        await world.apply_sample("tiny-cpu", context={"maxModelLength": length}, rollout=rollout)
        for _ in range(3):
            await world.reconcile(ref)
            for name in await world.names(kinds.RAY_SERVICE):
                await world.serve(name)
    assert sorted(record["revision"] for record in (await records(world)).values()) == [3, 4, 5]


async def test_live_bounds_reach_the_running_ray_cluster_and_nothing_else_of_it_changes(world):
    ref, name = await serving(world)
    await world.ray_cluster(name)
    await world.apply_sample("tiny-cpu", scaling={"minReplicas": 2, "maxReplicas": 5})
    await world.reconcile(ref)
    live = await world.user.get(Ref(kinds.RAY_CLUSTER, "default", f"{name}-abcde"))
    (group,) = live["spec"]["workerGroupSpecs"]
    assert (group["minReplicas"], group["maxReplicas"], group["replicas"]) == (2, 5, 1)
    before = await world.snapshot()
    await world.reconcile(ref)
    assert await world.snapshot() == before


async def test_a_pinned_plan_respects_a_lowered_limit(world):
    for node in ("gpu-0", "gpu-1"):
        await world.add_node(node)
    ref, name = await serving(world, BIG)
    before = await world.snapshot()
    spec = {"hardware": {"accelerator": "H100-80GB", "maxGPUs": 1}}
    await world.apply_sample(BIG, **spec)
    status = await world.reconcile(ref)
    assert condition(status, "Planned").reason == Reason.MAX_GPUS_EXCEEDED
    assert await world.names(kinds.RAY_SERVICE) == [name]
    after = await world.snapshot()
    assert {key for key in after if after[key] != before.get(key)} == {("LlamaDeployment", ref.name)}


async def test_a_live_object_that_breaks_our_rules_is_told_and_disturbs_nothing(world):
    ref, _ = await serving(world)
    before = await world.snapshot()
    live = await world.user.get(ref)
    broken = {key: live[key] for key in ("apiVersion", "kind")} | {
        "metadata": {"name": ref.name, "namespace": ref.namespace},
        "spec": json.loads(json.dumps(live["spec"])) | {"parallelism": {"mode": "Auto", "tensor": 2}},
    }
    await world.user.apply(broken)
    status = await world.reconcile(ref)
    assert condition(status, "Ready").status == "True", "what serves goes on"
    for kind in ("UpToDate", "Stalled"):
        assert condition(status, kind).reason == Reason.INVALID_SPEC
        assert "spec.parallelism" in condition(status, kind).message
    assert status.observed_generation == 2
    after = await world.snapshot()
    assert {key for key in after if after[key] != before.get(key)} == {("LlamaDeployment", ref.name)}
    written = await world.user.get(ref)
    await world.reconcile(ref)
    assert await world.user.get(ref) == written
