"""The port over a cache: reads are the own last writes, needless applies are not sent, drift is set right."""

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.cache.cluster import CachedCluster
from llama_operator.kube.cache.objects import ObjectCache
from llama_operator.kube.port import InvalidError, JsonPatch, NotFoundError, Propagation, Ref
from llama_operator.kube.twin.cluster import MemoryCluster
from llama_operator.kube.twin.journal import PassThrough

CHAT = Ref(kinds.LLAMA_DEPLOYMENT, "team-a", "chat")
GUARD = Ref(kinds.NETWORK_POLICY, "team-a", "guard")
WATCHED = (kinds.LLAMA_DEPLOYMENT, kinds.NETWORK_POLICY)


def llama(*, status=None, **spec):
    obj = {
        "apiVersion": "llama-operator.io/v1alpha1",
        "kind": "LlamaDeployment",
        "metadata": {"name": "chat", "namespace": "team-a"},
        "spec": {"model": {"name": "llama-3.1-8b"}} | spec,
    }
    return obj if status is None else obj | {"status": status}


def policy(port=8000, **metadata):
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "guard", "namespace": "team-a"} | metadata,
        "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": port}]}]},
    }


class Counting:
    """Stands before a cluster and counts the requests that reach it."""

    def __init__(self, inner):
        self._inner = inner
        self.requests = []

    def __getattr__(self, name):
        self.requests.append(name)
        return getattr(self._inner, name)


class World:
    """A cluster, our cached view of it, and a rival. The watch tells nothing until `catch_up`."""

    def __init__(self):
        self.twin = MemoryCluster()
        self.rival = self.twin.client("kubectl", interceptor=PassThrough())
        self.restart()

    def restart(self):
        self.inner = Counting(self.twin.client("llama-operator"))
        self.cache = ObjectCache()
        self.ours = CachedCluster(self.cache, self.inner, kinds=WATCHED)

    async def catch_up(self):
        for kind in WATCHED:
            self.cache.replace(kind, await self.rival.list(kind))


@pytest.fixture
async def world():
    found = World()
    await found.catch_up()
    return found


async def test_what_was_written_is_read_before_any_event_of_it(world):
    applied = await world.ours.apply(policy())
    assert (await world.ours.get(GUARD))["metadata"]["uid"] == applied["metadata"]["uid"]
    assert len((await world.ours.list(kinds.NETWORK_POLICY, namespace="team-a")).items) == 1
    assert world.inner.requests == ["apply"]


async def test_a_patch_and_a_status_are_read_too(world):
    await world.ours.apply(llama())
    await world.ours.patch(CHAT, [JsonPatch("add", "/metadata/labels", {"team": "a"})])
    await world.ours.apply_status(llama(status={"replicas": 2}))
    live = await world.ours.get(CHAT)
    assert live["metadata"]["labels"] == {"team": "a"}
    assert live["status"] == {"replicas": 2}


async def test_an_event_from_before_our_write_is_ignored(world):
    old = await world.ours.apply(policy(8000))
    await world.ours.apply(policy(9000))
    assert not world.cache.put(old)
    assert (await world.ours.get(GUARD))["spec"]["ingress"][0]["ports"] == [{"port": 9000}]


async def test_what_was_deleted_is_gone_at_once_and_does_not_come_back(world):
    last = await world.ours.apply(policy())
    await world.ours.delete(GUARD)
    with pytest.raises(NotFoundError):
        await world.ours.get(GUARD)
    assert not world.cache.put(last)
    new = await world.ours.apply(policy())
    assert (await world.ours.get(GUARD))["metadata"]["uid"] == new["metadata"]["uid"]


async def test_what_waits_for_a_finalizer_is_read_as_marked(world):
    await world.ours.apply(policy(finalizers=["llama-operator.io/drain"]))
    await world.ours.delete(GUARD, propagation=Propagation.FOREGROUND)
    assert (await world.ours.get(GUARD))["metadata"]["deletionTimestamp"]


async def test_what_others_deleted_is_noticed_by_a_write(world):
    await world.ours.apply(llama())
    await world.rival.delete(CHAT)
    with pytest.raises(NotFoundError):
        await world.ours.apply_status(llama(status={"replicas": 2}))
    with pytest.raises(NotFoundError):
        await world.ours.get(CHAT)


async def test_the_same_apply_again_is_not_sent(world):
    first = await world.ours.apply(policy())
    again = await world.ours.apply(policy())
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert world.inner.requests == ["apply"]


async def test_another_apply_is_sent(world):
    await world.ours.apply(policy(8000))
    await world.ours.apply(policy(9000))
    await world.ours.apply(policy(8000))
    assert world.inner.requests == ["apply"] * 3
    assert (await world.rival.get(GUARD))["spec"]["ingress"][0]["ports"] == [{"port": 8000}]


