"""Options and fixtures that more than one kind of test needs."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import hypothesis
import pytest

from llama_operator import catalog

ROOT = Path(__file__).resolve().parents[1]
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)

# How long an example takes on a busy machine says nothing about the code.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files")


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture
def now():
    return NOW


@pytest.fixture(scope="session")
def known():
    return catalog.load()


@pytest.fixture(scope="session")
def kuberay_crds():
    """Folder with KubeRay's own CRDs; the tool that `make test` runs first finds or fetches them."""
    tool = [sys.executable, str(ROOT / "tools" / "kuberay_crds.py")]
    done = subprocess.run(tool, cwd=ROOT, capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())
