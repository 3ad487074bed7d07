"""Apply with several writers: who owns what, who may change it, and who is told of a conflict."""

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import ConflictError, FieldConflictError, InvalidError, JsonPatch
from support.looked_at import looked_at


def fields_of(obj, manager, subresource=""):
    for entry in obj["metadata"].get("managedFields", ()):
        if entry["manager"] == manager and entry.get("subresource", "") == subresource:
            return entry["fieldsV1"]
    return None


async def test_fields_of_others_stay(ours, user, objects):
    await user.apply(objects.llama(context={"maxModelLength": 4096}))
    await ours.apply(objects.part(metadata={"annotations": {"llama-operator.io/plan": "1"}}))
    await ours.apply(objects.part(metadata={"annotations": {"llama-operator.io/plan": "2"}}))
    live = await ours.get(objects.chat)
    assert live["spec"]["context"]["maxModelLength"] == 4096
    assert live["metadata"]["annotations"] == {"llama-operator.io/plan": "2"}


async def test_another_value_for_a_field_of_another_is_a_conflict_that_names_both(ours, user, objects):
    await user.apply(objects.llama(context={"maxModelLength": 4096}))
    with pytest.raises(FieldConflictError) as conflict:
        await ours.apply(objects.part(context={"maxModelLength": 8192}), force=False)
    assert '"kubectl"' in str(conflict.value)
    assert ".spec.context.maxModelLength" in str(conflict.value)


async def test_a_conflict_changes_nothing_not_even_the_fields_without_conflict(ours, user, objects):
    before = await user.apply(objects.llama(context={"maxModelLength": 4096}))
    with pytest.raises(ConflictError):
        await ours.apply(objects.part(context={"maxModelLength": 8192}, hardware={"maxGPUs": 8}), force=False)
    assert await user.get(objects.chat) == before


async def test_a_conflict_names_every_manager(ours, user, make_client, objects):
    await user.apply(objects.llama(context={"maxModelLength": 4096}))
    await make_client("platform").apply(objects.part(hardware={"maxGPUs": 8}))
    with pytest.raises(ConflictError) as conflict:
        await ours.apply(objects.part(context={"maxModelLength": 1024}, hardware={"maxGPUs": 16}), force=False)
    for word in ('"kubectl"', '"platform"', ".spec.context.maxModelLength", ".spec.hardware.maxGPUs"):
        assert word in str(conflict.value)


async def test_force_takes_the_field_over(ours, user, objects):
    await user.apply(objects.llama(context={"maxModelLength": 4096}))
    await ours.apply(objects.part(context={"maxModelLength": 8192}), force=True)
    live = await ours.get(objects.chat)
    assert live["spec"]["context"]["maxModelLength"] == 8192
    assert "f:maxModelLength" not in str(fields_of(live, "kubectl"))
    with pytest.raises(ConflictError, match="llama-operator"):
        await user.apply(objects.llama(context={"maxModelLength": 4096}), force=False)


async def test_the_same_value_is_owned_together_without_conflict(ours, user, objects):
    before = await user.apply(objects.llama(context={"maxModelLength": 4096}))
    after = await ours.apply(objects.part(context={"maxModelLength": 4096}), force=False)
    assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"], "a new owner is a change"
    for manager in ("kubectl", "llama-operator"):
        assert fields_of(after, manager)["f:spec"]["f:context"] == {"f:maxModelLength": {}}


async def test_what_two_own_stays_when_one_lets_go(ours, user, objects):
    await user.apply(objects.llama(context={"maxModelLength": 4096}))
    await ours.apply(objects.part(context={"maxModelLength": 4096}))
    await ours.apply(objects.part(metadata={"labels": {"team": "a"}}))
    assert (await ours.get(objects.chat))["spec"]["context"]["maxModelLength"] == 4096
    await user.apply(objects.llama())
    assert "maxModelLength" not in (await ours.get(objects.chat))["spec"].get("context", {})


async def test_a_shared_field_cannot_change_without_the_other(ours, user, objects):
    await user.apply(objects.llama(context={"maxModelLength": 4096}))
    await ours.apply(objects.part(context={"maxModelLength": 4096}))
    with pytest.raises(ConflictError, match="llama-operator"):
        await user.apply(objects.llama(context={"maxModelLength": 8192}), force=False)


async def test_managed_fields_say_who_owns_what(user, ours, objects):
    await user.apply(objects.llama(context={"maxModelLength": 4096}))
    live = await ours.apply(objects.part(metadata={"labels": {"team": "a"}}))
    entries = {entry["manager"]: entry for entry in live["metadata"]["managedFields"]}
    assert entries["kubectl"]["fieldsV1"] == {
        "f:spec": {"f:context": {"f:maxModelLength": {}}, "f:model": {"f:name": {}}}
    }
    assert entries["llama-operator"]["fieldsV1"] == {"f:metadata": {"f:labels": {"f:team": {}}}}
    for entry in entries.values():
        assert entry["operation"] == "Apply"
        assert entry["apiVersion"] == "llama-operator.io/v1alpha1"
        assert entry["fieldsType"] == "FieldsV1"
        assert entry["time"]


