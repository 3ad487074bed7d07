"""`kubectl llama license`: what the chain says, for people, programs and auditors; and whether the records of it hold."""

import asyncio
import csv
import io
import json
from pathlib import Path

import pytest
import yaml

from llama_operator import catalog
from llama_operator.api.manifest import WHAT_BELONGS, parse_as
from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance
from llama_operator.cli.main import main
from llama_operator.cli.shared import files
from llama_operator.cli.shared.documents import documents
from llama_operator.errors import InvalidManifestError
from llama_operator.evidence import chain
from llama_operator.kube import kinds
from support.rights import WithoutRights

SAMPLES = Path(__file__).resolve().parents[4] / "manifests" / "samples"
MODEL = str(SAMPLES / "llama-model.yaml")
CHAT, RECORDS = str(SAMPLES / "llama-3.3-70b-fp8-h100.yaml"), str(SAMPLES / "license-acceptance.yaml")


@pytest.fixture
def call(capsys):
    def run(*arguments):
        code = main(["license", *arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def seeded(world):
    """The sample deployment, its records, and one that names no acceptance."""

    async def seed():
        for path in (RECORDS, CHAT):
            for obj in documents(path):
                await world.user.apply(json.loads(json.dumps(obj)))
        await world.deployment(
            "without",
            "team-b",
            spec={"model": {"name": "llama-3.1-8b"}, "hardware": {"accelerator": "L4-24GB"}},
        )

    asyncio.run(seed())
    return world


def test_explain_shows_every_rule_with_its_clause(call):
    code, out, _ = call("explain", "-f", CHAT, "-f", RECORDS)
    assert code == 0
    for expected in ("P1 ", "P5 ", "P11", "acceptance-named", "§1.b.i (B), attribution", "allows team-a/chat-70b"):
        assert expected in out
    assert "no legal advice" in " ".join(out.split())
    assert "attested, not checked: P5" in out


def test_explain_names_the_rule_that_refuses_and_the_cure(call, tmp_path):
    manifest = files.read([CHAT]).objects[0]
    del manifest["spec"]["license"]["acceptance"]
    path = tmp_path / "chat.yaml"
    path.write_text(json.dumps(manifest), encoding="utf-8")
    code, out, _ = call("explain", "-f", str(path), "-f", RECORDS)
    assert code == 4
    assert "✗ P1    acceptance-named" in out
    assert "→" in out
    assert "LicenseAcceptance" in out
    code, out, _ = call("explain", "-f", str(path), "-f", RECORDS, "-o", "json")
    document = json.loads(out)
    refused = [rule for rule in document["rules"] if rule["outcome"] == "Denied"]
    assert not document["allowed"]
    assert refused[0]["rule"] == "P1"
    assert all(rule["reason"] and rule["message"] and rule["unblock"] and rule["clause"] for rule in refused)
    assert "no legal advice" in document["disclaimer"]


def test_explain_never_says_allowed_where_nobody_looked_for_records(call):
    code, out, _ = call("explain", "-f", CHAT)
    assert code == 0
    assert "nothing is known against team-a/chat-70b so far" in out
    assert "not checked" in out
    assert json.loads(call("explain", "-f", CHAT, "-o", "json")[1])["allowed"] is None


def test_explain_wants_a_name_or_a_file(world):
    code, _, err = world.run("license", "explain")
    assert code == 2
    assert "-f" in err


def test_explain_takes_one_of_several_deployments_by_name(call):
    tiny = str(SAMPLES / "tiny-cpu.yaml")
    assert call("explain", "-f", CHAT, "-f", tiny, "-f", RECORDS, "tiny")[0] == 0
    code, _, err = call("explain", "-f", CHAT, "-f", tiny)
    assert code == 2
    assert "chat-70b, tiny" in err


def test_explain_judges_a_deployment_of_the_cluster_by_the_records_there(seeded):
    assert seeded.run("license", "explain", "chat-70b")[0] == 0
    code, document = seeded.json("license", "explain", "without", "-n", "team-b")
    assert code == 4
    assert document["reason"] == "AcceptanceMissing"
    code, _, err = seeded.run("license", "explain", "chat-71b")
    assert code == 1
    assert "chat-70b" in err


def test_report_lists_what_an_auditor_asks_for(seeded):
    code, document = seeded.json("license", "report", "-A")
    assert code == 0
    rows = {row["name"]: row for row in document["items"]}
    chat = rows["chat-70b"]
    assert chat["verdict"] == "Allow"
    assert chat["tier"] == "CommunityLlama31Plus"
    assert chat["families"] == ["llama-3.3"]
    assert chat["acceptances"] == ["acme-llama-3-3"]
    assert chat["attribution"] == ["Built with Llama"]
    assert chat["notice"][0].startswith("Llama 3.3 is licensed under the Llama 3.3 Community License")
    assert (rows["without"]["verdict"], rows["without"]["reason"]) == ("Deny", "AcceptanceMissing")
    assert "no legal advice" in document["disclaimer"]


def test_report_of_a_namespace_or_of_names(seeded):
    _, document = seeded.json("license", "report")
    assert [row["name"] for row in document["items"]] == ["chat-70b"]
    _, document = seeded.json("license", "report", "without", "-n", "team-b")
    assert [row["name"] for row in document["items"]] == ["without"]


def test_report_of_names_in_all_namespaces_is_refused(seeded):
    code, _, err = seeded.run("license", "report", "-A", "chat-70b")
    assert code == 2
    assert "leave one of them out" in err


def test_report_as_a_table_and_as_csv_say_the_same(seeded):
    _, table, _ = seeded.run("license", "report", "-A")
    assert 'show "Built with Llama"' in table
    _, text, _ = seeded.run("license", "report", "-A", "-o", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["name"], row["verdict"]) for row in rows] == [("chat-70b", "Allow"), ("without", "Deny")]
    assert rows[0]["attribution"] == "Built with Llama"


def test_report_says_what_it_may_not_read(seeded, monkeypatch):
    monkeypatch.setattr(seeded, "client", WithoutRights(seeded.client, kinds.LICENSE_ACCEPTANCE, user="zoe"))
    _, document = seeded.json("license", "report")
    assert "zoe may not list licenseacceptances" in document["unknown"][0]
    assert document["items"][0]["verdict"] == "NotChecked"


def test_a_cell_of_the_csv_is_never_a_formula(call, tmp_path):
    manifest = files.read([CHAT]).objects[0]
    manifest["spec"]["model"]["name"] = "llama-3.3-70b-instruct"
    manifest["metadata"]["name"] = "chat"
    records = list(documents(RECORDS))
    for record in records:
        record["spec"]["legalEntity"] = '=HYPERLINK("http://evil.example")'
    path = tmp_path / "all.yaml"
    path.write_text("---\n".join(json.dumps(obj) + "\n" for obj in [manifest, *records]), encoding="utf-8")
    _, out, _ = call("report", "-f", str(path), "-o", "csv")
    row = next(csv.DictReader(io.StringIO(out)))
    assert row["legalEntities"].startswith("'=")


def test_report_of_files_without_a_deployment_is_an_error(call):
    assert call("report", "-f", RECORDS)[0] == 2


@pytest.fixture
def evidence(tmp_path):
    position, lines = chain.Position("operator/1"), []
    for number in range(6):
        content = {"event": "TermStarted" if number == 0 else "Decided", "time": f"2026-03-02T09:30:0{number}Z"}
        line, position = chain.seal(content, position)
        lines.append(line)
    path = tmp_path / "evidence.jsonl"
    path.write_bytes(b"".join(lines))
    return path, lines, position.previous


def test_verify_says_that_records_hold_and_their_last_hash(call, evidence):
    path, _, head = evidence
    code, out, _ = call("verify", str(path))
    assert code == 0
    assert "intact: 6 of 6 lines hold, 1 term(s) from 2026-03-02T09:30:00Z to 2026-03-02T09:30:05Z" in out
    assert head in out
    assert call("verify", str(path), "--head", head)[0] == 0


def test_verify_names_the_line_that_was_changed(call, evidence):
    path, lines, _ = evidence
    lines[3] = lines[3].replace(b"Decided", b"Decidee")
    path.write_bytes(b"".join(lines))
    code, out, _ = call("verify", str(path))
    assert code == 6
    assert f"{path}:4: was changed" in out.replace("\n", "")
    code, out, _ = call("verify", str(path), "-o", "json")
    document = json.loads(out)
    assert code == 6
    assert not document["intact"]
    assert document["findings"] == [
        {"file": str(path), "line": 4, "text": "was changed: its hash does not fit its content"}
    ]


def test_verify_sees_a_missing_end_by_the_hash_that_was_kept(call, evidence):
    path, lines, head = evidence
    path.write_bytes(b"".join(lines[:-1]))
    assert call("verify", str(path))[0] == 0
    code, out, _ = call("verify", str(path), "--head", head)
    assert code == 6
    assert "cut off" in out


def test_verify_takes_rotated_files_in_order(call, evidence, tmp_path):
    path, lines, head = evidence
    older = tmp_path / "evidence.jsonl.1"
    older.write_bytes(b"".join(lines[:4]))
    path.write_bytes(b"".join(lines[4:]))
    assert call("verify", str(older), str(path), "--head", head)[0] == 0
    code, out, _ = call("verify", str(path), str(older))
    assert code == 6
    code, out, _ = call("verify", str(path))
    assert code == 6
    assert "--after" in out
    assert call("verify", str(path), "--after", json.loads(lines[3])["hash"])[0] == 0


def test_verify_picks_records_out_of_a_log_of_a_pod(call, evidence):
    path, lines, _ = evidence
    mixed = [b'{"level":"info","message":"hello"}\n', *lines[:2], b"plain text\n", *lines[2:]]
    path.write_bytes(b"".join(mixed))
    assert call("verify", "--mixed", str(path))[0] == 0
    assert call("verify", str(path))[0] == 6


def test_verify_reads_standard_input(call, evidence, monkeypatch):
    path, _, _ = evidence
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    assert call("verify", "-")[0] == 0


@pytest.mark.parametrize("arguments", [("--head", "abc"), ("--after", "Z" * 64)])
def test_verify_says_what_a_hash_looks_like(call, evidence, arguments):
    code, _, err = call("verify", str(evidence[0]), *arguments)
    assert code == 2
    assert "64 hexadecimal digits" in err


def test_verify_of_no_file_or_an_empty_one_is_no_success(call, tmp_path):
    assert call("verify", str(tmp_path / "none"))[0] == 2
    (tmp_path / "empty").write_bytes(b"")
    assert call("verify", str(tmp_path / "empty"))[0] == 6


def test_verify_keeps_little_of_a_line_that_never_ends(call, tmp_path):
    path = tmp_path / "zeros"
    path.write_bytes(b"\0" * (3 * chain.LONGEST_LINE))
    assert call("verify", str(path))[0] == 6


@pytest.mark.parametrize("action", ["explain", "report", "verify"])
def test_help_of_every_action_teaches_by_examples_and_lists_exit_codes(call, capsys, action):
    with pytest.raises(SystemExit) as caught:
        call(action, "--help")
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert f"kubectl llama license {action}" in out.split("examples:")[1]
    assert "exit codes:" in out


NEED_A_RECORD = [
    model.id
    for model in catalog.load().models
    if any(family.acceptance_required for family in catalog.load().license_families(model))
]


@pytest.mark.parametrize("model", NEED_A_RECORD)
def test_a_template_is_refused_until_a_person_has_filled_it_in(call, model):
    code, out, err = call("template", model)
    assert code == 0
    assert "Fill in" in err
    assert "no legal advice" in err
    for record in yaml.safe_load_all(out):
        with pytest.raises(InvalidManifestError) as refused:
            parse_as(LicenseAcceptance, record)
        named = {problem.path for problem in refused.value.problems}
        assert {"spec.legalEntity", "spec.acceptedBy", "spec.acceptedOn"} <= named


def filled_in(record):
    record["spec"] |= {"legalEntity": "Acme GmbH", "domicile": "DE", "acceptedBy": "Jo Doe", "acceptedOn": "2026-03-02"}
    if "monthlyActiveUsers" in record["spec"]:
        record["spec"]["monthlyActiveUsers"] |= {"count": 5, "attestedBy": "Jo Doe", "attestedOn": "2026-03-02"}
    record["spec"]["namespaces"] = ["team-a"]
    return record


@pytest.mark.parametrize("model", NEED_A_RECORD)
def test_what_the_advice_names_is_all_that_is_missing(call, model):
    _, out, _ = call("template", model, "-o", "json")
    for record in json.loads(out)["items"]:
        assert parse_as(LicenseAcceptance, filled_in(record)).spec.families


def test_a_template_that_was_filled_in_lets_the_model_run(call, tmp_path):
    _, out, _ = call("template", "llama-3.3-70b-instruct", "-o", "json")
    record = filled_in(json.loads(out)["items"][0])
    deployment = files.read([CHAT]).objects[0]
    deployment["spec"]["license"]["acceptance"] = record["metadata"]["name"]
    path = tmp_path / "all.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [record, deployment]}), encoding="utf-8")
    code, out, _ = call("explain", "-f", str(path))
    assert code == 0, out


def test_a_model_without_such_a_license_needs_no_record(call):
    code, out, err = call("template", "tiny-random-llama")
    assert (code, out) == (0, "")
    assert "no license of it has to be accepted" in err


def test_a_license_that_was_published_in_several_wordings_says_so(call):
    assert "several wordings" in call("template", "llama-4-scout")[2]
    assert "several wordings" not in call("template", "llama-3.3-70b-instruct")[2]


def test_a_template_for_an_unknown_model_names_close_ones_and_says_where_llamamodels_come_from(call):
    code, _, err = call("template", "lama-3.3-70b-instruct")
    assert code == 2
    assert "no model is called lama-3.3-70b-instruct; close: llama-3.3-70b-instruct" in err
    assert "llama-guard" not in err
    code, _, err = call("template", "acme-support")
    assert code == 2
    assert "-f" in err
    assert "--cluster" in err
    assert len(err.splitlines()) == 4
    code, _, err = call("template", "acme-suport", "-f", MODEL)
    assert code == 2
    assert "close: acme-support" in err


def test_a_template_for_a_llamamodel_follows_its_lineage(call, tmp_path):
    code, out, err = call("template", "acme-support", "-f", MODEL, "-o", "json")
    records = json.loads(out)["items"]
    assert code == 0
    assert [record["spec"]["families"] for record in records] == [["llama-3.1"]]
    assert "attributionURL" in err
    assert "begins with Llama" in err
    model = next(documents(MODEL))
    model["spec"]["lineage"]["derivedFrom"].append({"model": "llama-3.3-70b-instruct", "kind": "TrainingOutput"})
    path = tmp_path / "model.json"
    path.write_text(json.dumps(model), encoding="utf-8")
    _, out, _ = call("template", "acme-support", "-f", str(path), "-o", "json")
    assert {record["spec"]["families"][0] for record in json.loads(out)["items"]} == {"llama-3.1", "llama-3.3"}


def test_a_template_for_a_model_of_unknown_origin_says_what_is_missing(call, tmp_path):
    model = next(documents(MODEL))
    model["spec"]["lineage"]["derivedFrom"] = [{"model": "acme-base", "kind": "Finetune"}]
    path = tmp_path / "model.json"
    path.write_text(json.dumps(model), encoding="utf-8")
    code, out, err = call("template", "acme-support", "-f", str(path))
    assert (code, out) == (2, "")
    assert "acme-base" in err
    assert "spec.lineage" in err


def test_a_template_for_a_llamamodel_of_the_cluster(world):
    asyncio.run(world.user.apply(next(documents(MODEL))))
    code, document = world.json("license", "template", "acme-support", "--cluster")
    assert code == 0
    assert [record["spec"]["families"] for record in document["items"]] == [["llama-3.1"]]
    code, _, err = world.run("license", "template", "acme-suport", "--cluster")
    assert code == 2
    assert "close: acme-support" in err
    code, _, err = world.run("license", "template", "acme-support", "--cluster", "-f", MODEL)
    assert code == 2
    assert "leave one of them out" in err


def test_a_template_says_that_a_young_entity_had_no_users(call):
    assert "0 is right for an entity that did not exist then" in call("template", "llama-3.3-70b-instruct")[2]


@pytest.mark.parametrize("model", NEED_A_RECORD)
def test_a_template_that_is_not_filled_in_is_answered_with_what_belongs_where(call, capsys, tmp_path, model):
    _, template, _ = call("template", model)
    path = tmp_path / "accept.yaml"
    path.write_text(template, encoding="utf-8")
    empty = [
        f"spec.{field}"
        for field in ("legalEntity", "domicile", "acceptedBy", "acceptedOn", "namespaces")
    ]  # fmt: skip
    if "monthlyActiveUsers" in template:
        empty += [f"spec.monthlyActiveUsers.{field}" for field in ("count", "attestedBy", "attestedOn")]
    for verb in (["plan"], ["license", "explain"], ["license", "report"]):
        assert main([*verb, "-f", CHAT, "-f", str(path)]) == 2
        err = capsys.readouterr().err
        lines = [line.strip() for line in err.splitlines()]
        for field in empty:
            told = [lines[i + 1 : i + 3] for i, line in enumerate(lines) if line.endswith(field)]
            assert told
            for problem, advice in told:
                assert problem == "is empty"
                assert advice == f"give {WHAT_BELONGS[field]}"
                assert "for example" in advice
        assert "should have" not in err
        assert "None" not in err
