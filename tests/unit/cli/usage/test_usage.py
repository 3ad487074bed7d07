"""`kubectl llama usage`: every request counts once, for its tenant and model, and what cannot be read is said."""

import gzip
import io
import json
import sys
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from llama_operator.cli.main import main
from llama_operator.cli.usage.command import UsageOptions, window
from llama_operator.errors import InvalidManifestError
from llama_serving.contract.status import DeploymentIdentity
from llama_serving.contract.usage import Dialect, Usage, UsageEvent, usage_source

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
CHAT = DeploymentIdentity(namespace="team-a", name="chat", revision="chat-1")


def line(number, *, tenant="acme", time=NOW, identity=CHAT, **data):
    used = {
        "started": time - timedelta(seconds=2),
        "model": "llama-3.3-70b-instruct",
        "dialect": Dialect.CHAT,
        "status": 200,
        "finish_reason": "stop",
        "prompt_tokens": 100,
        "output_tokens": 10,
    } | data
    event = UsageEvent(
        source=usage_source(identity), id=f"request-{number}", subject=tenant, time=time, data=Usage(**used)
    )
    return event.model_dump_json()


@pytest.fixture
def usage(tmp_path, capsys):
    """Runs the command on files with lines; -o json unless said otherwise."""

    def run(*files, options=(), form="json", words=()):
        paths = []
        for number, lines in enumerate(files):
            path = tmp_path / f"{number}.jsonl"
            path.write_bytes(b"".join((text if isinstance(text, bytes) else text.encode()) + b"\n" for text in lines))
            paths += ["-f", str(path)]
        code = main(["usage", *words, *paths, *options, "-o", form])
        out, err = capsys.readouterr()
        return (code, json.loads(out), err) if form == "json" and out else (code, out, err)

    return run


def test_requests_are_summed_by_deployment_tenant_and_model(usage):
    code, found, _ = usage(
        [
            line(1),
            line(2, cached_tokens=64),
            line(3, tenant="globex"),
            line(4, adapter="acme-support", prompt_tokens=7),
            line(5, identity=DeploymentIdentity(namespace="team-b", name="chat", revision="x")),
        ]
    )
    assert code == 0
    rows = {
        (row["namespace"], row["tenant"], row["model"]): (
            row["requests"], row["promptTokens"], row["cachedTokens"], row["outputTokens"],
        )
        for row in found["items"]
    }  # fmt: skip
    assert rows == {
        ("team-a", "acme", "llama-3.3-70b-instruct"): (2, 200, 64, 20),
        ("team-a", "globex", "llama-3.3-70b-instruct"): (1, 100, 0, 10),
        ("team-a", "acme", "acme-support"): (1, 7, 0, 10),
        ("team-b", "acme", "llama-3.3-70b-instruct"): (1, 100, 0, 10),
    }
    total = found["total"]
    assert (total["requests"], total["promptTokens"], total["outputTokens"], total["usdMicros"]) == (5, 407, 50, None)


def test_how_requests_ended_is_counted(usage):
    _, found, _ = usage(
        [
            line(1),
            line(2, status=200, finish_reason="abort"),
            line(3, status=499, finish_reason=None, prompt_tokens=0, output_tokens=0),
            line(4, status=429, finish_reason=None, prompt_tokens=0, output_tokens=0),
            line(5, status=400, finish_reason=None, prompt_tokens=0, output_tokens=0),
            line(6, status=500, finish_reason=None, output_tokens=3),
        ]
    )
    total = found["total"]
    assert (total["requests"], total["aborted"], total["refused"], total["failed"]) == (6, 2, 2, 1)
    assert total["outputTokens"] == 23


def test_a_line_that_is_read_twice_counts_once_but_not_that_of_another_deployment(usage):
    other = DeploymentIdentity(namespace="team-a", name="code", revision="x")
    _, found, _ = usage([line(1), line(1), line(2)], [line(2), line(1, identity=other)])
    assert found["total"]["requests"] == 3
    assert found["lines"]["duplicates"] == 2


def test_what_cannot_be_read_is_counted_and_said(usage):
    whole = line(1)
    naive = line(2).replace("2026-03-02T09:30:00Z", "2026-03-02T09:30:00")
    lines = [
        whole,
        whole[:-9],
        whole.replace('"prompt_tokens":100', '"prompt_tokens":-100'),
        whole.replace("usage.v1", "usage.v2"),
        naive,
        b"\xff" + whole.encode()[:40] + b"\xff",
        "INFO 2026-03-02 serve: GET /v1/models 200",
        "",
        "[" * 10_000 + "io.llama-operator.usage.v1",
        "x" * 200_000,
    ]
    code, found, _ = usage(lines)
    assert code == 0
    assert found["total"]["requests"] == 1
    counts = found["lines"]
    assert (counts["read"], counts["unreadable"], counts["otherLogs"]) == (9, 4, 4)
    assert [place.rpartition(":")[2] for place in counts["unreadableAt"]] == ["2", "3", "5", "9"]
    _, out, _ = usage(lines, form="table")
    assert "4 lines cannot be read and are missing in the sums" in out
    assert "4 of other logs" in out


