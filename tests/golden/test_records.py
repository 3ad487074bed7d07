"""Pinned revisions of every version, as it wrote them: each is read, runs as it ran, and is written back unchanged.

`tests/golden/records` has a folder for each version of which records exist; what is in it never changes. The first file of
a shape tells how it came about. A version with a new shape of `data` adds a folder, and a new format adds a reader.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from llama_operator.api.manifest import parse_live
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.cli.shared import files
from llama_operator.decide.access import Door, KeysObject, door_of_revision
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import (
    FORMAT_OF_HOSTS,
    RECORD_FORMAT,
    Observed,
    RevisionFacts,
    Settings,
    UnreadRevision,
)
from llama_operator.decide.rollout.revision import revision_of
from llama_operator.desired import objects, rayservice, revision
from llama_operator.observe import children
from llama_serving.config import RequestPath
from llama_serving.contract.door import Access

HERE = Path(__file__).resolve().parent
RECORDS = sorted((HERE / "records").rglob("*.yaml"))
SAMPLES = HERE.parents[1] / "manifests" / "samples"


def named(path):
    return str(path.relative_to(HERE / "records").with_suffix(""))


def load(path):
    record, service = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    return record, service


def deployment_behind(record):
    """The deployment that asks for the record: its spec has the inputs, and nothing else."""
    metadata = record["metadata"]
    name = metadata["labels"]["llama-operator.io/deployment"]
    return parse_live(
        LlamaDeployment,
        {
            "apiVersion": "llama-operator.io/v1alpha1",
            "kind": "LlamaDeployment",
            "metadata": {"name": name, "namespace": metadata["namespace"], "uid": "u-1"},
            "spec": record["data"]["inputs"],
        },
    )


def without_bounds(cluster):
    groups = [
        {key: value for key, value in group.items() if key not in {"replicas", "minReplicas", "maxReplicas"}}
        for group in cluster["workerGroupSpecs"]
    ]
    return cluster | {"workerGroupSpecs": groups}


def test_there_are_records_of_the_first_release_and_of_what_came_before():
    assert {named(path).split("/")[0] for path in RECORDS} >= {"0.1.0", "before-0.1.0"}


def test_a_record_of_the_direct_path_keeps_its_door_and_its_desk():
    """The tenants of the spec are live: a deployment without any has a desk all the same."""
    record, then = load(HERE / "records" / "after-0.1.0" / "1-door" / "tiny-cpu.yaml")
    facts = children.revision_facts(record)
    built = rayservice.build(deployment_behind(record), facts)
    assert yaml.safe_load(built["spec"]["serveConfigV2"]) == yaml.safe_load(then["spec"]["serveConfigV2"])
    none = replace(facts, live=None)
    (engines, board) = yaml.safe_load(rayservice.build(deployment_behind(record), none)["spec"]["serveConfigV2"])[
        "applications"
    ]
    assert board["name"] == "llama-board"
    assert engines["deployments"][0]["user_config"]["tenants"] == []
    assert door_of_revision(facts, "tiny") == Door(RequestPath.DIRECT, Access.KEYS, KeysObject("Secret", "tiny-keys"))


def test_a_record_with_a_guard_keeps_it_and_how_it_is_used_is_live():
    record, then = load(HERE / "records" / "after-0.1.0" / "2-guard" / "tiny-guard.yaml")
    facts = children.revision_facts(record)
    named = deployment_behind(record)
    engines, _ = yaml.safe_load(rayservice.build(named, facts)["spec"]["serveConfigV2"])["applications"]
    (before, _) = yaml.safe_load(then["spec"]["serveConfigV2"])["applications"]
    assert engines == before, "the record remembers what the spec said last"
    assert engines["deployments"][1] == {"name": "Guard", "num_replicas": 2}
    groups = rayservice.build(named, facts)["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert [(group["groupName"], group["minReplicas"]) for group in groups] == [("cpu", 1), ("guard-cpu", 2)]
    damaged = record["data"] | {
        "plan": record["data"]["plan"] | {"guard": record["data"]["plan"]["guard"] | {"nodesPerReplica": 0}}
    }
    assert "plan.guard" in children.revision_facts(record | {"data": damaged}).why


def test_only_a_record_that_names_hosts_counts_replicas():
    """What ran before goes on with as many pods as it had."""
    bounds = {}
    for folder in ("0.1.0", "after-0.1.0/3-hosts"):
        record, _ = load(HERE / "records" / folder / "llama-3.1-405b-bf16-h100.yaml")
        built = rayservice.build(deployment_behind(record), children.revision_facts(record))
        (group,) = built["spec"]["rayClusterConfig"]["workerGroupSpecs"]
        bounds[folder] = (group["minReplicas"], group["maxReplicas"], group.get("numOfHosts"))
    assert bounds == {"0.1.0": (2, 2, None), "after-0.1.0/3-hosts": (1, 2, 2)}


@pytest.mark.parametrize("path", RECORDS, ids=named)
def test_a_record_is_read_and_has_the_name_that_its_inputs_still_give(path):
    record, _ = load(path)
    facts = children.revision_facts(record)
    assert isinstance(facts, RevisionFacts)
    assert facts.plan.chosen is not None
    assert revision_of(deployment_behind(record)).name == record["metadata"]["name"], "engines would restart"


@pytest.mark.parametrize("path", RECORDS, ids=named)
def test_the_engines_of_a_record_are_those_that_it_pinned(path):
    record, then = load(path)
    facts = children.revision_facts(record)
    now = rayservice.build(deployment_behind(record), facts)
    assert without_bounds(now["spec"]["rayClusterConfig"]) == without_bounds(then["spec"]["rayClusterConfig"])
    before, after = (
        yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]["args"] for service in (then, now)
    )
    assert after == before, "Serve restarts engines when one byte of it changes"


@pytest.mark.parametrize("path", RECORDS, ids=named)
def test_a_record_is_written_back_as_it_was(path):
    record, _ = load(path)
    facts = children.revision_facts(record)
    written = revision.build(Observed(deployment_behind(record)), facts)
    assert written["data"] == record["data"], "the API server lets nobody change it"
    assert written["metadata"].get("annotations") == record["metadata"].get("annotations")


@pytest.mark.parametrize("path", RECORDS, ids=named)
def test_fields_of_a_newer_version_stay_in_a_record(path):
    record, _ = load(path)
    record["data"]["plan"]["chosen"]["joulesPerToken"] = 3
    record["data"]["signature"] = {"by": "a newer version"}
    facts = children.revision_facts(record)
    assert revision.build(Observed(deployment_behind(record)), facts)["data"] == record["data"]


@pytest.mark.parametrize(
    ("sample", "format_"),
    [("tiny-cpu", RECORD_FORMAT), ("llama-3.1-405b-bf16-h100", FORMAT_OF_HOSTS), ("llama-3.1-8b-l4", RECORD_FORMAT)],
)
def test_a_new_record_names_its_format_and_has_all_that_readers_of_it_need(sample, format_, known):
    deployment = files.read([str(SAMPLES / f"{sample}.yaml")]).deployment
    observed = Observed(deployment, acceptances=None)
    built = objects.build(observed, decide(observed, known), Settings())
    record = next(obj for obj in built.apply if obj["kind"] == "ControllerRevision")
    assert record["data"]["format"] == format_
    first, _ = load(HERE / "records" / "0.1.0" / f"{sample}.yaml")
    assert set(record["data"]) == {"format", *first["data"]}
    assert isinstance(children.revision_facts(record), RevisionFacts)


def _without(part):
    return lambda data: {name: value for name, value in data.items() if name != part}


UNREADABLE = {
    "newer format": (lambda data: data | {"format": 3}, "format 3"),
    "format of no number": (lambda data: data | {"format": "1"}, "format '1'"),
    "list": (lambda _: [1], "no record"),
    "text": (lambda _: "x", "no record"),
    "nothing": (lambda _: None, "no record"),
    "empty": (lambda _: {}, "no plan"),
    "no plan": (_without("plan"), "no plan"),
    "no inputs": (_without("inputs"), "inputs"),
    "no config": (_without("serveConfig"), "serveConfig"),
    "no applications": (lambda data: data | {"serveConfig": {"applications": []}}, "serveConfig"),
    "empty cluster": (lambda data: data | {"cluster": {}}, "cluster"),
    "group without a name": (lambda data: data | {"cluster": {"workerGroupSpecs": [{}]}}, "cluster"),
    "plan without a size": (lambda data: data | {"plan": {"chosen": {"model": "x"}}}, "plan.chosen"),
    "plan of text": (lambda data: data | {"plan": "x"}, "plan"),
}


@pytest.mark.parametrize(("change", "told"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_record_that_cannot_be_read_says_why_and_what_to_do(change, told):
    record, _ = load(HERE / "records" / "0.1.0" / "tiny-cpu.yaml")
    facts = children.revision_facts(record | {"data": change(record["data"])})
    assert isinstance(facts, UnreadRevision)
    assert facts.name == record["metadata"]["name"]
    assert told in facts.why
    assert "upgrade the operator" in facts.why or "restore" in facts.why
