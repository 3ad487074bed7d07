"""`kubectl llama plan`: exit codes, errors that name the field, and a JSON document that programs can rely on."""

import json
import re
from pathlib import Path

import pytest
import yaml

from llama_operator import catalog
from llama_operator.cli.main import main
from llama_operator.cli.plan import table
from llama_operator.cli.shared import files
from llama_operator.cli.shared.documents import documents
from llama_operator.decide.decision import decide

BASE = {
    "apiVersion": "llama-operator.io/v1alpha1",
    "kind": "LlamaDeployment",
    "metadata": {"name": "chat", "namespace": "team-a"},
    "spec": {
        "model": {"name": "llama-3.3-70b-instruct", "precision": "FP8"},
        "context": {"maxModelLength": 8192},
        "hardware": {"accelerator": "H100-80GB"},
        "license": {"acceptance": "acme", "attributionURL": "https://acme.example/about"},
    },
}
OBJECTS = ["ControllerRevision", "NetworkPolicy", "NetworkPolicy", "RayService", "Service", "PodDisruptionBudget"]
SAMPLE = Path(__file__).resolve().parents[4] / "manifests" / "samples" / "license-acceptance.yaml"
ACCEPTANCE = next(obj for obj in documents(SAMPLE) if obj["spec"]["families"] == ["llama-3.3"]) | {
    "metadata": {"name": "acme"}
}


@pytest.fixture
def plan(tmp_path, capsys):
    def run(*documents, output="json", flags=(), **spec):
        found = [BASE | {"spec": BASE["spec"] | spec}, *documents]
        path = tmp_path / "m.yaml"
        path.write_text(yaml.safe_dump_all(found), encoding="utf-8")
        code = main(["plan", "-f", str(path), "-o", output, *flags])
        return code, *capsys.readouterr()

    return run


def test_a_plan_that_fits_says_all_that_programs_need(plan):
    code, out, _ = plan()
    found = json.loads(out)
    assert code == 0
    assert found["license"]["allowed"] is None
    assert found["license"]["reason"] == "AcceptanceNotChecked"
    assert "LicenseAcceptance acme was not looked up" in found["license"]["message"]
    assert found["license"]["tier"] == "CommunityLlama31Plus"
    wanted = {
        "precision", "accelerator", "tensorParallelSize", "pipelineParallelSize", "gpusPerReplica", "nodesPerReplica",
        "weightBytesPerGPU", "kvCacheTokens", "maxModelLength",
    }  # fmt: skip
    assert wanted <= set(found["plan"]["chosen"])
    assert all({"reason", "message"} <= set(rejected) for rejected in found["plan"]["rejected"])
    assert [obj["kind"] for obj in found["objects"]] == OBJECTS


def test_a_list_is_read_as_kubectl_writes_it(tmp_path, capsys):
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [BASE, ACCEPTANCE]}), encoding="utf-8")
    assert main(["plan", "-f", str(path), "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["license"]["allowed"] is True
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [BASE, 7]}), encoding="utf-8")
    assert main(["plan", "-f", str(path)]) == 2
    assert "items[1]" in capsys.readouterr().err


def test_what_does_not_fit_exits_with_3_and_says_the_nearest_change(plan):
    code, out, _ = plan(hardware={"accelerator": "L4-24GB", "maxGPUs": 2})
    found = json.loads(out)
    assert code == 3
    assert found["plan"]["chosen"] is None
    assert found["problem"]["message"]
    assert found["objects"] == []


def test_a_refused_license_exits_with_4_and_still_plans(plan):
    code, out, _ = plan(license={})
    found = json.loads(out)
    assert code == 4
    assert found["license"]["allowed"] is False
    assert found["plan"]["chosen"] is not None


def test_a_plan_without_the_acceptance_warns_and_says_how_to_check(plan):
    code, out, _ = plan(output="table")
    assert code == 0
    assert "! license   CommunityLlama31Plus: not checked" in out
    assert "✓ license" not in out
    assert "-f ACCEPTANCE.yaml" in out
    code, out, err = plan(output="yaml")
    assert code == 0
    assert "was not looked up" in err
    assert "was not looked up" not in out
    assert "✓ license" in plan(ACCEPTANCE, output="table")[1]


@pytest.mark.parametrize("output", ["table", "json", "yaml"])
def test_a_license_that_was_not_checked_fails_where_it_is_required(plan, output):
    assert plan(output=output, flags=("--require-license",))[0] == 4
    assert plan(output=output, license={}, flags=("--require-license",))[0] == 4
    assert plan(ACCEPTANCE, output=output, flags=("--require-license",))[0] == 0
    small = {"accelerator": "L4-24GB", "maxGPUs": 2}
    assert plan(output=output, hardware=small, flags=("--require-license",))[0] == 4
    assert plan(ACCEPTANCE, output=output, hardware=small, flags=("--require-license",))[0] == 3
    free = {"name": "tiny-random-llama"}
    cpu = {"model": free, "hardware": {"accelerator": "CPU"}, "context": {}}
    assert plan(output=output, license={}, flags=("--require-license",), **cpu)[0] == 0