async def test_managed_fields_address_list_items_by_key(ours, objects):
    live = await ours.apply(objects.service(ports=(8000,)))
    ports = fields_of(live, "llama-operator")["f:spec"]["f:ports"]
    assert ports == {
        'k:{"port":8000,"protocol":"TCP"}': {".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {}}
    }


async def test_a_patch_takes_fields_without_asking(ours, user, objects):
    await ours.apply(objects.llama(context={"maxModelLength": 4096}, metadata={"labels": {"team": "a"}}))
    await user.merge_patch(objects.chat, {"spec": {"context": {"maxModelLength": 8192}}})
    live = await ours.get(objects.chat)
    assert live["spec"]["context"]["maxModelLength"] == 8192
    assert fields_of(live, "kubectl")["f:spec"]["f:context"] == {"f:maxModelLength": {}}
    assert "f:maxModelLength" not in str(fields_of(live, "llama-operator"))


async def test_apply_brings_back_what_a_patch_changed_or_removed(ours, user, objects):
    mine = objects.llama(context={"maxModelLength": 4096}, metadata={"labels": {"team": "a"}})
    await ours.apply(mine)
    patch = {"metadata": {"labels": {"team": None}}, "spec": {"context": {"maxModelLength": 8192}}}
    await user.merge_patch(objects.chat, patch)
    live = await ours.get(objects.chat)
    assert "team" not in live["metadata"].get("labels", {})
    live = await ours.apply(mine, force=True)
    assert live["metadata"]["labels"] == {"team": "a"}
    assert live["spec"]["context"]["maxModelLength"] == 4096


async def test_a_patch_that_changes_nothing_writes_nothing(ours, user, objects):
    before = await looked_at(ours, objects.llama(context={"maxModelLength": 4096}))
    await user.merge_patch(objects.chat, {"spec": {"context": {"maxModelLength": 4096}}})
    assert (await ours.get(objects.chat))["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


async def test_a_manager_without_fields_is_not_named(ours, user, objects):
    await user.apply(objects.llama())
    await ours.apply(objects.part(metadata={"labels": {"team": "a"}}))
    live = await ours.apply(objects.part())
    assert [entry["manager"] for entry in live["metadata"]["managedFields"]] == ["kubectl"]
    assert "labels" not in live["metadata"]
    assert kinds.find(live["apiVersion"], live["kind"]) == kinds.LLAMA_DEPLOYMENT


async def test_an_object_has_one_controller_whoever_names_it(ours, user, objects):
    one, two = await user.apply(objects.llama()), await user.apply(objects.llama("other"))

    def owned(live):
        owner = {name: live[name] for name in ("apiVersion", "kind")} | {"controller": True}
        return {"ownerReferences": [owner | {name: live["metadata"][name] for name in ("name", "uid")}]}

    await ours.apply(objects.service(metadata=owned(one)))
    web = objects.ref(kinds.SERVICE, "web")
    await user.merge_patch(web, {"metadata": owned(two)})
    with pytest.raises(InvalidError, match="ownerReferences"):
        await ours.apply(objects.service(metadata=owned(one)))
    patch = JsonPatch("replace", "/metadata/ownerReferences", owned(one)["ownerReferences"])
    await ours.patch(web, [patch])
    live = await ours.apply(objects.service(metadata=owned(one)))
    assert [owner["uid"] for owner in live["metadata"]["ownerReferences"]] == [one["metadata"]["uid"]]


def budget(objects, labels, least=1):
    return {
        "apiVersion": kinds.POD_DISRUPTION_BUDGET.api_version,
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "chat", "namespace": objects.namespace},
        "spec": {
            "minAvailable": least,
            "selector": {"matchLabels": labels},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


async def test_a_selector_is_taken_as_a_whole(ours, user, objects):
    await ours.apply(budget(objects, {"a": "1", "b": "2"}))
    await ours.apply(budget(objects, {"a": "1"}))
    ref = objects.ref(kinds.POD_DISRUPTION_BUDGET, "chat")
    assert (await ours.get(ref))["spec"]["selector"] == {"matchLabels": {"a": "1"}}
    await user.apply(budget(objects, {"a": "1", "c": "3"}), force=True)
    await ours.apply(budget(objects, {"a": "1"}))
    assert (await ours.get(ref))["spec"]["selector"] == {"matchLabels": {"a": "1"}}


async def test_an_apply_that_changes_nothing_is_no_change(ours, objects):
    first = await ours.apply(budget(objects, {"a": "1"}))
    again = await ours.apply(budget(objects, {"a": "1"}))
    # A controller counts for it meanwhile, in its status.
    assert (again["metadata"]["generation"], again["spec"]) == (first["metadata"]["generation"], first["spec"])
    changed = await ours.apply(budget(objects, {"a": "1"}, least=3))
    assert changed["spec"]["minAvailable"] == 3
    assert changed["metadata"]["generation"] == first["metadata"]["generation"] + 1


def claim(namespace, storage_class="none", **annotations):
    metadata = {"name": "llama-weights-a", "namespace": namespace, "annotations": annotations}
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    spec["storageClassName"] = storage_class
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


async def test_one_client_writes_under_several_managers_and_each_takes_back_its_own(ours, objects):
    namespace = objects.chat.namespace
    for name in ("a", "b"):
        await ours.apply(claim(namespace, **{f"llama-operator.io/user.{name}": "1"}), manager=f"llama-operator-{name}")
    live = await ours.apply(claim(namespace), manager="llama-operator-a")
    assert list(live["metadata"]["annotations"]) == ["llama-operator.io/user.b"]
    assert live["spec"]["accessModes"] == ["ReadWriteMany"], "another manager sends it too"
    with pytest.raises(ConflictError):
        await ours.apply(claim(namespace, "other"), force=False, manager="llama-operator-c")
