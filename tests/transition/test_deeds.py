"""Every deed is one event and one line of the log, and what a pass did is told also if it failed after that."""

import json
import logging
from collections import Counter
from contextlib import suppress
from dataclasses import replace

import pytest

from llama_operator.api.meta import LABEL_REVISION
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.errors import NamespaceEndingError, WriteRefusedError
from llama_operator.kube import kinds
from llama_operator.kube.port import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    KubeError,
    Ref,
    UnavailableError,
    WebhookFailedError,
)
from llama_operator.kube.twin.journal import PassThrough, Verb
from llama_operator.reconcile.event_recorder import EventRecorder
from llama_operator.reconcile.repairs import Repairs
from llama_operator.telemetry.logs import JsonFormatter
from support.passes import condition, serving, settles

LONGER = {"context": {"maxModelLength": 512}, "rollout": {"drainSeconds": 0}}


@pytest.fixture
def told(world, caplog):
    """What happened since the last call, as (type, reason, note); the log and the API server say the same."""
    recorder = EventRecorder(world.memory.client("llama-operator"), now=world.clock)
    world.ports = replace(world.ports, events=recorder)
    caplog.set_level(logging.INFO, logger="llama_operator.events")
    seen = Counter()

    async def read():
        events = {key_of(item): item for item in (await world.user.list(kinds.EVENT)).items}
        lines = [json.loads(JsonFormatter().format(line)) for line in caplog.records if line.name.endswith(".events")]
        caplog.clear()
        found = [(LEVELS[line["level"]], line["event"]["reason"], line["message"].partition(": ")[2]) for line in lines]
        assert [line["event"]["action"] for line in lines] == [events[key]["action"] for key in found]
        seen.update(found)
        counts = {key: item.get("series", {"count": 1})["count"] for key, item in events.items()}
        assert counts == seen, "each event has a line, and each line an event"
        return found

    return read


LEVELS = {"info": "Normal", "warning": "Warning"}


def key_of(event):
    return event["type"], event["reason"], event["note"]


def reasons(found):
    return [(kind, reason) for kind, reason, _ in found]


async def rolled(world, ref, old, **spec):
    await world.apply_sample("tiny-cpu", **spec)
    await world.reconcile(ref)
    (new,) = set(await world.names(kinds.RAY_SERVICE)) - {old}
    return new


async def test_a_healthy_life_has_one_event_for_each_deed_and_no_warning(world, told):
    ref, first = await serving(world)
    assert reasons(await told()) == [("Normal", "RevisionStarted"), ("Normal", "Ready")]
    second = await rolled(world, ref, first, **LONGER)
    assert reasons(await told()) == [("Normal", "RevisionStarted")]
    await world.serve(second)
    await settles(world, ref)
    moved = await told()
    assert {kind for kind, _, _ in moved} == {"Normal"}
    assert [reason for _, reason, _ in moved if reason != "Ready"] == ["TrafficMoved", "RevisionRemoved"]
    await world.apply_sample("tiny-cpu", activation="Suspended", **LONGER)
    await settles(world, ref)
    assert sorted(reasons(await told())) == [("Normal", "NotReady"), ("Normal", "RevisionRemoved")]
    await world.apply_sample("tiny-cpu", **LONGER)
    await world.reconcile(ref)
    await world.serve(second)
    await settles(world, ref)
    assert reasons(await told()) == [("Normal", "RevisionStarted"), ("Normal", "Ready")]


async def test_a_given_up_revision_is_one_event_with_its_cause(world, told):
    ref, old = await serving(world)
    new = await rolled(world, ref, old, context={"maxModelLength": 512})
    await world.serve(new, status="DEPLOY_FAILED", endpoints=0, message="CUDA out of memory")
    await world.reconcile(ref)
    await told()
    world.clock.advance(3600)
    await settles(world, ref)
    found = [each for each in await told() if each[1] != "RevisionRemoved"]
    assert found == [("Warning", "RolledBack", f"{new}: CUDA out of memory")]


