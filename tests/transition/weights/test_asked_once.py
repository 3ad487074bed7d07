"""What is copied already is not downloaded, so the Hub is not asked about it again: it may be down, or the token may have ended."""

import json

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import Ref

NAMESPACE = "team-a"


@pytest.fixture
async def asking(copies, world):
    """The same world, in which the Hub is asked first."""
    world.ports = world.ports_with(world.memory.client("llama-operator"), checks_access=True)
    return copies


async def questions(world, name="chat"):
    jobs = (await world.user.list(kinds.JOB, namespace=NAMESPACE)).items
    return [job for job in jobs if job["metadata"]["name"].startswith(f"{name}-preflight-")]


async def answer(copies, access="Accessible", name="chat"):
    """The pod of a deployment's only question ends with an answer, and its Job with it."""
    (job,) = await questions(copies.world, name)
    said = {"access": access, "repository": "o/r", "revision": "main"}
    code = 0 if access == "Accessible" else 77
    name, template = job["metadata"]["name"], job["spec"]["template"]
    metadata = {"name": f"{name}-x", "namespace": NAMESPACE, "labels": template["metadata"]["labels"]}
    address = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
    await copies.kubelet.apply(address | {"spec": template["spec"]})
    ended = {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed", "message": json.dumps(said)}}
    container = {"name": "preflight", "state": ended, "image": "x", "imageID": "", "ready": False, "restartCount": 0}
    await copies.kubelet.apply_status(address | {"status": {"phase": "Pending", "containerStatuses": [container]}})
    kind = "Failed" if code else "Complete"
    await copies.finish(job, {"type": kind, "status": "True", "lastTransitionTime": "2026-03-02T09:30:00Z"})


async def test_a_second_revision_asks_neither_for_access_nor_for_a_copy(asking, world):
    ref = await asking.apply()
    await asking.passes(ref)
    await answer(asking)
    first = await asking.serving(ref)
    copied = [job["metadata"]["name"] for job in await asking.jobs()]
    asked = [job["metadata"]["name"] for job in await questions(world)]

    await asking.apply(engine={"arguments": {"maxNumSeqs": 7}})
    found = await asking.passes(ref)
    assert (found["WeightsAccessible"].status, found["WeightsAccessible"].reason) == ("True", "AlreadyCopied")
    assert found["WeightsCopied"].reason == "Copied"
    assert [job["metadata"]["name"] for job in await asking.jobs()] == copied
    assert {job["metadata"]["name"] for job in await questions(world)} <= set(asked)
    (second,) = set(await asking.services()) - {first}
    record = await world.user.get(Ref(kinds.CONTROLLER_REVISION, NAMESPACE, second))
    assert "llama-operator.io/weights-checked-at" not in record["metadata"]["annotations"], "nobody was asked"


async def test_another_deployment_reads_a_copy_whatever_its_own_token_may(asking, world):
    ref = await asking.apply()
    await asking.passes(ref)
    await answer(asking)
    await asking.serving(ref)
    other = await asking.apply("other")
    assert (await asking.passes(other))["WeightsAccessible"].reason == "AlreadyCopied"
    assert any(name.startswith("other") for name in await asking.services())
    assert await questions(world, "other") == []


async def test_a_refusal_ends_once_another_deployment_has_copied(asking, world):
    ref = await asking.apply()
    await asking.passes(ref)
    await answer(asking, "NotAccepted")
    assert (await asking.passes(ref))["WeightsAccessible"].reason == "NotAccepted"
    other = await asking.apply("other")
    await asking.passes(other)
    await answer(asking, name="other")
    await asking.serving(other)
    assert (await asking.passes(ref))["WeightsAccessible"].reason == "AlreadyCopied"
    assert await questions(world) == []
    assert any(name.startswith("chat") for name in await asking.services())


async def test_a_copy_ahead_of_hardware_asks_first(asking, world):
    ref = await asking.apply(activation="Prefetch")
    assert (await asking.passes(ref))["WeightsAccessible"].reason == "AccessChecking"
    assert len(await questions(world)) == 1
    before = len(world.memory.writes)
    await asking.passes(ref)
    assert len(world.memory.writes) == before
    await answer(asking)
    assert (await asking.passes(ref))["WeightsCopied"].reason == "Copying"
    await asking.end()
    assert (await asking.passes(ref))["WeightsCopied"].reason == "Copied"
    assert await asking.services() == []


async def test_a_copy_ahead_of_hardware_says_a_refusal_and_asks_again(asking, world):
    ref = await asking.apply(activation="Prefetch")
    await asking.passes(ref)
    await answer(asking, "NotAccepted")
    found = await asking.passes(ref)
    assert (found["WeightsAccessible"].status, found["WeightsAccessible"].reason) == ("False", "NotAccepted")
    assert await asking.jobs() == []
    world.clock.advance(3600)
    await asking.passes(ref)
    assert len(await questions(world)) == 2, "those that exist say how often was asked"
