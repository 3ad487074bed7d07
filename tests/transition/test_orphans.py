"""What a deletion with --cascade=orphan leaves behind: it ends, is told and recorded, or is taken over by who comes back."""

import contextlib
import json
from dataclasses import replace

import pytest

from llama_operator.api.meta import LABEL_REVISION
from llama_operator.evidence.log import HashChainLog, NoAnchor
from llama_operator.kube import kinds
from llama_operator.kube.delegating import Delegating
from llama_operator.kube.port import ConflictError, JsonPatch, NotFoundError, Ref
from llama_operator.reconcile.deployment import reconcile

TINY, NAME, SPACE = "tiny-cpu", "tiny", "default"
OURS = (kinds.RAY_SERVICE, kinds.SERVICE, kinds.NETWORK_POLICY, kinds.CONTROLLER_REVISION)


@pytest.fixture
async def left_behind(world, now):
    """A RayService that serves, without its deployment; `world.lines` has the evidence."""
    world.lines = []
    evidence = HashChainLog(world.lines.append, NoAnchor())
    await evidence.begin("test/1", "0" * 64, now)
    world.ports = replace(world.ports, evidence=evidence)
    world.ref = await world.apply_sample(TINY)
    await world.reconcile(world.ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.serve(name)
    await world.reconcile(world.ref)
    await orphan(world)
    return name


async def orphan(world):
    """What the API server and its garbage collector do: the owner references go, then the deployment."""
    await leave_alone(world)
    await world.user.delete(world.ref)


async def leave_alone(world):
    collector = world.memory.client("generic-garbage-collector")
    for kind in OURS:
        for live in (await world.user.list(kind)).items:
            ref = Ref(kind, SPACE, live["metadata"]["name"])
            await collector.patch(ref, [JsonPatch("remove", "/metadata/ownerReferences")])


def recorded(world, event):
    lines = [json.loads(line) for line in world.lines]
    return [line for line in lines if line["event"] == event]


async def selected(world):
    return (await world.user.get(Ref(kinds.SERVICE, SPACE, NAME)))["spec"]["selector"][LABEL_REVISION]


async def test_it_gets_no_request_finishes_and_goes(world, left_behind):
    await world.reconcile(world.ref)
    assert await selected(world) == ""
    assert await world.names(kinds.RAY_SERVICE) == [left_behind], "requests may finish"
    assert ("Warning", "OrphanEnded") in world.events.told
    assert 0 < world.outcome.next_check <= 300
    world.clock.advance(299)
    await world.reconcile(world.ref)
    assert await world.names(kinds.RAY_SERVICE) == [left_behind]
    world.clock.advance(2)
    await world.reconcile(world.ref)
    assert await world.names(kinds.RAY_SERVICE) == []
    (line,) = recorded(world, "OrphanEnded")
    assert line["removes"] == [left_behind]


async def test_a_pass_over_nothing_left_writes_nothing(world, left_behind):
    for _ in range(2):
        await world.reconcile(world.ref)
        world.clock.advance(301)
    await world.reconcile(world.ref)
    before = len(world.memory.writes)
    await world.reconcile(world.ref)
    assert len(world.memory.writes) == before


async def test_a_deployment_that_comes_back_takes_it_over(world, left_behind):
    await world.reconcile(world.ref)
    await world.apply_sample(TINY)
    await world.reconcile(world.ref)
    await world.reconcile(world.ref)
    world.clock.advance(1000)
    await world.reconcile(world.ref)
    assert await world.names(kinds.RAY_SERVICE) == [left_behind]
    assert await selected(world) == left_behind
    live = await world.user.get(Ref(kinds.RAY_SERVICE, SPACE, left_behind))
    assert [owner["kind"] for owner in live["metadata"]["ownerReferences"]] == ["LlamaDeployment"]


class Behind(Delegating):
    """A cache that has not heard of the deletion of the deployment; lists by a field are the server's own."""

    def __init__(self, inner, deployment):
        super().__init__(inner)
        self.deployment = deployment

    async def get(self, ref):
        return self.deployment if ref.kind == kinds.LLAMA_DEPLOYMENT else await super().get(ref)


@pytest.mark.parametrize("then", ["gone", "made again"])
async def test_a_pass_that_saw_it_before_its_deletion_makes_it_no_owner_again(world, left_behind, then):
    await world.apply_sample(TINY)
    await world.reconcile(world.ref)
    ports = replace(world.ports, cluster=Behind(world.ports.cluster, await world.user.get(world.ref)))
    await orphan(world)
    if then == "made again":
        await world.apply_sample(TINY)
    with pytest.raises(ConflictError, match="LlamaDeployment tiny is gone or going"):
        await reconcile(ports, world.ref)
    for kind in (kinds.RAY_SERVICE, kinds.SERVICE, kinds.CONTROLLER_REVISION):
        for live in (await world.user.list(kind)).items:
            assert "ownerReferences" not in live["metadata"], kind


@pytest.mark.parametrize("then", ["gone", "made again"])
async def test_a_pass_that_saw_it_before_its_deletion_makes_nothing_for_it(world, then):
    """So it is too when a store is put back to a time before the deployment: nobody would take away what is made."""
    ref = world.ref = await world.apply_sample(TINY)
    ports = replace(world.ports, cluster=Behind(world.ports.cluster, await world.user.get(ref)))
    await world.user.delete(ref)
    if then == "made again":
        await world.apply_sample(TINY)
    with pytest.raises(ConflictError, match="LlamaDeployment tiny is gone or going"):
        await reconcile(ports, ref)
    for kind in OURS:
        assert await world.names(kind) == [], kind


class PutBack(Delegating):
    """A store that is put back to a time before the deployment when so many objects were made."""

    def __init__(self, inner, world, after):
        super().__init__(inner)
        self.world, self.left = world, after

    async def apply(self, obj, **how):
        if obj["kind"] != "LlamaDeployment" and "ownerReferences" in obj["metadata"]:
            if self.left == 0:
                await self.lose()
            self.left -= 1
        return await super().apply(obj, **how)

    async def lose(self):
        """The deployment and all of its children are not there any more; what is made from now on stays."""
        await self.world.user.delete(self.world.ref)
        for kind in OURS:
            for name in await self.world.names(kind):
                with contextlib.suppress(NotFoundError):
                    await self.world.user.delete(Ref(kind, SPACE, name))


@pytest.mark.parametrize("after", range(5))
async def test_what_is_made_after_a_store_was_put_back_is_taken_back(world, after):
    """A pass has asked for the owner before, and writes after it: the collector of a real cluster believes in that owner."""
    world.ref = await world.apply_sample(TINY)
    ports = replace(world.ports, cluster=PutBack(world.ports.cluster, world, after))
    with pytest.raises(ConflictError, match="LlamaDeployment tiny is gone or going"):
        await reconcile(ports, world.ref)
    for kind in OURS:
        assert await world.names(kind) == [], kind


class Remembering(PutBack):
    """The same with a cache that still has the children of before."""

    known = None

    async def lose(self):
        self.known = [live for kind in OURS for live in (await self.world.user.list(kind)).items]
        await super().lose()

    async def get(self, ref):
        old = [one for one in self.known or () if (one["kind"], one["metadata"]["name"]) == (ref.kind.kind, ref.name)]
        return old[0] if old else await super().get(ref)


async def test_what_is_made_anew_by_a_pass_that_still_knows_it_is_taken_back(world):
    world.ref = await world.apply_sample(TINY)
    await world.reconcile(world.ref)
    for service in await world.names(kinds.SERVICE):
        await world.user.delete(Ref(kinds.SERVICE, SPACE, service))
    ports = replace(world.ports, cluster=Remembering(world.ports.cluster, world, 0))
    with pytest.raises(ConflictError, match="LlamaDeployment tiny is gone or going"):
        await reconcile(ports, world.ref)
    for kind in OURS:
        assert await world.names(kind) == [], kind


async def test_an_owner_that_somebody_took_away_comes_back(world, left_behind):
    await world.apply_sample(TINY)
    await world.reconcile(world.ref)
    await leave_alone(world)
    await world.reconcile(world.ref)
    live = await world.user.get(Ref(kinds.RAY_SERVICE, SPACE, left_behind))
    assert [owner["kind"] for owner in live["metadata"]["ownerReferences"]] == ["LlamaDeployment"]


async def test_what_has_an_owner_is_left_to_the_garbage_collector(world):
    ref = await world.apply_sample(TINY)
    await world.reconcile(ref)
    writes = len(world.memory.writes)
    await world.user.delete(ref)
    await world.reconcile(ref)
    assert all(write.manager != "llama-operator" for write in list(world.memory.writes)[writes:])
