"""The twin beyond what a real server can be asked: its clock, its history, its journal, and what stands in the way."""

import asyncio
import copy
from datetime import UTC, date, datetime, timedelta

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import ConflictError, ExpiredError, InvalidError, NotFoundError, Ref
from llama_operator.kube.twin.cluster import MemoryCluster
from llama_operator.kube.twin.journal import PassThrough, Verb
from support.crashing.faults import CrashAfter, CrashError

GUARD = Ref(kinds.NETWORK_POLICY, "team-a", "guard")


def policy(name="guard", *, port=8000, **metadata):
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "team-a"} | metadata,
        "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": port}]}]},
    }


def owned_by(obj):
    fields = {name: obj[name] for name in ("apiVersion", "kind")}
    return {"ownerReferences": [fields | {name: obj["metadata"][name] for name in ("name", "uid")}]}


@pytest.fixture
def clock():
    """A clock that the test moves, at [0]."""
    return [datetime(2026, 3, 2, 9, 30, tzinfo=UTC)]


@pytest.fixture
def cluster(clock):
    return MemoryCluster(now=lambda: clock[0], history=5)


@pytest.fixture
def ours(cluster):
    return cluster.client("llama-operator")


async def first(stream):
    async with asyncio.timeout(10):
        return await anext(stream)


async def test_times_are_those_of_the_clock(ours, cluster, clock):
    await ours.apply(policy(finalizers=["llama-operator.io/drain"]))
    clock[0] += timedelta(hours=1)
    await ours.delete(GUARD)
    live = await ours.get(GUARD)
    assert live["metadata"]["creationTimestamp"] == "2026-03-02T09:30:00Z"
    assert live["metadata"]["deletionTimestamp"] == "2026-03-02T10:30:00Z"
    assert live["metadata"]["managedFields"][0]["time"] == "2026-03-02T09:30:00Z"


async def test_owning_something_else_is_a_new_time(ours, clock):
    await ours.apply(policy())
    clock[0] += timedelta(hours=1)
    live = await ours.apply(policy(labels={"team": "a"}))
    assert live["metadata"]["managedFields"][0]["time"] == "2026-03-02T10:30:00Z"


async def test_two_clusters_with_the_same_history_are_the_same(clock):
    found = []
    for _ in range(2):
        client = MemoryCluster(now=lambda: clock[0]).client("llama-operator")
        found.append([await client.apply(policy("a")), await client.apply(policy("b"))])
    assert found[0] == found[1]
    assert found[0][0]["metadata"]["uid"] != found[0][1]["metadata"]["uid"]


async def test_a_watch_that_is_further_behind_than_the_history_is_expired(ours):
    since = (await ours.apply(policy()))["metadata"]["resourceVersion"]
    for port in range(6):
        await ours.apply(policy(port=port))
    with pytest.raises(ExpiredError, match="list again"):
        await first(ours.watch(kinds.NETWORK_POLICY, since=since))


async def test_a_watch_that_is_just_not_too_far_behind_gets_all(ours):
    since = (await ours.apply(policy()))["metadata"]["resourceVersion"]
    for port in range(5):
        await ours.apply(policy(port=port))
    stream = ours.watch(kinds.NETWORK_POLICY, since=since)
    seen = [(await first(stream)).object["spec"]["ingress"][0]["ports"][0]["port"] for _ in range(5)]
    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("since", ["", "0", "999999", "yesterday", "-1"])
async def test_a_version_that_never_was_is_expired(ours, since):
    await ours.apply(policy())
    with pytest.raises(ExpiredError):
        await first(ours.watch(kinds.NETWORK_POLICY, since=since))


async def test_forgotten_history_expires_old_versions_and_leaves_the_present(ours, cluster):
    since = (await ours.apply(policy("a")))["metadata"]["resourceVersion"]
    await ours.apply(policy("b"))
    cluster.forget_history()
    with pytest.raises(ExpiredError):
        await first(ours.watch(kinds.NETWORK_POLICY, since=since))
    stream = ours.watch(kinds.NETWORK_POLICY, since=(await ours.list(kinds.NETWORK_POLICY)).resource_version)
    await ours.apply(policy("c"))
    assert (await first(stream)).object["metadata"]["name"] == "c"


async def test_requests_of_several_tasks_interleave(cluster):
    """Reading and then writing is not one step: another writer may come between, as on a real server."""
    await cluster.client("setup").apply(policy(annotations={"count": "0"}))

    async def increment(manager):
        client = cluster.client(manager)
        live = await client.get(GUARD)
        metadata = {"annotations": {"count": str(int(live["metadata"]["annotations"]["count"]) + 1)}}
        metadata["resourceVersion"] = live["metadata"]["resourceVersion"]
        await client.merge_patch(GUARD, {"metadata": metadata})

    outcomes = await asyncio.gather(increment("a"), increment("b"), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), ConflictError]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"kind": "Pod"}, "Pod"),
        ({"apiVersion": "v2"}, "v2"),
        ({"metadata": {"name": "guard"}}, "namespace"),
        ({"metadata": {"namespace": "team-a"}}, "name"),
        ({"spec": {"podSelector": None}}, r"spec\.podSelector: null"),
        ({"spec": {"since": date(2026, 3, 2)}}, r"spec\.since: date"),
        ({"spec": {"ports": (1, 2)}}, r"spec\.ports: tuple"),
        ({"spec": {1: 2}}, "1 is not a string"),
    ],
)
async def test_an_object_that_no_server_could_read_is_invalid(ours, change, named):
    with pytest.raises(InvalidError, match=named):
        await ours.apply(policy() | change)


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ({"labels": {"team": 1}}, "quote it"),
        ({"labels": {"/team": "a"}}, "qualified"),
        ({"annotations": {"two words": "a"}}, "qualified"),
        ({"finalizers": ["Not OK"]}, "finalizers"),
        ({"managedFields": [{"manager": "me"}]}, "managedFields"),
        ({"uid": "4711"}, "does not exist"),
    ],
)
async def test_metadata_that_no_server_takes_is_refused(ours, metadata, named):
    with pytest.raises((InvalidError, ConflictError), match=named):
        await ours.apply(policy(**metadata))


