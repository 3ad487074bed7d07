"""config.json and the list of files of a Hub model, asked by the Hub's own client of a server that speaks its API."""

import contextlib
import http.server
import json
import threading
from urllib.parse import urlsplit

import pytest
from huggingface_hub import constants

from llama_serving.config import ModelSource
from llama_serving.contents.places import PlaceUnavailableError, cached, look_at

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "acme/chat"
SOURCE = ModelSource(kind="HuggingFace", location=REPOSITORY, revision=COMMIT)


class Hub(http.server.BaseHTTPRequestHandler):
    files: dict[str, bytes]
    sizes: dict[str, int]
    downloads: list[str]

    def do_GET(self):
        path = urlsplit(self.path).path
        name = path.removeprefix(f"/{REPOSITORY}/resolve/{COMMIT}/")
        if path == f"/api/models/{REPOSITORY}/tree/{COMMIT}":
            entries = [
                {"type": "file", "path": name, "size": self.sizes.get(name, len(content)), "oid": name}
                for name, content in self.files.items()
            ]
            entries.append({"type": "directory", "path": "original", "oid": "x"})
            self._answer(200, json.dumps(entries).encode())
        elif name in self.files:
            self.downloads.append(name)
            self._answer(200, self.files[name])
        else:
            self._answer(404, b"{}")

    do_HEAD = do_GET  # noqa: N815 - the library calls it by this name

    def log_message(self, *arguments):
        pass

    def _answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hash(body) & 0xFFFFFFFF:x}"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@contextlib.contextmanager
def hub(files, **sizes):
    named = {name.replace("__", "."): size for name, size in sizes.items()}
    handler = type("Repository", (Hub,), {"files": files, "sizes": named, "downloads": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", handler
        finally:
            server.shutdown()


def test_config_index_and_sizes_are_asked_and_no_weights_are_downloaded():
    files = {
        "config.json": b'{"model_type": "llama"}',
        "model.safetensors.index.json": b'{"weight_map": {"x": "model-00001-of-00001.safetensors"}}',
        "model-00001-of-00001.safetensors": b"weights",
    }
    with hub(files, **{"model-00001-of-00001__safetensors": 5_000_000_000}) as (endpoint, repository):
        place = look_at(SOURCE, endpoint=endpoint)
    assert json.loads(place.config) == {"model_type": "llama"}
    assert place.index["weight_map"] == {"x": "model-00001-of-00001.safetensors"}
    assert place.sizes["model-00001-of-00001.safetensors"] == 5_000_000_000
    assert set(repository.downloads) == {"config.json", "model.safetensors.index.json"}
    assert (cached(SOURCE) / "config.json").read_bytes() == files["config.json"]


def test_a_repository_without_config_has_none():
    with hub({"pytorch_model.bin": b"x"}) as (endpoint, _):
        place = look_at(SOURCE, endpoint=endpoint)
    assert (place.config, place.index, dict(place.sizes)) == (None, None, {"pytorch_model.bin": 1})


def test_a_config_of_gigabytes_is_not_downloaded():
    with hub({"config.json": b"{}"}, config__json=2**40) as (endpoint, repository):
        assert look_at(SOURCE, endpoint=endpoint).config == b""
    assert repository.downloads == []


def test_an_index_that_is_no_json_names_no_files():
    with hub({"config.json": b"{}", "model.safetensors.index.json": b"{"}) as (endpoint, _):
        assert look_at(SOURCE, endpoint=endpoint).index == {}


def test_a_hub_that_does_not_know_the_repository_is_unavailable():
    other = ModelSource(kind="HuggingFace", location="acme/other", revision=COMMIT)
    with hub({}) as (endpoint, _), pytest.raises(PlaceUnavailableError, match="acme/other at the hub: "):
        look_at(other, endpoint=endpoint)
    assert cached(other) is None


def test_what_is_no_model_of_the_hub_is_not_in_its_cache():
    assert cached(ModelSource(kind="ObjectStore", location="s3://bucket/x")) is None
