"""Reading many: lists, and watches that continue them without a gap."""

import asyncio

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import EventType, ExpiredError


def names(listing):
    return [item["metadata"]["name"] for item in listing.items]


def told(events):
    return [(event.type, event.object["metadata"]["name"]) for event in events]


@pytest.fixture
def follow(objects):
    async def start(client, kind=kinds.NETWORK_POLICY):
        listing = await client.list(kind, namespace=objects.namespace)
        return client.watch(kind, since=listing.resource_version, namespace=objects.namespace)

    return start


async def test_a_list_holds_the_kind_in_the_namespace(ours, objects):
    await ours.apply(objects.policy("b"))
    await ours.apply(objects.policy("a"))
    await ours.apply(objects.service("c"))
    listing = await ours.list(kinds.NETWORK_POLICY, namespace=objects.namespace)
    assert names(listing) == ["a", "b"]
    assert names(await ours.list(kinds.NETWORK_POLICY, namespace=f"{objects.namespace}-other")) == []


async def test_items_of_a_list_say_what_they_are(ours, objects):
    await ours.apply(objects.policy("a"))
    (item,) = (await ours.list(kinds.NETWORK_POLICY, namespace=objects.namespace)).items
    assert (item["apiVersion"], item["kind"]) == ("networking.k8s.io/v1", "NetworkPolicy")


async def test_a_list_without_namespace_holds_all(ours, objects):
    await ours.apply(objects.policy("a"))
    found = [item["metadata"]["namespace"] for item in (await ours.list(kinds.NETWORK_POLICY)).items]
    assert objects.namespace in found


async def test_a_list_of_a_cluster_scoped_kind_needs_no_namespace(ours, objects):
    obj = objects.acceptance()
    await ours.apply(obj)
    assert obj["metadata"]["name"] in names(await ours.list(kinds.LICENSE_ACCEPTANCE))


async def test_a_list_that_needs_several_pages_holds_each_object_once(ours, objects):
    for name in "edcba":
        await ours.apply(objects.policy(name))
    assert names(await ours.list(kinds.NETWORK_POLICY, namespace=objects.namespace)) == list("abcde")


async def test_a_list_by_labels_holds_what_has_them_all(ours, objects):
    await ours.apply(objects.policy("a", metadata={"labels": {"team": "a", "tier": "1"}}))
    await ours.apply(objects.policy("b", metadata={"labels": {"team": "a", "tier": "2"}}))
    await ours.apply(objects.policy("c"))
    wanted = {"team": "a", "tier": "1"}
    assert names(await ours.list(kinds.NETWORK_POLICY, namespace=objects.namespace, labels=wanted)) == ["a"]
    assert names(await ours.list(kinds.NETWORK_POLICY, namespace=objects.namespace, labels={"team": "a"})) == ["a", "b"]
    assert names(await ours.list(kinds.NETWORK_POLICY, namespace=objects.namespace, labels={"team": "b"})) == []


async def test_a_watch_tells_what_happened_in_order(ours, objects, follow, take):
    stream = await follow(ours)
    await ours.apply(objects.policy("a"))
    await ours.apply(objects.policy("b"))
    await ours.apply(objects.policy("a", ports=(1, 2)))
    await ours.delete(objects.ref(kinds.NETWORK_POLICY, "b"))
    events = await take(stream, 4)
    await stream.aclose()
    assert told(events) == [
        (EventType.ADDED, "a"),
        (EventType.ADDED, "b"),
        (EventType.MODIFIED, "a"),
        (EventType.DELETED, "b"),
    ]


async def test_a_watch_continues_a_list_without_a_gap(ours, objects, take):
    """Nothing is lost that happens between the list and the first look at the watch."""
    await ours.apply(objects.policy("before"))
    listing = await ours.list(kinds.NETWORK_POLICY, namespace=objects.namespace)
    await ours.apply(objects.policy("between"))
    stream = ours.watch(kinds.NETWORK_POLICY, since=listing.resource_version, namespace=objects.namespace)
    assert told(await take(stream, 1)) == [(EventType.ADDED, "between")]
    await stream.aclose()


async def test_a_watch_can_start_from_the_version_of_an_object(ours, objects, take):
    first = await ours.apply(objects.policy("a"))
    await ours.apply(objects.policy("b"))
    since = first["metadata"]["resourceVersion"]
    stream = ours.watch(kinds.NETWORK_POLICY, since=since, namespace=objects.namespace)
    assert told(await take(stream, 1)) == [(EventType.ADDED, "b")]
    await stream.aclose()


async def test_a_watch_waits_for_what_comes(ours, objects, follow, take):
    stream = await follow(ours)
    waiting = asyncio.create_task(take(stream, 1))
    await asyncio.sleep(0)
    await ours.apply(objects.policy("a"))
    assert told(await waiting) == [(EventType.ADDED, "a")]
    await stream.aclose()