def test_a_plan_shows_every_refusal_with_its_cure_at_once(plan):
    other = ACCEPTANCE | {"spec": ACCEPTANCE["spec"] | {"families": ["llama-3.1"]}}
    code, out, _ = plan(other, output="table", license={"acceptance": "acme"})
    denials = json.loads(plan(other, license={"acceptance": "acme"})[1])["license"]["denials"]
    assert code == 4
    assert len(denials) > 1
    assert f"✗ license   CommunityLlama31Plus: {len(denials)} refusals" in out
    for denial in denials:
        assert f"✗ {denial['rule']:<3} {denial['reason']}: " in out
        assert f"→ {denial['unblock']}" in out
    assert out.count(denials[0]["message"]) == 1


def test_an_acceptance_beside_the_manifest_is_checked(plan):
    assert plan(ACCEPTANCE)[0] == 0
    other = ACCEPTANCE | {"spec": ACCEPTANCE["spec"] | {"families": ["llama-3.1"]}}
    code, out, _ = plan(other)
    assert code == 4
    assert json.loads(out)["license"]["reason"] == "AcceptanceFamilyNotCovered"


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({"scalling": {}}, "spec.scalling", "did you mean scaling?"),
        ({"scaling": {"minReplicas": "1"}}, "spec.scaling.minReplicas", "must be a whole number"),
        ({"scaling": {"minReplicas": 2, "maxReplicas": 1}}, "spec.scaling.maxReplicas", "must be at least minReplicas"),
        ({"model": {"name": "llama-3.3-70b"}}, "spec.model.name", "llama-3.3-70b-instruct"),
        (
            {"parallelism": {"mode": "Manual", "tensor": 6}, "license": {}},
            "spec.parallelism.tensor",
            "possible sizes: 1, 2, 4, 8",
        ),
        ({"context": {"maxModelLength": 200000}}, "spec.context.maxModelLength", "at most 131072"),
        ({"hardware": {"accelerator": "H100"}}, "spec.hardware.accelerator", "H100-80GB"),
        ({"model": {"name": "tiny-random-llama", "precision": "INT8"}}, "spec.model.precision", "BF16"),
    ],
)
@pytest.mark.parametrize("output", ["json", "table"])
def test_an_invalid_manifest_exits_with_2_and_names_the_field_on_one_screen(plan, spec, field, words, output):
    code, out, err = plan(output=output, **spec)
    assert code == 2
    assert field in err
    assert words in err
    assert len(err.splitlines()) <= 24
    if out:
        # What can be read and never work is told to programs too.
        assert output == "json"
        found = json.loads(out)
        assert found["problem"]["field"] == field
        assert found["plan"]["chosen"] is None
        assert found["objects"] == []


def test_yaml_output_is_the_objects_alone(plan):
    code, out, _ = plan(output="yaml")
    assert code == 0
    assert [obj["kind"] for obj in yaml.safe_load_all(out)] == OBJECTS


def test_the_table_shows_license_plan_memory_and_objects(plan):
    _, out, _ = plan(output="table")
    for words in ("license", "tensor", "weights", "reserve", "KV", "RayService"):
        assert words in out


def test_a_missing_file_is_an_error_with_its_name(capsys):
    assert main(["plan", "-f", "/nowhere/x.yaml"]) == 2
    assert "/nowhere/x.yaml" in capsys.readouterr().err


def test_yaml_that_is_none_is_explained(tmp_path, capsys):
    path = tmp_path / "x.yaml"
    path.write_text("a: [", encoding="utf-8")
    assert main(["plan", "-f", str(path)]) == 2
    assert "is not YAML" in capsys.readouterr().err


def test_aliases_are_refused_before_they_can_explode(tmp_path, capsys):
    path = tmp_path / "x.yaml"
    path.write_text("a: &a [1, 2]\nb: [*a, *a]\n", encoding="utf-8")
    assert main(["plan", "-f", str(path)]) == 2
    assert "alias *a in line 2 is not allowed" in capsys.readouterr().err


def test_a_date_stays_the_string_that_was_written(plan):
    assert plan(ACCEPTANCE)[0] == 0


def test_two_deployments_need_a_name(tmp_path, capsys):
    path = tmp_path / "x.yaml"
    second = BASE | {"metadata": {"name": "other"}}
    path.write_text(yaml.safe_dump_all([BASE, second]), encoding="utf-8")
    assert main(["plan", "-f", str(path)]) == 2
    assert "--name" in capsys.readouterr().err
    assert main(["plan", "-f", str(path), "--name", "other", "-o", "json"]) == 0
    (only,) = files.read([str(path)], name="other").objects
    assert only["metadata"]["name"] == "other"


