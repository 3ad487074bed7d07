"""A folder of a volume as the source."""

import json
from pathlib import Path

import pytest

from llama_serving.contract.weights import CopyOutcome, PathSource
from llama_serving.weights.errors import CopyError, of_disk
from llama_serving.weights.sources.path import Folder

SHARD = "model-00002-of-00004.safetensors"


@pytest.fixture
def source(tmp_path, files):
    folder = tmp_path / "source" / "chat"
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def test_a_folder_is_copied(copier, files, source):
    ended = copier.run(copier.request(None, source=PathSource(path=str(source))))
    assert (ended.verdict.verdict, ended.code) == (CopyOutcome.VERIFIED, 0), ended.log
    assert copier.files()[SHARD] == files[SHARD]
    assert "modeling_acme.py" not in copier.files()


def test_a_snapshot_of_a_cache_is_followed_and_no_link_out_of_the_volume(source, files, tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps({"a": 1}))
    blob = source.parent / "blobs" / "abc"
    blob.parent.mkdir()
    (source / SHARD).rename(blob)
    (source / SHARD).symlink_to(blob)
    (source / "secret.json").symlink_to(secret)
    (source / "loop.json").symlink_to("loop.json")
    folder = Folder(PathSource(path=str(source)), mounted=source.parent)
    sizes = {entry.path: entry.size for entry in folder.entries()}
    assert sizes[SHARD] == len(files[SHARD])
    assert not {"secret.json", "loop.json"} & set(sizes)


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(CopyError, match="no folder") as refused:
        Folder(PathSource(path=str(tmp_path / "gone"))).entries()
    assert refused.value.outcome is CopyOutcome.NOT_FOUND


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (PermissionError(13, "Permission denied", "/source/chat/config.json"), CopyOutcome.ACCESS_DENIED),
        (PermissionError(13, "Permission denied", "/weights/.x.partial/config.json"), CopyOutcome.NOT_WRITABLE),
        (OSError(28, "No space left on device"), CopyOutcome.NO_SPACE),
        (OSError(122, "Disk quota exceeded", "/weights/.x.partial/config.json"), CopyOutcome.NO_SPACE),
        (FileNotFoundError(2, "No such file", "/source/chat/config.json"), CopyOutcome.NOT_FOUND),
        (OSError(5, "Input/output error"), CopyOutcome.FAILED),
    ],
)
def test_a_file_of_the_source_and_a_file_of_the_claim_are_told_apart(error, outcome):
    source = Folder(PathSource(path="/source/chat"))
    told = of_disk(error, Path("/weights"), "config.json") or source.explain(error, "config.json")
    assert (told.outcome, told.file) == (outcome, "config.json")
