"""The status subresource: written apart, owned apart."""

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import NotFoundError
from support.looked_at import looked_at


def condition(kind, status="True", generation=1):
    return {
        "type": kind,
        "status": status,
        "observedGeneration": generation,
        "lastTransitionTime": "2026-03-02T09:30:00Z",
        "reason": "Tested",
        "message": "",
    }


async def test_a_plain_apply_does_not_write_status(ours, objects):
    await looked_at(ours, objects.llama())
    live = await ours.apply(objects.llama(status={"replicas": 3}))
    assert "replicas" not in live["status"]
    again = await ours.apply(objects.llama(status={"replicas": 4}))
    # A server may write the time of an apply in which it dropped something, in each new second (kubernetes#121404).
    assert (again["spec"], again["status"]) == (live["spec"], live["status"])
    assert again["metadata"]["generation"] == live["metadata"]["generation"]


async def test_a_plain_apply_leaves_the_status_alone(ours, objects):
    await ours.apply(objects.llama())
    await ours.apply_status(objects.llama(status={"replicas": 2}))
    live = await ours.apply(objects.llama(context={"maxModelLength": 4096}))
    assert live["status"]["replicas"] == 2


async def test_apply_status_writes_nothing_but_status(ours, objects):
    await ours.apply(objects.llama(context={"maxModelLength": 4096}))
    sent = objects.llama(context={"maxModelLength": 1}, status={"replicas": 2}, metadata={"labels": {"team": "b"}})
    live = await ours.apply_status(sent)
    assert live["status"]["replicas"] == 2
    assert live["spec"]["context"]["maxModelLength"] == 4096
    assert "labels" not in live["metadata"]


async def test_apply_status_of_an_absent_object_is_not_found(ours, objects):
    with pytest.raises(NotFoundError):
        await ours.apply_status(objects.llama(status={"replicas": 2}))


async def test_a_kind_without_status_subresource_has_nothing_to_apply_to(ours, objects):
    await ours.apply(objects.policy())
    with pytest.raises(NotFoundError):
        await ours.apply_status(objects.policy() | {"status": {}})


async def test_a_status_that_does_not_change_is_not_written(ours, objects):
    await ours.apply(objects.llama())
    sent = objects.llama(status={"replicas": 2, "conditions": [condition("Ready")]})
    first = await ours.apply_status(sent)
    again = await ours.apply_status(sent)
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_conditions_of_two_managers_stand_side_by_side(ours, make_client, objects):
    await ours.apply(objects.llama())
    await ours.apply_status(objects.llama(status={"conditions": [condition("Ready")]}))
    rival = make_client("auditor")
    live = await rival.apply_status(objects.llama(status={"conditions": [condition("Audited")]}))
    assert sorted(found["type"] for found in live["status"]["conditions"]) == ["Audited", "Ready"]
    live = await ours.apply_status(objects.llama(status={"conditions": [condition("Ready", "False")]}))
    assert {found["type"]: found["status"] for found in live["status"]["conditions"]} == {
        "Audited": "True",
        "Ready": "False",
    }


async def test_a_condition_that_is_not_sent_again_goes(ours, objects):
    await ours.apply(objects.llama())
    await ours.apply_status(objects.llama(status={"conditions": [condition("Ready"), condition("Stalled")]}))
    live = await ours.apply_status(objects.llama(status={"conditions": [condition("Ready")]}))
    assert [found["type"] for found in live["status"]["conditions"]] == ["Ready"]


async def test_the_last_who_applies_a_status_field_has_it(ours, make_client, objects):
    await ours.apply(objects.llama())
    await ours.apply_status(objects.llama(status={"replicas": 2}))
    live = await make_client("rival").apply_status(objects.llama(status={"replicas": 3}))
    assert live["status"]["replicas"] == 3


async def test_a_status_field_that_is_not_sent_again_goes_whoever_else_owns_it(ours, make_client, objects):
    await ours.apply(objects.llama())
    mine = {"replicas": 2, "revisions": {"active": "chat-1", "pending": "chat-2"}}
    await ours.apply_status(objects.llama(status=mine | {"queueDepth": 4}))
    audited = {"queueDepth": 4, "revisions": {"lastFailed": "chat-0"}, "conditions": [condition("Audited")]}
    await make_client("velero").apply_status(objects.llama(status=mine | audited))
    live = await ours.apply_status(objects.llama(status=mine | {"conditions": [condition("Ready")]}))
    assert "queueDepth" not in live["status"]
    assert "chat-0" not in str(live["status"]["revisions"])
    assert sorted(found["type"] for found in live["status"]["conditions"]) == ["Audited", "Ready"]
    again = await ours.apply_status(objects.llama(status=mine | {"conditions": [condition("Ready")]}))
    assert again["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]


async def test_status_has_its_own_line_in_the_managed_fields(ours, objects):
    await ours.apply(objects.llama())
    live = await ours.apply_status(objects.llama(status={"replicas": 2}))
    entries = {entry.get("subresource", ""): entry["fieldsV1"] for entry in live["metadata"]["managedFields"]}
    assert entries == {
        "": {"f:spec": {"f:model": {"f:name": {}}}},
        "status": {"f:status": {"f:replicas": {}}},
    }


async def test_kuberay_writes_the_status_of_a_ray_service_and_we_its_spec(ours, make_client, objects):
    await ours.apply(objects.ray_service())
    kuberay = make_client("kuberay-operator")
    await kuberay.apply_status(objects.ray_service() | {"status": {"numServeEndpoints": 2}})
    before = await ours.get(objects.ref(kinds.RAY_SERVICE, "chat-1"))
    assert before["status"]["numServeEndpoints"] == 2
    after = await ours.apply(objects.ray_service())
    # The time of an apply may be written again, as above.
    assert (after["spec"], after["status"]) == (before["spec"], before["status"])
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
