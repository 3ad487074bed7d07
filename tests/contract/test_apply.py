"""Apply as one writer sees it: create, change, remove, and nothing when nothing changes."""

import copy

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import InvalidError, NotFoundError
from support.looked_at import looked_at


def version(obj):
    return obj["metadata"]["resourceVersion"]


async def test_apply_creates_what_is_absent(ours, objects):
    applied = await ours.apply(objects.llama(context={"maxModelLength": 4096}))
    live = await ours.get(objects.chat)
    assert live == applied
    assert live["apiVersion"] == "llama-operator.io/v1alpha1"
    assert live["kind"] == "LlamaDeployment"
    assert live["metadata"]["name"] == "chat"
    assert live["metadata"]["namespace"] == objects.namespace
    assert live["spec"]["context"]["maxModelLength"] == 4096


async def test_apply_changes_a_field_that_is_ours(ours, objects):
    await ours.apply(objects.llama(context={"maxModelLength": 4096}))
    await ours.apply(objects.llama(context={"maxModelLength": 8192}))
    assert (await ours.get(objects.chat))["spec"]["context"]["maxModelLength"] == 8192


async def test_what_was_sent_before_and_not_now_is_removed(ours, objects):
    await ours.apply(objects.llama(context={"maxModelLength": 4096}, metadata={"labels": {"team": "a", "tier": "1"}}))
    await ours.apply(objects.llama(metadata={"labels": {"team": "a"}}))
    live = await ours.get(objects.chat)
    assert live["metadata"]["labels"] == {"team": "a"}
    assert "maxModelLength" not in live["spec"].get("context", {})


async def test_a_map_whose_last_field_is_removed_goes_too(ours, objects):
    await ours.apply(objects.llama(metadata={"labels": {"team": "a"}}))
    await ours.apply(objects.llama())
    assert "labels" not in (await ours.get(objects.chat))["metadata"]


async def test_an_apply_that_changes_nothing_writes_nothing(ours, objects):
    obj = objects.llama(context={"maxModelLength": 4096}, metadata={"labels": {"team": "a"}})
    await looked_at(ours, obj)
    first = await ours.apply(obj)
    again = await ours.apply(obj)
    assert again == first
    assert version(await ours.get(objects.chat)) == version(first)


async def test_an_apply_that_changes_something_gets_a_new_resource_version(ours, objects):
    first = await ours.apply(objects.llama())
    second = await ours.apply(objects.llama(metadata={"labels": {"team": "a"}}))
    assert version(second) != version(first)


async def test_what_is_returned_is_a_copy(ours, objects):
    sent = objects.llama(metadata={"labels": {"team": "a"}})
    kept = copy.deepcopy(sent)
    applied = await ours.apply(sent)
    applied["metadata"]["labels"]["team"] = "changed"
    read = await ours.get(objects.chat)
    read["metadata"]["labels"]["team"] = "changed"
    (listed,) = (await ours.list(kinds.LLAMA_DEPLOYMENT, namespace=objects.namespace)).items
    listed["metadata"]["labels"]["team"] = "changed"
    assert (await ours.get(objects.chat))["metadata"]["labels"]["team"] == "a"
    assert sent == kept, "apply must not write into what it was given"


async def test_what_was_sent_does_not_change_with_the_sender(ours, objects):
    sent = objects.llama(metadata={"labels": {"team": "a"}})
    await ours.apply(sent)
    sent["metadata"]["labels"]["team"] = "changed"
    assert (await ours.get(objects.chat))["metadata"]["labels"]["team"] == "a"


async def test_an_absent_object_is_not_found(ours, objects):
    with pytest.raises(NotFoundError, match="chat"):
        await ours.get(objects.chat)


async def test_objects_of_one_name_in_two_kinds_are_two(ours, objects):
    await ours.apply(objects.service("web"))
    await ours.apply(objects.policy("web"))
    assert (await ours.get(objects.ref(kinds.SERVICE, "web")))["kind"] == "Service"
    assert (await ours.get(objects.ref(kinds.NETWORK_POLICY, "web")))["kind"] == "NetworkPolicy"


async def test_a_cluster_scoped_object_has_no_namespace(ours, objects):
    obj = objects.acceptance()
    await ours.apply(obj)
    live = await ours.get(objects.ref(kinds.LICENSE_ACCEPTANCE, obj["metadata"]["name"]))
    assert "namespace" not in live["metadata"]


@pytest.mark.parametrize("name", ["Chat", "chat_70b", "-chat", "chat-", "chat..70b", "c" * 254])
async def test_a_name_that_is_no_dns_name_is_invalid(ours, objects, name):
    with pytest.raises(InvalidError, match=r"metadata\.name"):
        await ours.apply(objects.policy(name))


async def test_the_name_of_a_service_is_a_dns_label(ours, objects):
    await ours.apply(objects.policy("web.internal"))
    with pytest.raises(InvalidError, match=r"metadata\.name"):
        await ours.apply(objects.service("web.internal"))


@pytest.mark.parametrize("value", ["a" * 64, "two words", "-a", "a/b"])
async def test_a_label_value_that_no_selector_could_name_is_invalid(ours, objects, value):
    with pytest.raises(InvalidError, match=r"metadata\.labels"):
        await ours.apply(objects.llama(metadata={"labels": {"team": value}}))


async def test_an_owner_without_uid_is_invalid(ours, objects):
    owner = {"apiVersion": "v1", "kind": "Service", "name": "web", "uid": ""}
    with pytest.raises(InvalidError, match="uid"):
        await ours.apply(objects.policy(metadata={"ownerReferences": [owner]}))


async def test_a_refused_apply_leaves_no_trace(ours, objects):
    first = await ours.apply(objects.llama())
    with pytest.raises(InvalidError):
        await ours.apply(objects.llama(metadata={"labels": {"team": "two words"}}))
    assert await ours.get(objects.chat) == first


async def test_the_data_of_a_controller_revision_cannot_change(ours, objects):
    await ours.apply(objects.revision(tensor=8))
    with pytest.raises(InvalidError, match="data"):
        await ours.apply(objects.revision(tensor=4))
    live = await ours.get(objects.ref(kinds.CONTROLLER_REVISION, "chat-1"))
    assert live["data"] == {"tensor": 8}
