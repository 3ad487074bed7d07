"""Tests on one control plane build on those before them: no worker may take a part of their file."""

import pytest
from xdist.remote import Producer

from stages.table import STAGES


@pytest.fixture
def tests_module(request):
    """The conftest of all tests."""
    return next(p for p in request.config.pluginmanager.get_plugins() if hasattr(p, "ByPlane"))


def of_dist(pytestconfig, dist, tests_module, monkeypatch):
    monkeypatch.setattr(pytestconfig.option, "dist", dist, raising=False)
    monkeypatch.setattr(pytestconfig.option, "tx", ["2*popen"], raising=False)
    return tests_module.pytest_xdist_make_scheduler(pytestconfig, Producer("test", enabled=False))


@pytest.mark.parametrize("dist", ["load", "loadfile", "loadscope", "loadgroup"])
def test_files_of_one_plane_stay_together(dist, pytestconfig, tests_module, monkeypatch):
    scheduler = of_dist(pytestconfig, dist, tests_module, monkeypatch)
    part = scheduler._split_scope
    assert part("tests/chart/test_release.py::test_a") == part("tests/chart/test_release.py::test_b")
    assert part("tests/chart/test_release.py::test_a") == part("tests/chart/installed/test_operator.py::test_c")
    assert part("tests/contract/test_twin.py::test_a") == part("tests/contract/test_status.py::test_c")
    assert part("tests/control_plane/test_a.py::test_a") == part("tests/control_plane/test_a.py::test_b")
    assert part("tests/control_plane/test_a.py::test_a") != part("tests/control_plane/test_b.py::test_a")


def test_only_tests_without_a_plane_are_split_by_test():
    split = {stage.name for stage in STAGES if "worksteal" in stage.command}
    assert split == {"fast"}
    assert all("--dist" in stage.command for stage in STAGES if "-n" in stage.command)
