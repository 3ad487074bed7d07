"""An adapter of the Hub, fetched by the Hub's own client from a server that speaks its API."""

import copy

import pytest
from huggingface_hub import constants

from llama_serving.contents.adapter import AdapterRefusedError, look_at
from llama_serving.contents.repository import MOST_BYTES, fetched
from llama_serving.contract.adapters import AdapterFault, Repository
from llama_serving.generated import adapter
from support.model_hub import COMMIT, hub

NAME = "acme/support"
SOURCE = Repository(repository=NAME, revision=COMMIT)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def files(tmp_path):
    folder = adapter.write(tmp_path / "made", seed=1)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_only_the_two_files_that_are_read_come_and_only_once(files):
    more = {"adapter_model.bin": b"pickle", "README.md": b"words", "training_args.bin": b"pickle"}
    with hub(NAME, files | more) as (endpoint, repository):
        folder = fetched(SOURCE, endpoint=endpoint)
        assert set(repository.downloads) == set(files)
        asked = len(repository.downloads)
        assert fetched(SOURCE, endpoint=endpoint) == folder
        assert len(repository.downloads) == asked
    # Also while the Hub is away.
    assert fetched(SOURCE, endpoint="http://127.0.0.1:9") == folder
    assert look_at(folder, max_rank=8, base=None).rank == 8


@pytest.mark.parametrize(
    ("content", "sizes", "fault", "words"),
    [
        ({"adapter_model.bin": b"pickle"}, {}, AdapterFault.NOT_FOUND, "neither"),
        (None, {"adapter_model.safetensors": MOST_BYTES + 1}, AdapterFault.REFUSED, "GiB"),
    ],
)
def test_what_is_no_adapter_is_not_fetched(files, content, sizes, fault, words):
    with hub(NAME, files if content is None else content, sizes) as (endpoint, repository):
        with pytest.raises(AdapterRefusedError, match=words) as refused:
            fetched(SOURCE, endpoint=endpoint)
        assert repository.downloads == []
    assert refused.value.fault is fault


def test_a_repository_that_the_hub_does_not_show_is_told_with_what_to_look_at(files):
    with hub("acme/other", files) as (endpoint, _), pytest.raises(AdapterRefusedError, match="tokenSecret") as refused:
        fetched(SOURCE, endpoint=endpoint)
    again = copy.copy(refused.value)
    assert (again.fault, str(again)) == (AdapterFault.NOT_FOUND, str(refused.value))
