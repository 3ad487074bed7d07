"""A list finds what a watch has missed, on the twin."""

import pytest

from llama_operator.handlers.resync import Resync
from llama_operator.handlers.watched import BY_KIND, WATCHED, Concerns, Watched
from llama_operator.kube import kinds
from llama_operator.kube.cache.objects import ObjectCache
from llama_operator.kube.port import ForbiddenError, Kind, NotFoundError, Ref, UnavailableError
from llama_operator.kube.twin.cluster import MemoryCluster

ACCEPTANCES = next(each for each in WATCHED if each.kind == kinds.LICENSE_ACCEPTANCE)
SERVICES = next(each for each in WATCHED if each.kind == kinds.SERVICE)
UNKNOWN = Watched(Kind("example.com/v1", "Unknown", "unknowns"), Concerns.ALL_DEPLOYMENTS)


class OldServer:
    """A server that does not have every kind."""

    def __init__(self, inner):
        self._inner = inner

    async def list(self, kind, **selection):
        if kind == UNKNOWN.kind:
            raise NotFoundError("the server could not find the requested resource")
        return await self._inner.list(kind, **selection)


class Barring:
    """A server that lets nobody read some kinds of some namespaces: the RoleBinding went with the namespace."""

    def __init__(self, inner, *namespaces, kinds=None):
        self.inner, self.namespaces, self.kinds = inner, set(namespaces), kinds

    async def list(self, kind, *, namespace=None, **selection):
        if namespace in self.namespaces and (self.kinds is None or kind in self.kinds):
            raise ForbiddenError(f"list of {kind.kind}: no rights in {namespace}")
        return await self.inner.list(kind, namespace=namespace, **selection)


def service(name, namespace="team-a", *, ours=True):
    labels = {"app.kubernetes.io/managed-by": "llama-operator"} if ours else {}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"ports": [{"port": 8000}]},
    }


@pytest.fixture
def cache():
    return ObjectCache()


@pytest.fixture
def server():
    return MemoryCluster().client("somebody")


def names(cache):
    return {(obj["metadata"]["namespace"], obj["metadata"]["name"]) for obj in cache.list(kinds.SERVICE)}


async def test_a_deletion_that_the_watch_missed_is_found(cache, server):
    resync = Resync(server, cache, ())
    await server.apply(service("chat"))
    await server.apply(service("code"))
    await resync.run([SERVICES])
    await server.delete(Ref(kinds.SERVICE, "team-a", "chat"))
    await resync.run([SERVICES])
    assert names(cache) == {("team-a", "code")}


async def test_only_what_is_ours_is_kept(cache, server):
    await server.apply(service("chat"))
    await server.apply(service("kubernetes", ours=False))
    await Resync(server, cache, ()).run([SERVICES])
    assert names(cache) == {("team-a", "chat")}


async def test_with_namespaces_the_others_are_not_asked(cache, server):
    for namespace in ("team-a", "team-b", "team-c"):
        await server.apply(service("chat", namespace))
    await Resync(server, cache, ("team-a", "team-c")).run([SERVICES, ACCEPTANCES])
    assert names(cache) == {("team-a", "chat"), ("team-c", "chat")}


async def test_a_kind_that_does_not_exist_is_reported_and_counts_as_empty(cache, server):
    found = await Resync(OldServer(server), cache, ()).run([SERVICES, UNKNOWN])
    assert (found.present, found.missing) == ((SERVICES,), (UNKNOWN,))
    assert cache.complete(UNKNOWN.kind)


async def test_it_says_when_each_kind_was_listed_last(cache, server):
    moments = iter([100.0, 200.0, 300.0])
    resync = Resync(OldServer(server), cache, (), lambda: next(moments))
    assert resync.listed == {}
    await resync.run([SERVICES, ACCEPTANCES, UNKNOWN])
    assert resync.listed == {kinds.SERVICE: 100.0, kinds.LICENSE_ACCEPTANCE: 200.0}
    await resync.run([SERVICES])
    assert resync.listed == {kinds.SERVICE: 300.0, kinds.LICENSE_ACCEPTANCE: 200.0}


