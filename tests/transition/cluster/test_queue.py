"""A deployment in a queue of Kueue over time: the label, the wait, the admission, what Kueue writes, and an eviction."""

import copy
from dataclasses import replace

import pytest

from llama_operator.decide.platform import Platform
from llama_operator.kube import kinds
from llama_operator.kube.port import JsonPatch, Ref

LABEL = "kueue.x-k8s.io/queue-name"
ELASTIC = "kueue.x-k8s.io/elastic-job"
KUEUE = Platform(kinds={"localqueues.kueue.x-k8s.io": ("v1beta2",)})
GATE = {"name": "kueue.x-k8s.io/elastic-job"}


def condition(status, kind):
    return next(each for each in status.conditions if each.type == kind)


async def apply(world, queue=None, priority=None, **spec):
    ref = await world.apply_sample("tiny-cpu", **spec)
    labels = {LABEL: queue, "kueue.x-k8s.io/priority-class": priority}
    labels = {name: value for name, value in labels.items() if value}
    if labels:
        await world.user.merge_patch(ref, {"metadata": {"labels": labels}})
    return ref


async def default_queue(world, namespace="default"):
    world.ports = replace(world.ports, platform=lambda: KUEUE)
    await world.memory.client("admin").apply(
        {
            "apiVersion": kinds.LOCAL_QUEUE.api_version,
            "kind": "LocalQueue",
            "metadata": {"name": "default", "namespace": namespace},
            "spec": {"clusterQueue": "gpus"},
        }
    )


async def service(world):
    (name,) = await world.names(kinds.RAY_SERVICE)
    return await world.user.get(Ref(kinds.RAY_SERVICE, "default", name))


def spec_of(live):
    return copy.deepcopy(live["spec"]["rayClusterConfig"])


async def kueue(world, *, suspend, flavor=None):
    """What Kueue writes into a RayService: whether it runs, and where its pods may."""
    live = await service(world)
    cluster = spec_of(live) | {"suspend": suspend}
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        pod["schedulingGates"] = [GATE]
        if flavor:
            pod["nodeSelector"] = pod.get("nodeSelector", {}) | {"acme.example/flavor": flavor}
    ref = Ref(kinds.RAY_SERVICE, "default", live["metadata"]["name"])
    client = world.memory.client("kueue")
    return await client.patch(ref, [JsonPatch("replace", "/spec/rayClusterConfig", cluster)])


async def test_the_queue_of_the_deployment_reaches_the_rayservice(world):
    ref = await apply(world, "gpus", "urgent")
    await world.reconcile(ref)
    metadata = (await service(world))["metadata"]
    assert metadata["labels"][LABEL] == "gpus"
    assert metadata["labels"]["kueue.x-k8s.io/priority-class"] == "urgent"
    assert metadata["annotations"] == {ELASTIC: "true"}


async def test_without_a_queue_nothing_of_it_is_there(world):
    await world.reconcile(await apply(world))
    metadata = (await service(world))["metadata"]
    assert LABEL not in metadata["labels"]
    assert "annotations" not in metadata


async def test_a_queue_that_takes_everything_stops_nothing(world):
    await default_queue(world)
    await world.reconcile(await apply(world))
    metadata = (await service(world))["metadata"]
    assert (metadata["labels"][LABEL], metadata["annotations"]) == ("default", {ELASTIC: "true"})


async def test_a_default_queue_of_another_namespace_is_none(world):
    await default_queue(world, "elsewhere")
    await world.reconcile(await apply(world))
    assert LABEL not in (await service(world))["metadata"]["labels"]


async def test_what_runs_is_not_put_into_a_queue(world):
    ref = await apply(world)
    await world.reconcile(ref)
    before = await service(world)
    await world.user.merge_patch(ref, {"metadata": {"labels": {LABEL: "gpus"}}})
    await default_queue(world)
    await world.reconcile(ref)
    assert await service(world) == before


async def test_what_kueue_writes_stays_and_a_pass_at_rest_writes_nothing(world):
    ref = await apply(world, "gpus")
    await world.reconcile(ref)
    for suspend, flavor in ((True, None), (False, "spot"), (True, None)):
        written = spec_of(await kueue(world, suspend=suspend, flavor=flavor))
        await world.reconcile(ref)
        before = await world.snapshot()
        await world.reconcile(ref)
        assert await world.snapshot() == before
        assert spec_of(await service(world)) == written


async def test_what_changes_in_place_reaches_a_rayservice_in_a_queue(world):
    ref = await apply(world, "gpus", scaling={"maxReplicas": 2})
    await world.reconcile(ref)
    written = spec_of(await kueue(world, suspend=False, flavor="spot"))
    before = (await service(world))["spec"]["serveConfigV2"]
    await world.user.merge_patch(ref, {"spec": {"scaling": {"maxReplicas": 5}}})
    await world.reconcile(ref)
    live = await service(world)
    assert live["spec"]["serveConfigV2"] != before
    assert spec_of(live) == written


