"""Licenses over time, with an operator that dies after every single write: the end state is the same, and no write breaks a rule.

Each flow begins with a Llama 3.3 70B that serves under its acceptance. What must hold is judged after every write of the
operator: a model whose license has ended is never started and never gets the traffic back.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

from llama_operator.api.meta import LABEL_REVISION
from llama_operator.kube import kinds
from llama_operator.kube.port import JsonPatch, NotFoundError, Ref
from llama_operator.kube.twin.journal import Verb
from support.crashing.flows import Flow

SAMPLE, TEAM, NAME = "llama-3.3-70b-fp8-h100", "team-a", "chat-70b"
ACCEPTANCE = "acme-llama-3-3"
LICENSE = {"acceptance": ACCEPTANCE, "purpose": "Production", "attributionURL": "https://acme.example/about"}
FREE = {
    "model": {"name": "tiny-random-llama"},
    "context": {"maxModelLength": 1024},
    "license": {"purpose": "Production"},
}


class Watchdog:
    """Judges the cluster after every write of the operator, then lets another interceptor have its way."""

    def __init__(self, world, inner):
        self._world, self._inner = world, inner

    def before(self, write):
        self._inner.before(write)

    def after(self, write):
        ended = self._world.ended
        if ended and write.ref.name == ended and write.ref.kind == kinds.RAY_SERVICE:
            assert not write.created, "a model whose license has ended is not started"
        for stored in self._world.memory._store:
            if ended and stored.ref.kind == kinds.SERVICE and write.ref == stored.ref and write.verb is not Verb.DELETE:
                assert stored.content["spec"]["selector"][LABEL_REVISION] != ended, "nor does it get traffic"
        self._inner.after(write)


async def prepare(world):
    await world.apply_acceptance()
    for node in range(4):
        await world.add_node(f"h100-{node}")
    world.ended = ""
    world.ref = Ref(kinds.LLAMA_DEPLOYMENT, TEAM, NAME)
    await world.apply_sample(SAMPLE)
    await drive(world)
    (world.first,) = await world.names(kinds.RAY_SERVICE)
    world.recorded = (await world.user.get(Ref(kinds.LICENSE_ACCEPTANCE, "", ACCEPTANCE)))["spec"]


async def drive(world, healthy=None):
    """Reconcile until nothing changes, KubeRay making everything serve, or only what is `healthy`."""
    before = -1
    while before != len(world.memory.writes):
        before = len(world.memory.writes)
        await world.reconcile(world.ref)
        for name in await world.names(kinds.RAY_SERVICE):
            serves = healthy is None or name in healthy
            await world.serve(name, TEAM, **({} if serves else {"status": "DEPLOY_FAILED", "endpoints": 0}))


async def settle(world, healthy=None):
    await drive(world, healthy)
    world.clock.advance(301)
    await drive(world, healthy)


async def acceptance(world, name=ACCEPTANCE, **spec):
    """Write a LicenseAcceptance: the one in use as it is, or another one as that was at first, but for some fields."""
    obj = {"apiVersion": "llama-operator.io/v1alpha1", "kind": "LicenseAcceptance", "metadata": {"name": name}}
    written = world.recorded
    with suppress(NotFoundError):
        written = (await world.user.get(Ref(kinds.LICENSE_ACCEPTANCE, "", name)))["spec"]
    await world.user.apply(obj | {"spec": {key: value for key, value in (written | spec).items() if value is not None}})


async def terminate(world):
    await acceptance(world, state="Terminated", terminatedOn="2026-03-01")
    world.ended = world.first


async def delete_record(world):
    with suppress(NotFoundError):
        await world.user.delete(Ref(kinds.LICENSE_ACCEPTANCE, "", ACCEPTANCE))


async def want_free(world, **spec):
    await world.apply_sample(SAMPLE, **FREE, **spec)


async def orphan(world):
    collector = world.memory.client("generic-garbage-collector")
    for kind in (kinds.RAY_SERVICE, kinds.SERVICE, kinds.NETWORK_POLICY, kinds.CONTROLLER_REVISION):
        for live in (await world.user.list(kind)).items:
            if live["metadata"].get("ownerReferences"):
                ref = Ref(kind, TEAM, live["metadata"]["name"])
                await collector.patch(ref, [JsonPatch("remove", "/metadata/ownerReferences")])
    with suppress(NotFoundError):
        await world.user.delete(world.ref)


async def while_another_is_wanted(world):
    await want_free(world)
    await drive(world, healthy={world.first})
    await terminate(world)


async def while_draining(world):
    await terminate(world)
    await world.reconcile(world.ref)
    await want_free(world)


async def while_recreate_waits(world):
    rollout = {"strategy": "Recreate", "drainSeconds": 60, "progressDeadlineSeconds": 600}
    await want_free(world, rollout=rollout)
    await world.reconcile(world.ref)
    await terminate(world)


async def failing_rollout(world):
    await terminate(world)
    await want_free(world, image="acme/never:1", rollout={"strategy": "BlueGreen", "progressDeadlineSeconds": 10})


async def deleted_while_draining(world):
    await terminate(world)
    await world.reconcile(world.ref)
    await delete_record(world)


async def revived_by_an_older_record(world):
    live = await world.user.get(Ref(kinds.LICENSE_ACCEPTANCE, "", ACCEPTANCE))
    await terminate(world)
    await settle(world)
    await delete_record(world)
    obj = {key: live[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": ACCEPTANCE}}
    await world.user.apply(obj | {"spec": live["spec"] | {"acceptedOn": "2026-02-01"}})


async def replaced_by_a_newer_record(world):
    await terminate(world)
    await settle(world)
    world.ended = ""
    await acceptance(world, "acme-again", state="Accepted", terminatedOn=None, acceptedOn="2026-03-02")
    await world.apply_sample(SAMPLE, license=LICENSE | {"acceptance": "acme-again"})


async def moved_to_another_entity(world):
    await acceptance(world, "globex", legalEntity="Globex LLC", acceptedOn="2025-01-15")
    await acceptance(world, namespaces=["somewhere-else"])
    await world.apply_sample(SAMPLE, license=LICENSE | {"acceptance": "globex"})


async def a_namespace_is_retired(world):
    """The record of a namespace that has closed is withdrawn; the one that is used is another one of the same entity."""
    await acceptance(world, "closed", namespaces=["closed"])
    await acceptance(world, "closed", state="Withdrawn")


async def a_typo_is_corrected(world):
    """The record in use gets a successor with its true, older date."""
    await acceptance(world, "acme-corrected", legalEntity="Acme Incorporated", acceptedOn="2025-01-15")
    await acceptance(world, state="Superseded", supersededBy="acme-corrected")


async def the_named_record_is_withdrawn(world):
    """Nothing starts on it any more, and what runs goes on."""
    await acceptance(world, state="Withdrawn")


async def a_grant_ends_at_midnight(world):
    """The license that Meta granted to a large licensee ends with the day."""
    users = {"month": "2024-11", "count": 800_000_000, "attestedBy": "Sam Roe", "attestedOn": "2026-01-15"}
    grant = {"reference": "META-1", "grantedOn": "2026-01-01", "expiresOn": "2026-03-02"}
    await acceptance(world, "large", monthlyActiveUsers=users, metaGrant=grant)
    await acceptance(world, namespaces=["somewhere-else"])
    await acceptance(world, state="Superseded", supersededBy="large")
    await drive(world)
    assert await world.names(kinds.RAY_SERVICE) == [world.first]
    world.clock.now = world.clock.now.replace(hour=0, minute=0) + timedelta(days=1)
    world.ended = world.first


async def all_while_the_operator_is_down(world):
    await want_free(world)
    await terminate(world)
    await want_free(world, image="acme/never:1")
    await world.apply_sample(SAMPLE)
    await want_free(world)


FLOWS = {
    "terminated while another model is wanted": (while_another_is_wanted, "other"),
    "terminated while it drains, then another model": (while_draining, "other"),
    "terminated while Recreate waits": (while_recreate_waits, "other"),
    "terminated, and the next revision fails": (failing_rollout, "nothing"),
    "terminated, and the record is deleted": (deleted_while_draining, "nothing"),
    "terminated, deleted, and an older record written": (revived_by_an_older_record, "nothing"),
    "terminated, and accepted again": (replaced_by_a_newer_record, "first"),
    "terminated": (terminate, "nothing"),
    "a namespace is retired": (a_namespace_is_retired, "first"),
    "a typo is corrected": (a_typo_is_corrected, "first"),
    "the named record is withdrawn": (the_named_record_is_withdrawn, "first"),
    "a grant ends at midnight": (a_grant_ends_at_midnight, "nothing"),
    "moved to another entity": (moved_to_another_entity, "first"),
    "terminated and edited while the operator is down": (all_while_the_operator_is_down, "other"),
    "orphaned": (orphan, "nothing"),
}
"""Name -> (what users do, which revision answers at the end)."""


def flow_of(name):
    act, _ = FLOWS[name]
    healthy = set() if name == "terminated, and the next revision fails" else None

    def operator(world, inner):
        world.ports = world.ports_with(world.memory.client("llama-operator", interceptor=Watchdog(world, inner)))

    def retried(script):
        async def step(world, play):
            begun = world.clock.now

            async def attempt():
                # A step begins at the same time, however often the operator died in it.
                world.clock.now = begun
                await script(world)

            await play(attempt)

        return step

    end = lambda world: settle(world, healthy)  # noqa: E731 - taken twice
    steps = [retried(script) for script in (act, end, end)]
    return Flow(steps, spacing=timedelta(days=1), operator=operator, end_state=end_state)


async def end_state(world):
    found = {}
    for kind in (kinds.RAY_SERVICE, kinds.SERVICE, kinds.CONTROLLER_REVISION):
        for item in (await world.user.list(kind)).items:
            marks = sorted(item["metadata"].get("annotations", {}))
            found[kind.kind, item["metadata"]["name"]] = ({key: item.get(key) for key in ("spec", "data")}, marks)
    return found


@pytest.fixture(scope="module")
def licensed(make_world):
    """A world with a model that serves under its acceptance. Nobody changes it: each play has a copy."""
    world = make_world()
    asyncio.run(prepare(world))
    return world


@pytest.mark.parametrize("name", FLOWS)
async def test_a_crash_after_any_write_leads_to_the_same_end(licensed, name):
    flow, undisturbed = flow_of(name), licensed.copy()
    await flow.undisturbed(undisturbed)
    running = await undisturbed.names(kinds.RAY_SERVICE)
    wanted = FLOWS[name][1]
    assert (undisturbed.first in running) is (wanted == "first")
    if wanted != "nothing":
        service = await undisturbed.user.get(Ref(kinds.SERVICE, TEAM, NAME))
        assert (service["spec"]["selector"][LABEL_REVISION] == undisturbed.first) is (wanted == "first")
        assert service["spec"]["selector"][LABEL_REVISION] in running
    for writes in flow.moments:
        await flow.crashed(writes)
