"""The guard over the life of its deployment: it runs as long as hardware is wanted at all."""

import yaml

from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from llama_serving.contract.guard import GUARD_DEPLOYMENT, GUARD_GROUP
from llama_serving.contract.status import DeploymentIdentity, ServingStatus
from support.passes import condition, serving, settles

GUARDED = {"guard": {"model": {"name": "tiny-random-llama"}}}
TO_ZERO = {"scaling": {"minReplicas": 0, "maxReplicas": 2}}
HEALTHY = {GUARD_DEPLOYMENT: {"status": "HEALTHY"}, "LlamaServer:tiny-random-llama": {"status": "HEALTHY"}}


async def test_a_guard_runs_on_while_its_model_is_scaled_to_zero_and_goes_when_no_hardware_is_wanted(world):
    ref, name = await serving(world, **GUARDED, **TO_ZERO)
    await world.serve(name, deployments=HEALTHY)
    world.reader.answer = ServingStatus(
        identity=DeploymentIdentity(namespace="default", name="tiny", revision=name),
        model_id="tiny-random-llama",
        replicas=0,
        target_replicas=0,
        queue_depth=0,
        running_requests=0,
    )

    status = await settles(world, ref)

    assert condition(status, "EndpointReady").reason == "ScaledToZero"
    assert condition(status, "GuardReady").reason == "GuardRunning"
    assert condition(status, "Ready").status == "True"
    live = await world.user.get(Ref(kinds.RAY_SERVICE, "default", name))
    groups = live["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    pods = {
        group["groupName"].startswith(GUARD_GROUP): (group["minReplicas"], group["maxReplicas"]) for group in groups
    }
    assert pods == {False: (0, 2), True: (1, 1)}
    engine = yaml.safe_load(live["spec"]["serveConfigV2"])["applications"][0]
    (of_guard,) = [one for one in engine["deployments"] if one["name"] == GUARD_DEPLOYMENT]
    assert of_guard["num_replicas"] == 1

    await world.apply_sample("tiny-cpu", **GUARDED, **TO_ZERO, activation="Suspended")
    for _ in range(6):
        status = await world.reconcile(ref)
    assert condition(status, "GuardReady").reason == "Suspended"
    assert await world.names(kinds.RAY_SERVICE) == []
