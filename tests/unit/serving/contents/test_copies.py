"""A copy in a claim, as an engine finds it: whole, or harmed since its digests were compared."""

import hashlib
import json

import pytest

from llama_serving.contents.copies import NoCopyError, faults, is_one, manifest_of
from llama_serving.contract.weights import CopiedFile, Manifest

ID = "0123456789abcdef"
FILES = {"config.json": b"{}", "model.safetensors": b"weights", "tokenizer.json": b"words"}


@pytest.fixture
def folder(tmp_path):
    copy = tmp_path / ID
    copy.mkdir()
    for name, content in FILES.items():
        (copy / name).write_bytes(content)
    files = [CopiedFile(path=n, size=len(c), sha256=hashlib.sha256(c).hexdigest()) for n, c in FILES.items()]
    text = Manifest(id=ID, source="acme/chat", files=tuple(files)).model_dump_json().encode()
    (copy / "manifest.json").write_bytes(text)
    (copy / ".complete").write_text(json.dumps({"manifest": f"sha256:{hashlib.sha256(text).hexdigest()}"}))
    return copy


def test_a_whole_copy_has_no_faults(folder):
    assert is_one(folder)
    assert not [*faults(folder)]
    assert manifest_of(folder)[0].size_bytes == sum(map(len, FILES.values()))


HARMS = [
    (lambda f: (f / ".complete").unlink(), "was not finished"),
    (lambda f: (f / ".complete").write_text("[]"), r"\.complete cannot be read"),
    (lambda f: (f / "manifest.json").write_text("{}"), r"manifest\.json cannot be read"),
    (lambda f: (f / "manifest.json").write_bytes((f / "manifest.json").read_bytes() + b" "), "another one"),
    (lambda f: (f / "model.safetensors").write_bytes(b"weight"), r"model\.safetensors has not the size"),
    (lambda f: (f / "model.safetensors").unlink(), r"model\.safetensors has not the size"),
]


@pytest.mark.parametrize(("harm", "words"), HARMS)
def test_a_harmed_copy_is_none(folder, harm, words):
    harm(folder)
    with pytest.raises(NoCopyError, match=words):
        manifest_of(folder)
    assert is_one(folder) or words == r"manifest\.json cannot be read"
    assert len([*faults(folder)]) == 1


def test_a_small_file_that_was_changed_is_told(folder):
    (folder / "config.json").write_bytes(b"[]")
    assert [*faults(folder)] == ["config.json was changed after the copy was verified"]


def test_a_folder_of_somebody_else_is_no_copy(tmp_path):
    other = tmp_path / ID
    other.mkdir()
    (other / "manifest.json").write_text('{"format": 1, "id": "fedcba9876543210", "source": "x", "files": []}')
    assert not is_one(other)