async def test_a_list_that_fails_leaves_the_time_of_the_last_that_did_not(cache, server):
    moments = iter([100.0])
    resync = Resync(server, cache, (), lambda: next(moments))
    await resync.run([SERVICES])

    async def refuse(kind, **selection):
        raise UnavailableError("etcdserver: leader changed")

    server.list = refuse
    with pytest.raises(UnavailableError):
        await resync.run([SERVICES])
    assert resync.listed == {kinds.SERVICE: 100.0}


async def test_after_a_restore_the_cache_follows_the_server(cache, server, caplog):
    """The store of the server was put back: it has less than before, under lower resourceVersions."""
    resync = Resync(server, cache, ())
    for name in ("chat", "code"):
        await server.apply(service(name))
    await resync.run([SERVICES])
    restored = MemoryCluster().client("somebody")
    await restored.apply(service("chat"))
    await Resync(restored, cache, ()).run([SERVICES])
    assert names(cache) == {("team-a", "chat")}
    assert "its store was put back" in caplog.text


BOTH = ("team-a", "team-b")


@pytest.mark.parametrize("barred_kinds", [None, {kinds.JOB}], ids=["all kinds", "one kind, the last"])
async def test_a_namespace_that_may_not_be_read_stops_no_other(cache, server, barred_kinds):
    jobs = next(each for each in WATCHED if each.kind == kinds.JOB)
    for namespace in BOTH:
        await server.apply(service("chat", namespace))
    barring = Barring(server, kinds=barred_kinds)
    resync = Resync(barring, cache, BOTH)
    assert (await resync.run([SERVICES, jobs])).barred == frozenset()
    assert names(cache) == {("team-a", "chat"), ("team-b", "chat")}
    barring.namespaces.add("team-b")
    found = await resync.run([SERVICES, jobs])
    assert (found.barred, found.present) == ({"team-b"}, (SERVICES, jobs))
    assert names(cache) == {("team-a", "chat")}, "of what is not known whole nothing is kept"
    assert not await resync.may_read("team-b", [SERVICES, jobs])
    barring.namespaces.clear()
    assert await resync.may_read("team-b", [SERVICES, jobs])


async def test_if_no_namespace_may_be_read_that_is_told(cache, server):
    with pytest.raises(ForbiddenError, match="no rights in team-b"):
        await Resync(Barring(server, *BOTH), cache, BOTH).run([SERVICES])
    everywhere = Resync(Barring(server, None), cache, ())
    with pytest.raises(ForbiddenError, match="no rights"):
        await everywhere.run([SERVICES])


PODS = BY_KIND[kinds.POD]


async def no(kind, namespace):
    return False


@pytest.mark.parametrize("may_list", [True, False])
@pytest.mark.parametrize("namespaces", [(), ("team-a",), ("team-a", "team-b")], ids=len)
async def test_what_is_not_needed_may_be_refused_and_the_rest_goes_on(cache, server, namespaces, may_list):
    class Refusing:
        async def list(self, kind, **selection):
            if kind == PODS.kind and not may_list:
                raise ForbiddenError("list of Pod: missing right: verb `list` on `pods`")
            return await server.list(kind, **selection)

    await server.apply(service("chat"))
    resync = Resync(Refusing(), cache, namespaces, may_watch=no)
    found = await resync.run([SERVICES, PODS])
    assert (found.present, found.missing, found.barred) == ((SERVICES,), (), frozenset())
    (refused,) = found.refused
    assert refused.watched is PODS
    assert f"verb `{'watch' if may_list else 'list'}` on `pods`" in refused.why
    assert names(cache) == {("team-a", "chat")}
    assert not cache.complete(kinds.POD), "what is not watched is read from the server"
    assert await resync.permitted([PODS]) == ()
    assert await Resync(server, cache, namespaces).permitted([PODS]) == (PODS,)


async def test_what_is_needed_and_refused_stops(cache, server):
    class Refusing:
        async def list(self, kind, **selection):
            raise ForbiddenError("list of Service")

    with pytest.raises(ForbiddenError):
        await Resync(Refusing(), cache, (), may_watch=no).run([SERVICES])
    assert (await Resync(server, cache, (), may_watch=no).run([SERVICES])).present == (SERVICES,)