def without_hints(told):
    return [(kind, reason, note.partition(" → ")[0]) for kind, reason, note in told]


async def test_a_first_start_that_fails_is_told_once_for_each_cause_and_its_deadline_too(world, told):
    ref = await world.apply_sample("tiny-cpu")
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await told()
    for seconds in (1.5, 2.5):
        await world.serve(name, status="DEPLOY_FAILED", endpoints=0, message=f"CUDA out of memory after {seconds} s")
        await settles(world, ref)
    assert without_hints(await told()) == [("Warning", "EngineFailed", "CUDA out of memory after 1.5 s")]
    await world.serve(name, status="DEPLOY_FAILED", endpoints=0, message="401 from the Hub")
    await settles(world, ref)
    assert without_hints(await told()) == [("Warning", "EngineFailed", "401 from the Hub")]
    world.clock.advance(3600)
    status = await settles(world, ref)
    assert await told() == [("Warning", "ProgressDeadlineExceeded", condition(status, "UpToDate").message)]


async def test_an_outage_is_one_event_with_its_cause(world, told):
    ref, name = await serving(world)
    await told()
    await world.serve(name, status="UNHEALTHY", endpoints=0, message="EngineDeadError")
    await settles(world, ref)
    said = "EngineFailed: served until 09:30:00Z on 2026-03-02: Serve says UNHEALTHY: EngineDeadError"
    assert without_hints(await told()) == [("Warning", "NotReady", said)]


async def test_a_ray_cluster_that_somebody_deletes_is_named_when_the_endpoint_stops(world, told):
    ref, name = await serving(world)
    await world.ray_cluster(name)
    await settles(world, ref)
    await told()
    await world.pods_are_gone(name)
    await world.user.delete(Ref(kinds.RAY_CLUSTER, ref.namespace, f"{name}-abcde"))
    await world.serve(name, endpoints=0)
    await world.reconcile(ref)
    ((kind, reason, note),) = await told()
    assert (kind, reason) == ("Warning", "NotReady")
    assert f"the RayCluster of {name} is gone; KubeRay makes another" in note


async def remade(world, ref, name):
    await world.user.delete(Ref(kinds.RAY_SERVICE, ref.namespace, name))


async def remade_by_another_leader(world, ref, name):
    world.ports = replace(world.ports, repairs=Repairs(world.clock.elapsed))
    await remade(world, ref, name)


async def remade_beside_a_problem(world, ref, name):
    await world.apply_sample("tiny-cpu", model={"name": "llama-9"})
    await settles(world, ref)
    await remade_by_another_leader(world, ref, name)


@pytest.mark.parametrize("leader", ["the same", "another"])
async def test_a_service_that_somebody_deletes_is_made_again_and_told_so_once(world, told, leader):
    ref, _ = await serving(world)
    await told()
    await world.user.delete(Ref(kinds.SERVICE, ref.namespace, ref.name))
    if leader == "another":
        world.ports = replace(world.ports, repairs=Repairs(world.clock.elapsed))
    await settles(world, ref)
    found = [(reason, note) for _, reason, note in await told() if reason != "Ready"]
    assert found == [("Repaired", f"Service {ref.name} was deleted, and is made again")]


@pytest.mark.parametrize("somebody", [remade, remade_by_another_leader, remade_beside_a_problem])
async def test_a_ray_service_that_somebody_deletes_is_made_again_and_told_so_once(world, told, somebody):
    ref, name = await serving(world)
    await told()
    await somebody(world, ref, name)
    await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == [name]
    found = [note for _, reason, note in await told() if reason in {"Repaired", "RevisionStarted"}]
    assert found == [f"RayService {name} was deleted, and is made again"]


class Refuses(PassThrough):
    """An API server that refuses to write a kind, until the test lets it."""

    def __init__(self, kind, error, verb=Verb.APPLY):
        self.kind, self.error, self.verb = kind, error, verb

    def before(self, write):
        if self.error is not None and write.ref.kind == self.kind and write.verb is self.verb:
            raise self.error


