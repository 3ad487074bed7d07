"""The claim: room, rights, and what is left after an erase."""

import os
import subprocess
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from llama_serving.contract.weights import ENGINES_FOLDER, CopyOutcome
from llama_serving.weights import claim
from llama_serving.weights.claim import Claim
from llama_serving.weights.errors import CopyError
from support.model_hub import hub
from support.serving.weight_copies import ID, NAME, Copier

SHARD = "model-00001-of-00004.safetensors"
GB = 10**9


@pytest.fixture
def mounted(tmp_path):
    """Mounts a file system of some size in memory; gives a copier on it."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    folders = []

    def call(options):
        folder = tmp_path / f"volume-{len(folders)}"
        folder.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=False).returncode:
            pytest.skip("this machine lets nobody mount")
        folders.append(folder)
        return Copier(folder, tmp_path)

    yield call
    for folder in folders:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_claim_that_is_too_small_is_told_before_weights_come(mounted, files):
    copier = mounted("size=1m")
    with hub(NAME, files) as (endpoint, repository):
        ended = copier.run(copier.request(endpoint))
    assert (ended.verdict.verdict, ended.code) == (CopyOutcome.NO_SPACE, 3), ended.log
    assert "it needs" in ended.verdict.message
    assert SHARD not in repository.downloads


def test_a_claim_that_fills_up_meanwhile_is_told_too(mounted, files):
    # One that tells more room than it has: files count as well as bytes.
    copier = mounted("size=100m,nr_inodes=12")
    with hub(NAME, files) as (endpoint, _):
        ended = copier.run(copier.request(endpoint))
    assert (ended.verdict.verdict, ended.code) == (CopyOutcome.NO_SPACE, 3), ended.log
    assert not copier.is_complete()


def test_a_read_only_claim_is_told(mounted, files):
    copier = mounted("size=1m,ro")
    ended = copier.run(copier.request("http://127.0.0.1:9"))
    assert (ended.verdict.verdict, ended.code) == (CopyOutcome.NOT_WRITABLE, 3), ended.log
    assert "read-only" in ended.verdict.message


def test_a_root_that_belongs_to_others_is_told_with_what_to_do(tmp_path, monkeypatch):
    place = Claim(tmp_path, ID)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CopyError, match="fsGroupPolicy") as refused, claim.locked(place, lambda: None):
        pass
    assert refused.value.outcome is CopyOutcome.NOT_WRITABLE


@pytest.mark.parametrize(("free", "size", "fits"), [(100, 200, True), (40, 200, False), (0, 0, True), (50, 200, False)])
def test_room_is_asked_for_with_some_slack_and_a_file_system_without_a_size_is_trusted(tmp_path, free, size, fits):
    def statvfs(_):
        return SimpleNamespace(f_bavail=free * GB, f_blocks=size * GB, f_frsize=1)

    refusal = nullcontext() if fits else pytest.raises(CopyError, match=r"50\.0 GB are still to be copied")
    with refusal:
        claim.check_room(Claim(tmp_path, ID), 50 * GB, statvfs)


def test_an_erase_leaves_no_byte_of_it_and_all_of_others(copier, files):
    other = copier.claim / "fedcba9876543210"
    other.mkdir()
    (other / "config.json").write_text("{}")
    with hub(NAME, files) as (endpoint, _):
        request = copier.request(endpoint)
        made = copier.run(request)
    (copier.partial / ".work").mkdir(parents=True)
    (copier.partial / ".work" / "leftover").write_bytes(b"12345")
    erased = copier.run(request, "erase")
    assert (erased.verdict.verdict, erased.code) == (CopyOutcome.ERASED, 0), erased.log
    assert {path.name for path in copier.claim.iterdir()} == {ENGINES_FOLDER, other.name, "lost+found"}
    # Beside the copy: its manifest and mark, and what was in the making.
    assert erased.verdict.files == made.verdict.files + 2
    assert erased.verdict.bytes > made.verdict.bytes + 5
    again = copier.run(request, "erase")
    assert (again.code, again.verdict.files) == (0, 0)


def test_an_erase_waits_for_who_works_on_the_copy(copier, tmp_path):
    place = Claim(copier.claim, ID)
    (place.partial).mkdir()
    request = copier.request("http://127.0.0.1:9")
    with claim.locked(place, lambda: None):
        process = copier.start(request, "erase")
        assert "waiting" in process.stdout.readline()
        assert place.partial.exists()
    assert copier.ended(process).verdict.verdict is CopyOutcome.ERASED
    assert not place.partial.exists()