async def test_only_one_owner_controls(ours):
    owner = {"apiVersion": "v1", "kind": "Service", "name": "web", "controller": True}
    with pytest.raises(InvalidError, match="controller"):
        await ours.apply(policy(ownerReferences=[owner | {"uid": "1"}, owner | {"uid": "2"}]))


async def test_a_cluster_scoped_object_in_a_namespace_is_invalid(ours):
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "namespace": "team-a"}}
    with pytest.raises(InvalidError, match="namespace"):
        await ours.apply(node)


async def test_an_owner_in_another_namespace_is_none(ours):
    owner = await ours.apply(policy("owner") | {"metadata": {"name": "owner", "namespace": "team-b"}})
    await ours.apply(policy(**owned_by(owner)))
    with pytest.raises(NotFoundError):
        await ours.get(GUARD)


async def test_the_journal_says_who_wrote_what(cluster, ours):
    await ours.apply(policy())
    await ours.apply(policy(port=9000, labels={"team": "a"}))
    await cluster.client("kubectl").merge_patch(GUARD, {"metadata": {"labels": {"team": None}}})
    await ours.delete(GUARD)
    assert [(write.verb, write.manager, write.ref, write.created) for write in cluster.writes] == [
        (Verb.APPLY, "llama-operator", GUARD, True),
        (Verb.APPLY, "llama-operator", GUARD, False),
        (Verb.PATCH, "kubectl", GUARD, False),
        (Verb.DELETE, "llama-operator", GUARD, False),
    ]
    assert cluster.writes[1].fields == (".metadata.labels.team", ".spec.ingress")
    assert cluster.writes[2].fields == (".metadata.labels.team",)


async def test_what_changes_nothing_or_is_refused_is_not_in_the_journal(cluster, ours):
    await ours.apply(policy())
    await ours.apply(policy())
    with pytest.raises(ConflictError):
        await cluster.client("kubectl").apply(policy(port=1), force=False)
    with pytest.raises(NotFoundError):
        await ours.delete(Ref(kinds.NETWORK_POLICY, "team-a", "other"))
    assert len(cluster.writes) == 1


async def test_a_new_owner_of_unchanged_fields_is_a_write_without_fields(cluster, ours):
    await ours.apply(policy())
    await cluster.client("kubectl").apply(policy())
    assert cluster.writes[1].fields == ()


async def test_garbage_is_collected_in_the_journal_too(cluster, ours):
    owner = await ours.apply(policy("owner"))
    await ours.apply(policy(**owned_by(owner)))
    await ours.delete(Ref(kinds.NETWORK_POLICY, "team-a", "owner"))
    assert [(write.manager, write.ref.name) for write in cluster.writes[2:]] == [
        ("llama-operator", "owner"),
        ("kube-controller-manager", "guard"),
    ]


class Refuse(PassThrough):
    def before(self, write):
        raise ConflictError(f"refused: {write.ref}")


async def test_what_an_interceptor_refuses_is_not_written(cluster):
    with pytest.raises(ConflictError, match="refused"):
        await cluster.client("llama-operator", interceptor=Refuse()).apply(policy())
    assert cluster.writes == ()
    with pytest.raises(NotFoundError):
        await cluster.client("kubectl").get(GUARD)


async def write_three(client):
    for name in ("a", "b", "c"):
        await client.apply(policy(name))
        await client.apply(policy(name))


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
async def test_a_writer_that_crashes_after_n_writes_has_done_exactly_these(cluster, writes):
    crash = CrashAfter(writes)
    with pytest.raises(CrashError):
        await write_three(cluster.client("llama-operator", interceptor=crash))
    assert crash.crashed
    assert [write.ref.name for write in cluster.writes] == ["a", "b", "c"][:writes]


async def test_a_writer_that_ends_before_its_crash_does_not_crash(cluster):
    crash = CrashAfter(4)
    await write_three(cluster.client("llama-operator", interceptor=crash))
    assert not crash.crashed


async def test_the_dead_write_nothing_more(cluster):
    client = cluster.client("llama-operator", interceptor=CrashAfter(1))
    with pytest.raises(CrashError):
        await client.apply(policy("a"))
    with pytest.raises(CrashError):
        await client.apply(policy("b"))
    assert [write.ref.name for write in cluster.writes] == ["a"]


async def test_others_go_on_after_a_crash(cluster):
    with pytest.raises(CrashError):
        await cluster.client("llama-operator", interceptor=CrashAfter(1)).apply(policy())
    live = await cluster.client("llama-operator").apply(policy(labels={"team": "a"}))
    assert live["metadata"]["labels"] == {"team": "a"}


async def test_a_patch_cannot_write_what_only_the_server_writes(ours):
    before = await ours.apply(policy())
    patch = {"metadata": {"uid": before["metadata"]["uid"], "name": "other", "generation": 7}, "kind": "Service"}
    after = await ours.merge_patch(GUARD, copy.deepcopy(patch))
    assert after == before