async def test_a_status_does_not_make_the_object_be_applied_again_nor_the_other_way(world):
    await world.ours.apply(llama())
    await world.ours.apply_status(llama(status={"replicas": 2}))
    await world.ours.apply(llama())
    await world.ours.apply(llama(context={"maxModelLength": 4096}))
    await world.ours.apply_status(llama(status={"replicas": 2}))
    assert world.inner.requests == ["apply", "apply_status", "apply"]
    await world.ours.apply_status(llama(status={"replicas": 3}))
    assert world.inner.requests[-1] == "apply_status"


async def test_what_others_change_is_set_right(world):
    await world.ours.apply(policy(8000))
    await world.rival.merge_patch(GUARD, {"spec": {"ingress": []}})
    await world.catch_up()
    await world.ours.apply(policy(8000))
    assert (await world.rival.get(GUARD))["spec"]["ingress"] == [{"ports": [{"port": 8000}]}]


async def test_a_status_that_others_change_is_set_right(world):
    await world.ours.apply(llama())
    await world.ours.apply_status(llama(status={"replicas": 2}))
    await world.twin.client("rival").apply_status(llama(status={"replicas": 7}))
    await world.catch_up()
    await world.ours.apply_status(llama(status={"replicas": 2}))
    assert (await world.rival.get(CHAT))["status"] == {"replicas": 2}


async def test_what_others_delete_is_made_again(world):
    await world.ours.apply(policy())
    await world.rival.delete(GUARD)
    await world.catch_up()
    await world.ours.apply(policy())
    assert await world.rival.get(GUARD)


async def test_what_others_delete_and_make_again_is_applied_again(world):
    await world.ours.apply(policy())
    await world.rival.delete(GUARD)
    await world.rival.apply(policy())
    await world.catch_up()
    await world.ours.apply(policy())
    managers = {entry["manager"] for entry in (await world.rival.get(GUARD))["metadata"]["managedFields"]}
    assert managers == {"kubectl", "llama-operator"}


async def test_after_a_restart_everything_is_applied_once_and_nothing_is_written(world):
    await world.ours.apply(policy())
    await world.ours.apply(llama())
    written = len(world.twin.writes)
    world.restart()
    await world.catch_up()
    for _ in range(2):
        await world.ours.apply(policy())
        await world.ours.apply(llama())
    assert world.inner.requests == ["apply", "apply"]
    assert len(world.twin.writes) == written


async def test_an_apply_that_failed_is_sent_again(world):
    wrong = policy(labels={"team": "two words"})
    for _ in range(2):
        with pytest.raises(InvalidError, match=r"metadata\.labels"):
            await world.ours.apply(wrong)
    assert world.inner.requests == ["apply", "apply"]


async def test_before_its_first_listing_a_kind_is_read_from_the_cluster(world):
    await world.rival.apply(policy())
    world.restart()
    assert await world.ours.get(GUARD)
    assert world.inner.requests == ["get"]


async def test_kinds_that_are_not_watched_are_read_and_written_in_the_cluster(world):
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "team-a"},
        "spec": {"ports": [{"port": 80}]},
    }
    await world.ours.apply(service)
    await world.ours.apply(service)
    assert await world.ours.get(Ref(kinds.SERVICE, "team-a", "web"))
    assert len((await world.ours.list(kinds.SERVICE, labels={})).items) == 1
    assert world.inner.requests == ["apply", "apply", "get", "list"]


async def test_delete_of_what_is_absent_is_not_found(world):
    with pytest.raises(NotFoundError):
        await world.ours.delete(GUARD)
    assert world.inner.requests == ["delete"]


async def test_of_a_kind_that_is_only_watched_in_part_others_are_asked_from_the_server(world):
    cache = ObjectCache(index="deployment")
    ours = CachedCluster(cache, world.inner, kinds=(kinds.POD,), indexed=(kinds.POD,))
    for name, labels in (("chat-head", {"deployment": "chat"}), ("web", {"app": "web"})):
        metadata = {"name": name, "namespace": "team-a", "labels": labels}
        await world.rival.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": "n1"}})
    cache.replace(kinds.POD, await world.rival.list(kinds.POD, labels={"deployment": "chat"}))
    world.inner.requests.clear()

    async def names(**selection):
        return [one["metadata"]["name"] for one in (await ours.list(kinds.POD, namespace="team-a", **selection)).items]

    assert await names(labels={"deployment": "chat"}) == ["chat-head"]
    assert world.inner.requests == []
    assert await names(labels={"app": "web"}) == ["web"]
    assert await names(fields={"spec.nodeName": "n1"}) == ["chat-head", "web"]
    assert (await ours.get(Ref(kinds.POD, "team-a", "web")))["spec"] == {"nodeName": "n1"}
    assert world.inner.requests == ["list", "list", "get"]
