"""A clock that is set, forward or back: no deadline passes because of it, and none becomes endless."""

from dataclasses import replace

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from llama_operator.observe.ages import Ages

HOUR, DECADE = 3600, 10 * 365 * 86_400


def condition(status, kind):
    return next(each for each in status.conditions if each.type == kind)


@pytest.fixture(autouse=True)
def _alone(world):
    # A command looks once: it knows no other clock than that of the wall.
    world.compares = False


async def updating(world, **rollout):
    ref = await world.apply_sample("tiny-cpu", rollout={"strategy": "BlueGreen"} | rollout)
    await world.reconcile(ref)
    (old,) = await world.names(kinds.RAY_SERVICE)
    await world.serve(old)
    await world.reconcile(ref)
    await world.apply_sample("tiny-cpu", context={"maxModelLength": 512}, rollout={"strategy": "BlueGreen"} | rollout)
    await world.reconcile(ref)
    await world.reconcile(ref)
    (new,) = set(await world.names(kinds.RAY_SERVICE)) - {old}
    return ref, old, new


async def later(world, ref, seconds):
    world.clock.advance(seconds)
    return await world.reconcile(ref)


@pytest.mark.parametrize("jump", [600, 2 * HOUR, DECADE, -600, -2 * HOUR, -DECADE])
async def test_no_rollout_is_given_up_because_the_clock_was_set(world, jump):
    ref, old, new = await updating(world)
    await later(world, ref, 60)
    world.clock.jump(jump)
    for _ in range(4):
        await later(world, ref, 60)
        assert await world.names(kinds.RAY_SERVICE) == sorted([old, new])
    world.clock.jump(-jump)
    status = await later(world, ref, 60)
    assert condition(status, "UpToDate").reason == "RollingOut"
    await world.serve(new)
    status = await later(world, ref, 1)
    assert condition(status, "UpToDate").status == "True"


@pytest.mark.parametrize("jump", [-2 * HOUR, -DECADE, 2 * HOUR])
async def test_a_rollout_is_given_up_in_time_also_after_the_clock_was_set(world, jump):
    ref, old, _ = await updating(world)
    await later(world, ref, 60)
    world.clock.jump(jump)
    await later(world, ref, 60)
    # An hour has really passed; a clock that was set back by little may add what it lost.
    await later(world, ref, HOUR)
    status = await later(world, ref, HOUR)
    assert await world.names(kinds.RAY_SERVICE) == [old]
    assert condition(status, "UpToDate").reason == "ProgressDeadlineExceeded"


@pytest.mark.parametrize("jump", [600, 2 * HOUR, -DECADE])
async def test_a_drain_takes_its_time_whatever_the_clock_says(world, jump):
    ref, old, new = await updating(world)
    await world.serve(new)
    await later(world, ref, 1)
    await later(world, ref, 10)
    world.clock.jump(jump)
    await later(world, ref, 60)
    assert await world.names(kinds.RAY_SERVICE) == sorted([old, new]), "requests are being answered"
    await later(world, ref, 240)
    await later(world, ref, 10)
    assert await world.names(kinds.RAY_SERVICE) == [new], "no second copy for ten years"


async def test_a_new_process_looks_twice_before_it_gives_up(world):
    ref, old, new = await updating(world)
    world.clock.jump(2 * HOUR)
    world.ports = replace(world.ports, ages=Ages(world.clock.elapsed))
    await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == sorted([old, new])
    assert world.outcome.next_check <= 20
    world.clock.jump(-2 * HOUR)
    await later(world, ref, 20)
    assert await world.names(kinds.RAY_SERVICE) == sorted([old, new]), "the clock was set right between the two looks"
    world.clock.advance(HOUR)
    await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == [old]


async def test_a_time_to_come_on_the_service_does_not_keep_a_drain_for_ever(world):
    ref, _, new = await updating(world)
    await world.serve(new)
    await later(world, ref, 1)
    await world.user.merge_patch(
        Ref(kinds.SERVICE, "default", "tiny"),
        {"metadata": {"annotations": {"llama-operator.io/traffic-since": "9999-12-31T23:59:59Z"}}},
    )
    for _ in range(4):
        await later(world, ref, 150)
    assert await world.names(kinds.RAY_SERVICE) == [new]
