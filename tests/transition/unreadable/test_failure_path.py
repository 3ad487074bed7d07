"""The one failure path: whatever a stage raises is told by that deployment alone, with words, and heals."""

import json
from dataclasses import replace

import pytest

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.kube import kinds
from llama_operator.kube.port import ConflictError, ForbiddenError, Ref
from llama_operator.reconcile.license_records import reconcile_record
from llama_operator.status.conditions import OPTIONAL
from support.passes import condition, serving, settles


class Broken:
    """A part that has a defect for as long as the test says so."""

    def __init__(self, error):
        self.error = error

    def __call__(self, *_, **__):
        raise self.error


PLACES = {
    "observe": "llama_operator.observe.gather.Observer.observe",
    "decide": "llama_operator.reconcile.deployment.decide",
    "apply": "llama_operator.desired.objects.build",
    "report": "llama_operator.status.summary.build",
}


@pytest.mark.parametrize("stage", PLACES)
async def test_whatever_a_stage_raises_is_told_by_that_deployment_alone_and_heals(world, monkeypatch, stage):
    ref, name = await serving(world)
    other = await world.apply_sample("tiny-cpu", name="other")
    before = await settles(world, ref)
    failed = []
    world.ports = replace(world.ports, failed=lambda *what: failed.append(what))
    error = ValueError("cannot do this")
    with monkeypatch.context() as patched:
        patched.setattr(PLACES[stage], Broken(error))
        with pytest.raises(ValueError, match="cannot do this"):
            await world.reconcile(ref)
        status = (await world.user.get(ref))["status"]
        written = len(world.memory.writes)
        with pytest.raises(ValueError, match="cannot do this"):
            await world.reconcile(ref)
        assert len(world.memory.writes) == written, "a pass that fails as the one before writes nothing"
    assert failed == [(stage, error)] * 2
    told = {each["type"]: each for each in status["conditions"]}
    assert (told["Ready"]["status"], told["Ready"]["reason"]) == ("Unknown", Reason.INTERNAL_ERROR)
    assert "ValueError: cannot do this" in told["Ready"]["message"]
    assert stage in told["Ready"]["message"]
    assert (told["Reconciling"]["status"], told["Stalled"]["status"]) == ("True", "False")
    for kind in set(ConditionType) - OPTIONAL - {"Ready", "Reconciling", "Stalled"}:
        assert told[kind]["status"] == condition(before, kind).status, kind
    assert status["url"] == before.url
    assert status["revisions"]["active"] == name
    assert "InternalError" not in json.dumps((await world.user.get(other)).get("status") or {})
    healed = await settles(world, ref)
    assert [(each.type, each.status, each.reason) for each in healed.conditions] == [
        (each.type, each.status, each.reason) for each in before.conditions
    ]


async def test_a_new_deployment_whose_first_pass_fails_has_a_status(world, monkeypatch):
    ref = await world.apply_sample("tiny-cpu")
    monkeypatch.setattr(PLACES["decide"], Broken(KeyError("x")))
    with pytest.raises(KeyError):
        await world.reconcile(ref)
    status = (await world.user.get(ref))["status"]
    assert status["observedGeneration"] == 1
    told = {each["type"]: each["status"] for each in status["conditions"]}
    assert set(told) == set(ConditionType) - OPTIONAL
    assert told.pop("Reconciling") == "True"
    assert told.pop("Stalled") == "False"
    assert set(told.values()) == {"Unknown"}


@pytest.mark.parametrize("stage", PLACES)
async def test_what_kubernetes_refuses_is_no_defect_of_the_operator(world, monkeypatch, stage):
    ref, _ = await serving(world)
    monkeypatch.setattr(PLACES[stage], Broken(ForbiddenError("may not list nodes")))
    with pytest.raises(ForbiddenError):
        await world.reconcile(ref)
    status = (await world.user.get(ref))["status"]
    ready = next(each for each in status["conditions"] if each["type"] == "Ready")
    assert "defect" not in ready["message"]
    assert "may not list nodes" in ready["message"]


OTHER_EACH_TIME = {
    "an address": ("0x7f31f", "0x8a04c"),
    "a number": ("attempt 1 of", "attempt 22 of"),
    "a uid": ("6f0cbe07-7a5e-4b8c-93a5-5a4d27a1c3f0", "1b2cbe07-7a5e-4b8c-93a5-5a4d27a1c3ff"),
    "an id of a request in hexadecimal": ("request id: 4FA9BC0D11E2", "request id: ABCDEF0D11E9"),
    "an id of a request in base 64": ("session fA9+c/0aQ==", "session zz+Xc/1bR=="),
    "a name with a hash": ("lookup webhook-6c9f8-x2bq4", "lookup webhook-77d4c-k9zvn"),
}