QUOTA = 'services "tiny" is forbidden: exceeded quota: q, requested: count/services=1, used: count/services=0'


@pytest.mark.parametrize(
    "error",
    [ForbiddenError(QUOTA), InvalidError('admission webhook "x" denied'), WebhookFailedError("failed calling webhook")],
    ids=["forbidden", "denied", "no webhook"],
)
async def test_a_write_that_is_refused_is_told_as_that_and_heals(world, told, error):
    refuses = Refuses(kinds.SERVICE, error)
    world.ports = replace(world.ports, cluster=world.memory.client("llama-operator", interceptor=refuses))
    ref = await world.apply_sample("tiny-cpu")
    for _ in range(3):
        with pytest.raises(WriteRefusedError, match=str(error)):
            await world.reconcile(ref)
        world.compares = False
    found = await told()
    assert reasons(found) == [("Normal", "RevisionStarted"), ("Warning", "WriteRefused")]
    assert str(error) in found[1][2]
    conditions = {each["type"]: each for each in (await world.user.get(ref))["status"]["conditions"]}
    assert (conditions["Ready"]["status"], conditions["Ready"]["reason"]) == ("False", Reason.WRITE_REFUSED)
    assert (conditions["Stalled"]["status"], conditions["Stalled"]["reason"]) == ("True", Reason.WRITE_REFUSED)
    assert conditions["Reconciling"]["status"] == "False"
    assert str(error) in conditions["Ready"]["message"]
    refuses.error = None
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.serve(name)
    status = await settles(world, ref)
    assert condition(status, ConditionType.READY).status == "True"
    assert reasons(await told()) == [("Normal", "Ready")]


async def test_what_serves_stays_ready_while_a_write_is_refused(world, told):
    ref, _ = await serving(world)
    await told()
    refuses = Refuses(kinds.RAY_SERVICE, ForbiddenError("exceeded quota: q"))
    world.ports = replace(world.ports, cluster=world.memory.client("llama-operator", interceptor=refuses))
    await world.apply_sample("tiny-cpu", scaling={"maxReplicas": 7})
    world.compares = False
    for _ in range(2):
        with pytest.raises(WriteRefusedError):
            await world.reconcile(ref)
    conditions = {each["type"]: each for each in (await world.user.get(ref))["status"]["conditions"]}
    assert conditions["Ready"]["status"] == "True"
    assert conditions["Stalled"]["reason"] == Reason.WRITE_REFUSED
    assert reasons(await told()) == [("Warning", "WriteRefused")]


@pytest.mark.parametrize(
    ("kind", "error", "verb"),
    [
        (kinds.RAY_SERVICE, ForbiddenError("exceeded quota: q"), Verb.APPLY),
        (kinds.POD_DISRUPTION_BUDGET, UnavailableError("no answer"), Verb.APPLY),
        (kinds.LLAMA_DEPLOYMENT, UnavailableError("no answer"), Verb.APPLY_STATUS),
        (kinds.LLAMA_DEPLOYMENT, ConflictError("somebody was faster"), Verb.APPLY_STATUS),
    ],
    ids=["a write beside", "a write after it", "no status", "a race for the status"],
)
async def test_traffic_that_moved_in_a_pass_that_fails_is_told_as_moved(world, told, kind, error, verb):
    ref, old = await serving(world)
    world.compares = False
    new = await rolled(world, ref, old, image="registry.example/serving:2")
    await world.serve(new)
    await told()
    refuses = Refuses(kind, error, verb)
    world.ports = replace(world.ports, cluster=world.memory.client("llama-operator", interceptor=refuses))
    await world.apply_sample("tiny-cpu", image="registry.example/serving:2", scaling={"maxReplicas": 7})
    with pytest.raises((WriteRefusedError, KubeError)):
        await world.reconcile(ref)
    service = await world.user.get(Ref(kinds.SERVICE, ref.namespace, ref.name))
    assert service["spec"]["selector"][LABEL_REVISION] == new
    if isinstance(error, ForbiddenError):
        assert (await world.user.get(ref))["status"]["revisions"]["active"] == new
    refuses.error = None
    await settles(world, ref)
    assert [note for _, reason, note in await told() if reason == "TrafficMoved"] == [f"from {old} to {new}"]


