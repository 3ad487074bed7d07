"""Events: told once, repeated as a series, and never a flood."""

from datetime import UTC, datetime, timedelta

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import ForbiddenError, KubeError
from llama_operator.reconcile.event_recorder import EventRecorder
from llama_operator.status.events import EventFacts

STARTED = EventFacts("Normal", "RevisionStarted", "StartRevision", "chat-1 (BlueGreen: there is room)")
BLOCKED = EventFacts("Warning", "Blocked", "Wait", "LicenseMissing: set spec.license.acceptance")


@pytest.fixture
def clock():
    """A clock that the test moves, at [0]."""
    return [datetime(2026, 3, 2, 9, 30, 0, 123456, tzinfo=UTC)]


@pytest.fixture
def recorder(ours, clock):
    return EventRecorder(ours, now=lambda: clock[0])


@pytest.fixture
async def chat(ours, objects):
    return await ours.apply(objects.llama())


@pytest.fixture
def told(ours, objects):
    async def read():
        return list((await ours.list(kinds.EVENT, namespace=objects.namespace)).items)

    return read


async def test_an_event_says_what_happened_to_whom(recorder, chat, told, objects):
    await recorder.record(chat, STARTED)
    (event,) = await told()
    assert {name: event[name] for name in ("type", "reason", "action", "note")} == {
        "type": "Normal",
        "reason": "RevisionStarted",
        "action": "StartRevision",
        "note": "chat-1 (BlueGreen: there is room)",
    }
    assert event["regarding"] == {
        "apiVersion": "llama-operator.io/v1alpha1",
        "kind": "LlamaDeployment",
        "name": "chat",
        "namespace": objects.namespace,
        "uid": chat["metadata"]["uid"],
    }
    assert event["eventTime"] == "2026-03-02T09:30:00.123456Z"
    assert event["reportingController"] == "llama-operator.io/operator"
    assert "series" not in event


async def test_what_repeats_is_one_event_with_a_count(recorder, chat, told, clock):
    for _ in range(3):
        await recorder.record(chat, BLOCKED)
        clock[0] += timedelta(seconds=30)
    (event,) = await told()
    assert event["series"] == {"count": 3, "lastObservedTime": "2026-03-02T09:31:00.123456Z"}
    assert event["eventTime"] == "2026-03-02T09:30:00.123456Z"


async def test_another_note_is_another_event(recorder, chat, told):
    await recorder.record(chat, STARTED)
    await recorder.record(chat, BLOCKED)
    await recorder.record(chat, EventFacts(BLOCKED.type, BLOCKED.reason, BLOCKED.action, "NoHardware: add nodes"))
    assert len(await told()) == 3


async def test_what_comes_again_after_a_long_time_is_told_anew(recorder, chat, told, clock):
    await recorder.record(chat, BLOCKED)
    clock[0] += timedelta(hours=2)
    await recorder.record(chat, BLOCKED)
    assert len(await told()) == 2


async def test_one_object_cannot_flood_the_cluster(recorder, chat, told, clock):
    for number in range(40):
        await recorder.record(chat, EventFacts("Normal", "Scaled", "Scale", f"to {number}"))
    assert len(await told()) == 25
    clock[0] += timedelta(minutes=11)
    for number in range(5):
        await recorder.record(chat, EventFacts("Normal", "Scaled", "Scale", f"back to {number}"))
    assert len(await told()) == 27


async def test_news_of_every_day_leave_the_warnings(recorder, chat, told):
    """The kind of a fleet that scales all day: its next outage has to be told."""
    for number in range(40):
        await recorder.record(chat, EventFacts("Normal", "Scaled", "Scale", f"to {number}"))
    await recorder.record(chat, BLOCKED)
    assert [event["reason"] for event in await told() if event["type"] == "Warning"] == ["Blocked"]
    for number in range(40):
        await recorder.record(chat, EventFacts("Warning", "Blocked", "Wait", f"for {number}"))
    assert len(await told()) == 50


async def test_the_events_of_one_object_leave_those_of_another(recorder, ours, objects, chat, told):
    other = await ours.apply(objects.llama("other"))
    for number in range(30):
        await recorder.record(chat, EventFacts("Normal", "Scaled", "Scale", f"to {number}"))
    await recorder.record(other, STARTED)
    assert sum(event["regarding"]["name"] == "other" for event in await told()) == 1


async def test_a_recorder_that_starts_anew_does_not_stumble_over_the_events_of_the_last(ours, chat, told, clock):
    for _ in range(2):
        recorder = EventRecorder(ours, now=lambda: clock[0])
        await recorder.record(chat, BLOCKED)
        await recorder.record(chat, BLOCKED)
        clock[0] += timedelta(seconds=5)
    assert sorted(event["series"]["count"] for event in await told()) == [2, 2]


async def test_an_event_that_cannot_be_written_is_logged_and_nothing_else(chat, clock, caplog):
    class Refusing:
        async def apply(self, obj):
            raise KubeError("events are full")

    await EventRecorder(Refusing(), now=lambda: clock[0]).record(chat, BLOCKED)
    assert "Blocked cannot be written: events are full" in caplog.text


async def test_in_a_namespace_that_is_deleted_nothing_is_of_interest(chat, clock, caplog):
    class Refusing:
        async def apply(self, obj):
            raise ForbiddenError("the namespace is being terminated", ending=True)

    caplog.set_level("DEBUG")
    await EventRecorder(Refusing(), now=lambda: clock[0]).record(chat, BLOCKED)
    ours = [record for record in caplog.records if record.name.startswith("llama_operator")]
    assert {record.levelname for record in ours} == {"DEBUG"}
    assert len(ours) == 2


async def test_a_cluster_scoped_object_is_told_of_in_the_default_namespace(recorder, ours, objects):
    acceptance = await ours.apply(objects.acceptance())
    await recorder.record(acceptance, EventFacts("Normal", "Accepted", "Accept", objects.namespace))
    listing = await ours.list(kinds.EVENT, namespace="default")
    (event,) = [event for event in listing.items if event["note"] == objects.namespace]
    assert event["regarding"]["uid"] == acceptance["metadata"]["uid"]