def test_a_later_version_may_add_fields_and_a_log_a_prefix(usage):
    newer = json.dumps(json.loads(line(1)) | {"region": "eu", "data": json.loads(line(1))["data"] | {"watts": 3}})
    _, found, _ = usage([newer, f"[pod/chat-worker-1/{{ray-worker}}] 2026-03-02T09:30:01Z {line(2)}"])
    assert (found["total"]["requests"], found["lines"]["unreadable"]) == (2, 0)
    by_name = json.dumps(json.loads(line(3)), sort_keys=True)
    _, found, _ = usage([by_name, f"chat-worker-1 {by_name}"])
    assert (found["total"]["requests"], found["lines"]["duplicates"]) == (1, 1)


@pytest.mark.parametrize(
    ("glued", "requests", "unreadable"),
    [
        (line(1)[:20] + line(2), 1, 1),
        (line(1)[:150] + line(2), 1, 1),
        (line(1)[:-1] + line(2), 1, 1),
        (line(1) + line(2), 2, 0),
        (line(1) + line(2) + line(3)[:150], 2, 1),
        (line(1)[150:] + line(2), 1, 0),
        (line(1)[20:] + line(2), 1, 1),
    ],
)
def test_half_of_a_line_before_a_whole_one_costs_only_itself(usage, glued, requests, unreadable):
    """As `cat` puts the files of a replica that was killed before those of another one."""
    _, found, _ = usage([line(8), glued, line(9)])
    assert (found["total"]["requests"], found["lines"]["unreadable"]) == (2 + requests, unreadable)


@pytest.mark.parametrize(
    ("words", "options", "requests"),
    [
        (["chat"], [], 4),
        (["chat"], ["-n", "team-a"], 3),
        ([], ["-n", "team-b"], 1),
        (["code"], [], 0),
        ([], ["--tenant", "globex"], 1),
        ([], ["--since", "2026-03-02"], 3),
        ([], ["--since", "2026-03-02T09:30:00Z"], 3),
        ([], ["--since", "2026-03-02T10:30:01+01:00"], 1),
        ([], ["--month", "2026-02"], 1),
        ([], ["--month", "2026-03"], 3),
        ([], ["--month", "2026-04"], 0),
    ],
)
def test_only_what_is_asked_for_counts(usage, words, options, requests):
    other = DeploymentIdentity(namespace="team-b", name="chat", revision="x")
    lines = [
        line(1),
        line(2, time=datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC)),
        line(3, tenant="globex", identity=other),
        line(4, time=datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC)),
    ]
    code, found, _ = usage(lines, words=words, options=options)
    assert code == 0
    assert found["total"]["requests"] == requests
    assert found["lines"]["notChosen"] == 4 - requests


@pytest.mark.parametrize(
    ("options", "since", "until"),
    [
        ({}, None, None),
        ({"since": "24h"}, NOW - timedelta(hours=24), None),
        ({"since": "2w"}, NOW - timedelta(days=14), None),
        ({"month": "now"}, datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)),
        ({"month": "2024-02"}, datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)),
        ({"month": "2026-12"}, datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
    ],
)
def test_times_are_understood(options, since, until):
    assert window(UsageOptions([], **options), NOW) == (since, until)


@pytest.mark.parametrize(
    "options", [{"since": "yesterday"}, {"since": "24"}, {"month": "2026-13"}, {"month": "0000-01"}, {"month": "March"}]
)
def test_what_is_no_time_is_refused(options):
    (name,) = options
    with pytest.raises(InvalidManifestError, match=f"--{name}"):
        window(UsageOptions([], **options), NOW)


def test_prices_of_the_command_line(usage):
    options = ["--price-per-million-input", "0.60", "--price-per-million-output", "2.40"]
    lines = [line(1, prompt_tokens=1_000_000, cached_tokens=400_000, output_tokens=250_000), line(2, tenant="globex")]
    _, found, _ = usage(lines, options=options)
    assert [row["usdMicros"] for row in found["items"]] == [1_200_000, 84]
    assert found["prices"]["usdMicrosPerMillionCached"] == 600_000
    _, found, _ = usage(lines, options=[*options, "--price-per-million-cached", "0.06"])
    assert found["items"][0]["usdMicros"] == 360_000 + 24_000 + 600_000
    _, found, _ = usage(lines, options=[*options, "--price-per-million-cached", "0"])
    assert found["items"][0]["usdMicros"] == 360_000 + 600_000
    _, out, _ = usage(lines, options=options, form="table")
    for words in ("1.2000", "0.0001", "1.2001", "2.4000 of answers", "globex", "all"):
        assert words in out


