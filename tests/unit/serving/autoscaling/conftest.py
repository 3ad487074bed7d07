"""What all tests of the policy need."""

import pytest

from llama_serving.autoscaling.ray_serve.keeping import Keeper


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """What is written is written at once."""
    monkeypatch.setattr(Keeper.__init__, "__defaults__", (lambda job: job(),))