async def test_a_rayservice_that_waits_is_not_changed_and_gets_all_when_it_is_admitted(world):
    ref = await apply(world, "gpus", scaling={"maxReplicas": 2})
    await world.reconcile(ref)
    await kueue(world, suspend=True)
    before = (await service(world))["spec"]["serveConfigV2"]
    await world.user.merge_patch(ref, {"spec": {"scaling": {"maxReplicas": 5}}})
    await world.reconcile(ref)
    assert (await service(world))["spec"]["serveConfigV2"] == before
    await kueue(world, suspend=False, flavor="spot")
    await world.reconcile(ref)
    assert (await service(world))["spec"]["serveConfigV2"] != before


@pytest.mark.parametrize("label", ["llama-operator.io/deployment", "app.kubernetes.io/managed-by"])
async def test_labels_of_ours_come_back_to_a_rayservice_in_a_queue(world, label):
    ref = await apply(world, "gpus")
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    wanted = (await service(world))["metadata"]["labels"]
    await world.user.merge_patch(Ref(kinds.RAY_SERVICE, "default", name), {"metadata": {"labels": {label: None}}})
    await world.reconcile(ref)
    assert (await service(world))["metadata"]["labels"] == wanted


async def test_a_wait_has_a_reason_and_no_deadline_which_begins_with_the_admission(world):
    ref = await apply(world, "gpus", rollout={"progressDeadlineSeconds": 600})
    await world.reconcile(ref)
    await kueue(world, suspend=True)
    status = await world.reconcile(ref)
    for kind in ("Ready", "CapacityFound"):
        assert (condition(status, kind).status, condition(status, kind).reason) == ("Unknown", "Queued")
    assert "waits in queue gpus" in condition(status, "Ready").message
    world.clock.advance(3600)
    status = await world.reconcile(ref)
    assert condition(status, "Stalled").status == "False", "nobody can say how long a queue is"
    await kueue(world, suspend=False, flavor="spot")
    status = await world.reconcile(ref)
    assert condition(status, "Ready").reason != "Queued"
    assert condition(status, "Stalled").status == "False"
    for seconds, stalled in ((500, "False"), (80, "True")):
        world.clock.advance(seconds)
        await world.reconcile(ref)
        world.clock.advance(25)
        assert condition(await world.reconcile(ref), "Stalled").status == stalled


@pytest.mark.parametrize("kuberay_says_so", [True, False])
async def test_an_eviction_is_told_and_the_next_admission_begins_anew(world, kuberay_says_so):
    ref = await apply(world, "gpus")
    await world.reconcile(ref)
    await kueue(world, suspend=False, flavor="spot")
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.serve(name)
    pod = await world.pod("runs", "worker", role="worker", revision=name)
    await world.user.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": pod["spec"]["nodeName"]}})
    status = await world.reconcile(ref)
    assert condition(status, "Ready").status == "True"
    before = await service(world)
    await kueue(world, suspend=True)
    if kuberay_says_so:
        await world.serve(name, endpoints=0, status="")
    for _ in range(2):
        status = await world.reconcile(ref)
        assert (condition(status, "Ready").status, condition(status, "Ready").reason) == ("False", "Queued")
    assert (await service(world))["metadata"]["uid"] == before["metadata"]["uid"], (
        "its pods finish what they have begun"
    )
    await world.user.delete(Ref(kinds.POD, "default", "worker"))
    for _ in range(3):
        status = await world.reconcile(ref)
        assert condition(status, "Ready").reason == "Queued" or not kuberay_says_so
    now = await service(world)
    anew = now["metadata"]["uid"] != before["metadata"]["uid"]
    assert anew != kuberay_says_so, "made anew, or Kueue would keep its quota for ever"
    assert now["metadata"]["name"] == name
    assert now["metadata"]["labels"][LABEL] == "gpus"
    await kueue(world, suspend=False, flavor="spot")
    await world.serve(name)
    assert condition(await world.reconcile(ref), "Ready").status == "True"


async def test_nobody_is_sent_to_kuberay_for_pods_that_kueue_holds_back(world):
    ref = await apply(world, "gpus")
    await world.reconcile(ref)
    await kueue(world, suspend=True)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.ray_cluster(name)
    world.clock.advance(3600)
    status = await world.reconcile(ref)
    assert "ClusterNotMade" not in {one.reason for one in status.conditions}
    await kueue(world, suspend=False, flavor="spot")
    assert "ClusterNotMade" not in {one.reason for one in (await world.reconcile(ref)).conditions}
    world.clock.advance(31)
    assert condition(await world.reconcile(ref), "ModelLoaded").reason == "ClusterNotMade", "since the admission"
