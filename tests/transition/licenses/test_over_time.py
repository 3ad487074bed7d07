"""Licenses over time: what runs is judged by what it pins, whatever the spec says meanwhile.

Each flow begins with a Llama 3.3 70B that serves under its acceptance, and each is one that escaped once: an edit of the
spec, a deleted record or a failed rollout.
"""

import pytest

from llama_operator.api.meta import LABEL_REVISION
from llama_operator.api.reasons import Reason
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref

SAMPLE, TEAM, NAME = "llama-3.3-70b-fp8-h100", "team-a", "chat-70b"
ACCEPTANCE = "acme-llama-3-3"
FREE_MODEL = {"name": "tiny-random-llama"}


def condition(status, kind):
    return next(c for c in status.conditions if c.type == kind)


@pytest.fixture
async def running(world):
    """Name of the revision that serves."""
    await world.apply_acceptance()
    for node in range(4):
        await world.add_node(f"h100-{node}")
    ref = world.ref = await world.apply_sample(SAMPLE)
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.serve(name, TEAM)
    status = await world.reconcile(ref)
    assert condition(status, "Ready").status == "True"
    return name


async def change(world, **spec):
    ref = Ref(kinds.LICENSE_ACCEPTANCE, "", ACCEPTANCE)
    live = await world.user.get(ref)
    obj = {key: live[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": ACCEPTANCE}}
    await world.user.apply(obj | {"spec": live["spec"] | spec})


async def terminate(world):
    await change(world, state="Terminated", terminatedOn="2026-03-01")


async def want(world, model=FREE_MODEL, **spec):
    """Ask for another model under no acceptance."""
    hardware = {"hardware": {"accelerator": "H100-80GB"}} if "hardware" not in spec else {}
    await world.apply_sample(
        SAMPLE, model=model, license={"purpose": "Production"}, context={"maxModelLength": 1024}, **hardware, **spec
    )


async def selected(world):
    service = await world.user.get(Ref(kinds.SERVICE, TEAM, NAME))
    return service["spec"]["selector"][LABEL_REVISION]


async def settle(world, passes=3):
    for _ in range(passes):
        status = await world.reconcile(world.ref)
    return status


async def test_another_wanted_model_hides_no_end(world, running):
    await want(world)
    await world.reconcile(world.ref)
    assert await selected(world) == running, "the holder goes on while its license holds"
    await terminate(world)
    status = await world.reconcile(world.ref)
    assert await selected(world) != running
    accepted = condition(status, "LicenseAccepted")
    assert (accepted.status, accepted.reason) == ("False", Reason.ACCEPTANCE_TERMINATED)
    assert running in accepted.message
    assert "llama-3.3-70b" in accepted.message
    world.clock.advance(301)
    await settle(world)
    assert running not in await world.names(kinds.RAY_SERVICE)


async def test_an_end_that_began_goes_on_under_another_wanted_model(world, running):
    await terminate(world)
    await world.reconcile(world.ref)
    assert await selected(world) == ""
    await want(world)
    await settle(world)
    assert await selected(world) != running
    world.clock.advance(301)
    await settle(world)
    assert running not in await world.names(kinds.RAY_SERVICE)


@pytest.mark.parametrize("strategy", ["Recreate", "BlueGreen"])
async def test_a_rollout_that_fails_does_not_go_back_to_a_model_whose_license_ended(world, running, strategy):
    await terminate(world)
    await want(world, image="acme/never-starts:1", rollout={"strategy": strategy, "progressDeadlineSeconds": 10})
    for _ in range(8):
        world.clock.advance(120)
        await world.reconcile(world.ref)
    assert running not in await world.names(kinds.RAY_SERVICE)
    assert await selected(world) != running


async def test_an_unknown_model_keeps_no_terminated_one_alive(world, running):
    await terminate(world)
    await want(world, {"name": "no-such-model"})
    status = await world.reconcile(world.ref)
    assert await selected(world) == ""
    assert condition(status, "ModelResolved").reason == Reason.MODEL_UNKNOWN
    world.clock.advance(301)
    await settle(world)
    assert await world.names(kinds.RAY_SERVICE) == []


async def test_a_spec_that_cannot_be_read_keeps_no_terminated_one_alive(world, running):
    await terminate(world)
    live = await world.user.get(world.ref)
    spec = live["spec"] | {"parallelism": {"mode": "Manual"}}
    await world.user.apply(
        {key: live[key] for key in ("apiVersion", "kind")}
        | {"metadata": {"name": NAME, "namespace": TEAM}, "spec": spec}
    )
    world.clock.advance(1)
    await settle(world)
    world.clock.advance(301)
    await settle(world)
    assert running not in await world.names(kinds.RAY_SERVICE)


async def test_a_refused_revision_gets_no_more_replicas_under_another_wanted_model(world, running):
    await change(world, namespaces=["team-b"])
    before = await world.user.get(Ref(kinds.RAY_SERVICE, TEAM, running))
    await want(world, scaling={"minReplicas": 4, "maxReplicas": 8})
    status = await settle(world)
    after = await world.user.get(Ref(kinds.RAY_SERVICE, TEAM, running))
    assert after["spec"] == before["spec"]
    assert await selected(world) == running, "it goes on as it is"
    accepted = condition(status, "LicenseAccepted")
    assert (accepted.status, accepted.reason) == ("False", Reason.ACCEPTANCE_NAMESPACE_NOT_COVERED)


async def test_a_refused_revision_is_not_made_again(world, running):
    await change(world, namespaces=["team-b"])
    await want(world)
    await world.reconcile(world.ref)
    await world.user.delete(Ref(kinds.RAY_SERVICE, TEAM, running))
    await settle(world)
    assert running not in await world.names(kinds.RAY_SERVICE)


async def test_a_deleted_record_does_not_stop_an_end_that_began(world, running):
    await terminate(world)
    await world.reconcile(world.ref)
    await world.user.delete(Ref(kinds.LICENSE_ACCEPTANCE, "", ACCEPTANCE))
    world.clock.advance(100)
    await settle(world)
    assert await selected(world) == ""
    world.clock.advance(201)
    await settle(world)
    assert await world.names(kinds.RAY_SERVICE) == []


@pytest.mark.parametrize(("accepted_on", "comes_back"), [("2026-02-01", False), ("2026-03-02", True)])
async def test_only_an_acceptance_after_the_end_revives(world, running, accepted_on, comes_back):
    live = await world.user.get(Ref(kinds.LICENSE_ACCEPTANCE, "", ACCEPTANCE))
    await terminate(world)
    await world.reconcile(world.ref)
    world.clock.advance(301)
    await settle(world)
    await world.user.delete(Ref(kinds.LICENSE_ACCEPTANCE, "", ACCEPTANCE))
    await world.reconcile(world.ref)
    obj = {key: live[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": ACCEPTANCE}}
    await world.user.apply(obj | {"spec": live["spec"] | {"acceptedOn": accepted_on}})
    status = await settle(world)
    assert (await world.names(kinds.RAY_SERVICE) == [running]) is comes_back
    assert (condition(status, "LicenseAccepted").status == "True") is comes_back


async def test_what_came_back_and_ends_again_drains_again(world, running):
    live = await world.user.get(Ref(kinds.LICENSE_ACCEPTANCE, "", ACCEPTANCE))
    await terminate(world)
    await world.reconcile(world.ref)
    world.clock.advance(301)
    await settle(world)
    await world.user.delete(Ref(kinds.LICENSE_ACCEPTANCE, "", ACCEPTANCE))
    obj = {key: live[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": ACCEPTANCE}}
    await world.user.apply(obj | {"spec": live["spec"] | {"acceptedOn": "2026-03-02"}})
    await settle(world)
    await world.serve(running, TEAM)
    await settle(world)
    assert await selected(world) == running
    await change(world, state="Terminated", terminatedOn="2026-03-02")
    await world.reconcile(world.ref)
    assert (await selected(world), await world.names(kinds.RAY_SERVICE)) == ("", [running])
    world.clock.advance(299)
    await settle(world)
    assert await world.names(kinds.RAY_SERVICE) == [running]
    world.clock.advance(2)
    await settle(world)
    assert await world.names(kinds.RAY_SERVICE) == []


async def test_a_wanted_model_without_license_leaves_the_licensed_one_alone(world, running):
    await world.apply_sample(SAMPLE, model={"name": "llama-3.1-70b"}, license={"acceptance": "acme-llama-3-1"})
    other = Ref(kinds.LICENSE_ACCEPTANCE, "", "acme-llama-3-1")
    live = await world.user.get(other)
    obj = {key: live[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": "acme-llama-3-1"}}
    await world.user.apply(obj | {"spec": live["spec"] | {"state": "Terminated"}})
    status = await settle(world)
    assert await selected(world) == running, "its own license holds"
    assert condition(status, "LicenseAccepted").reason == Reason.ACCEPTANCE_TERMINATED
    world.clock.advance(10_000)
    await settle(world)
    assert running in await world.names(kinds.RAY_SERVICE)


async def test_a_revision_that_never_served_gets_no_traffic_back_after_its_license_has_ended(world):
    """Its children are gone, and the spec asks for something that cannot run: nothing is written from then on."""
    await world.apply_acceptance()
    for node in range(4):
        await world.add_node(f"h100-{node}")
    ref = await world.apply_sample("llama-3.3-70b-fp8-h100")
    await world.reconcile(ref)
    (first,) = await world.names(kinds.RAY_SERVICE)
    record = await world.user.get(Ref(kinds.LICENSE_ACCEPTANCE, "", "acme-llama-3-3"))
    ended = {"state": "Terminated", "terminatedOn": f"{world.clock():%Y-%m-%d}"}
    address = {"apiVersion": record["apiVersion"], "kind": record["kind"], "metadata": {"name": "acme-llama-3-3"}}
    await world.user.apply(address | {"spec": record["spec"] | ended})
    bad = {"model": {"name": "tiny-random-llama"}, "context": {"maxModelLength": 4096}}
    await world.apply_sample("llama-3.3-70b-fp8-h100", **bad)
    for _ in range(4):
        await world.reconcile(ref)
    before = len(world.memory.writes)
    for _ in range(3):
        await world.reconcile(ref)
        service = await world.user.get(Ref(kinds.SERVICE, ref.namespace, ref.name))
        assert service["spec"]["selector"][LABEL_REVISION] != first
    assert len(world.memory.writes) == before
