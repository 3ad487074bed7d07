"""The end of objects: finalizers, and dependants that go with their owners."""

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import InvalidError, NotFoundError

DRAIN = "llama-operator.io/drain"


@pytest.fixture
def guard(objects):
    return objects.ref(kinds.NETWORK_POLICY, "guard")


async def test_an_object_with_a_finalizer_stays_marked_until_it_is_gone(ours, user, objects):
    before = await ours.apply(objects.llama(metadata={"finalizers": [DRAIN]}))
    await user.delete(objects.chat)
    marked = await ours.get(objects.chat)
    assert marked["metadata"]["deletionTimestamp"]
    assert marked["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
    await ours.apply(objects.llama())
    with pytest.raises(NotFoundError):
        await ours.get(objects.chat)


async def test_deletion_is_a_new_generation(ours, user, objects):
    await ours.apply(objects.llama(metadata={"finalizers": [DRAIN]}))
    await user.delete(objects.chat)
    assert (await ours.get(objects.chat))["metadata"]["generation"] == 2
    await ours.apply(objects.llama())


async def test_a_second_delete_changes_nothing(ours, user, objects):
    await ours.apply(objects.llama(metadata={"finalizers": [DRAIN]}))
    await user.delete(objects.chat)
    marked = await ours.get(objects.chat)
    await user.delete(objects.chat)
    assert await ours.get(objects.chat) == marked
    await ours.apply(objects.llama())


async def test_an_object_waits_for_the_last_of_its_finalizers(ours, user, objects):
    await ours.apply(objects.llama(metadata={"finalizers": [DRAIN]}))
    await user.apply(objects.llama(metadata={"finalizers": ["example.com/audit"]}))
    await user.delete(objects.chat)
    await ours.apply(objects.llama())
    assert (await ours.get(objects.chat))["metadata"]["finalizers"] == ["example.com/audit"]
    await user.merge_patch(objects.chat, {"metadata": {"finalizers": None}})
    with pytest.raises(NotFoundError):
        await ours.get(objects.chat)


async def test_no_finalizer_is_added_to_what_is_being_deleted(ours, user, objects):
    await ours.apply(objects.llama(metadata={"finalizers": [DRAIN]}))
    await user.delete(objects.chat)
    with pytest.raises(InvalidError, match="finalizers"):
        await user.apply(objects.part(metadata={"finalizers": ["example.com/late"]}))
    await ours.apply(objects.llama())


async def test_what_is_being_deleted_can_still_report(ours, user, objects):
    await ours.apply(objects.llama(metadata={"finalizers": [DRAIN]}))
    await user.delete(objects.chat)
    live = await ours.apply_status(objects.llama(status={"replicas": 0}))
    assert live["metadata"]["deletionTimestamp"]
    assert live["status"]["replicas"] == 0
    await ours.apply(objects.llama())


async def test_dependants_go_with_their_owner(ours, user, objects, guard, gone):
    owner = await user.apply(objects.llama())
    await ours.apply(objects.policy(metadata=objects.owned_by(owner)))
    await user.delete(objects.chat)
    await gone(ours, guard)


async def test_dependants_of_dependants_go_too(ours, user, objects, guard, gone):
    owner = await user.apply(objects.llama())
    service = await ours.apply(objects.service(metadata=objects.owned_by(owner)))
    await ours.apply(objects.policy(metadata=objects.owned_by(service)))
    await user.delete(objects.chat)
    await gone(ours, objects.ref(kinds.SERVICE, "web"))
    await gone(ours, guard)


async def test_what_has_several_owners_goes_with_the_last(ours, user, objects, guard, gone, becomes):
    first = await user.apply(objects.llama("first"))
    second = await user.apply(objects.llama("second"))
    await ours.apply(objects.policy(metadata=objects.owned_by(first, second)))
    await user.delete(objects.ref(kinds.LLAMA_DEPLOYMENT, "first"))
    left = await becomes(ours, guard, lambda live: len(live["metadata"]["ownerReferences"]) == 1)
    assert left["metadata"]["ownerReferences"][0]["uid"] == second["metadata"]["uid"]
    await user.delete(objects.ref(kinds.LLAMA_DEPLOYMENT, "second"))
    await gone(ours, guard)


async def test_dependants_wait_while_their_owner_has_a_finalizer(ours, user, objects, guard, gone):
    owner = await user.apply(objects.llama(metadata={"finalizers": [DRAIN]}))
    await ours.apply(objects.policy(metadata=objects.owned_by(owner)))
    await user.delete(objects.chat)
    assert await ours.get(guard)
    await user.apply(objects.llama())
    await gone(ours, guard)


async def test_a_dependant_with_a_finalizer_is_marked_when_its_owner_goes(ours, user, objects, guard, becomes, gone):
    owner = await user.apply(objects.llama())
    await ours.apply(objects.policy(metadata=objects.owned_by(owner) | {"finalizers": [DRAIN]}))
    await user.delete(objects.chat)
    await becomes(ours, guard, lambda live: "deletionTimestamp" in live["metadata"])
    await ours.merge_patch(guard, {"metadata": {"finalizers": None}})
    await gone(ours, guard)


async def test_an_owner_of_the_same_name_but_another_uid_is_none(ours, user, objects, guard, gone):
    """A writer that is late creates a child for an owner that was replaced meanwhile: the child must not stay."""
    old = await user.apply(objects.llama())
    await user.delete(objects.chat)
    await user.apply(objects.llama())
    await ours.apply(objects.policy(metadata=objects.owned_by(old)))
    await gone(ours, guard)
    assert await ours.get(objects.chat)


async def test_what_nobody_owns_stays(ours, user, objects, guard):
    await user.apply(objects.llama())
    await ours.apply(objects.policy())
    await user.delete(objects.chat)
    assert await ours.get(guard)


async def test_a_cluster_scoped_owner_owns_in_a_namespace(ours, user, objects, guard, gone):
    owner = await user.apply(objects.acceptance())
    await ours.apply(objects.policy(metadata=objects.owned_by(owner)))
    await user.delete(objects.ref(kinds.LICENSE_ACCEPTANCE, owner["metadata"]["name"]))
    await gone(ours, guard)
