"""Files in Xet, by Xet's own client: from a store of its own on disk, and from a server that never answers."""

import pytest

from llama_serving.contract.weights import CopyOutcome
from support.model_hub import hub, put_into_xet
from support.serving.weight_copies import NAME

SHARD = "model-00001-of-00004.safetensors"


def large(files):
    return {path for path in files if path.endswith(".safetensors")}


def test_files_come_by_xet_and_are_verified(copier, files, tmp_path):
    with hub(NAME, files) as (endpoint, repository):
        put_into_xet(repository, tmp_path / "xet")
        ended = copier.run(copier.request(endpoint))
    assert (ended.verdict.verdict, ended.code) == (CopyOutcome.VERIFIED, 0), ended.log
    assert {path: copier.files()[path] for path in large(files)} == {path: files[path] for path in large(files)}
    assert not large(files) & set(repository.downloads), "none of them by HTTP"


def test_what_xet_makes_of_a_file_is_not_trusted(copier, files, tmp_path):
    with hub(NAME, files) as (endpoint, repository):
        put_into_xet(repository, tmp_path / "xet")
        # The content of another file of the same size class, under a hash that Xet knows.
        changed = files | {SHARD: bytes(reversed(files[SHARD]))}
        repository.files = changed
        ended = copier.run(copier.request(endpoint), pauses=[0])
    assert (ended.verdict.verdict, ended.verdict.file, ended.code) == (CopyOutcome.MISMATCH, SHARD, 3), ended.log


@pytest.mark.nightly
@pytest.mark.parametrize(("cas", "stall_seconds"), [("", 5), ("http://127.0.0.1:9", 300)], ids=["hangs", "refuses"])
def test_where_xet_hangs_or_gives_up_the_copy_is_made_without_it(copier, files, cas, stall_seconds):
    with hub(NAME, files) as (endpoint, repository):
        repository.xet, repository.cas = dict.fromkeys(large(files), "0" * 64), cas
        ended = copier.run(copier.request(endpoint), stall_seconds=stall_seconds)
    assert (ended.verdict.verdict, ended.code) == (CopyOutcome.VERIFIED, 0), ended.log
    assert "Once more, without Xet" in ended.log
    assert cas or any(path.startswith("/xet/") for path in repository.downloads)
    assert large(files) <= set(repository.downloads)


def test_who_turned_xet_off_is_heard(copier, files):
    with hub(NAME, files) as (endpoint, repository):
        repository.xet = dict.fromkeys(large(files), "0" * 64)
        ended = copier.run(copier.request(endpoint), environment={"HF_HUB_DISABLE_XET": "1"})
    assert ended.code == 0, ended.log
    assert not any(path.startswith("/xet/") for path in repository.downloads)