def test_models_lists_the_catalog(capsys):
    assert main(["models", "-o", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) > 30
    assert main(["models"]) == 0
    assert "llama-3.1-405b" in capsys.readouterr().out
    assert main(["models", "llama-9"]) == 2


@pytest.mark.parametrize("command", [[], ["plan"], ["run"], ["models"]])
def test_help_teaches(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    assert "exit codes" in capsys.readouterr().out


def test_a_grant_that_has_expired_is_told_without_a_cluster(plan):
    grant = {"reference": "G-1", "grantedOn": "2025-01-01", "expiresOn": "2025-12-31"}
    above = ACCEPTANCE["spec"]["monthlyActiveUsers"] | {"count": 900_000_000}
    spec = ACCEPTANCE["spec"] | {"monthlyActiveUsers": above, "metaGrant": grant}
    code, out, _ = plan(ACCEPTANCE | {"spec": spec})
    assert code == 4
    assert json.loads(out)["license"]["reason"] == "MetaGrantExpired"


WAYS_IN = {
    "HTTPRoute": {"hosts": ["llama.acme.example"], "gateway": {"name": "public"}},
    "Ingress": {"hosts": ["llama.acme.example"], "ingress": {}},
}
OPEN = "spec.endpoint.expose: open to everyone who reaches llama.acme.example: requests need no key"


@pytest.mark.parametrize("kind", WAYS_IN)
def test_a_way_in_is_among_the_objects_and_one_that_is_open_to_everyone_is_warned_of(plan, kind):
    endpoint = {"endpoint": {"expose": WAYS_IN[kind]}}
    found = json.loads(plan(**endpoint)[1])
    assert found["objects"][-1]["kind"] == kind
    assert OPEN in found["warnings"]
    assert OPEN not in json.loads(plan(**endpoint, access={"mode": "Keys"})[1])["warnings"]
    _, out, _ = plan(output="table", **endpoint)
    assert "from outside: llama.acme.example" in out
    assert "open to everyone who reaches llama.acme.example" in " ".join(out.split())


def test_the_table_shows_an_object_of_a_kind_that_it_does_not_know(capsys):
    observed = files.read(["manifests/samples/tiny-cpu.yaml"]).observed()
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "tiny-weights"}}
    table.show(observed, decide(observed, catalog.load()), (claim,))
    assert re.search(r"PersistentVolumeClaim +tiny-weights", capsys.readouterr().out)


SIX = {
    "model": {"name": "llama-3.3-70b-instruct", "precision": "bf16"},
    "context": {"maxModelLength": "8192"},
    "hardware": {"accelerator": "H100"},
    "scaling": {"minReplicas": 5, "maxReplicas": 2},
    "license": {"attributionURL": "ftp://x"},
    "replica": 3,
}


def test_a_manifest_with_six_mistakes_is_told_all_of_them(plan):
    code, _, err = plan(**SIX)
    assert code == 2
    for field, words in {
        "spec.model.precision": "must be Auto, BF16",
        "spec.context.maxModelLength": "without quotes",
        "spec.hardware.accelerator": "unknown accelerator 'H100'; did you mean H100-80GB",
        "spec.scaling.maxReplicas": "must be at least minReplicas",
        "spec.license.attributionURL": "https:// or http://",
        "spec.replica": "did you mean replicas?",
    }.items():
        assert f"  {field}\n" in err
        assert words in err


def test_a_valid_manifest_is_told_all_that_no_cluster_can_cure(plan):
    code, _, err = plan(hardware={"accelerator": "H100"}, context={"maxModelLength": 8_000_000})
    assert code == 2
    assert "did you mean H100-80GB" in err
    assert "set it to at most 131072" in err


@pytest.mark.parametrize(
    ("kind", "spec", "unknown"),
    [
        ("LlamaModel", {"model": {"name": "acme"}}, "unknown model"),
        ("Accelerator", {"hardware": {"accelerator": "acme"}}, "unknown accelerator"),
    ],
)
def test_nothing_is_unknown_because_its_own_manifest_is_wrong(plan, kind, spec, unknown):
    wrong = {"apiVersion": "llama-operator.io/v1alpha1", "kind": kind, "metadata": {"name": "acme"}, "spec": {}}
    _, _, err = plan(wrong, **spec, replica=3)
    assert "spec.replica" in err
    assert unknown not in err
    _, _, err = plan(**spec, replica=3)
    assert unknown in err


@pytest.mark.parametrize(
    "spec", [5, [], None, {"model": 5}, {"model": {"name": ["x"]}, "hardware": {"accelerator": {"a": 1}}}], ids=str
)
@pytest.mark.parametrize("metadata", [{"name": "chat"}, {"name": ["x"]}, 5], ids=str)
def test_nothing_that_stands_in_a_manifest_is_a_defect(tmp_path, capsys, spec, metadata):
    path = tmp_path / "m.yaml"
    models = {"apiVersion": "llama-operator.io/v1alpha1", "kind": "LlamaModel", "metadata": metadata, "spec": spec}
    path.write_text(yaml.safe_dump_all([BASE | {"spec": spec, "metadata": metadata}, models]), encoding="utf-8")
    assert main(["plan", "-f", str(path)]) == 2
    assert "LlamaDeployment" in capsys.readouterr().err