def test_many_small_requests_are_rounded_once(usage):
    options = ["--price-per-million-input", "0.000001", "--price-per-million-output", "0.000001"]
    _, found, _ = usage([line(number) for number in range(100)], options=options)
    assert found["total"]["usdMicros"] == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--price-per-million-input", "1"], "--price-per-million-output"),
        (["--price-per-million-cached", "1"], "--price-per-million-input"),
        (["--price-per-million-input", "x", "--price-per-million-output", "1"], "--price-per-million-input"),
        (["--price-per-million-input", "1", "--price-per-million-output", "-1"], "--price-per-million-output"),
        (["--manifest", "m.yaml", "--price-per-million-input", "1"], "leave one of them out"),
        (["--prices", "ours.yaml"], "--manifest"),
        (["--since", "soon"], "--since"),
        (["--month", "soon"], "--month"),
        (["-f", "missing.jsonl"], "missing.jsonl"),
    ],
)
def test_what_cannot_be_used_is_named(usage, options, words):
    code, out, err = usage([line(1)], options=options)
    assert (code, out) == (2, "")
    assert words in err


def test_tokens_cost_what_the_plan_of_a_manifest_says(usage, tmp_path, capsys):
    manifest, prices = tmp_path / "chat.yaml", tmp_path / "prices.yaml"
    spec = {
        "model": {"name": "llama-3.3-70b-instruct", "precision": "FP8"},
        "context": {"maxModelLength": 8192},
        "hardware": {"accelerator": "H100-80GB"},
        "scaling": {"minReplicas": 0, "maxReplicas": 4},
        "license": {"acceptance": "acme", "attributionURL": "https://acme.example/about"},
    }
    obj = {"apiVersion": "llama-operator.io/v1alpha1", "kind": "LlamaDeployment", "metadata": {"name": "chat"}}
    manifest.write_text(yaml.safe_dump(obj | {"spec": spec}), encoding="utf-8")
    prices.write_text("basis: our contract\nusdPerGPUHour: {H100-80GB: 2.1}", encoding="utf-8")
    by = ["--manifest", str(manifest), "--prices", str(prices)]
    _, found, _ = usage([line(1, prompt_tokens=600_000, output_tokens=400_000)], options=by)
    assert main(["cost", "-f", str(manifest), "--prices", str(prices), "-o", "json"]) == 0
    scenario = json.loads(capsys.readouterr().out)["scenarios"][-1]
    assert found["total"]["usdMicros"] == scenario["usdMicrosPerMillionTokens"] > 0
    assert "our contract" in found["prices"]["basis"]
    spec["hardware"]["maxGPUs"] = 1
    spec["model"]["precision"] = "BF16"
    manifest.write_text(yaml.safe_dump(obj | {"spec": spec}), encoding="utf-8")
    code, _, err = usage([line(1)], options=by)
    assert code == 2
    assert str(manifest) in err


def test_a_folder_stands_for_the_files_of_the_log_in_it(tmp_path, capsys):
    for pod in ("chat-1", "chat-2"):
        (tmp_path / pod).mkdir()
        path = tmp_path / pod / "llama-usage-LLMServer_a-000001.jsonl"
        path.write_text(line(pod) + "\n", encoding="utf-8")
        (tmp_path / pod / "serve.log").write_text("not read\n", encoding="utf-8")
    assert main(["usage", "-f", str(tmp_path), "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["total"]["requests"], found["lines"]["otherLogs"]) == (2, 0)
    (tmp_path / "empty").mkdir()
    assert main(["usage", "-f", str(tmp_path / "empty")]) == 2
    assert "llama-usage-*.jsonl" in capsys.readouterr().err


def test_a_log_that_was_rotated_may_be_packed(tmp_path, capsys):
    (tmp_path / "llama-usage-a-000001.jsonl.gz").write_bytes(gzip.compress(f"{line(1)}\n{line(2)}\n".encode()))
    (tmp_path / "llama-usage-a-000002.jsonl").write_text(line(3) + "\n", encoding="utf-8")
    assert main(["usage", "-f", str(tmp_path), "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"]["requests"] == 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(line(1).encode())[:-40], "cannot be read"),
        (b"\x1f\x8bnothing", "cannot be read"),
        # As `>` of PowerShell writes it.
        (line(1).encode("utf-16"), "Out-File -Encoding utf8"),
    ],
    ids=["cut off", "no pack", "UTF-16"],
)
def test_a_file_in_another_form_is_named(tmp_path, capsys, content, said):
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    assert main(["usage", "-f", str(path)]) == 2
    told = capsys.readouterr().err
    assert str(path) in told
    assert said in told


class Input:
    def __init__(self, content):
        self.buffer = io.BytesIO(content)


def test_lines_come_from_standard_input(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Input(f"{line(1)}\n{line(2)}".encode()))
    assert main(["usage", "chat", "-f", "-", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"]["requests"] == 2


def test_names_of_others_cannot_act_on_a_terminal(usage):
    written = line(1, adapter="[bold]x").replace('"subject":"acme"', '"subject":"\\u001b[31mred"')
    _, out, _ = usage([written], form="table")
    assert "\x1b" not in out
    assert "\\x1b[31mred" in out
    assert "[bold]x" in out


def test_an_empty_log_is_no_error(usage):
    code, out, _ = usage([], form="table")
    assert code == 0
    assert "no request is in the log" in out