async def test_each_state_of_an_object_is_told_as_it_was(ours, objects, follow, take):
    stream = await follow(ours)
    for team in ("a", "b", "c"):
        await ours.apply(objects.policy(metadata={"labels": {"team": team}}))
    events = await take(stream, 3)
    await stream.aclose()
    assert [event.object["metadata"]["labels"]["team"] for event in events] == ["a", "b", "c"]
    versions = [event.object["metadata"]["resourceVersion"] for event in events]
    assert len(set(versions)) == 3


async def test_the_event_of_a_deletion_holds_the_last_state(ours, objects, follow, take):
    live = await ours.apply(objects.policy(metadata={"labels": {"team": "a"}}))
    stream = await follow(ours)
    await ours.delete(objects.ref(kinds.NETWORK_POLICY, "guard"))
    (event,) = await take(stream, 1)
    await stream.aclose()
    assert event.type is EventType.DELETED
    assert event.object["metadata"]["uid"] == live["metadata"]["uid"]
    assert event.object["metadata"]["labels"] == {"team": "a"}
    assert event.object["metadata"]["resourceVersion"] != live["metadata"]["resourceVersion"]


async def test_a_deletion_that_waits_for_a_finalizer_is_told_twice(ours, objects, follow, take):
    await ours.apply(objects.policy(metadata={"finalizers": ["llama-operator.io/drain"]}))
    stream = await follow(ours)
    await ours.delete(objects.ref(kinds.NETWORK_POLICY, "guard"))
    await ours.apply(objects.policy())
    marked, removed = await take(stream, 2)
    await stream.aclose()
    assert (marked.type, removed.type) == (EventType.MODIFIED, EventType.DELETED)
    assert marked.object["metadata"]["deletionTimestamp"]


async def test_a_write_that_changes_nothing_is_not_told(ours, objects, follow, take):
    await ours.apply(objects.policy("a"))
    stream = await follow(ours)
    await ours.apply(objects.policy("a"))
    await ours.apply(objects.policy("b"))
    assert told(await take(stream, 1)) == [(EventType.ADDED, "b")]
    await stream.aclose()


async def test_a_watch_tells_of_its_kind_and_namespace_alone(ours, objects, follow, take):
    stream = await follow(ours)
    await ours.apply(objects.service("web"))
    await ours.apply(objects.acceptance())
    await ours.apply(objects.policy("a"))
    assert told(await take(stream, 1)) == [(EventType.ADDED, "a")]
    await stream.aclose()


async def test_garbage_is_told_as_deleted(ours, user, objects, follow, take):
    owner = await user.apply(objects.llama())
    await ours.apply(objects.policy(metadata=objects.owned_by(owner)))
    stream = await follow(ours)
    await user.delete(objects.chat)
    assert told(await take(stream, 1)) == [(EventType.DELETED, "guard")]
    await stream.aclose()


async def test_several_watchers_are_told_the_same(ours, user, objects, follow, take):
    streams = [await follow(ours), await follow(ours), await follow(user)]
    waiting = [asyncio.create_task(take(stream, 2)) for stream in streams]
    await ours.apply(objects.policy("a"))
    await user.apply(objects.policy("b"))
    for task in waiting:
        assert told(await task) == [(EventType.ADDED, "a"), (EventType.ADDED, "b")]
    for stream in streams:
        await stream.aclose()


async def test_a_watcher_that_is_canceled_does_not_disturb_the_others(ours, objects, follow, take):
    canceled = asyncio.create_task(take(await follow(ours), 1))
    other = asyncio.create_task(take(await follow(ours), 1))
    await asyncio.sleep(0.01)
    canceled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await canceled
    await ours.apply(objects.policy("a"))
    assert told(await other) == [(EventType.ADDED, "a")]


async def test_events_are_copies(ours, objects, follow, take):
    first, second = await follow(ours), await follow(ours)
    await ours.apply(objects.policy(metadata={"labels": {"team": "a"}}))
    (event,) = await take(first, 1)
    event.object["metadata"]["labels"]["team"] = "changed"
    (other,) = await take(second, 1)
    assert other.object["metadata"]["labels"]["team"] == "a"
    assert (await ours.get(objects.ref(kinds.NETWORK_POLICY, "guard")))["metadata"]["labels"]["team"] == "a"
    await first.aclose()
    await second.aclose()


async def test_a_version_from_before_all_history_is_expired(ours, objects, take):
    # A kind that came with a CRD: a server that was just made still knows all of its own kinds' past.
    stream = ours.watch(kinds.LLAMA_DEPLOYMENT, since="1", namespace=objects.namespace)
    with pytest.raises(ExpiredError):
        await take(stream, 1)


async def test_a_list_selects_by_field(ours, objects):
    for name in ("one", "two"):
        await ours.apply(objects.service(name))
    found = await ours.list(kinds.SERVICE, namespace=objects.namespace, fields={"metadata.name": "two"})
    assert [item["metadata"]["name"] for item in found.items] == ["two"]
    assert (await ours.list(kinds.POD, namespace=objects.namespace, fields={"spec.nodeName": "nowhere"})).items == ()
