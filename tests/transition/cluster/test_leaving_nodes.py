"""Nodes that are about to be emptied: what stands on them is told before it moves, once, and the status is as before when they stay."""

import pytest

from llama_operator.kube import kinds

ALL_LOAD_AGAIN = (
    "the head: if it is drained now, all replicas load again; no second copy is started: spec.rollout.strategy says so"
)
GO_ON = "the head: replicas go on while another one starts"
MARKS = ("karpenter.sh/disrupted", "ToBeDeletedByClusterAutoscaler", "node.kubernetes.io/out-of-service")


def capacity(status):
    return next(each for each in status.conditions if each.type == "CapacityFound")


async def serving(world, role, **spec):
    """A deployment that answers, with a pod of a role on a node that is well; returns it and the node."""
    ref = await world.apply_sample("tiny-cpu", **spec)
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.ray_cluster(name)
    pod = await world.pod("runs", role, role=role, revision=name)
    node = pod["spec"]["nodeName"]
    await world.add_cpu_node(node)
    await world.serve(name)
    return ref, node


@pytest.mark.parametrize(
    ("spec", "told"),
    [({"rollout": {"strategy": "Recreate"}}, ALL_LOAD_AGAIN), ({"headStore": {"address": "redis:6379"}}, GO_ON)],
    ids=["without a store", "with a store"],
)
async def test_a_cordoned_node_of_the_head_is_told_with_what_its_drain_costs(world, spec, told):
    ref, node = await serving(world, "head", **spec)
    before = capacity(await world.reconcile(ref))
    assert before.reason == "NodesFound"
    await world.add_cpu_node(node, unschedulable=True)
    # Room for the workers is elsewhere.
    await world.add_cpu_node("another")
    status = await world.reconcile(ref)
    assert (capacity(status).status, capacity(status).reason) == ("True", "NodesLeaving")
    assert capacity(status).message == f"{node} is cordoned, with {told}"
    assert world.events.told.count(("Normal", "NodesLeaving")) == 1
    assert next(each for each in status.conditions if each.type == "Ready").status == "True"
    assert await world.reconcile(ref) == status
    assert world.events.told.count(("Normal", "NodesLeaving")) == 1
    await world.add_cpu_node(node)
    assert capacity(await world.reconcile(ref)).reason == "NodesFound"


@pytest.mark.parametrize("mark", MARKS)
async def test_a_node_that_an_autoscaler_takes_away_is_told_too(world, mark):
    ref, node = await serving(world, "worker")
    await world.add_cpu_node("another")
    await world.add_cpu_node(node, taints=[{"key": mark, "effect": "NoSchedule"}])
    told = capacity(await world.reconcile(ref))
    assert told.reason == "NodesLeaving"
    assert told.message == f"{node} has the taint {mark}:NoSchedule, with 1 worker, which finishes what it has begun"


async def test_a_cordoned_node_without_pods_of_ours_is_no_news(world):
    ref, _ = await serving(world, "head")
    await world.reconcile(ref)
    await world.add_cpu_node("another", unschedulable=True)
    assert capacity(await world.reconcile(ref)).reason != "NodesLeaving"
    assert ("Normal", "NodesLeaving") not in world.events.told
