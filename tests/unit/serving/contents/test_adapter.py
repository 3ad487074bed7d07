"""An adapter is read before an engine is asked: what it would refuse, or take wrongly, is told in words."""

import json
import os
import shutil
from types import SimpleNamespace

import pytest

from llama_serving.contents.adapter import AdapterRefusedError, base_shape, look_at, place_of
from llama_serving.contract.adapters import MOST_TEXT, AdapterFault
from llama_serving.generated import adapter, checkpoint

TINY = base_shape(
    SimpleNamespace(
        num_hidden_layers=2,
        hidden_size=256,
        intermediate_size=512,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=32,
    )
)
LARGER = base_shape(
    SimpleNamespace(
        num_hidden_layers=32,
        hidden_size=4096,
        intermediate_size=14336,
        num_attention_heads=32,
        num_key_value_heads=8,
    )
)


@pytest.fixture
def written(tmp_path):
    def write(name="one", **config):
        return adapter.write(tmp_path / name, seed=1, **config)

    return write


def refusal(folder, base=TINY, max_rank=8):
    with pytest.raises(AdapterRefusedError) as refused:
        look_at(folder, max_rank=max_rank, base=base)
    assert len(str(refused.value)) <= MOST_TEXT
    return refused.value


def test_the_sizes_of_the_generated_checkpoint_are_those_that_its_adapters_are_for():
    for _, module, outputs, inputs in checkpoint.projections():
        name = module.rpartition(".")[2]
        assert (TINY.outputs[name], TINY.inputs[name]) == (outputs, inputs)


def test_what_the_files_say_is_told(written):
    facts = look_at(written(), max_rank=8, base=TINY)

    assert (facts.rank, facts.base, facts.modules) == (8, checkpoint.NAME, ("down_proj", "o_proj", "q_proj"))
    assert len(facts.digest) == 64


def test_other_weights_have_another_digest(written, tmp_path):
    other = adapter.write(tmp_path / "other", seed=2)
    assert look_at(written(), max_rank=8, base=TINY).digest != look_at(other, max_rank=8, base=TINY).digest


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"lora_bias": True}, "lora_bias"),
        ({"bias": "all"}, "biases"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa_niter_16"}, "path_initial_model_for_weight_conversion"),
        ({"init_lora_weights": "loftq"}, "has changed the weights"),
        ({"alora_invocation_tokens": [1]}, "activated LoRA"),
        ({"layer_replication": [[0, 1]]}, "layer_replication"),
        ({"use_bdlora": {"a": 1}}, "block-diagonal"),
        ({"use_qalora": True}, "QA-LoRA"),
        ({"peft_type": "LOHA"}, "loads LORA only"),
        ({"r": 0}, "no whole number"),
        ({"r": "8"}, "no whole number"),
        ({"r": None}, "no whole number"),
        ({"rank_pattern": {"q_proj": -1}}, "no whole number"),
        ({"rank_pattern": [8]}, "no whole number"),
    ],
)
def test_a_kind_that_the_engine_does_not_load_is_named(written, config, words):
    folder = written()
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    refused = refusal(folder)
    assert refused.fault is AdapterFault.REFUSED
    assert words in str(refused)


@pytest.mark.parametrize("start", [True, False, "gaussian", "eva", "Orthogonal"])
def test_a_plain_start_of_a_training_is_no_obstacle(written, start):
    assert look_at(written(init_lora_weights=start), max_rank=8, base=TINY).rank == 8


@pytest.mark.parametrize(
    ("rank", "pattern", "room"), [(16, {}, 8), (8, {"o_proj": 32}, 16), (9, {}, 8)], ids=["r", "pattern", "between"]
)
def test_a_rank_beyond_the_room_says_both_numbers_and_the_field(tmp_path, rank, pattern, room):
    folder = adapter.write(tmp_path / "large", seed=1, rank=rank, rank_pattern=pattern)
    refused = refusal(folder, max_rank=room)
    assert refused.fault is AdapterFault.RANK_TOO_LARGE
    largest = max(rank, *pattern.values(), 0)
    assert all(word in str(refused) for word in (f"rank {largest}", f"rank {room}", "spec.adapterSlots.maxLoraRank"))


