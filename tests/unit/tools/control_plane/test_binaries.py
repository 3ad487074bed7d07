"""Editions of Kubernetes: each has its own folder and its own pins; what all tests run on is not touched by them."""

import re

import pytest

from control_plane import binaries
from stages.table import MATRIX


@pytest.fixture
def of_edition(monkeypatch):
    def choose(name):
        monkeypatch.setenv(binaries.EDITION, name)
        return binaries.folder()

    return choose


def test_the_usual_edition_is_the_one_that_all_tests_run_on(of_edition, monkeypatch):
    usual = of_edition("1.36")
    monkeypatch.delenv(binaries.EDITION)
    assert binaries.folder() == usual


def test_each_edition_has_a_folder_of_its_own(of_edition):
    assert len({of_edition(name) for name in binaries.EDITIONS}) == len(binaries.EDITIONS)


def test_an_unknown_edition_is_told(of_edition):
    with pytest.raises(binaries.BuildError, match=r"1\.12: there is no such edition; there are 1\.35, 1\.36, 1\.37"):
        of_edition("1.12")


@pytest.mark.parametrize("edition", sorted(set(binaries.EDITIONS) - {"1.36"}))
def test_the_pins_of_an_edition_are_all_of_its_version(edition):
    version = binaries.EDITIONS[edition]
    pins = (binaries.EDITION_MODULES / edition / "go.mod").read_text(encoding="utf-8")
    assert f"k8s.io/kubernetes v{version}" in pins
    staged = set(re.findall(r"^\tk8s\.io/\S+ => k8s\.io/\S+ (\S+)$", pins, re.MULTILINE))
    assert staged == {f"v0.{version.removeprefix('1.')}"}


def test_the_matrix_has_a_stage_for_each_edition():
    assert {f"kubernetes-{name}" for name in binaries.EDITIONS} <= {stage.name for stage in MATRIX}


def test_what_only_a_few_tests_run_has_a_folder_of_its_own():
    apart = {name: binaries.apart_folder(name) for name in binaries.APART}
    assert len({*apart.values(), binaries.folder()}) == len(apart) + 1
    for name, folder in apart.items():
        assert folder.name.startswith(f"{name}-")
        assert {program.module for program in binaries.APART[name].programs.values()} == {name}


def test_a_new_group_apart_builds_nothing_else_again(monkeypatch, tmp_path):
    before = binaries.folder()
    (tmp_path / "kueue").mkdir()
    (tmp_path / "kueue" / "go.mod").write_text("module other\n")
    old = binaries.apart_folder("kueue")
    monkeypatch.setattr(binaries, "APART_MODULES", tmp_path)
    assert binaries.apart_folder("kueue") != old
    assert binaries.folder() == before
