"""Numbers that somebody else writes: another mode moves nothing, `maxGPUs` bounds an autoscaler, and the history says whose bounds they were."""

import pytest
import yaml

from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from llama_operator.status.events import EventReason
from llama_serving.autoscaling import Decision, Memory
from llama_serving.autoscaling.ray_serve import adapter
from llama_serving.autoscaling.ray_serve.keeping import ScalingRecord
from llama_serving.contract.status import BOUNDS_CHANGED, ScalingChange, ScalingState
from support.stage import Stage, condition

QUEUE = {"minReplicas": 1, "maxReplicas": 8}
EXTERNAL = {"mode": "External", "minReplicas": 1, "maxReplicas": 8}
MANUAL = {"mode": "Manual", "minReplicas": 1, "maxReplicas": 8}


async def bounds(stage, revision=""):
    """Of Serve, of what it starts with; of the first revision if none is named."""
    service = await stage.world.user.get(Ref(kinds.RAY_SERVICE, stage.ref.namespace, revision or stage.first))
    (override,) = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]["deployments"]
    serve = override["autoscaling_config"]
    return serve["min_replicas"], serve["max_replicas"]


def tell(stage, *, wanted, changes):
    """What pods of now say beside the numbers."""
    stage.pods(running=wanted, wanted=wanted)
    state = ScalingState(
        at=stage.world.clock().timestamp(),
        wanted_replicas=wanted,
        needed_replicas=1,
        unbounded_replicas=1,
        reason="hold: calm",
        changes=tuple(ScalingChange(at=at, before=a, after=b, reason=reason) for at, a, b, reason in changes),
    )
    answer = stage.world.reader.answer
    stage.world.reader.answer = answer.model_copy(update={"scaling": state})


@pytest.mark.parametrize("mode", [EXTERNAL, MANUAL], ids=["External", "Manual"])
async def test_another_mode_without_a_number_moves_nothing(world, mode):
    stage = Stage(world)
    await stage.serve(scaling=QUEUE)
    stage.pods(running=5, wanted=5)
    await stage.look()
    await stage.change(scaling=mode)
    assert await bounds(stage) == (5, 5)
    before = await world.snapshot()
    await stage.look()
    assert await world.snapshot() == before
    assert "replicas" not in (await world.user.get(stage.ref))["spec"], "nobody writes into the spec"
    await stage.change(replicas=3)
    assert await bounds(stage) == (3, 3)


async def test_a_deployment_that_begins_without_a_number_has_the_fewest(world):
    stage = Stage(world)
    await stage.serve(scaling=EXTERNAL | {"minReplicas": 2})
    assert await bounds(stage) == (2, 2)


@pytest.mark.parametrize(("scaling", "serves", "planned"), [(EXTERNAL, 4, "True"), (MANUAL, 2, "False")])
async def test_max_gpus_bounds_what_an_autoscaler_writes_and_refuses_what_a_person_does(
    world, scaling, serves, planned
):
    stage = Stage(world)
    await stage.serve(scaling=scaling, replicas=2, hardware={"accelerator": "CPU", "maxGPUs": 4})
    await stage.change(replicas=6)
    assert await bounds(stage) == (serves, serves)
    assert condition(stage.status, "Planned").status == planned
    if planned == "True":
        assert (
            "spec.replicas asks for 6, and maxGPUs 4 bounds them to 4"
            in condition(stage.status, "CapacityFound").message
        )
    else:
        assert "spec.replicas" in condition(stage.status, "Planned").message


async def test_a_spec_that_breaks_a_rule_is_told_what_would_be_right(world):
    """Older definitions let it in."""
    stage = Stage(world)
    await stage.serve(scaling=QUEUE)
    await stage.change(scaling=EXTERNAL | {"minReplicas": 0})
    assert condition(stage.status, "UpToDate").message == (
        "spec.scaling.minReplicas: is 0; may be 0 only in mode QueueDepth; with other modes set spec.activation to Suspended to free the hardware"
    )


async def test_max_gpus_hold_two_revisions_when_the_autoscaler_asks_for_more_in_a_rollout(world):
    """`Auto` began it because both had room; the number rises for both."""
    stage = Stage(world)
    await stage.serve(scaling=EXTERNAL, replicas=2, hardware={"accelerator": "CPU", "maxGPUs": 4})
    stage.pods(running=2, wanted=2)
    await stage.change(context={"maxModelLength": 512})
    newer = await stage.newer()
    await stage.change(replicas=4)
    assert [await bounds(stage), await bounds(stage, newer)] == [(2, 2), (2, 2)]
    message = condition(stage.status, "CapacityFound").message
    assert "spec.replicas asks for 4, and maxGPUs 4 bounds them to 2, of each revision that runs" in message
    await stage.change(replicas=1)
    assert [await bounds(stage), await bounds(stage, newer)] == [(1, 1), (1, 1)]
    await stage.change(replicas=4)
    await stage.says(newer)
    await stage.wait(301)
    await stage.look()
    assert (await world.names(kinds.RAY_SERVICE), await bounds(stage, newer)) == ([newer], (4, 4))


