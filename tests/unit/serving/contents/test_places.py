"""config.json and the list of files of a Hub model, asked by the Hub's own client of a server that speaks its API."""

import json

import pytest
from huggingface_hub import constants

from llama_serving.config import ModelSource
from llama_serving.contents.places import PlaceUnavailableError, cached, look_at
from support.model_hub import COMMIT, hub

REPOSITORY = "acme/chat"
SOURCE = ModelSource(kind="HuggingFace", location=REPOSITORY, revision=COMMIT)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_config_index_and_sizes_are_asked_and_no_weights_are_downloaded():
    files = {
        "config.json": b'{"model_type": "llama"}',
        "model.safetensors.index.json": b'{"weight_map": {"x": "model-00001-of-00001.safetensors"}}',
        "model-00001-of-00001.safetensors": b"weights",
    }
    with hub(REPOSITORY, files, {"model-00001-of-00001.safetensors": 5_000_000_000}) as (endpoint, repository):
        place = look_at(SOURCE, endpoint=endpoint)
    assert json.loads(place.config) == {"model_type": "llama"}
    assert place.index["weight_map"] == {"x": "model-00001-of-00001.safetensors"}
    assert place.sizes["model-00001-of-00001.safetensors"] == 5_000_000_000
    assert set(repository.downloads) == {"config.json", "model.safetensors.index.json"}
    assert (cached(SOURCE) / "config.json").read_bytes() == files["config.json"]


def test_a_repository_without_config_has_none():
    with hub(REPOSITORY, {"pytorch_model.bin": b"x"}) as (endpoint, _):
        place = look_at(SOURCE, endpoint=endpoint)
    assert (place.config, place.index, dict(place.sizes)) == (None, None, {"pytorch_model.bin": 1})


def test_a_config_of_gigabytes_is_not_downloaded():
    with hub(REPOSITORY, {"config.json": b"{}"}, {"config.json": 2**40}) as (endpoint, repository):
        assert look_at(SOURCE, endpoint=endpoint).config == b""
    assert repository.downloads == []


def test_an_index_that_is_no_json_names_no_files():
    with hub(REPOSITORY, {"config.json": b"{}", "model.safetensors.index.json": b"{"}) as (endpoint, _):
        assert look_at(SOURCE, endpoint=endpoint).index == {}


def test_a_hub_that_does_not_know_the_repository_is_unavailable():
    other = ModelSource(kind="HuggingFace", location="acme/other", revision=COMMIT)
    with hub(REPOSITORY, {}) as (endpoint, _), pytest.raises(PlaceUnavailableError, match="acme/other at the hub: "):
        look_at(other, endpoint=endpoint)
    assert cached(other) is None


def test_what_is_no_model_of_the_hub_is_not_in_its_cache():
    assert cached(ModelSource(kind="ObjectStore", location="s3://bucket/x")) is None
