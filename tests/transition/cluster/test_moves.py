"""A head on a node that is about to be emptied: a second copy starts on nodes that stay, takes over, and the first one goes."""

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import Ref

NAMESPACE = "team-a"
"""Of the sample with GPUs."""
BLUE_GREEN = {"strategy": "BlueGreen", "drainSeconds": 60, "progressDeadlineSeconds": 600}


def condition(status, kind):
    return next(each for each in status.conditions if each.type == kind)


async def leaving(world, **spec):
    """A deployment that serves, whose head is on a cordoned node; returns it and its RayService."""
    ref = await world.apply_sample("tiny-cpu", **({"rollout": BLUE_GREEN} | spec))
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.serve(name)
    await world.reconcile(ref)
    pod = await world.pod("runs", f"{name}-head", role="head", revision=name)
    await world.add_cpu_node(pod["spec"]["nodeName"], unschedulable=True)
    await world.add_cpu_node("another")
    return ref, name


async def other_than(world, name):
    (other,) = [each for each in await world.names(kinds.RAY_SERVICE) if each != name]
    return other


async def record(world, name):
    return await world.user.get(Ref(kinds.CONTROLLER_REVISION, "default", name))


async def test_a_second_copy_starts_serves_and_takes_over(world):
    ref, first = await leaving(world)
    status = await world.reconcile(ref)
    second = await other_than(world, first)
    assert condition(status, "Ready").status == "True"
    status = await world.reconcile(ref)
    told = condition(status, "CapacityFound")
    assert (told.status, told.reason) == ("True", "NodesLeaving")
    assert f"{second} starts beside it, and takes over when it serves" in told.message
    assert condition(status, "UpToDate").reason == "RollingOut"

    await world.serve(second)
    status = await world.reconcile(ref)
    service = await world.user.get(Ref(kinds.SERVICE, "default", "tiny"))
    assert service["spec"]["selector"]["llama-operator.io/revision"] == second
    assert await world.names(kinds.RAY_SERVICE) == sorted([first, second]), "streams of the first copy may end"
    world.clock.advance(61)
    await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == [second]
    status = await world.reconcile(ref)
    assert condition(status, "UpToDate").status == "True"
    before = await world.snapshot()
    await world.reconcile(ref)
    assert await world.snapshot() == before, "and nothing more is written"


async def test_the_copy_pins_what_the_first_pinned_under_its_own_name(world):
    ref, first = await leaving(world)
    await world.reconcile(ref)
    second = await other_than(world, first)
    one, other = await record(world, first), await record(world, second)
    assert str(other["data"]).replace(second, first) == str(one["data"])
    assert first not in str(other["data"])
    assert other["metadata"]["annotations"]["llama-operator.io/copy-of"] == first
    assert other["revision"] == one["revision"] + 1


async def test_a_copy_that_never_serves_is_given_up_and_not_tried_again_for_this_head(world):
    ref, first = await leaving(world)
    await world.reconcile(ref)
    second = await other_than(world, first)
    await world.serve(second, status="DEPLOY_FAILED", endpoints=0, message="no kernel image")
    world.clock.advance(601)
    for _ in range(3):
        status = await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == [first]
    assert condition(status, "Ready").status == "True"
    assert condition(status, "UpToDate").status == "True"
    told = condition(status, "CapacityFound")
    assert told.reason == "NodesLeaving"
    assert "a second copy of it did not take over" in told.message


async def test_a_node_that_stays_after_all_ends_no_move_that_has_begun_and_begins_none(world):
    ref, first = await leaving(world)
    await world.reconcile(ref)
    second = await other_than(world, first)
    pod = await world.user.get(Ref(kinds.POD, "default", f"{first}-head"))
    await world.add_cpu_node(pod["spec"]["nodeName"])
    await world.serve(second)
    await world.reconcile(ref)
    world.clock.advance(61)
    await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == [second]


async def test_the_next_head_moves_too_and_another_spec_goes_its_own_way(world):
    ref, first = await leaving(world)
    await world.reconcile(ref)
    second = await other_than(world, first)
    await world.serve(second)
    await world.reconcile(ref)
    world.clock.advance(61)
    await world.reconcile(ref)
    await world.user.delete(Ref(kinds.POD, "default", f"{first}-head"))
    await world.pod("runs", f"{second}-head", role="head", revision=second)
    await world.reconcile(ref)
    third = await other_than(world, second)
    assert third != first
    assert (await record(world, third))["metadata"]["annotations"]["llama-operator.io/copy-of"] == first
    # Somebody wants something else meanwhile: the copy that never served goes at once.
    await world.apply_sample("tiny-cpu", rollout=BLUE_GREEN, context={"maxModelLength": 512})
    await world.reconcile(ref)
    changed = await other_than(world, second)
    assert changed not in {first, third}
    await world.serve(changed)
    await world.reconcile(ref)
    world.clock.advance(61)
    await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == [changed]


@pytest.mark.parametrize(
    "spec",
    [
        {"rollout": BLUE_GREEN | {"strategy": "Recreate"}},
        {"headStore": {"address": "redis:6379"}},
        {"activation": "Suspended"},
    ],
    ids=["no second copy wanted", "goes on without its head", "holds nothing"],
)
async def test_nothing_moves_where_it_would_not_help_or_is_not_wanted(world, spec):
    ref, _ = await leaving(world)
    await world.apply_sample("tiny-cpu", **({"rollout": BLUE_GREEN} | spec))
    for _ in range(2):
        await world.reconcile(ref)
    for name in await world.names(kinds.CONTROLLER_REVISION):
        assert "llama-operator.io/copy-of" not in (await record(world, name))["metadata"].get("annotations", {})


async def test_auto_moves_only_where_a_second_copy_fits(world):
    await world.apply_acceptance()
    await world.add_node("one")
    ref = await world.apply_sample("llama-3.3-70b-fp8-h100", name="tiny", scaling={"minReplicas": 1, "maxReplicas": 1})
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.serve(name, NAMESPACE)
    await world.reconcile(ref)
    pod = await world.pod("runs", f"{name}-head", role="head", revision=name, namespace=NAMESPACE)
    await world.add_cpu_node(pod["spec"]["nodeName"], unschedulable=True)
    await world.add_cpu_node("for-heads")
    await world.hold_gpus("train", "one", 8)
    told = condition(await world.reconcile(ref), "CapacityFound").message
    assert await world.names(kinds.RAY_SERVICE) == [name]
    assert "no second copy is started: a second copy needs a head pod and" in told
    assert told.endswith(", and there is no room for it")
    await world.add_node("two")
    await world.reconcile(ref)
    assert len(await world.names(kinds.RAY_SERVICE)) == 2