@pytest.mark.parametrize("varying", OTHER_EACH_TIME.values(), ids=OTHER_EACH_TIME)
async def test_words_that_only_name_another_attempt_write_nothing(world, monkeypatch, varying):
    ref, _ = await serving(world)
    words = iter(varying * 2)
    monkeypatch.setattr(PLACES["decide"], lambda *_: (_ for _ in ()).throw(ValueError(f"denied ({next(words)})")))
    with pytest.raises(ValueError, match="denied"):
        await world.reconcile(ref)
    written = len(world.memory.writes)
    for _ in range(2):
        with pytest.raises(ValueError, match="denied"):
            await world.reconcile(ref)
    assert len(world.memory.writes) == written


async def test_other_words_are_told_and_those_about_another_spec(world, monkeypatch):
    ref, _ = await serving(world)
    for number, text in enumerate(("the disk is full", "no rights for tiny-1a", "no rights for tiny-2b")):
        await world.apply_sample("tiny-cpu", context={"maxModelLength": 512 + number})
        monkeypatch.setattr(PLACES["decide"], Broken(ValueError(text)))
        with pytest.raises(ValueError, match=text):
            await world.reconcile(ref)
        assert text in str((await world.user.get(ref))["status"]["conditions"])


async def test_the_first_error_is_raised_also_if_the_status_cannot_be_written(world, monkeypatch):
    ref, _ = await serving(world)
    monkeypatch.setattr(PLACES["decide"], Broken(ValueError("first")))
    monkeypatch.setattr(world.ports.cluster, "apply_status", Broken(ConflictError("second")))
    with pytest.raises(ValueError, match="first"):
        await world.reconcile(ref)


async def test_a_record_over_which_a_pass_fails_says_so_and_heals(world, monkeypatch):
    await world.apply_acceptance()
    record = (await world.user.list(kinds.LICENSE_ACCEPTANCE)).items[0]
    ref = Ref(kinds.LICENSE_ACCEPTANCE, "", record["metadata"]["name"])

    async def look():
        return await reconcile_record(world.ports.cluster, ref, catalog=world.ports.catalog, now=world.clock)

    await look()
    before = (await world.user.get(ref))["status"]
    with monkeypatch.context() as patched:
        patched.setattr("llama_operator.status.license_records.of_acceptance", Broken(ValueError("no")))
        for _ in range(2):
            with pytest.raises(ValueError, match="no"):
                await look()
            written = len(world.memory.writes)
    status = (await world.user.get(ref))["status"]
    valid = next(each for each in status["conditions"] if each["type"] == "Valid")
    assert (valid["status"], valid["reason"]) == ("Unknown", "InternalError")
    assert {key: value for key, value in status.items() if key != "conditions"} == {
        key: value for key, value in before.items() if key != "conditions"
    }
    assert len(world.memory.writes) == written
    await look()
    assert (await world.user.get(ref))["status"] == before


SOURCE = {"huggingFace": {"repository": "acme/chat", "revision": "a" * 40}}
MODEL = {"source": SOURCE, "digest": "0" * 64, "licenseFamilies": ["mit"]}


@pytest.mark.parametrize(
    ("wrong", "field", "told"),
    [
        # A newer definition may allow such a value, too: nobody can tell which of the two it was.
        ({"servedName": "L" * 129}, "spec.servedName", ("Unknown", "NotUnderstood")),
        (
            {"architectureFingerprint": {"hiddenSize": 1, "numAttentionHeads": 4096}},
            "spec.architectureFingerprint.headDim",
            ("False", "InvalidSpec"),
        ),
        ({"weights": {"sizeBytes": 0}}, "spec.weights.sizeBytes", ("Unknown", "NotUnderstood")),
    ],
)
async def test_a_record_that_an_older_definition_accepted_says_which_field_is_wrong(world, wrong, field, told):
    content = {"apiVersion": "llama-operator.io/v1alpha1", "kind": "LlamaModel", "metadata": {"name": "acme-chat"}}
    await world.user.apply(content | {"spec": MODEL | wrong})
    ref = Ref(kinds.LLAMA_MODEL, "", "acme-chat")
    for _ in range(2):
        await reconcile_record(world.ports.cluster, ref, catalog=world.ports.catalog, now=world.clock)
        written = len(world.memory.writes)
    found = (await world.user.get(ref))["status"]["conditions"]
    (resolved,) = [condition for condition in found if condition["type"] == "Resolved"]
    assert (resolved["status"], resolved["reason"]) == told
    assert field in resolved["message"]
    assert len(world.memory.writes) == written
