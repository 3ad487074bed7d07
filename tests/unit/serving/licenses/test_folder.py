"""License texts of hub models, fetched by the hub's own client from a server on this machine that speaks its API."""

import contextlib
import http.server
import json
import threading
from urllib.parse import urlsplit

import pytest
from huggingface_hub import constants

from llama_serving.config import ModelSource
from llama_serving.licenses.files import MOST_BYTES, read_license_files
from llama_serving.licenses.folder import FolderUnavailableError, license_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "meta-llama/Llama-3.3-70B-Instruct"
SOURCE = ModelSource(kind="HuggingFace", location=REPOSITORY, revision=COMMIT)


class Hub(http.server.BaseHTTPRequestHandler):
    """One repository at one commit. `downloads` are the names that somebody fetched."""

    files: dict[str, bytes]
    sizes: dict[str, int]
    downloads: list[str]

    def do_GET(self):
        path = urlsplit(self.path).path
        if path == f"/api/models/{REPOSITORY}/tree/{COMMIT}":
            entries = [
                {"type": "file", "path": name, "size": self.sizes.get(name, len(content)), "oid": name}
                for name, content in self.files.items()
            ]
            self._answer(200, json.dumps(entries).encode(), "application/json")
        elif self._name(path) in self.files:
            self.downloads.append(self._name(path))
            self._answer(200, self.files[self._name(path)], "application/octet-stream")
        else:
            self._answer(404, b"{}", "application/json")

    do_HEAD = do_GET  # noqa: N815 - the library calls it by this name

    def log_message(self, *arguments):
        pass

    def _name(self, path):
        return path.removeprefix(f"/{REPOSITORY}/resolve/{COMMIT}/")

    def _answer(self, status, body, media):
        self.send_response(status)
        self.send_header("Content-Type", media)
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
def hub(files, sizes=()):
    handler = type("Repository", (Hub,), {"files": files, "sizes": dict(sizes), "downloads": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", handler
        finally:
            server.shutdown()


def test_the_texts_of_the_revision_are_fetched_and_nothing_else():
    files = {"LICENSE.txt": b"the agreement", "USE_POLICY.md": b"the policy", "model.safetensors": b"weights"}
    with hub(files) as (endpoint, repository):
        folder = license_folder(SOURCE, endpoint=endpoint)

    assert [(file.name, file.text) for file in read_license_files(folder)] == [
        ("LICENSE.txt", "the agreement"),
        ("USE_POLICY.md", "the policy"),
    ]
    assert "model.safetensors" not in repository.downloads


def test_a_file_that_only_looks_like_a_text_is_not_fetched():
    with hub({"LICENSE": b"x", "LICENSE.txt": b"text"}, {"LICENSE": MOST_BYTES + 1}) as (endpoint, repository):
        license_folder(SOURCE, endpoint=endpoint)

    assert set(repository.downloads) == {"LICENSE.txt"}


def test_a_repository_without_texts_has_no_folder():
    with hub({"config.json": b"{}"}) as (endpoint, _), pytest.raises(FolderUnavailableError, match="no such file"):
        license_folder(SOURCE, endpoint=endpoint)


def in_cache(cache, **files):
    repository = cache / "models--meta-llama--Llama-3.3-70B-Instruct"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    for name, text in files.items():
        (snapshot / name).write_text(text)
    return snapshot


def test_texts_of_a_commit_that_are_in_the_cache_are_not_fetched_again(cache):
    snapshot = in_cache(cache, LICENSE="text")
    with hub({"NOTICE": b"text"}) as (endpoint, repository):
        assert license_folder(SOURCE, endpoint=endpoint) == snapshot
        assert repository.downloads == []


def test_the_cache_serves_when_the_hub_does_not_answer(cache):
    snapshot = in_cache(cache, LICENSE="text")
    with hub({}) as (endpoint, _):  # it knows the commit, not the branch
        assert license_folder(SOURCE.model_copy(update={"revision": None}), endpoint=endpoint) == snapshot


def test_a_repository_that_the_hub_does_not_show_has_no_folder():
    with hub({}) as (endpoint, _), pytest.raises(FolderUnavailableError, match="meta-llama/Unknown at the hub"):
        license_folder(SOURCE.model_copy(update={"location": "meta-llama/Unknown"}), endpoint=endpoint)


def test_an_offline_pod_asks_its_cache_alone(cache, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with hub({"LICENSE": b"text"}) as (endpoint, repository):
        with pytest.raises(FolderUnavailableError):
            license_folder(SOURCE, endpoint=endpoint)
        assert repository.downloads == []


def test_a_folder_on_a_volume_is_itself(tmp_path):
    assert license_folder(ModelSource(kind="Path", location=str(tmp_path))) == tmp_path
