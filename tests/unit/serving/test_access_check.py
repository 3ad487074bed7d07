"""The probe of the access check: the real library and real sockets against a Hub on this machine."""

import json
import os
import socket
import subprocess
import sys

import pytest

from llama_serving import access_check
from llama_serving.contract.hub import AccessVerdict, HubAccess

REPOSITORY = "meta-llama/Llama-3.1-8B-Instruct"
QUESTION = access_check.Question(REPOSITORY, "main", "config.json", "http://127.0.0.1:1")

CASES = [
    ("", HubAccess.TOKEN_MISSING),
    ("hf_unknown", HubAccess.TOKEN_INVALID),
    ("hf_malformed", HubAccess.TOKEN_INVALID),
    ("hf_narrow", HubAccess.TOKEN_INVALID),
    ("hf_stranger", HubAccess.NOT_ACCEPTED),
    ("hf_reset", HubAccess.NOT_ACCEPTED),
    ("hf_waiting", HubAccess.PENDING_REVIEW),
    ("hf_refused", HubAccess.DENIED),
    ("hf_disabled", HubAccess.DENIED),
    ("hf_busy", HubAccess.OFFLINE),
    ("hf_broken", HubAccess.OFFLINE),
    ("hf_accepted", HubAccess.ACCESSIBLE),
]


@pytest.fixture
def run(hub, tmp_path, monkeypatch, capfd):
    """Runs the probe as the pod does; returns exit code and verdict."""
    monkeypatch.setattr(access_check, "_PAUSES", (0, 0))

    def call(token, *more, repository=REPOSITORY, revision="main", endpoint=None):
        monkeypatch.setenv("HF_TOKEN", token)
        log = tmp_path / "termination-log"
        arguments = ["--repository", repository, "--revision", revision, "--endpoint", endpoint or hub.address]
        code = access_check.main([*arguments, "--termination-log", str(log), *more])
        written = log.read_text(encoding="utf-8")
        out, err = capfd.readouterr()
        assert written.count("\n") == 1, "one line"
        assert len(written.encode()) <= 4096, "more would be cut by the kubelet"
        assert not token or token not in written + out + err
        return code, AccessVerdict.model_validate_json(written)

    return call


@pytest.mark.parametrize(("token", "access"), CASES)
def test_every_answer_of_the_gate_gets_its_name(run, token, access):
    code, verdict = run(token)
    assert verdict.access is access
    assert (code == 0) == (access is HubAccess.ACCESSIBLE)
    assert (verdict.repository, verdict.revision) == (REPOSITORY, "main")


def test_the_question_is_the_one_that_a_download_begins_with(run, hub):
    code, verdict = run("hf_accepted", revision=hub.commit)
    assert code == 0
    assert verdict.commit == hub.commit
    assert hub.requests[0] == ("HEAD", f"/{REPOSITORY}/resolve/{hub.commit}/config.json", "hf_accepted")


def test_of_an_adapter_its_own_file_is_asked_for(run, hub):
    code, verdict = run("hf_accepted", "--file", "adapter_config.json", revision=hub.commit)
    assert (code, verdict.access) == (os.EX_NOINPUT, HubAccess.NOT_FOUND)
    assert "no adapter_config.json" in verdict.message
    hub.files.add("adapter_config.json")
    assert run("hf_accepted", "--file", "adapter_config.json", revision=hub.commit)[0] == 0
    assert run("hf_stranger", "--file", "adapter_config.json")[1].access is HubAccess.NOT_ACCEPTED


def test_the_hub_is_quoted(run):
    _, verdict = run("hf_waiting")
    assert "awaiting a review" in verdict.message


@pytest.mark.parametrize("where", [{"repository": "meta-llama/Llama-9"}, {"revision": "0" * 40}])
def test_what_is_not_there_is_not_found(run, where):
    code, verdict = run("hf_accepted", **where)
    assert verdict.access is HubAccess.NOT_FOUND
    assert code == os.EX_NOINPUT


def test_a_repository_without_a_checkpoint_is_not_found(run, hub):
    hub.files.clear()
    _, verdict = run("hf_accepted")
    assert verdict.access is HubAccess.NOT_FOUND
    assert "config.json" in verdict.message


