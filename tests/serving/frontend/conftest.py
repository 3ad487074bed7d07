"""What vLLM's frontend does without an engine, found out once for all tests of this folder."""

import pytest

from support.programs import said_by


@pytest.fixture(scope="session")
def found():
    """What the program says."""
    return said_by("support.serving.frontends.real_frontend")
