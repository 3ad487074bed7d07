"""An upper bound that falls cuts no request: the bound of the pods follows the pods, and never goes before them.

Ray's autoscaler stops at once what is beyond the bound of a worker group, busy or not (tests/serving/test_ray_autoscaler.py). Serve lets a
replica finish first, and chooses which.
"""

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from support.stage import Stage


@pytest.fixture
async def stage(world):
    """Three replicas serve, each in a pod."""
    stage = Stage(world)
    await stage.serve(scaling={"minReplicas": 1, "maxReplicas": 4})
    await world.ray_cluster(stage.first)
    for number in range(3):
        await world.pod("runs", f"worker-{number}", role="worker", revision=stage.first)
    stage.pods(running=3, wanted=3)
    await stage.look()
    return stage


async def most(stage):
    live = await stage.world.user.get(Ref(kinds.RAY_CLUSTER, "default", f"{stage.first}-abcde"))
    (group,) = live["spec"]["workerGroupSpecs"]
    return group["maxReplicas"]


LOWER = [
    pytest.param({"scaling": {"minReplicas": 1, "maxReplicas": 1}}, id="maxReplicas"),
    pytest.param({"scaling": {"mode": "Manual"}, "replicas": 1}, id="kubectl scale, or somebody's autoscaler"),
    pytest.param(
        {
            "scaling": {
                "maxReplicas": 4,
                "schedule": {"windows": [{"name": "all", "from": "00:00", "to": "24:00", "maxReplicas": 1}]},
            }
        },
        id="an hour of the schedule",
    ),
]


@pytest.mark.parametrize("lower", LOWER)
async def test_a_bound_that_falls_waits_for_its_pods_to_go(stage, lower):
    assert await most(stage) == 4
    await stage.change(**lower)
    assert await most(stage) == 3
    stage.pods(running=1, wanted=1)
    await stage.delete(kinds.POD, "worker-1")
    assert await most(stage) == 2
    await stage.delete(kinds.POD, "worker-0")
    assert await most(stage) == 1


async def test_a_bound_that_rises_does_so_at_once(stage):
    await stage.change(scaling={"minReplicas": 1, "maxReplicas": 9})
    assert await most(stage) == 9
