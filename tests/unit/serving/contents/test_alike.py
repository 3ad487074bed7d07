"""Ranks of one replica have the same files: each reads them by itself, and nothing else would tell."""

import json

import pytest

from llama_serving.contents.adapter import AdapterRefusedError
from llama_serving.contents.alike import compare, fingerprint, stamp
from llama_serving.contract.adapters import AdapterFault
from llama_serving.generated import adapter


@pytest.fixture
def node(tmp_path):
    """Writes what one node sees of an adapter."""
    return lambda name, seed=1, **config: adapter.write(tmp_path / name / "acme", seed=seed, **config)


def test_two_nodes_with_the_same_files_are_alike(node):
    compare(fingerprint(node("a")), [fingerprint(node("b")), fingerprint(node("c"))])
    compare(fingerprint(node("d")), [])


@pytest.mark.parametrize(
    "other", [{"seed": 2}, {"lora_alpha": 64}], ids=["other weights", "another scale of the same weights"]
)
def test_a_node_with_other_files_is_told_with_what_to_do(node, other):
    with pytest.raises(AdapterRefusedError, match="differ between the nodes") as refused:
        compare(fingerprint(node("a")), [fingerprint(node("b")), fingerprint(node("c", **other))])
    assert refused.value.fault is AdapterFault.REFUSED
    assert "ReadWriteMany" in str(refused.value)


@pytest.mark.parametrize("gone", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_node_without_a_file_is_told_also_across_processes(node, gone):
    folder = node("a")
    (folder / gone).unlink()
    with pytest.raises(AdapterRefusedError, match="not every node") as refused:
        fingerprint(folder)
    kind, arguments = refused.value.__reduce__()
    again = kind(*arguments)
    assert (again.fault, str(again)) == (AdapterFault.NOT_FOUND, str(refused.value))


def test_a_file_that_is_written_again_has_another_stamp(node):
    folder = node("a")
    before = stamp(folder)
    assert stamp(folder) == before
    config = folder / "adapter_config.json"
    aside = config.with_suffix(".new")
    aside.write_text(json.dumps(json.loads(config.read_text()) | {"lora_alpha": 64}))
    aside.rename(config)
    assert stamp(folder) != before
    config.unlink()
    assert stamp(folder) == ()
