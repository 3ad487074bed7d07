"""Options and fixtures that more than one kind of test needs."""

import gc
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import hypothesis
import pytest
import yaml
from xdist.scheduler import LoadFileScheduling

from llama_operator import catalog

ROOT = Path(__file__).resolve().parents[1]
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)

# How long an example takes on a busy machine says nothing about the code; and a run that fails, fails again.
hypothesis.settings.register_profile("patient", deadline=None, derandomize=True)
hypothesis.settings.load_profile("patient")


# What `safe_load` takes: the loader in C reads the same in a tenth of the time, and tests read some thousand manifests.
yaml.SafeLoader = yaml.CSafeLoader


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files")


ON_A_BARE_PLANE = ("contract", "chart")
"""Folders whose tests share a control plane of their own: one worker runs all tests of a folder.

In this order, should one worker run both: modules of `chart` leave admission policies and definitions behind for a moment.
"""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: [folder in item.path.parts for folder in ON_A_BARE_PLANE], reverse=True)


def pytest_collection_finish():
    """Sixteen thousand tests are a million objects that live to the end: nobody shall look through them again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 10)


class ByPlane(LoadFileScheduling):
    """Gives each worker whole files, and whole folders of tests that share a control plane."""

    def _split_scope(self, nodeid):
        shared = (folder for folder in ON_A_BARE_PLANE if nodeid.startswith(f"tests/{folder}/"))
        return next(shared, super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Files in parts only if they are asked for (`worksteal`): tests on a plane build on those before them."""
    return None if config.getvalue("dist") == "worksteal" else ByPlane(config, log)


@pytest.fixture(scope="session")
def bare_server(tmp_path_factory):
    """A control plane with our CRDs and KubeRay's, and nobody who acts on them; without nodes.

    With the CRDs from the start: a garbage collector learns of kinds that come later after half a minute.
    """
    saved_planes = pytest.importorskip("control_plane.saved_planes", reason="needs a control plane: make control-plane")
    with saved_planes.control_plane(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def now():
    return NOW


@pytest.fixture(scope="session")
def known():
    return catalog.load()


@pytest.fixture(scope="session")
def kuberay_crds():
    """Folder with KubeRay's own CRDs; the tool that `make test` runs first finds or fetches them."""
    return _folder_of("kuberay_crds")


@pytest.fixture(scope="session")
def gateway_crds():
    """Folder with the CRDs of Gateway API that we use, of the same kind."""
    return _folder_of("gateway_crds")


def _folder_of(tool):
    command = [sys.executable, str(ROOT / "tools" / f"{tool}.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())
