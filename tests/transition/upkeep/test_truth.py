"""What status says about what serves: never more than is so."""

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from llama_serving.contract.status import DeploymentIdentity, ServingStatus


def condition(status, kind):
    return next(each for each in status.conditions if each.type == kind)


def answer(revision, *, replicas, target, name="tiny", namespace="default", waiting=0):
    identity = DeploymentIdentity(namespace=namespace, name=name, revision=revision)
    return ServingStatus(
        identity=identity,
        model_id="m",
        replicas=replicas,
        target_replicas=target,
        queue_depth=waiting,
        running_requests=0,
        kv_cache_tokens=4096,
    )


@pytest.fixture
async def served(world):
    # What pods say is known to the operator only.
    world.compares = False
    ref = await world.apply_sample("tiny-cpu", scaling={"minReplicas": 0, "maxReplicas": 2})
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.serve(name)
    world.reader.answer = answer(name, replicas=1, target=1, waiting=3)
    await world.reconcile(ref)
    return ref, name


async def test_ready_is_false_while_replicas_are_wanted_and_none_runs(world, served):
    ref, name = served
    world.reader.answer = answer(name, replicas=0, target=0)
    status = await world.reconcile(ref)
    assert (condition(status, "Ready").status, condition(status, "ModelLoaded").reason) == ("True", "ScaledToZero")
    world.events.told.clear()
    world.reader.answer = answer(name, replicas=0, target=1, waiting=1)
    status = await world.reconcile(ref)
    ready = condition(status, "Ready")
    assert (ready.status, ready.reason) == ("False", "Starting")
    assert "0 of 1 wanted replicas run" in ready.message
    assert condition(status, "EndpointReady").status == "False"
    assert ("Normal", "NotReady") in world.events.told, "a start after a pause alarms nobody"
    before = await world.snapshot()
    world.clock.advance(60)
    await world.reconcile(ref)
    assert await world.snapshot() == before
    world.clock.advance(3600)
    status = await world.reconcile(ref)
    assert condition(status, "Ready").reason == "ScaleUpStuck"
    world.reader.answer = answer(name, replicas=1, target=1)
    status = await world.reconcile(ref)
    assert condition(status, "Ready").status == "True"


async def test_the_last_answer_stands_with_its_age_while_pods_are_silent(world, served):
    ref, name = served
    silent_at = world.clock.now
    world.reader.answer = None
    status = await world.reconcile(ref)
    assert (status.queue_depth, status.kv_cache_tokens, status.ready_replicas) == (3, 4096, 1)
    assert status.serving_silent_since == silent_at
    before = await world.snapshot()
    world.clock.advance(600)
    status = await world.reconcile(ref)
    assert status.serving_silent_since == silent_at
    assert await world.snapshot() == before, "silence is told once"
    world.reader.answer = answer(name, replicas=1, target=1)
    status = await world.reconcile(ref)
    assert (status.queue_depth, status.serving_silent_since) == (0, None)
    world.reader.answer = None
    await world.serve(name, endpoints=0)
    status = await world.reconcile(ref)
    assert (status.queue_depth, status.serving_silent_since) == (None, None), "what serves nothing has no queue"


@pytest.mark.parametrize("other", [{"name": "other"}, {"namespace": "team-b"}])
async def test_the_answer_of_another_deployment_counts_for_nothing(world, served, other):
    ref, name = served
    world.reader.answer = answer(name, replicas=9, target=9, waiting=99, **other)
    status = await world.reconcile(ref)
    assert (status.replicas, status.queue_depth) == (1, 3)


async def test_a_service_of_somebody_else_is_not_asked(world, served):
    ref, _ = served
    asked = []

    class Reader:
        async def read(self, **where):
            asked.append(where)

    world.ports.serving.read = Reader().read
    service = Ref(kinds.SERVICE, "default", "tiny")
    await world.user.delete(service)
    address = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "tiny", "namespace": "default"}}
    theirs = address | {"spec": {"selector": {"app": "x"}, "ports": [{"port": 80}]}}
    await world.user.apply(theirs)
    ingress = {"loadBalancer": {"ingress": [{"ip": "169.254.169.254"}]}}
    await world.user.apply_status(address | {"status": ingress})
    with pytest.raises(Exception, match="conflict"):
        await world.reconcile(ref)
    assert asked == []
    status = (await world.user.get(ref))["status"]
    assert "169.254" not in status["url"]