def test_without_a_token_a_repository_that_is_not_there_looks_gated(run):
    assert run("", repository="meta-llama/Llama-9")[1].access is HubAccess.TOKEN_MISSING


def test_a_line_end_after_the_token_is_no_part_of_it(run, hub, monkeypatch):
    assert run("hf_accepted")[0] == 0
    monkeypatch.setenv("HF_TOKEN", "hf_accepted\n")
    assert (
        access_check.main(["--repository", REPOSITORY, "--endpoint", hub.address, "--termination-log", os.devnull]) == 0
    )


def test_a_hub_that_stumbles_is_asked_again(run, hub):
    hub.script = [503, 429]
    assert run("hf_accepted")[1].access is HubAccess.ACCESSIBLE
    assert sum(method == "HEAD" for method, _, _ in hub.requests) == 3


def test_a_hub_that_is_down_is_asked_a_few_times_at_most(run, hub):
    code, verdict = run("hf_broken")
    assert (code, verdict.access) == (os.EX_TEMPFAIL, HubAccess.OFFLINE)
    assert sum(method == "HEAD" for method, _, _ in hub.requests) == 3
    assert "503" in verdict.message


def test_a_clear_answer_is_taken_the_first_time(run, hub):
    run("hf_stranger")
    assert len(hub.requests) == 1


@pytest.mark.parametrize("endpoint", ["http://hub.invalid", None])
def test_no_network_is_offline(run, endpoint):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        found = endpoint or f"http://127.0.0.1:{closed.getsockname()[1]}"
        code, verdict = run("hf_accepted", endpoint=found)
    assert (code, verdict.access) == (os.EX_TEMPFAIL, HubAccess.OFFLINE)
    assert "Error" in verdict.message


def test_a_token_that_is_echoed_is_not_passed_on(run, hub, monkeypatch):
    echo = access_check.Answer(403, "GatedRepo", "no access for hf_stranger at all")
    verdict = access_check.check(QUESTION, "hf_stranger", ask=lambda *_: echo)
    assert "hf_stranger" not in verdict.model_dump_json()


def test_a_long_answer_stays_within_the_kubelets_limit(hub):
    chatty = access_check.Answer(403, "GatedRepo", 'ü"\n' * 10_000)
    verdict = access_check.check(QUESTION, "hf_x", ask=lambda *_: chatty)
    assert len(verdict.model_dump_json().encode()) < 4096


def as_the_pod(hub, tmp_path, **environment):
    log = tmp_path / "log"
    command = [sys.executable, "-m", "llama_serving.preflight", "--repository", REPOSITORY, "--revision", "main"]
    done = subprocess.run(
        [*command, "--endpoint", hub.address, "--termination-log", str(log)],
        env={**os.environ, "HF_HOME": "/nonexistent", **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done, json.loads(log.read_text())


def test_it_runs_as_the_pod_runs_it(hub, tmp_path):
    done, verdict = as_the_pod(hub, tmp_path, HF_TOKEN="hf_waiting")
    assert done.returncode == os.EX_NOPERM, done.stderr
    assert verdict["access"] == "PendingReview"
    assert json.loads(done.stdout) == verdict
    assert "hf_waiting" not in done.stdout + done.stderr


def test_a_token_elsewhere_on_the_machine_is_not_used(hub, tmp_path):
    (tmp_path / "token").write_text("hf_accepted")
    _, verdict = as_the_pod(hub, tmp_path, HF_TOKEN="", HF_TOKEN_PATH=str(tmp_path / "token"))
    assert verdict["access"] == "TokenMissing"
    assert {token for _, _, token in hub.requests} == {""}


def test_the_library_that_downloads_reads_the_token_where_pods_have_it(tmp_path):
    """Ray pods get the token as a file; `desired.pods` says where by this variable."""
    (tmp_path / "token").write_text("hf_accepted\n")
    code = "import huggingface_hub; print(huggingface_hub.get_token())"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING_FACE"))}
    for path, token in ((tmp_path / "token", "hf_accepted"), (tmp_path / "none", "None")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**kept, "HF_TOKEN_PATH": str(path)}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.strip() == token