def test_a_rank_that_only_the_tensors_have_counts_too(tmp_path):
    folder = adapter.write(tmp_path / "lies", seed=1, rank=16, r=4)
    assert refusal(folder).fault is AdapterFault.RANK_TOO_LARGE


def test_an_adapter_of_another_model_is_told_by_its_shapes(written):
    refused = refusal(written(), base=LARGER)
    assert refused.fault is AdapterFault.DOES_NOT_FIT
    assert "256 wide" in str(refused)
    assert "4096" in str(refused)


def pipe_in_place_of(path):
    path.unlink()
    os.mkfifo(path)


def with_bytes(path, old, new):
    path.write_bytes(path.read_bytes().replace(old, new))


DAMAGES = {
    "cut": lambda weights, _: weights.write_bytes(weights.read_bytes()[:-10]),
    "no weights": lambda weights, _: weights.unlink(),
    "a pickle": lambda weights, _: weights.rename(weights.with_suffix(".bin")),
    "no config": lambda _, config: config.unlink(),
    "a list": lambda _, config: config.write_text("[]"),
    "no JSON": lambda _, config: config.write_bytes(b"\xff{"),
    "huge": lambda _, config: config.write_text("{" + " " * 2_000_000 + "}"),
    "a pipe": lambda _, config: pipe_in_place_of(config),
    "another tensor": lambda weights, _: with_bytes(weights, b"self_attn.q_proj.lora_A", b"other_attn.q_proj.loraA"),
    "a lost layer": lambda weights, _: with_bytes(weights, b"layers.1.", b"layers.7."),
}


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        ("cut", AdapterFault.REFUSED),
        ("no weights", AdapterFault.NOT_FOUND),
        ("a pickle", AdapterFault.NOT_FOUND),
        ("no config", AdapterFault.NOT_FOUND),
        ("a list", AdapterFault.REFUSED),
        ("no JSON", AdapterFault.REFUSED),
        ("huge", AdapterFault.REFUSED),
        ("a pipe", AdapterFault.NOT_FOUND),
        ("another tensor", AdapterFault.DOES_NOT_FIT),
        ("a lost layer", AdapterFault.DOES_NOT_FIT),
    ],
)
def test_a_damaged_folder_is_refused_in_words(written, how, fault):
    folder = written()
    DAMAGES[how](folder / "adapter_model.safetensors", folder / "adapter_config.json")
    refused = refusal(folder)
    assert refused.fault is fault
    if how == "a pickle":
        assert "pickled" in str(refused)


@pytest.mark.parametrize("path", ["gone", "../outside", "a/../../outside", "link", ".", "file"])
def test_a_path_stays_in_the_volume_and_is_a_folder(tmp_path, path):
    volume = tmp_path / "volume"
    (volume / "a").mkdir(parents=True)
    (volume / "file").write_text("")
    (tmp_path / "outside").mkdir()
    (volume / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(AdapterRefusedError) as refused:
        place_of(str(volume), path)
    assert refused.value.fault is AdapterFault.NOT_FOUND


def test_a_link_within_the_volume_is_followed(tmp_path, written):
    (tmp_path / "latest").symlink_to(written("v3"))
    assert place_of(str(tmp_path), "latest") == (tmp_path / "v3").resolve()


def test_without_a_volume_the_field_is_named():
    with pytest.raises(AdapterRefusedError, match=r"spec\.adapterSlots\.volumeClaim"):
        place_of(None, "a")


def test_nothing_is_left_behind(written, tmp_path):
    shutil.rmtree(written())
    assert list(tmp_path.iterdir()) == []
