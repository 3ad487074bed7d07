"""License texts of hub models, fetched by the hub's own client from a server on this machine that speaks its API."""

import pytest
from huggingface_hub import constants

from llama_serving.config import ModelSource
from llama_serving.licenses.files import MOST_BYTES, read_license_files
from llama_serving.licenses.folder import FolderUnavailableError, license_folder
from support.model_hub import COMMIT, hub

REPOSITORY = "meta-llama/Llama-3.3-70B-Instruct"
SOURCE = ModelSource(kind="HuggingFace", location=REPOSITORY, revision=COMMIT)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_the_texts_of_the_revision_are_fetched_and_nothing_else():
    files = {"LICENSE.txt": b"the agreement", "USE_POLICY.md": b"the policy", "model.safetensors": b"weights"}
    with hub(REPOSITORY, files) as (endpoint, repository):
        folder = license_folder(SOURCE, endpoint=endpoint)

    assert [(file.name, file.text) for file in read_license_files(folder)] == [
        ("LICENSE.txt", "the agreement"),
        ("USE_POLICY.md", "the policy"),
    ]
    assert "model.safetensors" not in repository.downloads


def test_a_file_that_only_looks_like_a_text_is_not_fetched():
    with hub(REPOSITORY, {"LICENSE": b"x", "LICENSE.txt": b"text"}, {"LICENSE": MOST_BYTES + 1}) as (
        endpoint,
        repository,
    ):
        license_folder(SOURCE, endpoint=endpoint)

    assert set(repository.downloads) == {"LICENSE.txt"}


def test_a_repository_without_texts_has_no_folder():
    with (
        hub(REPOSITORY, {"config.json": b"{}"}) as (endpoint, _),
        pytest.raises(FolderUnavailableError, match="no such file"),
    ):
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
    with hub(REPOSITORY, {"NOTICE": b"text"}) as (endpoint, repository):
        assert license_folder(SOURCE, endpoint=endpoint) == snapshot
        assert repository.downloads == []


def test_the_cache_serves_when_the_hub_does_not_answer(cache):
    snapshot = in_cache(cache, LICENSE="text")
    with hub(REPOSITORY, {}) as (endpoint, _):  # it knows the commit, not the branch
        assert license_folder(SOURCE.model_copy(update={"revision": None}), endpoint=endpoint) == snapshot


def test_a_repository_that_the_hub_does_not_show_has_no_folder():
    with (
        hub(REPOSITORY, {}) as (endpoint, _),
        pytest.raises(FolderUnavailableError, match="meta-llama/Unknown at the hub"),
    ):
        license_folder(SOURCE.model_copy(update={"location": "meta-llama/Unknown"}), endpoint=endpoint)


def test_an_offline_pod_asks_its_cache_alone(cache, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with hub(REPOSITORY, {"LICENSE": b"text"}) as (endpoint, repository):
        with pytest.raises(FolderUnavailableError):
            license_folder(SOURCE, endpoint=endpoint)
        assert repository.downloads == []


def test_a_folder_on_a_volume_is_itself(tmp_path):
    assert license_folder(ModelSource(kind="Path", location=str(tmp_path))) == tmp_path