async def test_the_history_names_the_window_that_began_and_who_writes_the_number(world):
    stage = Stage(world)
    window = {"name": "office", "from": "00:00", "to": "24:00", "minReplicas": 3}
    await stage.serve(scaling=QUEUE | {"schedule": {"timeZone": "UTC", "windows": [window]}})
    began = world.clock().timestamp()
    tell(stage, wanted=3, changes=[(began, 1, 3, BOUNDS_CHANGED)])
    await stage.look()
    assert stage.status.scaling_history[0].reason == "bounds of window office of the schedule"
    await stage.wait(60)
    later = world.clock().timestamp()
    tell(stage, wanted=6, changes=[(later, 3, 6, BOUNDS_CHANGED), (began, 1, 3, BOUNDS_CHANGED)])
    await stage.change(scaling=EXTERNAL, replicas=6)
    said = [one.reason for one in stage.status.scaling_history]
    assert said == ["spec.replicas, mode External", "bounds of window office of the schedule"]


async def test_the_history_names_max_gpus_where_they_bound_an_autoscaler(world):
    stage = Stage(world)
    await stage.serve(scaling=EXTERNAL, replicas=2, hardware={"accelerator": "CPU", "maxGPUs": 4})
    await stage.change(replicas=6)
    tell(stage, wanted=4, changes=[(world.clock().timestamp(), 2, 4, BOUNDS_CHANGED)])
    await stage.look()
    assert stage.status.scaling_history[0].reason == "maxGPUs 4 bounds the 6 replicas of mode External"


@pytest.mark.parametrize("records", [True, False], ids=["pods of now", "pods of before"])
async def test_the_history_blames_no_bounds_of_the_spec_for_what_was_given_up(world, records):
    """The kind of kubernetes/kubernetes#78712: the number changed, and the reason was another one, or none."""
    stage = Stage(world)
    await stage.serve(scaling=QUEUE)
    stage.pods(running=2, wanted=3)
    await world.pod("held-by-a-queue", "worker-2", role="worker", revision=stage.first)
    await stage.wait(660)
    assert await bounds(stage) == (1, 2)
    stage.pods(running=2, wanted=2)
    if records:
        tell(stage, wanted=2, changes=[(world.clock().timestamp(), 3, 2, BOUNDS_CHANGED)])
    await stage.look()
    assert stage.status.scaling_history[0].reason == "what found no node in time is given up, 2 are kept"


def test_the_policy_and_the_operator_have_the_same_words_for_bounds():
    assert adapter.BOUNDS == BOUNDS_CHANGED
    for before, words in ((1, BOUNDS_CHANGED), (0, f"a request when there was no replica, or {BOUNDS_CHANGED}")):
        old = ScalingRecord(memory={}, target=before, wish=before, reason="hold: calm", events=())
        (event,) = adapter.told(old, Decision(3, "hold: calm", Memory()), 3, 1.0, {}).events
        assert event["reason"] == words


async def test_a_change_is_told_once_although_pods_were_silent_meanwhile(world):
    stage = Stage(world)
    await stage.serve(scaling=QUEUE)
    first = (world.clock().timestamp(), 1, 2, "up: 31 requests/s")
    tell(stage, wanted=2, changes=[first])
    await stage.look()
    await stage.wait(3600)
    world.reader.answer = None
    await stage.wait(15)
    await stage.change(scaling=QUEUE | {"minReplicas": 3})
    tell(stage, wanted=2, changes=[first])
    await stage.wait(15)
    # Once as the pods said it, and once as the bounds did while they were silent.
    assert world.events.told.count(("Normal", EventReason.SCALED)) == 2


async def test_each_of_several_changes_between_two_looks_is_told(world):
    """The first one is the start from zero: who looks at the events has to find it."""
    stage = Stage(world)
    await stage.serve(scaling=QUEUE | {"minReplicas": 0})
    slept = (world.clock().timestamp(), 1, 0, "down: 0 requests/s")
    tell(stage, wanted=0, changes=[slept])
    await stage.look()
    await stage.wait(600)
    woke = world.clock().timestamp()
    tell(stage, wanted=3, changes=[(woke + 3, 2, 3, "up"), (woke + 2, 1, 2, "up"), (woke, 0, 1, "up"), slept])
    await stage.wait(15)
    assert world.events.told.count(("Normal", EventReason.SCALED)) == 4
    await stage.wait(15)
    assert world.events.told.count(("Normal", EventReason.SCALED)) == 4


async def test_a_window_that_asks_for_more_ends_what_was_given_up(world):
    stage = Stage(world)
    begins = world.clock().replace(hour=9, minute=55, second=0)
    window = {"name": "office", "from": "09:55", "to": "18:00", "minReplicas": 4}
    await stage.serve(
        scaling={"minReplicas": 1, "maxReplicas": 6, "schedule": {"timeZone": "UTC", "windows": [window]}}
    )
    stage.pods(running=2, wanted=3)
    await world.pod("held-by-a-queue", "worker-2", role="worker", revision=stage.first)
    await stage.look()
    await stage.wait(660)
    assert stage.status.given_up.replicas == 2
    await stage.delete(kinds.POD, "worker-2")
    world.clock.advance((begins - world.clock()).total_seconds() + 5)
    stage.pods(running=2, wanted=4)
    await stage.look()
    assert (await bounds(stage))[0] == 4
    assert stage.status.given_up is None
    assert condition(stage.status, "CapacityFound").reason != "ScaleUpGivenUp"
