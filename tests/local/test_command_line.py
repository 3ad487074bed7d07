"""`kubectl llama run` as a user meets it: a real model answers, and nothing is left however it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "manifests" / "samples" / "tiny-cpu.yaml"
MARKER = "LLAMA_OPERATOR_LOCAL_RUN"
PATIENCE_SECONDS = 600

pytestmark = pytest.mark.serving


@pytest.fixture
def start(tmp_path):
    """Start the command line with a cache of its own, and end what a failed test would leave."""
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONUNBUFFERED": "1"}
    started = []

    def run(*arguments):
        command = [sys.executable, "-m", "llama_operator.cli.main", "run", "-f", str(SAMPLE), *arguments]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=180)
        process.stdout.close()


def mine(tmp_path):
    """Processes of the local runs of this test: they carry its cache folder in their environment."""
    found = []
    for candidate in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            environment = candidate.environ()
            if MARKER in environment and environment.get("XDG_CACHE_HOME") == str(tmp_path / "cache"):
                found.append(candidate.pid)
    return found


def wait_for_line(process, words):
    """Read the output up to a line with `words`; the whole output so far is the error message."""
    seen, deadline = [], time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        line = process.stdout.readline()
        if not line:
            break
        seen.append(line)
        if words in line:
            return "".join(seen)
    raise AssertionError(f"{words!r} never came:\n{''.join(seen)}")


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_once_prints_the_answer_and_the_status_and_leaves_nothing(start, tmp_path):
    """Nightly: `make demo` asks a real engine the same way, and the runtime has its tests in `test_one_cluster`."""
    process = start("--once", "Hello")
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, output
    assert re.search(r"serves at http://127\.0\.0\.1:\d+/v1", output), output
    assert "1/1" in output
    assert "Ready" in output
    assert mine(tmp_path) == []


@pytest.mark.timeout(1800)
def test_ctrl_c_while_it_starts_leaves_nothing(start, tmp_path):
    process = start()
    wait_for_line(process, "submitting the Serve config")
    assert mine(tmp_path)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 130, output
    assert mine(tmp_path) == []


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_what_a_killed_run_left_is_ended_by_the_next_start(start, tmp_path):
    """Nightly: the runtime below is asked the same in `test_one_cluster`, with a run that goes on beside it."""
    killed = start()
    wait_for_line(killed, "submitting the Serve config")
    killed.kill()
    killed.wait(timeout=180)
    left = set(mine(tmp_path))
    assert left, "Ray outlives its owner"
    following = start()
    wait_for_line(following, "killed run")
    assert not left & set(mine(tmp_path))
    following.send_signal(signal.SIGINT)
    following.communicate(timeout=180)
    assert mine(tmp_path) == []


def test_a_port_that_is_taken_is_told_at_once(start, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        process = start("--port", str(other.getsockname()[1]))
        output, _ = process.communicate(timeout=180)
    assert process.returncode == 1, output
    assert "is in use" in output
    assert mine(tmp_path) == []


def test_a_manifest_for_gpus_is_refused_before_anything_starts():
    path = ROOT / "manifests" / "samples" / "llama-3.3-70b-fp8-h100.yaml"
    acceptance = ROOT / "manifests" / "samples" / "license-acceptance.yaml"
    command = [sys.executable, "-m", "llama_operator.cli.main", "run", "-f", str(path)]
    without = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert without.returncode == 4
    assert "AcceptanceNotFound" in without.stderr
    accepted = subprocess.run([*command, "-f", str(acceptance)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert accepted.returncode == 3
    assert "set spec.hardware.accelerator to CPU" in accepted.stderr
