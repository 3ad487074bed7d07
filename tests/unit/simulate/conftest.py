"""A small engine of round figures, and the 70B of the bench."""

from pathlib import Path

import pytest

from llama_operator import catalog
from llama_operator.cli.shared import files
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed
from llama_operator.simulate.cold_start import ColdStart
from llama_operator.simulate.deployment import Choices, setup_of
from llama_operator.simulate.engine import EngineLimits
from llama_operator.simulate.router import PathLimits
from llama_operator.simulate.run import Setup
from llama_operator.simulate.step_time import StepTime

MANIFEST = Path(__file__).parents[3] / "tools" / "bench" / "autoscaling" / "autoscaling.yaml"


@pytest.fixture
def tiny():
    """A setup whose steps take 10 ms and a little for each token."""

    def make(*, kv_tokens=4000, max_num_seqs=8, most_tokens=512, path="Direct", cold_start=30.0, **others):
        speed = StepTime(
            by_tokens=tuple(0.01 + 1e-5 * tokens for tokens in range(most_tokens + 1)),
            per_pair=1e-8,
            per_cached_token=1e-7,
            work_per_token=1e-5,
        )
        values = {
            "speed": speed,
            "engine": EngineLimits(kv_tokens, max_num_seqs),
            "limits": PathLimits(path, max_num_seqs + 4 if path == "Ingress" else 100_000, 10_000),
            "bounds": (1, 40),
            "cold_start": ColdStart((cold_start,)),
        }
        return Setup(**values | others)

    return make


@pytest.fixture(scope="session")
def planned():
    """The deployment of the bench: its manifest, and a function from choices to a setup."""
    manifests = files.read([str(MANIFEST)])
    decision = decide(Observed(manifests.deployment, acceptances=manifests.acceptances or None), catalog.load())
    spec = manifests.deployment.spec
    return lambda **choices: setup_of(spec, decision, decision.plan.chosen, Choices(**choices))
