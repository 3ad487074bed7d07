"""Versions in both directions on the in-memory cluster: a newer CRD, records and status of another operator.

The in-memory cluster knows no schema of ours, so it serves what a newer API server would.
"""

import json
from pathlib import Path

import pytest
import yaml

from llama_operator.api.reasons import Reason
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from llama_operator.reconcile.license_records import reconcile_record

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "records"
CHILDREN = (kinds.RAY_SERVICE, kinds.SERVICE, kinds.NETWORK_POLICY, kinds.CONTROLLER_REVISION)


def condition(status, kind):
    return next(found for found in status.conditions if found.type == kind)


def not_stalled(status):
    """Nothing is wrong, and nothing is said to be."""
    return condition(status, "Stalled").status == "False"


async def serving(world, sample="tiny-cpu", **spec):
    ref = await world.apply_sample(sample, **spec)
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.serve(name, ref.namespace)
    status = await world.reconcile(ref)
    assert condition(status, "Ready").status == "True"
    await world.reconcile(ref)
    return ref, name


async def versions(world):
    """uid and generation of everything that runs (an engine restarts only with another of them), and where requests go."""
    return {
        (item["kind"], item["metadata"]["name"]): (
            item["metadata"]["uid"],
            item["metadata"].get("generation"),
            item.get("spec", {}).get("selector"),
        )
        for kind in CHILDREN
        for item in (await world.user.list(kind)).items
    }


async def edit(world, ref, **spec):
    """Write parts of the spec as an API server with newer definitions would serve them."""
    live = await world.user.get(ref)
    address = {"name": ref.name, "namespace": ref.namespace} if ref.namespace else {"name": ref.name}
    whole = json.loads(json.dumps(live["spec"]))
    for path, value in spec.items():
        *above, last = path.split("__")
        place = whole
        for name in above:
            place = place.setdefault(name, {})
        place[last] = value
    await world.user.apply({key: live[key] for key in ("apiVersion", "kind")} | {"metadata": address, "spec": whole})


NEW_FIELDS = {
    "a new section": {"observability": {"traces": "Off"}},
    "a new field in a section that restarts": {"engine__speculation": "Off"},
    "a new field in a section that is live": {"scaling__scaleToZeroAfterSeconds": 600},
    "a new field far down": {"engine__arguments__guidedDecoding": {"backend": "auto"}},
    "a new field in a list of the license": {"license__counsel": "none"},
}


@pytest.mark.parametrize("spec", NEW_FIELDS.values(), ids=NEW_FIELDS)
async def test_a_new_field_restarts_nothing_and_drift_is_still_repaired(world, spec):
    ref, _ = await serving(world)
    before = await versions(world)
    await edit(world, ref, **spec)
    status = await world.reconcile(ref)
    assert condition(status, "Ready").status == "True"
    assert (status.observed_generation, not_stalled(status)) == (2, True)
    assert await versions(world) == before
    await world.user.delete(Ref(kinds.SERVICE, "default", ref.name))
    await world.reconcile(ref)
    assert await world.names(kinds.SERVICE) == [ref.name]


NEW_VALUES = {
    "of a live field": {"scaling__mode": "Predictive"},
    "of a field that restarts": {"engine__kvCacheDtype": "FP4"},
    "beyond an old bound": {"scaling__maxReplicas": 100_000},
    "of a license": {"license__useCase": "Space"},
}


@pytest.mark.parametrize("spec", NEW_VALUES.values(), ids=NEW_VALUES)
async def test_a_new_value_changes_nothing_that_runs_and_a_condition_says_so(world, spec):
    ref, _ = await serving(world)
    before = await versions(world)
    await edit(world, ref, **spec)
    status = await world.reconcile(ref)
    assert condition(status, "Ready").status == "True", "what serves goes on"
    current = condition(status, "UpToDate")
    assert (current.status, current.reason) == ("Unknown", Reason.NOT_UNDERSTOOD)
    assert f"spec.{next(iter(spec)).replace('__', '.')}" in current.message
    assert "upgrade" in current.message
    assert not_stalled(status)
    # Else tools that wait for the change would take it for done.
    assert condition(status, "Reconciling").status == "True"
    assert status.observed_generation == 2
    assert await versions(world) == before
    written = await world.user.get(ref)
    await world.reconcile(ref)
    assert await world.user.get(ref) == written, "a pass that changes nothing writes nothing"


