"""Engines start from a verified copy, offline, while the Hub that it came from is gone; all tests of this folder use it."""

import pytest

from llama_serving.contract.guard import GuardMode, GuardSettings
from llama_serving.contract.tenants import DeskSettings

pytestmark = [pytest.mark.serving, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def served(deploy, equipped):
    """It runs."""
    return deploy(equipped, desk=DeskSettings(adapters=(), guard=GuardSettings(mode=GuardMode.LOG)))


def test_two_engines_serve_from_one_copy_and_no_byte_comes_from_the_hub_again(served, copied, hub_of_weights):
    assert served.greedy("A llama is", 8)
    assert {served.config.source.location, served.config.guard.source.location} == {str(copied)}
    downloads = hub_of_weights.downloads
    assert sorted(downloads) == sorted(set(downloads)), "each file once, for the model and its guard"
