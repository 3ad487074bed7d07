"""What the desk rests on, without a deployment around it: vLLM's engine, and an actor of Ray that ends and comes back.

Each runs in a process of its own, with its own environment (`support.serving.desks`).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_LOGGING_LEVEL": "ERROR",
}

pytestmark = [pytest.mark.serving, pytest.mark.timeout(900)]


def said_by(module):
    """Run a module and return the JSON of its last line."""
    done = subprocess.run(
        [sys.executable, "-m", module],
        cwd=TESTS,
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_what_is_booked_is_what_the_engine_counts_also_for_requests_that_are_cut_off():
    counted = said_by("support.serving.desks.real_engine")

    assert len(counted) > 10
    for name, one in counted.items():
        booked, engine = one["tally"], one["engine"]
        # The engine reads a prompt for each choice, and the API counts it once.
        assert (booked["prompt"] * one["choices"], booked["output"]) == (engine["prompt"], engine["output"]), name
        assert one["finish_reason"] == ("abort" if "cut off" in name or "leaves" in name else "length"), name
    assert (
        counted["the same prompt again"]["tally"]["cached"] == counted["the same prompt again"]["engine"]["cached"] > 0
    )
    assert counted["shorter than it asked for"]["tally"]["output"] == 10


def test_replicas_share_a_limit_and_a_new_ledger_learns_what_was_spent():
    assert said_by("support.serving.desks.real_ledger") == {
        "secrets": 1,
        "admitted of 50 with a limit of 10": 10,
        "a budget of a new cluster": "known",
        "after its restart": True,
        "more than is left": "day",
        "what is left": True,
    }
