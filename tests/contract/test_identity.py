"""What only the server writes: uid, times, versions, generation; and preconditions on them."""

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import ConflictError, InvalidError, NotFoundError, Preconditions

STRANGER = "4b1f4f0a-0000-4000-8000-000000000000"


async def test_a_new_object_has_uid_and_creation_time(ours, objects):
    live = await ours.apply(objects.llama())
    assert live["metadata"]["uid"]
    assert live["metadata"]["creationTimestamp"].endswith("Z")
    assert live["metadata"]["generation"] == 1


async def test_an_object_that_is_created_again_is_another(ours, objects):
    first = await ours.apply(objects.llama())
    await ours.delete(objects.chat)
    second = await ours.apply(objects.llama())
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert second["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
    assert second["metadata"]["generation"] == 1


async def test_identity_stays_when_the_object_changes(ours, objects):
    first = await ours.apply(objects.llama())
    second = await ours.apply(objects.llama(context={"maxModelLength": 4096}))
    for field in ("uid", "creationTimestamp"):
        assert second["metadata"][field] == first["metadata"][field]


async def test_generation_counts_changes_of_the_spec_alone(ours, objects):
    await ours.apply(objects.llama())
    labeled = await ours.apply(objects.llama(metadata={"labels": {"team": "a"}}))
    assert labeled["metadata"]["generation"] == 1
    reported = await ours.apply_status(objects.llama(status={"replicas": 1}))
    assert reported["metadata"]["generation"] == 1
    changed = await ours.apply(objects.llama(context={"maxModelLength": 4096}))
    assert changed["metadata"]["generation"] == 2


async def test_another_owner_of_the_same_spec_is_no_new_generation(ours, user, objects):
    await ours.apply(objects.llama(context={"maxModelLength": 4096}))
    live = await user.apply(objects.part(context={"maxModelLength": 4096}))
    assert live["metadata"]["generation"] == 1


async def test_generation_counts_in_a_kind_without_status(ours, objects):
    first = await ours.apply(objects.acceptance())
    second = await ours.apply(objects.acceptance(state="Terminated"))
    assert (first["metadata"]["generation"], second["metadata"]["generation"]) == (1, 2)


async def test_generation_counts_in_a_network_policy(ours, objects):
    first = await ours.apply(objects.policy(ports=(8000,)))
    second = await ours.apply(objects.policy(ports=(8000, 8080)))
    assert (first["metadata"]["generation"], second["metadata"]["generation"]) == (1, 2)


async def test_what_the_server_wrote_may_be_sent_back(ours, objects):
    live = await ours.apply(objects.llama())
    sent = {**live, "metadata": {key: live["metadata"][key] for key in ("name", "namespace", "creationTimestamp")}}
    again = await ours.apply(sent)
    assert again["metadata"]["uid"] == live["metadata"]["uid"]


async def test_the_uid_of_an_object_cannot_change(ours, objects):
    await ours.apply(objects.llama())
    with pytest.raises(InvalidError, match=r"metadata\.uid"):
        await ours.apply(objects.llama(metadata={"uid": STRANGER}))


async def test_an_apply_for_a_uid_that_is_nowhere_is_a_conflict(ours, objects):
    with pytest.raises(ConflictError, match="uid"):
        await ours.apply(objects.llama(metadata={"uid": STRANGER}))


async def test_a_resource_version_does_not_keep_an_object_from_being_created(ours, objects):
    """So it is no guard against bringing back what was deleted; the uid is."""
    live = await ours.apply(objects.llama(metadata={"resourceVersion": "1"}))
    assert live["metadata"]["generation"] == 1


async def test_a_status_is_applied_whatever_uid_is_sent(ours, objects):
    await ours.apply(objects.llama())
    live = await ours.apply_status(objects.llama(status={"replicas": 1}, metadata={"uid": STRANGER}))
    assert live["status"]["replicas"] == 1


async def test_a_status_for_an_old_resource_version_is_a_conflict(ours, objects):
    old = await ours.apply(objects.llama())
    await ours.apply(objects.llama(context={"maxModelLength": 4096}))
    version = old["metadata"]["resourceVersion"]
    with pytest.raises(ConflictError):
        await ours.apply_status(objects.llama(status={"replicas": 1}, metadata={"resourceVersion": version}))


async def test_resource_versions_of_an_object_are_numbers_that_grow(ours, user, objects):
    """The cache orders states of an object by them."""
    states = [await ours.apply(objects.llama())]
    states += [await ours.apply(objects.llama(context={"maxModelLength": 1024 * i})) for i in range(1, 4)]
    states += [await user.apply_status(objects.llama(status={"replicas": i})) for i in range(3)]
    versions = [int(state["metadata"]["resourceVersion"]) for state in states]
    assert versions == sorted(set(versions))
    listing = await ours.list(kinds.LLAMA_DEPLOYMENT, namespace=objects.namespace)
    assert int(listing.resource_version) >= versions[-1]


async def test_an_apply_for_an_old_resource_version_is_a_conflict(ours, objects):
    old = await ours.apply(objects.llama())
    new = await ours.apply(objects.llama(context={"maxModelLength": 4096}))
    with pytest.raises(ConflictError):
        await ours.apply(objects.llama(metadata={"resourceVersion": old["metadata"]["resourceVersion"]}))
    await ours.apply(objects.llama(metadata={"resourceVersion": new["metadata"]["resourceVersion"]}))


async def test_delete_with_the_right_uid_and_version_deletes(ours, objects):
    live = (await ours.apply(objects.llama()))["metadata"]
    await ours.delete(objects.chat, preconditions=Preconditions(live["uid"], live["resourceVersion"]))
    with pytest.raises(NotFoundError):
        await ours.get(objects.chat)


async def test_delete_of_an_object_that_was_replaced_is_a_conflict(ours, objects):
    old = await ours.apply(objects.llama())
    await ours.delete(objects.chat)
    new = await ours.apply(objects.llama())
    with pytest.raises(ConflictError):
        await ours.delete(objects.chat, preconditions=Preconditions(uid=old["metadata"]["uid"]))
    assert (await ours.get(objects.chat))["metadata"]["uid"] == new["metadata"]["uid"]


async def test_delete_of_an_object_that_changed_is_a_conflict(ours, objects):
    old = await ours.apply(objects.llama())
    await ours.apply(objects.llama(context={"maxModelLength": 4096}))
    version = old["metadata"]["resourceVersion"]
    with pytest.raises(ConflictError):
        await ours.delete(objects.chat, preconditions=Preconditions(resource_version=version))
    assert await ours.get(objects.chat)


async def test_delete_of_an_absent_object_is_not_found(ours, objects):
    with pytest.raises(NotFoundError):
        await ours.delete(objects.ref(kinds.SERVICE, "web"))
