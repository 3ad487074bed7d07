"""The JSON of `plan` is what its schema and its page say: exact names, nothing missing, nothing undocumented."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from generate import plan_schema
from llama_operator.cli.main import main

ROOT = Path(__file__).resolve().parents[4]
SCHEMA = json.loads((ROOT / "docs/reference/plan-output.schema.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs/plan-output.md").read_text(encoding="utf-8")
SAMPLES = [
    path for path in sorted((ROOT / "manifests/samples").glob("*.yaml")) if "kind: LlamaDeployment" in path.read_text()
]

TOP = {
    "deployment",
    "license",
    "plan",
    "coldStart",
    "pods",
    "capacity",
    "door",
    "routing",
    "loader",
    "problem",
    "warnings",
    "objects",
}
SIZES = {
    "candidate", "precision", "repository", "accelerator", "tensorParallelSize", "pipelineParallelSize",
    "gpusPerReplica", "nodesPerReplica", "memoryBytesPerGPU", "weightBytesPerGPU", "reserveBytesPerGPU",
    "kvCacheBytesPerGPU", "kvCacheTokens",
}  # fmt: skip
ESTIMATES = {
    "replicasForObjectives",
    "usdMicrosPerHour",
    "timeToFirstTokenMs",
    "timePerOutputTokenUs",
    "requestsPerMinute",
}


@pytest.fixture
def plan(tmp_path, capsys):
    def run(spec, *more):
        obj = {
            "apiVersion": "llama-operator.io/v1alpha1",
            "kind": "LlamaDeployment",
            "metadata": {"name": "chat", "namespace": "team-a"},
            "spec": {"license": {"acceptance": "acme", "attributionURL": "https://acme.example/about"}} | spec,
        }
        path = tmp_path / "m.yaml"
        path.write_text(yaml.safe_dump(obj), encoding="utf-8")
        code = main(["plan", "-f", str(path), "-o", "json", *more])
        return code, json.loads(capsys.readouterr().out)

    return run


CASES = {
    "fits": {"model": {"name": "llama-3.3-70b-instruct"}, "hardware": {"accelerator": "H100-80GB"}},
    "does-not-fit": {
        "model": {"name": "llama-3.1-405b"},
        "hardware": {"accelerator": "L4-24GB", "maxGPUs": 8},
    },
    "license-refused": {
        "model": {"name": "llama-3.3-70b-instruct"},
        "hardware": {"accelerator": "H100-80GB"},
        "license": {},
    },
    "undecided": {"model": {"name": "llama-3.3-70b-instruct"}},
    "suspended": {
        "model": {"name": "llama-3.1-8b"},
        "hardware": {"accelerator": "L40S-48GB"},
        "activation": "Suspended",
    },
    "context-too-long": {
        "model": {"name": "llama-3.3-70b-instruct"},
        "hardware": {"accelerator": "H100-80GB"},
        "context": {"maxModelLength": 1_000_000},
    },
    "heads": {
        "model": {"name": "llama-3.3-70b-instruct", "precision": "FP8"},
        "hardware": {"accelerator": "H100-80GB"},
        "parallelism": {"mode": "Manual", "tensor": 6},
    },
    "unknown-model": {"model": {"name": "llama-9"}},
    "generated": {"model": {"name": "tiny-random-llama"}, "hardware": {"accelerator": "CPU"}, "license": {}},
}


TINY = {"model": {"name": "tiny-random-llama"}, "hardware": {"accelerator": "CPU"}}
PRODUCTION = {"license": {"purpose": "Production"}}
SECRET = {"access": {"keys": {"secret": "acme"}}}


@pytest.mark.parametrize(
    ("spec", "message", "warned"),
    [
        (TINY, "open: anyone who reaches the Service", False),
        (TINY | PRODUCTION, "keys from ConfigMap chat-keys", False),
        (TINY | PRODUCTION | SECRET, "keys from Secret acme", False),
        (TINY | PRODUCTION | {"access": {"mode": "Open"}}, "open: anyone who reaches the Service", True),
    ],
)
def test_the_plan_says_who_may_send_requests(plan, spec, message, warned, tmp_path, capsys):
    code, found = plan(spec)
    assert code == 0
    assert found["door"]["message"] == message
    assert any("without a key" in warning for warning in found["warnings"]) is warned
    main(["plan", "-f", str(tmp_path / "m.yaml")])
    assert f"door      {message}" in capsys.readouterr().out


@pytest.mark.parametrize("case", CASES)
def test_every_document_holds_to_the_schema(plan, case):
    _, found = plan(CASES[case])
    jsonschema.validate(found, SCHEMA)
    assert set(found) == TOP


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_the_samples_hold_to_the_schema(path, capsys):
    main(["plan", "-f", str(path), "-o", "json"])
    jsonschema.validate(json.loads(capsys.readouterr().out), SCHEMA)


def test_the_names_that_programs_rely_on_are_these(plan):
    _, found = plan(CASES["fits"])
    assert set(found["license"]) == {"allowed", "tier", "families", "reason", "message", "denials"}
    assert set(found["plan"]) == {"chosen", "alternatives", "rejected", "changes"}
    assert set(found["plan"]["chosen"]) >= SIZES | {"model", "maxModelLength", "maxNumSeqs"}
    assert found["plan"]["alternatives"]
    assert found["plan"]["rejected"]
    for other in found["plan"]["alternatives"]:
        assert set(other) >= SIZES | ESTIMATES | {"message"}
    for other in found["plan"]["rejected"]:
        assert set(other) >= SIZES | ESTIMATES | {"reason", "message", "nearest"}


def test_a_field_that_is_not_known_is_null_and_not_left_out(plan):
    _, found = plan(CASES["does-not-fit"])
    assert found["plan"]["chosen"] is None
    assert found["capacity"] is None
    assert found["problem"]["message"]
    assert found["plan"]["changes"]
    for change in found["plan"]["changes"]:
        assert set(change) == {"field", "value", "gives"}
    _, found = plan(CASES["undecided"])
    assert found["plan"] == {"chosen": None, "alternatives": [], "rejected": [], "changes": []}
    _, found = plan(CASES["fits"])
    assert found["problem"] is None


def test_a_cold_start_is_the_sum_of_its_stages(plan):
    _, found = plan(CASES["fits"])
    told = found["coldStart"]
    assert told["seconds"] == sum(stage["seconds"] for stage in told["stages"]) > 0
    assert told["seconds"] == found["plan"]["chosen"]["coldStartSeconds"]


def test_why_another_candidate_was_not_chosen_follows_the_order_of_the_planner(plan):
    _, found = plan(CASES["fits"])
    chosen = found["plan"]["chosen"]
    for other in found["plan"]["alternatives"]:
        if other["gpusPerReplica"] > chosen["gpusPerReplica"]:
            assert f"takes {other['gpusPerReplica']} instead of {chosen['gpusPerReplica']}" in other["message"]
        else:
            assert other["message"] == "same size; FP8 instead of BF16 weights"


def test_without_a_fast_link_the_reason_is_the_link(plan, tmp_path):
    spec = {"model": {"name": "llama-3.1-8b", "precision": "BF16"}, "context": {"maxModelLength": 8192}}
    _, found = plan(spec | {"hardware": {"accelerator": "L4-24GB"}})
    chosen, others = found["plan"]["chosen"], found["plan"]["alternatives"]
    alike = [other for other in others if other["gpusPerReplica"] == chosen["gpusPerReplica"]]
    assert all("stages talk less" in other["message"] for other in alike)
    priced = tmp_path / "nodes.yaml"
    priced.write_text("- {accelerator: L4-24GB}\n- {accelerator: A10G-24GB}\n", encoding="utf-8")
    _, found = plan(spec, "--nodes", str(priced))
    assert any("USD an hour" in other["message"] for other in found["plan"]["alternatives"])


def test_with_a_rate_every_candidate_says_how_many_replicas_it_takes(plan):
    rate = {"requestsPerMinute": 600, "promptTokens": 1000, "outputTokens": 200}
    scaling = {"minReplicas": 1, "maxReplicas": 16}
    _, found = plan(CASES["fits"] | {"objectives": rate, "scaling": scaling})
    chosen, others = found["plan"]["chosen"], found["plan"]["alternatives"]
    total = chosen["gpusPerReplica"] * chosen["replicasForObjectives"]
    assert chosen["requestsPerMinute"] * chosen["replicasForObjectives"] >= 600
    assert all(each["gpusPerReplica"] * each["replicasForObjectives"] >= total for each in others)
    assert all(each["requestsPerMinute"] for each in others)


def test_what_the_user_named_and_cannot_work_is_refused_with_its_reason(plan):
    code, found = plan(CASES["heads"])
    assert code == 2
    assert found["plan"]["chosen"] is None
    (rejected,) = found["plan"]["rejected"]
    assert (rejected["reason"], rejected["tensorParallelSize"]) == ("HeadsNotDivisible", 6)
    assert rejected["nearest"]
    code, found = plan(CASES["context-too-long"])
    assert (code, found["problem"]["reason"]) == (2, "ContextTooLong")


def test_memory_of_a_candidate_adds_up(plan):
    _, found = plan(CASES["fits"])
    plans = [found["plan"]["chosen"], *found["plan"]["alternatives"]]
    for each in plans:
        parts = each["weightBytesPerGPU"] + each["reserveBytesPerGPU"] + each["kvCacheBytesPerGPU"]
        assert parts == each["memoryBytesPerGPU"]
        assert each["gpusPerReplica"] == each["tensorParallelSize"] * each["pipelineParallelSize"]
    for each in found["plan"]["rejected"]:
        assert each["kvCacheBytesPerGPU"] >= 0


def test_all_candidates_are_there_once(plan):
    _, found = plan(CASES["fits"])
    candidates = [found["plan"]["chosen"], *found["plan"]["alternatives"], *found["plan"]["rejected"]]
    names = [(each["candidate"], each["repository"]) for each in candidates]
    assert len(names) == len(set(names)) > 8


def test_the_page_names_every_field_and_no_other():
    rows = re.findall(r"^\| (`[^|]+) \|", PAGE, flags=re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`([A-Za-z.]+)`", row)}
    short = {part for name in documented for part in name.split(".")}
    inline = set(re.findall(r"`([A-Za-z]+)`", PAGE))
    parts = {name: set(part["properties"]) for name, part in SCHEMA["$defs"].items() if "properties" in part}
    fields = set(SCHEMA["properties"]).union(*parts.values())
    explained_elsewhere = parts["ChosenPart"]  # by the reference of the resource, which the page names
    assert fields - explained_elsewhere <= short | inline
    statuses = {"True", "False", "Unknown"}
    assert short - fields <= statuses


def test_the_committed_schema_is_the_one_of_the_code():
    assert plan_schema.schema() == SCHEMA
