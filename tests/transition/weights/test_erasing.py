"""A license that ends asks to delete the weights: a Job erases the copies that we made, and the records say what was erased."""

import asyncio
import json

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from llama_operator.reconcile.deployment import reconcile
from llama_operator.reconcile.license_records import reconcile_record

ACCEPTANCE, NAMESPACE = "acme-llama-3-1", "team-a"


async def end_license(world):
    live = await world.user.get(Ref(kinds.LICENSE_ACCEPTANCE, "", ACCEPTANCE))
    obj = {key: live[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": ACCEPTANCE}}
    await world.user.apply(obj | {"spec": live["spec"] | {"state": "Terminated", "terminatedOn": "2026-03-01"}})


async def weights_deleted(world):
    ref = Ref(kinds.LICENSE_ACCEPTANCE, "", ACCEPTANCE)
    await reconcile_record(world.user, ref, catalog=world.ports.catalog, now=world.clock)
    live = await world.user.get(ref)
    return next(each for each in live["status"]["conditions"] if each["type"] == "WeightsDeleted")


async def test_the_end_of_a_license_erases_the_copy_once_nobody_reads_it(copies, world, lines):
    ref = await copies.apply()
    service = await copies.serving(ref)
    assert [copy["state"] for copy in lines()[-1]["copies"]] == ["Copied"]
    assert lines()[-1]["modelRepository"] == "meta-llama/Llama-3.1-8B-Instruct"
    assert len(lines()[-1]["modelCommit"]) == 40
    await end_license(world)
    await copies.passes(ref)
    assert await copies.services() == [service], "it may finish its requests"
    assert await copies.jobs(erase=True) == []
    assert (await weights_deleted(world))["status"] == "Unknown"
    for _ in range(3):
        world.clock.advance(400)
        await copies.passes(ref)
    assert await copies.services() == []
    job = await copies.job(erase=True)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "llama_serving.weights", "erase"]
    assert "HF_TOKEN" not in {each["name"] for each in container["env"]}
    assert world.outcome.status.weights[0].state == "Erasing"
    before = len(world.memory.writes)
    await copies.passes(ref)
    assert len(world.memory.writes) == before

    await copies.end("Erased", erase=True, bytes=16_100_000_123, files=12)
    await copies.passes(ref)
    (told,) = world.outcome.status.weights
    assert (told.state, told.bytes, told.erased_at) == ("Erased", 16_100_000_123, world.clock.now)
    assert ("Normal", "WeightsErased") in world.events.told
    (copy,) = lines()[-1]["copies"]
    assert (copy["state"], copy["bytes"], copy["files"]) == ("Erased", 16_100_000_123, 12)
    found = await weights_deleted(world)
    assert (found["status"], found["reason"]) == ("True", "CopiesErased")
    assert "16100000123 bytes" in found["message"]
    # What was erased is told: an empty claim costs money, and its Job has no more to say.
    assert not await copies.claims()
    assert not await copies.jobs(erase=True)
    before, written = len(world.memory.writes), len(lines())
    await copies.passes(ref)
    assert world.outcome.status.weights == (told,)
    assert len(world.memory.writes) == before
    assert len(lines()) == written
    assert (await weights_deleted(world))["status"] == "True"


async def test_a_license_that_ends_while_it_is_copied_stops_the_copy_and_erases_what_is_there(copies, world):
    ref = await copies.apply()
    await copies.passes(ref)
    assert len(await copies.jobs()) == 1
    await end_license(world)
    await copies.passes(ref)
    assert await copies.jobs() == []
    assert await copies.services() == []
    await copies.end("Erased", erase=True)
    await copies.passes(ref)
    assert world.outcome.status.weights[0].state == "Erased"
    assert (await weights_deleted(world))["status"] == "True"


async def test_pods_that_still_end_are_waited_for(copies, world):
    """The RayService goes at once, its pods do not: until they are gone they have the files open."""
    ref = await copies.apply()
    service = await copies.serving(ref)
    await end_license(world)
    await copies.passes(ref)
    labels = {"llama-operator.io/deployment": ref.name, "llama-operator.io/revision": service}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": NAMESPACE, "labels": labels}}
    await copies.kubelet.apply(pod | {"spec": {"containers": [{"name": "ray-worker", "image": "x"}]}})
    await copies.kubelet.apply_status(pod | {"status": {"phase": "Running"}})
    for _ in range(3):
        world.clock.advance(400)
        await copies.passes(ref)
    assert await copies.services() == []
    assert await copies.jobs(erase=True) == []
    assert world.outcome.status.weights[0].state == "Erasing"
    await world.user.delete(Ref(kinds.POD, NAMESPACE, "a"))
    await copies.passes(ref)
    assert len(await copies.jobs(erase=True)) == 1


async def test_what_others_use_is_left_to_them_and_erased_with_the_last(copies, world):
    first, second = await copies.apply("chat"), await copies.apply("other")
    await copies.passes(first, second)
    await copies.end()
    await copies.passes(first, second)
    await end_license(world)
    await copies.passes(first)
    assert world.outcome.status.weights[0].state == "CopyShared"
    assert await copies.jobs(erase=True) == []
    assert (await weights_deleted(world))["status"] == "Unknown"
    await world.user.delete(second)
    await copies.passes(first)
    await copies.end("Erased", erase=True)
    await copies.passes(first)
    assert world.outcome.status.weights[0].state == "Erased"


async def test_the_last_of_two_that_end_together_erases_what_both_read(copies, world):
    first, second = await copies.apply("chat"), await copies.apply("other")
    await copies.passes(first, second)
    await copies.end()
    await copies.passes(first, second)
    await copies.world.serve((await copies.services())[-1], NAMESPACE)
    await copies.passes(first, second)
    await end_license(world)
    await copies.passes(first, second)
    assert len(await copies.services()) == 1, "the one that serves may finish its requests"
    assert not await copies.jobs(erase=True)
    for _ in range(3):
        world.clock.advance(400)
        await copies.passes(first, second)
    (job,) = await copies.jobs(erase=True)
    await copies.end("Erased", job=job)
    for ref in (first, second):
        await copies.passes(ref)
        assert world.outcome.status.weights[0].state == "Erased"
    await copies.passes(first, second)
    assert not await copies.claims()
    assert not await copies.jobs(erase=True)
    assert (await weights_deleted(world))["status"] == "True"


async def test_of_two_that_let_go_at_once_one_takes_the_claim_along(copies, world):
    """Both see the other one as a user: without a look at the claim's version it would stay, with no owner."""
    first, second = await copies.apply("chat"), await copies.apply("other")
    await copies.passes(first, second)
    await copies.end()
    await copies.passes(first, second)
    await end_license(world)
    await copies.passes(first, second)
    await copies.end("Erased", erase=True)
    for ref in (first, second):
        await world.reconcile(ref)
    world.compares = False
    await asyncio.gather(reconcile(world.ports, first), reconcile(world.ports, second))
    await copies.passes(first, second)
    assert not await copies.claims()


async def test_a_claim_that_is_to_stay_stays_when_it_is_empty(copies, world):
    ref = await copies.apply(cache={"retention": "Retain"})
    await copies.passes(ref)
    await copies.end()
    await copies.passes(ref)
    await end_license(world)
    await copies.passes(ref)
    await copies.end("Erased", erase=True)
    await copies.passes(ref)
    annotations = (await copies.claim())["metadata"]["annotations"]
    assert "llama-operator.io/weights-copied" not in annotations
    assert "llama-operator.io/weights-erased" in annotations
    assert not await copies.jobs(erase=True)
    before = len(world.memory.writes)
    await copies.passes(ref)
    assert len(world.memory.writes) == before


async def test_who_still_has_a_license_does_not_start_on_a_copy_that_is_being_erased(copies, world):
    """Two licenses for the same weights: the Job that erases for one was made just before the other one came."""
    first = await copies.apply("chat")
    await copies.passes(first)
    await copies.end()
    await copies.passes(first)
    await end_license(world)
    await copies.passes(first)
    assert len(await copies.jobs(erase=True)) == 1
    live = await world.user.get(Ref(kinds.LICENSE_ACCEPTANCE, "", ACCEPTANCE))
    newer = {name: value for name, value in live["spec"].items() if name != "terminatedOn"} | {"state": "Accepted"}
    obj = {key: live[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": "acme-newer"}}
    await world.user.apply(obj | {"spec": newer})
    declared = (await copies.live(first))["spec"]["license"] | {"acceptance": "acme-newer"}
    second = await copies.apply("other", license=declared)
    conditions = await copies.passes(second)
    assert conditions["LicenseAccepted"].status == "True", conditions["LicenseAccepted"].message
    assert conditions["WeightsCopied"].reason == "Copying"
    assert "erases it first" in conditions["WeightsCopied"].message
    world.clock.advance(5)
    await copies.end("Erased", erase=True)
    await copies.passes(first, second)
    (job,) = await copies.jobs()
    world.clock.advance(5)
    await copies.end(job=job)
    conditions = await copies.passes(first, second)
    assert conditions["WeightsCopied"].reason == "Copied"
    assert [each["name"] for each in (await copies.claim())["metadata"]["ownerReferences"]] == ["other"]
    await copies.passes(first)
    assert world.outcome.status.weights[0].state == "Erased", "of the first one; what is there now is the other's"


async def test_an_erasing_that_fails_is_tried_again(copies, world):
    ref = await copies.apply()
    await copies.passes(ref)
    await copies.end()
    await copies.passes(ref)
    await end_license(world)
    await copies.passes(ref)
    await copies.end("NotWritable", erase=True, message="read-only file system")
    await copies.passes(ref)
    assert world.outcome.status.weights[0].state == "EraseFailed"
    assert "read-only file system" in world.outcome.status.weights[0].message
    assert (await weights_deleted(world))["status"] == "Unknown"
    world.clock.advance(200)
    await copies.passes(ref)
    assert len(await copies.jobs(erase=True)) == 2
    await copies.end("Erased", erase=True)
    await copies.passes(ref)
    assert world.outcome.status.weights[0].state == "Erased"


async def test_with_a_new_acceptance_it_is_copied_anew(copies, world):
    ref = await copies.apply()
    await copies.passes(ref)
    await copies.end()
    await copies.passes(ref)
    await end_license(world)
    await copies.passes(ref)
    world.clock.advance(5)
    await copies.end("Erased", erase=True)
    await copies.passes(ref)
    world.clock.advance(60)
    live = await world.user.get(Ref(kinds.LICENSE_ACCEPTANCE, "", ACCEPTANCE))
    newer = {name: value for name, value in live["spec"].items() if name != "terminatedOn"} | {"state": "Accepted"}
    obj = {key: live[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": "acme-newer"}}
    await world.user.apply(obj | {"spec": newer})
    declared = (await copies.live(ref))["spec"]["license"] | {"acceptance": "acme-newer"}
    await copies.apply(license=declared)
    conditions = await copies.passes(ref)
    assert conditions["LicenseAccepted"].status == "True", conditions["LicenseAccepted"].message
    assert conditions["WeightsCopied"].reason == "Copying"
    assert await copies.services() == []
    await copies.end()
    conditions = await copies.passes(ref)
    assert conditions["WeightsCopied"].reason == "Copied"
    assert len(await copies.services()) == 1


async def test_a_claim_of_the_user_is_emptied_of_the_copy_only(copies, world):
    ref = await copies.apply(cache={"claimName": "models"})
    await copies.passes(ref)
    await copies.end()
    await copies.passes(ref)
    await end_license(world)
    await copies.passes(ref)
    assert '"claimName": "models"' in json.dumps(await copies.job(erase=True))
    await copies.end("Erased", erase=True)
    await copies.passes(ref)
    assert world.outcome.status.weights[0].state == "Erased"
    # Kubernetes takes Jobs away that have ended: what is told is not done again.
    assert not await copies.jobs(erase=True)
    before = len(world.memory.writes)
    world.clock.advance(10_000)
    await copies.passes(ref)
    assert len(world.memory.writes) == before
    assert world.outcome.status.weights[0].state == "Erased"


async def test_what_was_copied_so_far_into_a_claim_of_the_user_is_erased(copies, world):
    ref = await copies.apply(cache={"claimName": "models"})
    await copies.passes(ref)
    await end_license(world)
    await copies.passes(ref)
    assert await copies.jobs() == [], "what waits for the lock gets it"
    (job,) = await copies.jobs(erase=True)
    assert '"claimName": "models"' in json.dumps(job)
    await copies.end("Erased", job=job, bytes=8_000_000_000, files=5)
    await copies.passes(ref)
    (told,) = world.outcome.status.weights
    assert (told.state, told.claim, told.bytes) == ("Erased", "models", 8_000_000_000)
    assert await copies.jobs(erase=True) == []
    before = len(world.memory.writes)
    await copies.passes(ref)
    assert world.outcome.status.weights == (told,)
    assert len(world.memory.writes) == before


@pytest.mark.parametrize("cache", [{}, {"claimName": "models"}])
async def test_the_end_of_the_old_license_leaves_the_copy_of_the_next_revision(copies, world, cache):
    ref = await copies.apply(cache=cache)
    await copies.serving(ref)
    await copies.accept("llama-3.2")
    declared = (await copies.live(ref))["spec"]["license"] | {"acceptance": "llama-3-2"}
    await copies.apply(model={"name": "llama-3.2-3b"}, license=declared, cache=cache)
    conditions = await copies.passes(ref)
    assert conditions["WeightsCopied"].reason == "Copying", conditions["LicenseAccepted"].message
    new = await copies.job()
    await end_license(world)
    for _ in range(2):
        world.clock.advance(4000)
        await copies.passes(ref)
    assert (await copies.live(ref))["status"]["weights"][0]["state"] in {"Erasing", "Copying"}
    (eraser,) = await copies.jobs(erase=True)
    assert eraser["metadata"]["labels"] != new["metadata"]["labels"]
    assert new["metadata"]["name"] in [job["metadata"]["name"] for job in await copies.jobs()]
    await copies.end("Erased", job=eraser)
    await copies.passes(ref)
    world.clock.advance(5)
    await copies.end(job=new)
    conditions = await copies.passes(ref)
    assert conditions["WeightsCopied"].reason == "Copied"
    assert len(await copies.services()) == 1
    assert await copies.jobs(erase=True) == []
