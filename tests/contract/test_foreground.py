"""Deletion in the foreground: the owner stays, marked, until what it owned is gone."""

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import EventType, Propagation

DRAIN = "llama-operator.io/drain"


@pytest.fixture
def guard(objects):
    return objects.ref(kinds.NETWORK_POLICY, "guard")


@pytest.fixture
def owned(objects):
    def build(owner, *, blocking=True, **metadata):
        (reference,) = objects.owned_by(owner)["ownerReferences"]
        return objects.policy(metadata={"ownerReferences": [reference | {"blockOwnerDeletion": blocking}]} | metadata)

    return build


async def test_it_ends_when_nothing_is_owned(ours, objects, gone):
    await ours.apply(objects.llama())
    await ours.delete(objects.chat, propagation=Propagation.FOREGROUND)
    await gone(ours, objects.chat)


async def test_the_owner_stays_until_what_blocks_is_gone(ours, objects, owned, guard, becomes, gone):
    owner = await ours.apply(objects.llama())
    await ours.apply(owned(owner, finalizers=[DRAIN]))
    await ours.delete(objects.chat, propagation=Propagation.FOREGROUND)
    marked = await ours.get(objects.chat)
    assert marked["metadata"]["deletionTimestamp"]
    assert marked["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert marked["metadata"]["generation"] == 2
    await becomes(ours, guard, lambda live: "deletionTimestamp" in live["metadata"])
    assert await ours.get(objects.chat)
    await ours.merge_patch(guard, {"metadata": {"finalizers": None}})
    await gone(ours, guard)
    await gone(ours, objects.chat)


async def test_the_owner_does_not_wait_for_what_does_not_block(ours, objects, owned, guard, becomes, gone):
    owner = await ours.apply(objects.llama())
    await ours.apply(owned(owner, blocking=False, finalizers=[DRAIN]))
    await ours.delete(objects.chat, propagation=Propagation.FOREGROUND)
    await gone(ours, objects.chat)
    await becomes(ours, guard, lambda live: "deletionTimestamp" in live["metadata"])
    await ours.merge_patch(guard, {"metadata": {"finalizers": None}})
    await gone(ours, guard)


async def test_what_has_another_owner_stays(ours, objects, owned, guard, becomes, gone):
    first = await ours.apply(objects.llama("first"))
    second = await ours.apply(objects.llama("second"))
    policy = owned(first)
    policy["metadata"]["ownerReferences"] += objects.owned_by(second)["ownerReferences"]
    await ours.apply(policy)
    await ours.delete(objects.ref(kinds.LLAMA_DEPLOYMENT, "first"), propagation=Propagation.FOREGROUND)
    await gone(ours, objects.ref(kinds.LLAMA_DEPLOYMENT, "first"))
    left = await becomes(ours, guard, lambda live: len(live["metadata"]["ownerReferences"]) == 1)
    assert left["metadata"]["ownerReferences"][0]["uid"] == second["metadata"]["uid"]
    assert "deletionTimestamp" not in left["metadata"]


async def test_the_dependants_end_is_told_before_the_owners(ours, objects, owned, take, gone):
    owner = await ours.apply(objects.llama())
    policy = await ours.apply(owned(owner))
    since = policy["metadata"]["resourceVersion"]
    await ours.delete(objects.chat, propagation=Propagation.FOREGROUND)
    await gone(ours, objects.chat)
    ends = []
    for kind in (kinds.NETWORK_POLICY, kinds.LLAMA_DEPLOYMENT):
        stream = ours.watch(kind, since=since, namespace=objects.namespace)
        while True:
            (event,) = await take(stream, 1)
            if event.type is EventType.DELETED:
                break
        ends.append(int(event.object["metadata"]["resourceVersion"]))
        await stream.aclose()
    assert ends == sorted(ends)
