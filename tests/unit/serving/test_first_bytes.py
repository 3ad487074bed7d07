"""The access check goes the way of the weights too: by HTTP and by Xet, on real sockets."""

import pytest

from llama_serving import access_check, first_bytes
from llama_serving.access_check import Question
from llama_serving.contract.hub import HubAccess
from support.model_hub import COMMIT, hub, put_into_xet

NAME, SHARD = "acme/chat", "model-00001-of-00002.safetensors"
FILES = {"config.json": b"{}", SHARD: bytes(range(256)) * 1024, "model-00002-of-00002.safetensors": b"x" * 10}


@pytest.fixture
def ask(monkeypatch):
    """Asks as the pod does."""
    monkeypatch.setattr(access_check, "_PAUSES", ())
    monkeypatch.setattr(access_check, "_STALL_SECONDS", 2.0)

    def call(endpoint):
        return access_check.check(Question(NAME, COMMIT, "config.json", endpoint), "hf_accepted")

    return call


@pytest.mark.parametrize("size", [10, first_bytes.BYTES, 2**20])
def test_only_the_first_bytes_of_one_weight_file_are_asked_for(ask, size):
    with hub(NAME, FILES | {SHARD: b"x" * size}) as (endpoint, repository):
        verdict = ask(endpoint)
        assert first_bytes.read(NAME, COMMIT, SHARD, endpoint, "", seconds=30) == min(size, first_bytes.BYTES)
    assert (verdict.access, verdict.commit, verdict.message) == (HubAccess.ACCESSIBLE, COMMIT, "")
    assert set(repository.downloads) == {SHARD}


def test_by_xet_where_the_file_is_in_xet(ask, tmp_path):
    with hub(NAME, FILES) as (endpoint, repository):
        put_into_xet(repository, tmp_path / "xet")
        verdict = ask(endpoint)
        assert first_bytes.read(NAME, COMMIT, SHARD, endpoint, "", seconds=30) == first_bytes.BYTES
    assert verdict.access is HubAccess.ACCESSIBLE, verdict.message
    assert repository.downloads == []


def test_a_stall_has_a_name_a_host_and_a_way(ask):
    with hub(NAME, FILES) as (endpoint, repository):
        repository.hangs = {SHARD: [0, -1]}
        verdict = ask(endpoint)
    assert verdict.access is HubAccess.OFFLINE
    assert f"stalled: no byte of {SHARD} came from localhost:" in verdict.message
    assert "by HTTP in 2 s" in verdict.message
    with hub(NAME, FILES) as (endpoint, repository):
        repository.xet = {SHARD: "0" * 64}
        verdict = ask(endpoint)
    assert verdict.access is HubAccess.OFFLINE
    assert "by Xet in 2 s" in verdict.message
    assert "HF_HUB_DISABLE_XET=1" in verdict.message


def test_a_storage_that_refuses_is_no_word_about_access(ask):
    with hub(NAME, FILES) as (endpoint, repository):
        repository.storage_status = 403
        verdict = ask(endpoint)
    assert verdict.access is HubAccess.OFFLINE
    assert "let pods reach it" in verdict.message


def test_a_mirror_without_a_list_of_files_is_asked_for_the_small_file_only(ask):
    with hub(NAME, FILES) as (endpoint, repository):
        repository.lists_nothing = True
        verdict = ask(endpoint)
    assert verdict.access is HubAccess.ACCESSIBLE
    assert "list of files" in verdict.message
