"""A revision that takes over under load begins with as many replicas as serve: with `minReplicas` all requests of one start would be late.

The kind of kubernetes/kubernetes#72231: a fleet of ten was replaced by one of the lower bound.
"""

import pytest
import yaml

from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from support.stage import Stage

SCALING = {"minReplicas": 1, "maxReplicas": 8}
BESIDE = {"strategy": "BlueGreen", "drainSeconds": 300}
OTHER = {"maxModelLength": 512}


@pytest.fixture
async def stage(world):
    """Five replicas serve where one is the least."""
    stage = Stage(world)
    await stage.serve(scaling=SCALING, rollout=BESIDE)
    stage.pods(running=5, wanted=6)
    return stage


async def bounds(stage, revision):
    service = await stage.world.user.get(Ref(kinds.RAY_SERVICE, "default", revision))
    (override,) = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]["deployments"]
    serve = override["autoscaling_config"]
    (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert group["maxReplicas"] == serve["max_replicas"]
    return serve["min_replicas"], serve["max_replicas"]


async def traffic(stage):
    live = await stage.world.user.get(Ref(kinds.SERVICE, "default", "tiny"))
    return live["spec"]["selector"]["llama-operator.io/revision"]


async def test_it_begins_with_as_many_as_serve_and_is_free_once_the_old_one_has_ended(stage):
    await stage.change(context=OTHER)
    newer = await stage.newer()
    assert await bounds(stage, newer) == (5, 8)
    assert await bounds(stage, stage.first) == (1, 8), "what serves goes on as before"
    stage.pods(running=7, wanted=7)
    await stage.look()
    assert await bounds(stage, newer) == (7, 8), "the load rises while it starts"
    stage.pods(running=2, wanted=2)
    await stage.look()
    assert await bounds(stage, newer) == (7, 8), "what was given up a moment ago may be asked for again"
    before = await stage.world.snapshot()
    await stage.look()
    assert await stage.world.snapshot() == before, "a pass that changes nothing writes nothing"
    await stage.says(newer)
    assert (await traffic(stage), await bounds(stage, newer)) == (newer, (7, 8)), (
        "it has the traffic, the old one drains"
    )
    await stage.wait(301)
    assert await stage.world.names(kinds.RAY_SERVICE) == [newer]
    await stage.look()
    assert await bounds(stage, newer) == (1, 8), "from now on its policy decides"


async def test_what_finds_no_node_in_time_is_not_waited_for(stage):
    await stage.change(context=OTHER)
    newer = await stage.newer()
    for number in range(2):
        await stage.world.pod("held-by-a-queue", f"late-{number}", role="worker", revision=newer)
    await stage.wait(540)
    assert await bounds(stage, newer) == (5, 8)
    await stage.wait(120)
    assert await bounds(stage, newer) == (3, 3), "Serve and Ray take back what waits, and call it running"
    for number in range(2):
        await stage.delete(kinds.POD, f"late-{number}")
    await stage.look()
    assert await bounds(stage, newer) == (3, 3), "and it is not asked for again"
    await stage.says(newer)
    assert (await traffic(stage), await bounds(stage, newer)) == (newer, (3, 8))


async def test_by_recreate_it_begins_with_as_many_as_served_before(stage):
    await stage.world.ray_cluster(stage.first)
    await stage.change(context=OTHER, rollout={"strategy": "Recreate"})
    assert await stage.world.names(kinds.RAY_SERVICE) == [stage.first], "it is being deleted"
    stage.world.reader.answer = None
    await stage.world.pods_are_gone(stage.first)
    await stage.look()
    newer = await stage.newer()
    assert await bounds(stage, newer) == (5, 8)
    await stage.says(newer)
    await stage.look()
    assert await bounds(stage, newer) == (1, 8)


async def test_a_revision_that_lost_all_replicas_with_its_head_begins_again_with_as_many(stage):
    await stage.look()
    assert await bounds(stage, stage.first) == (1, 8)
    stage.world.reader.answer = None
    await stage.says(endpoints=0, status="DEPLOYING")
    await stage.look()
    assert await bounds(stage, stage.first) == (5, 8)
    stage.pods(running=5, wanted=5)
    await stage.says()
    await stage.look()
    assert await bounds(stage, stage.first) == (1, 8)


@pytest.mark.parametrize(
    ("spec", "least"),
    [
        pytest.param({"scaling": {"minReplicas": 1, "maxReplicas": 3}}, (3, 3), id="within the new bounds"),
        pytest.param({"scaling": {"minReplicas": 6, "maxReplicas": 8}}, (6, 8), id="not less than the new lower bound"),
        pytest.param(
            {"scaling": {"mode": "Manual", "maxReplicas": 8}, "replicas": 2}, (2, 2), id="a number that is fixed"
        ),
    ],
)
async def test_the_spec_comes_first(stage, spec, least):
    await stage.change(context=OTHER, **spec)
    assert await bounds(stage, await stage.newer()) == least


async def test_where_nobody_says_how_many_serve_their_pods_do(stage):
    stage.world.reader.answer = None
    for number in range(3):
        await stage.world.pod("runs", f"ready-{number}", role="worker", revision=stage.first)
    await stage.change(context=OTHER)
    assert await bounds(stage, await stage.newer()) == (3, 8)
