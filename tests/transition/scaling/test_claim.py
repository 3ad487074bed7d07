"""Replicas that find no node give up their claim after a deadline, say so, and are tried again; what serves is never touched."""

import pytest
import yaml

from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from support.stage import Stage, condition

SCALING = {"minReplicas": 1, "maxReplicas": 4}
DEADLINE = 600


@pytest.fixture
async def stage(world):
    """Two replicas serve, and a third is wanted whose pod no node takes."""
    stage = Stage(world)
    await stage.serve(scaling=SCALING)
    stage.pods(running=2, wanted=3)
    await world.pod("held-by-a-queue", "worker-2", role="worker", revision=stage.first)
    await stage.look()
    return stage


async def most(stage):
    service = await stage.world.user.get(Ref(kinds.RAY_SERVICE, "default", stage.first))
    (override,) = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]["deployments"]
    (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    serve = override["autoscaling_config"]
    assert (serve["min_replicas"], group["minReplicas"]) == (1, 1)
    assert serve["max_replicas"] == group["maxReplicas"], "Ray's autoscaler takes back what is beyond the group's bound"
    return serve["max_replicas"]


async def test_what_finds_no_node_is_given_up_told_and_tried_again(stage):
    await stage.wait(DEADLINE - 60)
    assert (await most(stage), stage.status.given_up) == (4, None)
    await stage.wait(120)
    given = stage.status.given_up
    assert (await most(stage), given.replicas, given.missing, given.tries) == (2, 2, 1, 1)
    found = condition(stage.status, "CapacityFound")
    assert (found.status, found.reason) == ("False", "ScaleUpGivenUp")
    assert condition(stage.status, "Ready").status == "True", "what serves, serves"
    told = [facts for facts in stage.world.events.told if facts[1] == "ScaleUpGivenUp"]
    assert len(told) == 1
    # Serve and Ray follow the bound.
    stage.pods(running=2, wanted=2)
    await stage.delete(kinds.POD, "worker-2")
    before = await stage.world.snapshot()
    await stage.look()
    assert await stage.world.snapshot() == before, "a pass that changes nothing writes nothing"
    await stage.wait(600)
    assert await most(stage) == 4, "tried again"


async def test_in_a_row_it_waits_longer_and_a_replica_that_comes_ends_it(stage):
    waits = []
    for _ in range(5):
        await stage.wait(DEADLINE + 60)
        given = stage.status.given_up
        waits.append((given.retry_at - given.at).total_seconds())
        assert await most(stage) == 2
        # Ray's autoscaler takes it back.
        await stage.delete(kinds.POD, "worker-2")
        await stage.wait(waits[-1] + 1)
        assert await most(stage) == 4
        await stage.world.pod("held-by-a-queue", "worker-2", role="worker", revision=stage.first)
    assert waits == [600, 1200, 2400, 3600, 3600]
    stage.pods(running=3, wanted=3)
    await stage.look()
    assert stage.status.given_up is None
    assert condition(stage.status, "CapacityFound").reason != "ScaleUpGivenUp"


async def test_a_change_of_the_spec_tries_at_once(stage):
    await stage.wait(DEADLINE + 60)
    assert await most(stage) == 2
    await stage.change(scaling=SCALING | {"maxReplicas": 3})
    assert (await most(stage), stage.status.given_up) != (2, stage.said[-2].given_up)


@pytest.mark.parametrize(
    "scaling",
    [
        pytest.param({"scaling": {"minReplicas": 3, "maxReplicas": 4}}, id="the lower bound is waited for without end"),
        pytest.param({"scaling": {"mode": "Manual", "maxReplicas": 4}, "replicas": 3}, id="as is what a person wrote"),
        pytest.param({"scaling": {"mode": "External", "maxReplicas": 4}, "replicas": 3}, id="or somebody's autoscaler"),
    ],
)
async def test_what_somebody_asked_for_is_not_given_up(world, scaling):
    stage = Stage(world)
    await stage.serve(**scaling)
    stage.pods(running=2, wanted=3)
    await world.pod("held-by-a-queue", "worker-2", role="worker", revision=stage.first)
    await stage.wait(3 * DEADLINE)
    assert stage.status.given_up is None


async def test_the_first_replica_is_waited_for_as_requests_are(world):
    stage = Stage(world)
    await stage.serve(scaling={"minReplicas": 0, "maxReplicas": 4})
    stage.pods(running=0, wanted=1)
    await world.pod("held-by-a-queue", "worker-0", role="worker", revision=stage.first)
    await stage.wait(3 * DEADLINE)
    assert stage.status.given_up is None


async def test_silence_of_the_pods_changes_nothing(stage):
    await stage.wait(DEADLINE + 60)
    given = stage.status.given_up
    stage.world.reader.answer = None
    await stage.wait(60)
    assert (stage.status.given_up, await most(stage)) == (given, 2)