async def test_a_spec_that_is_understood_again_goes_on_where_it_was(world):
    ref, _ = await serving(world)
    before = await versions(world)
    await edit(world, ref, scaling__mode="Predictive")
    await world.reconcile(ref)
    await edit(world, ref, scaling__mode="QueueDepth")
    assert condition(await world.reconcile(ref), "Ready").status == "True"
    assert await versions(world) == before


async def test_a_revision_that_a_newer_operator_named_by_fields_of_its_own_stays(world):
    """The newer one hashed `spec.engine.speculation` into the name; this one cannot, and must not restart the model."""
    ref, name = await serving(world)
    newer = await as_the_newer_operator_names_it(world, ref, name)
    for _ in range(2):
        # The copy has defaults of the server that an apply does not own: they go, and come back.
        await world.reconcile(ref)
    before = await versions(world)
    status = await world.reconcile(ref)
    assert condition(status, "Ready").status == "True"
    assert await versions(world) == before
    assert await world.names(kinds.RAY_SERVICE) == [newer]
    # Without the field the spec asks for the revision before it.
    await edit(world, ref, engine={"arguments": {"maxNumSeqs": 4}})
    await world.reconcile(ref)
    assert name in await world.names(kinds.RAY_SERVICE)


async def as_the_newer_operator_names_it(world, ref, name):
    """Put another revision in place of the one that serves; its record has an input that this version does not know."""
    newer = f"{ref.name}-ffffffff"
    operator = world.ports.cluster
    record, service = [await world.user.get(Ref(kind, "default", name)) for kind in CHILDREN[3::-3]]
    await edit(world, ref, engine__speculation="Ngram")
    data = json.loads(json.dumps(record["data"]))
    data["inputs"].setdefault("engine", {})["speculation"] = "Ngram"
    for old, part in ((record, {"data": data, "revision": 2}), (service, {"spec": service["spec"]})):
        metadata = {"name": newer, "namespace": "default"}
        metadata |= {key: old["metadata"][key] for key in ("ownerReferences", "annotations") if key in old["metadata"]}
        metadata["labels"] = old["metadata"]["labels"] | {"llama-operator.io/revision": newer}
        await operator.apply({key: old[key] for key in ("apiVersion", "kind")} | {"metadata": metadata} | part)
    live = await world.user.get(Ref(kinds.SERVICE, "default", ref.name))
    metadata = {key: live["metadata"][key] for key in ("name", "namespace", "labels", "ownerReferences")}
    selector = live["spec"]["selector"] | {"llama-operator.io/revision": newer}
    spec = {key: value for key, value in live["spec"].items() if key in {"ports", "type"}} | {"selector": selector}
    await operator.apply({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    await world.user.delete(Ref(kinds.RAY_SERVICE, "default", name))
    await world.serve(newer)
    return newer


UNREADABLE = {
    "of a newer format": lambda data: data | {"format": 3},
    "with a plan that is not understood": lambda data: data | {"plan": {"chosen": {"model": "x"}}},
    "that is no record": lambda _: [1],
    "that is empty": lambda _: {},
    "that is half": lambda data: data | {"serveConfig": {}},
}


async def spoil(world, name, change):
    """Put another record in the place of the one that pins `name`."""
    ref = Ref(kinds.CONTROLLER_REVISION, "default", name)
    live = await world.user.get(ref)
    await world.user.delete(ref)
    metadata = {key: live["metadata"][key] for key in ("name", "namespace", "labels", "ownerReferences")}
    await world.ports.cluster.apply(
        {key: live[key] for key in ("apiVersion", "kind", "revision")}
        | {"metadata": metadata, "data": change(json.loads(json.dumps(live["data"])))}
    )


@pytest.mark.parametrize("change", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("spec", [{}, {"context": {"maxModelLength": 512}}, {"scaling": {"maxReplicas": 3}}], ids=str)
async def test_a_record_that_cannot_be_read_keeps_what_runs_and_says_what_to_do(world, change, spec):
    ref, name = await serving(world)
    await spoil(world, name, change)
    before = await versions(world)
    await world.apply_sample("tiny-cpu", **spec)
    for _ in range(3):
        status = await world.reconcile(ref)
    planned = condition(status, "Planned")
    assert (planned.status, planned.reason) == ("Unknown", Reason.NOT_UNDERSTOOD)
    assert name in planned.message
    assert "upgrade the operator" in planned.message or "restore" in planned.message
    assert condition(status, "EndpointReady").status == "True"
    said = [condition(status, kind).status for kind in ("Ready", "UpToDate", "Reconciling")]
    assert (said, not_stalled(status)) == (["True", "Unknown", "True"], True)
    assert await versions(world) == before


async def test_suspending_frees_the_hardware_of_a_revision_that_cannot_be_read(world):
    ref, name = await serving(world)
    await spoil(world, name, lambda data: data | {"format": 3})
    await world.apply_sample("tiny-cpu", activation="Suspended")
    await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == []
    assert await world.names(kinds.CONTROLLER_REVISION) == [name], "nothing is written over it, and it is not forgotten"
    await world.apply_sample("tiny-cpu")
    status = await world.reconcile(ref)
    assert condition(status, "Planned").reason == Reason.NOT_UNDERSTOOD
    assert await world.names(kinds.RAY_SERVICE) == []


async def test_an_old_record_that_cannot_be_read_and_does_not_run_disturbs_nothing(world):
    ref, name = await serving(world)
    await world.apply_sample("tiny-cpu", context={"maxModelLength": 512})
    await world.reconcile(ref)
    (new,) = set(await world.names(kinds.RAY_SERVICE)) - {name}
    await world.serve(new)
    await world.reconcile(ref)
    world.clock.advance(301)
    await world.reconcile(ref)
    await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == [new]
    await spoil(world, name, lambda data: data | {"format": 3})
    assert condition(await world.reconcile(ref), "Ready").status == "True"
    assert name in await world.names(kinds.CONTROLLER_REVISION)


@pytest.mark.parametrize("path", sorted(GOLDEN.rglob("tiny-cpu.yaml")), ids=lambda path: path.parent.name)
async def test_what_an_older_operator_started_goes_on(world, path):
    record, service = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ref = await world.apply_sample("tiny-cpu")
    owner = {"apiVersion": "llama-operator.io/v1alpha1", "kind": "LlamaDeployment", "name": ref.name}
    owner |= {"uid": (await world.user.get(ref))["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True}
    for obj in (record, service):
        obj["metadata"]["ownerReferences"] = [owner]
        await world.ports.cluster.apply(obj)
    name = service["metadata"]["name"]
    await world.serve(name, ref.namespace)
    before = await world.user.get(Ref(kinds.RAY_SERVICE, "default", name))
    status = await world.reconcile(ref)
    status = await world.reconcile(ref)
    assert condition(status, "Ready").status == "True"
    after = await world.user.get(Ref(kinds.RAY_SERVICE, "default", name))
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"]["rayClusterConfig"] == before["spec"]["rayClusterConfig"]
    pinned = await world.user.get(Ref(kinds.CONTROLLER_REVISION, "default", name))
    assert pinned["data"] == record["data"]


async def test_annotations_that_only_a_newer_version_knows_outlive_this_one(world):
    ref, name = await serving(world)
    operator = world.ports.cluster
    for kind, of in ((kinds.CONTROLLER_REVISION, name), (kinds.SERVICE, ref.name)):
        live = await world.user.get(Ref(kind, "default", of))
        written = (live["metadata"].get("annotations") or {}) | {"llama-operator.io/canary-weight": "5"}
        obj = {key: value for key, value in live.items() if key != "status"}
        metadata = {key: live["metadata"][key] for key in ("name", "namespace", "labels", "ownerReferences")}
        await operator.apply(obj | {"metadata": metadata | {"annotations": written}})
    await world.apply_sample("tiny-cpu", context={"maxModelLength": 512})
    await world.reconcile(ref)
    (new,) = set(await world.names(kinds.RAY_SERVICE)) - {name}
    await world.serve(new)
    await world.reconcile(ref)
    for kind, of in ((kinds.CONTROLLER_REVISION, name), (kinds.SERVICE, ref.name)):
        annotations = (await world.user.get(Ref(kind, "default", of)))["metadata"]["annotations"]
        assert annotations["llama-operator.io/canary-weight"] == "5"


LICENSED = "llama-3.1-8b-l4"
ACCEPTANCE = Ref(kinds.LICENSE_ACCEPTANCE, "", "acme-llama-3-1")


async def licensed(world):
    await world.apply_acceptance()
    return await serving(world, LICENSED)


POLICY = {
    "apiVersion": "llama-operator.io/v1alpha1",
    "kind": "LicensePolicy",
    "metadata": {"name": "house"},
    "spec": {"unlistedTiers": "Allowed"},
}


async def copy_of_acceptance(world, name, **spec):
    live = await world.user.get(ACCEPTANCE)
    made = {key: live[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": name}}
    await world.user.apply(made | {"spec": live["spec"] | spec})


async def is_renewed(world):
    await edit(world, ACCEPTANCE, state="Renewing")


async def is_renewed_beside_one_that_ended(world):
    await copy_of_acceptance(world, "acme-old", state="Terminated", terminatedOn="2026-01-01")
    await is_renewed(world)


async def is_superseded_by_one_that_is_renewed(world):
    await copy_of_acceptance(world, "acme-old", state="Terminated", terminatedOn="2026-01-01")
    await copy_of_acceptance(world, "acme-new", state="Renewing")
    await edit(world, ACCEPTANCE, state="Superseded", supersededBy="acme-new")


@pytest.mark.parametrize("change", [is_renewed, is_renewed_beside_one_that_ended, is_superseded_by_one_that_is_renewed])
async def test_an_acceptance_that_is_not_understood_stops_nothing_and_starts_nothing(world, change):
    ref, name = await licensed(world)
    before = await versions(world)
    await change(world)
    for _ in range(2):
        status = await world.reconcile(ref)
    accepted = condition(status, "LicenseAccepted")
    assert (accepted.status, accepted.reason) == ("Unknown", Reason.NOT_UNDERSTOOD)
    assert "spec.state" in accepted.message
    assert not_stalled(status)
    assert await versions(world) == before
    assert await world.names(kinds.RAY_SERVICE) == [name]
    await world.apply_sample(LICENSED, context={"maxModelLength": 1024})
    await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == [name], "nothing new starts on it"


async def test_a_policy_that_is_not_understood_stops_nothing_and_starts_nothing(world):
    ref, name = await licensed(world)
    before = await versions(world)
    await world.user.apply(POLICY | {"spec": {"unlistedTiers": "AskFirst"}})
    status = await world.reconcile(ref)
    assert condition(status, "LicenseAccepted").reason == Reason.NOT_UNDERSTOOD
    assert not_stalled(status)
    assert await versions(world) == before
    assert await world.names(kinds.RAY_SERVICE) == [name]


async def test_what_the_license_refuses_is_told_although_a_policy_is_not_understood(world):
    await world.user.apply(POLICY | {"spec": {"unlistedTiers": "AskFirst"}})
    status = await world.reconcile(await world.apply_sample(LICENSED))
    assert condition(status, "LicenseAccepted").reason == Reason.ACCEPTANCE_NOT_FOUND


async def test_a_license_ends_although_a_policy_is_not_understood(world):
    ref, _ = await licensed(world)
    await world.user.apply(POLICY | {"spec": {"unlistedTiers": "AskFirst"}})
    await edit(world, ACCEPTANCE, state="Terminated", terminatedOn="2026-01-01")
    await world.reconcile(ref)
    world.clock.advance(301)
    await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == []


async def test_new_fields_in_license_records_change_nothing(world):
    ref, _ = await licensed(world)
    await world.user.apply(POLICY)
    await world.reconcile(ref)
    before = await versions(world)
    await edit(world, ACCEPTANCE, counsel={"name": "Jo Doe"})
    await edit(world, Ref(kinds.LICENSE_POLICY, "", "house"), carbonBudget=3)
    assert condition(await world.reconcile(ref), "Ready").status == "True"
    assert await versions(world) == before


async def say(world, ref):
    await reconcile_record(world.ports.cluster, ref, catalog=world.ports.catalog, now=world.clock)
    return (await world.user.get(ref))["status"]


async def test_the_status_of_a_record_keeps_what_a_newer_version_wrote(world):
    await licensed(world)
    status = await say(world, ACCEPTANCE)
    newer = status | {"firstServedOn": "2026-01-01", "conditions": []}
    await world.ports.cluster.apply_status(
        {
            "apiVersion": "llama-operator.io/v1alpha1",
            "kind": "LicenseAcceptance",
            "metadata": {"name": ACCEPTANCE.name},
            "status": newer,
        }
    )
    after = await say(world, ACCEPTANCE)
    assert after["firstServedOn"] == "2026-01-01", "evidence: no operator can find it out again"
    assert [each["type"] for each in after["conditions"]] == [each["type"] for each in status["conditions"]]


async def test_a_record_that_is_not_understood_says_so_and_keeps_its_evidence(world):
    await licensed(world)
    before = await say(world, ACCEPTANCE)
    await edit(world, ACCEPTANCE, state="Renewing")
    after = await say(world, ACCEPTANCE)
    (valid,) = after["conditions"]
    assert (valid["type"], valid["status"], valid["reason"]) == ("Valid", "Unknown", "NotUnderstood")
    assert "spec.state" in valid["message"]
    assert after["firstNamedOn"] == before["firstNamedOn"]
    assert await say(world, ACCEPTANCE) == after