async def test_in_a_namespace_that_is_deleted_nothing_is_anybodys_task(world, told):
    ending = ForbiddenError("unable to create new content in namespace default", ending=True)
    ref = await world.apply_sample("tiny-cpu")
    world.compares = False
    refuses = Refuses(kinds.SERVICE, ending)
    world.ports = replace(world.ports, cluster=world.memory.client("llama-operator", interceptor=refuses))
    with pytest.raises(NamespaceEndingError):
        await world.reconcile(ref)
    assert await told() == []


async def test_what_was_done_is_told_also_if_no_status_can_be_written(world, told):
    ref = await world.apply_sample("tiny-cpu")
    world.compares = False
    refuses = Refuses(kinds.LLAMA_DEPLOYMENT, UnavailableError("no answer"), Verb.APPLY_STATUS)
    world.ports = replace(world.ports, cluster=world.memory.client("llama-operator", interceptor=refuses))
    with pytest.raises(UnavailableError):
        await world.reconcile(ref)
    assert reasons(await told()) == [("Normal", "RevisionStarted")]
    refuses.error = None
    await settles(world, ref)
    assert await told() == []


async def as_it_is(world, ref, name):
    """Nothing."""


async def stopped(world, ref, name):
    await world.serve(name, status="UNHEALTHY", endpoints=0, message="EngineDeadError")


async def refused(world, ref, name):
    refuses = Refuses(kinds.RAY_SERVICE, ForbiddenError("exceeded quota: q"))
    world.ports = replace(world.ports, cluster=world.memory.client("llama-operator", interceptor=refuses))
    await world.apply_sample("tiny-cpu", scaling={"maxReplicas": 7})
    world.compares = False


@pytest.mark.parametrize(
    "error", [ForbiddenError("exceeded quota: q"), UnavailableError("no answer")], ids=["quota", "brief"]
)
@pytest.mark.parametrize("leader", ["the same", "another"])
async def test_a_revision_that_could_not_be_made_at_once_is_told_as_started_and_not_as_repaired(
    world, told, error, leader
):
    ref, name = await serving(world)
    await world.apply_sample("tiny-cpu", activation="Suspended")
    await settles(world, ref)
    await told()
    world.compares = False
    refuses = Refuses(kinds.RAY_SERVICE, error)
    world.ports = replace(world.ports, cluster=world.memory.client("llama-operator", interceptor=refuses))
    await world.apply_sample("tiny-cpu")
    with pytest.raises((WriteRefusedError, UnavailableError)):
        await world.reconcile(ref)
    refuses.error = None
    if leader == "another":
        world.ports = replace(world.ports, repairs=Repairs(world.clock.elapsed))
    await settles(world, ref)
    assert await world.names(kinds.RAY_SERVICE) == [name]
    found = [reason for _, reason, _ in await told() if reason in {"Repaired", "RevisionStarted"}]
    assert found == ["RevisionStarted"]


@pytest.mark.parametrize("state", [as_it_is, stopped, refused])
async def test_an_operator_that_starts_again_tells_nothing_anew(world, told, state):
    ref, name = await serving(world)
    await state(world, ref, name)

    async def look():
        with suppress(WriteRefusedError):
            await world.reconcile(ref)

    for _ in range(3):
        await look()
    await told()
    recorder = EventRecorder(world.memory.client("llama-operator"), now=world.clock)
    world.ports = replace(world.ports, events=recorder, repairs=Repairs(world.clock.elapsed))
    for _ in range(3):
        await look()
    assert await told() == []
