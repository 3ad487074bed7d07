"""A license that ends: no new requests, time to finish, then no hardware; and nothing less than that stops what runs."""

import pytest

from llama_operator.api.meta import ANNOTATION_TRAFFIC_SINCE, LABEL_REVISION
from llama_operator.api.reasons import Reason
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from llama_operator.reconcile.deployment import reconcile
from llama_operator.reconcile.license_records import reconcile_record

SAMPLE = "llama-3.3-70b-fp8-h100"
TEAM = "team-a"


def condition(status, kind):
    return next(c for c in status.conditions if c.type == kind)


@pytest.fixture
async def ref(world):
    """A deployment that serves under its acceptance."""
    await world.apply_acceptance()
    for node in range(2):
        await world.add_node(f"h100-{node}")
    ref = await world.apply_sample(SAMPLE)
    await world.reconcile(ref)
    (running,) = await ray_services(world)
    await world.serve(running, TEAM)
    status = await world.reconcile(ref)
    assert condition(status, "Ready").status == "True"
    world.events.told.clear()
    return ref


async def change(world, name, **spec):
    live = await world.user.get(Ref(kinds.LICENSE_ACCEPTANCE, "", name))
    obj = {key: live[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": name}}
    await world.user.apply(obj | {"spec": live["spec"] | spec})


async def ray_services(world):
    return await world.names(kinds.RAY_SERVICE)


async def service(world):
    return await world.user.get(Ref(kinds.SERVICE, TEAM, "chat-70b"))


async def test_a_terminated_acceptance_drains_and_then_frees_the_hardware(world, ref):
    running = await ray_services(world)
    await change(world, "acme-llama-3-3", state="Terminated")
    outcome = await reconcile(world.ports, ref)
    assert condition(outcome.status, "LicenseAccepted").reason == Reason.ACCEPTANCE_TERMINATED
    assert (await service(world))["spec"]["selector"][LABEL_REVISION] == "", "no new request"
    assert await ray_services(world) == running, "those that are answered may end"
    assert condition(outcome.status, "EndpointReady").status == "False"
    assert ("Warning", "LicenseEnded") in world.events.told
    assert outcome.next_check <= 300
    since = (await service(world))["metadata"]["annotations"][ANNOTATION_TRAFFIC_SINCE]

    world.clock.advance(299)
    await world.reconcile(ref)
    assert await ray_services(world) == running
    assert (await service(world))["metadata"]["annotations"][ANNOTATION_TRAFFIC_SINCE] == since

    world.clock.advance(2)
    await world.reconcile(ref)
    assert await ray_services(world) == []
    assert ("Normal", "RevisionRemoved") in world.events.told
    status = await world.reconcile(ref)
    assert (status.replicas, condition(status, "EndpointReady").status) == (0, "False")
    before = await world.snapshot()
    await world.reconcile(ref)
    assert await world.snapshot() == before, "nothing is written when nothing changes"


@pytest.mark.parametrize("named", [None, "nobody"])
async def test_naming_another_acceptance_is_no_way_around_the_end(world, ref, named):
    await change(world, "acme-llama-3-3", state="Terminated")
    license_spec = {"purpose": "Production", "attributionURL": "https://acme.example/about"}
    await world.apply_sample(SAMPLE, license=license_spec | ({"acceptance": named} if named else {}))
    await world.reconcile(ref)
    world.clock.advance(301)
    await world.reconcile(ref)
    assert await ray_services(world) == []


async def test_what_ended_comes_back_as_the_same_revision_under_a_new_acceptance(world, ref):
    (running,) = await ray_services(world)
    await change(world, "acme-llama-3-3", state="Terminated", terminatedOn="2026-03-01")
    await world.reconcile(ref)
    world.clock.advance(301)
    await world.reconcile(ref)
    live = await world.user.get(Ref(kinds.LICENSE_ACCEPTANCE, "", "acme-llama-3-3"))
    spec = live["spec"] | {"state": "Accepted"}
    del spec["terminatedOn"]
    obj = {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": {"name": "new"}}
    await world.user.apply(obj | {"spec": spec})
    license_spec = {"purpose": "Production", "attributionURL": "https://acme.example/about", "acceptance": "new"}
    await world.apply_sample(SAMPLE, license=license_spec)
    await world.reconcile(ref)
    assert await ray_services(world) == [running]
    assert (await service(world))["spec"]["selector"][LABEL_REVISION] == running


async def test_an_acceptance_that_is_deleted_or_no_longer_covers_stops_nothing_that_runs(world, ref):
    running = await ray_services(world)
    await change(world, "acme-llama-3-3", namespaces=["team-b"])
    status = await world.reconcile(ref)
    assert condition(status, "LicenseAccepted").status == "False"
    await world.user.delete(Ref(kinds.LICENSE_ACCEPTANCE, "", "acme-llama-3-3"))
    status = await world.reconcile(ref)
    assert condition(status, "LicenseAccepted").reason == Reason.ACCEPTANCE_NOT_FOUND
    world.clock.advance(10_000)
    await world.reconcile(ref)
    assert await ray_services(world) == running
    assert condition(status, "EndpointReady").status == "True"


async def test_the_end_of_another_license_stops_nothing(world, ref):
    running = await ray_services(world)
    await change(world, "acme-llama-3-1", state="Terminated")
    world.clock.advance(10_000)
    status = await world.reconcile(ref)
    assert await ray_services(world) == running
    assert condition(status, "Ready").status == "True"


async def test_the_record_says_which_weights_have_to_be_deleted_and_by_whom(world, ref):
    await change(world, "acme-llama-3-3", state="Terminated")
    record = Ref(kinds.LICENSE_ACCEPTANCE, "", "acme-llama-3-3")
    await reconcile_record(world.ports.cluster, record, catalog=world.ports.catalog, now=world.clock)
    live = await world.user.get(record)
    (found,) = [each for each in live["status"]["conditions"] if each["type"] == "WeightsDeleted"]
    assert found["status"] == "Unknown"
    assert "by team-a/chat-70b" in found["message"]
    assert live["status"]["deployments"] == 1


async def test_what_does_not_serve_yet_has_nothing_to_finish(world):
    await world.apply_acceptance()
    ref = await world.apply_sample(SAMPLE)
    await world.reconcile(ref)
    assert len(await ray_services(world)) == 1
    await change(world, "acme-llama-3-3", state="Terminated")
    await world.reconcile(ref)
    assert await ray_services(world) == []
