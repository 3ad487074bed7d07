"""Bounds by the hour reach what runs in time, as live settings: the same revision, and no pass that changes nothing writes."""

import yaml

from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from support.stage import Stage

OFFICE = {"name": "office", "from": "09:40", "to": "10:30", "minReplicas": 2}
SCALING = {"minReplicas": 1, "maxReplicas": 3, "schedule": {"timeZone": "Etc/UTC", "windows": [OFFICE]}}


async def bounds(world, name):
    service = await world.user.get(Ref(kinds.RAY_SERVICE, "default", name))
    (override,) = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]["deployments"]
    (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    serve = override["autoscaling_config"]
    return (serve["min_replicas"], serve["max_replicas"]), (group["minReplicas"], group["maxReplicas"])


async def test_bounds_follow_the_clock_of_the_world_and_nothing_restarts(world):
    stage = Stage(world)
    await stage.serve(scaling=SCALING)
    begin = world.clock()
    assert (begin.hour, begin.minute) < (9, 41), begin
    world.clock.advance((begin.replace(hour=9, minute=39, second=59) - begin).total_seconds())
    await stage.look()
    assert await bounds(world, stage.first) == ((1, 3), (1, 3))
    assert world.outcome.next_check == 1.0
    before = await world.snapshot()
    await stage.look()
    assert await world.snapshot() == before
    await stage.wait(1)
    assert await bounds(world, stage.first) == ((2, 3), (2, 3))
    await stage.wait(50 * 60)
    assert await bounds(world, stage.first) == ((1, 3), (1, 3))
    assert await world.names(kinds.RAY_SERVICE) == [stage.first]
