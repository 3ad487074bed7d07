"""An adapter is read before an engine is asked: what it would refuse, or take wrongly, is told in words."""

import json
import os
import shutil
from types import SimpleNamespace

import numpy as np
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
        vocab_size=512,
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
        ({"modules_to_save": ["embed_tokens", "lm_head"]}, "merge it into its base model"),
        ({"trainable_token_indices": [128256]}, "trainable_token_indices"),
        ({"trainable_token_indices": {"embed_tokens": [5]}}, "embeddings of single tokens"),
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
        ({"lora_alpha": None}, "no number"),
        ({"lora_alpha": "16"}, "no number"),
        ({"lora_alpha": float("nan")}, "no number"),
        ({"alpha_pattern": {"q_proj": True}}, "no number"),
        ({"alpha_pattern": [8]}, "no number"),
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


@pytest.mark.parametrize("r", [4, 16])
def test_tensors_of_another_rank_than_the_config_tells_are_no_adapter_of_that_strength(tmp_path, r):
    refused = refusal(adapter.write(tmp_path / "edited", seed=1, rank=8, r=r), max_rank=64)
    assert refused.fault is AdapterFault.REFUSED
    assert all(words in str(refused) for words in ("tensors have rank 8", f"says {r}", "another strength"))


def test_an_adapter_of_another_model_is_told_by_its_shapes(written):
    refused = refusal(written(), base=LARGER)
    assert refused.fault is AdapterFault.DOES_NOT_FIT
    assert "256 wide" in str(refused)
    assert "4096" in str(refused)


Q, PREFIX = "layers.0.self_attn.q_proj", "base_model.model."


def of_shapes(folder, **shapes):
    """An adapter with tensors of these shapes."""
    adapter.write(folder, seed=1)
    tensors = ((name, np.zeros(shape, dtype=np.float32)) for name, shape in shapes.items())
    (folder / "adapter_model.safetensors").write_bytes(checkpoint.safetensors(tensors))
    return folder


def pair(place, **more):
    return {f"{PREFIX}{place}.lora_A.weight": (8, 256), f"{PREFIX}{place}.lora_B.weight": (256, 8)} | more


EMBEDDING = {
    f"{PREFIX}model.embed_tokens.lora_embedding_A": (8, 512),
    f"{PREFIX}model.embed_tokens.lora_embedding_B": (256, 8),
}


@pytest.mark.parametrize(
    "shapes",
    [
        pytest.param(pair(f"model.{Q}"), id="a projection"),
        pytest.param(pair(f"base_model.model.model.{Q}"), id="wrapped twice by PEFT"),
        pytest.param(pair(f"model.{Q}") | EMBEDDING, id="LoRA of the embedding"),
        pytest.param({f"{PREFIX}lm_head.lora_A.weight": (8, 256), f"{PREFIX}lm_head.lora_B.weight": (512, 8)}, id="LoRA of the output layer"),
        pytest.param(EMBEDDING | {f"{PREFIX}model.embed_tokens.base_layer.weight": (512, 256)}, id="the base model's own embedding beside it"),
    ],
)  # fmt: skip
def test_what_the_engine_has_a_place_for_is_taken(tmp_path, shapes):
    assert look_at(of_shapes(tmp_path / "one", **shapes), max_rank=8, base=TINY).rank == 8


@pytest.mark.parametrize(
    ("shapes", "fault", "words"),
    [
        pytest.param(
            pair(f"model.{Q}") | {f"{PREFIX}model.embed_tokens.weight": (516, 256), f"{PREFIX}lm_head.weight": (516, 256)},
            AdapterFault.REFUSED, ("its own embeddings", "new tokens", "merge it"), id="embeddings saved whole, because tokens were added",
        ),
        pytest.param(
            pair(f"model.{Q}") | {f"{PREFIX}model.embed_tokens.modules_to_save.weight": (512, 256)},
            AdapterFault.REFUSED, ("its own embeddings",), id="modules_to_save that the config does not name",
        ),
        pytest.param(
            pair(f"model.{Q}") | {f"{PREFIX}model.embed_tokens.token_adapter.trainable_tokens_delta": (4, 256)},
            AdapterFault.REFUSED, ("its own embeddings",), id="rows of single tokens",
        ),
        pytest.param(
            EMBEDDING | {f"{PREFIX}model.embed_tokens.base_layer.weight": (516, 256)},
            AdapterFault.DOES_NOT_FIT, ("516 tokens", "the model has 512"), id="the engine would leave the longer embedding out without a word",
        ),
        pytest.param(
            {f"{PREFIX}model.embed_tokens.lora_embedding_A": (8, 516), f"{PREFIX}model.embed_tokens.lora_embedding_B": (256, 8)},
            AdapterFault.DOES_NOT_FIT, ("516 wide", "512"), id="LoRA of a longer embedding",
        ),
        pytest.param(
            {f"{PREFIX}lm_head.lora_A.weight": (8, 256), f"{PREFIX}lm_head.lora_B.weight": (516, 8)},
            AdapterFault.DOES_NOT_FIT, ("516 wide", "512"), id="LoRA of a longer output layer",
        ),
        pytest.param(
            {f"{PREFIX}lm_head.lora_A.weight": (16, 256), f"{PREFIX}lm_head.lora_B.weight": (512, 16)},
            AdapterFault.RANK_TOO_LARGE, ("rank 16",), id="rank of the output layer alone",
        ),
        pytest.param(pair(f"_orig_mod.model.{Q}"), AdapterFault.DOES_NOT_FIT, ("not wrapped",), id="of a compiled model: the engine would answer as without it"),
        pytest.param(pair(f"model.language_model.{Q}"), AdapterFault.DOES_NOT_FIT, ("no place",), id="of a model of another architecture"),
        pytest.param(pair(Q), AdapterFault.DOES_NOT_FIT, ("no place",), id="trained without the output layer's class"),
        pytest.param(pair("model.layers.0.mlp.q_proj"), AdapterFault.DOES_NOT_FIT, ("no place",), id="a projection of the other block"),
        pytest.param(
            {f"{PREFIX}model.{Q}.lora_A.default.weight": (8, 256), f"{PREFIX}model.{Q}.lora_B.default.weight": (256, 8)},
            AdapterFault.DOES_NOT_FIT, ("save_pretrained",), id="saved as the state of the trainer",
        ),
        pytest.param({}, AdapterFault.REFUSED, ("changes nothing",), id="no tensor at all"),
        pytest.param({f"{PREFIX}model.{Q}.lora_A.weight": (8, 256)}, AdapterFault.REFUSED, ("only lora_A",), id="half of a layer"),
        pytest.param(
            {f"{PREFIX}model.{Q}.lora_A.weight": (8, 256), f"{PREFIX}model.{Q}.lora_B.weight": (256, 4)},
            AdapterFault.REFUSED, ("ranks 8 and 4",), id="halves of two ranks",
        ),
        pytest.param({f"{PREFIX}model.{Q}.lora_A.weight": (0,), f"{PREFIX}model.{Q}.lora_B.weight": (0,)}, AdapterFault.REFUSED, ("no matrix",), id="saved from shards of ZeRO-3"),
    ],
)  # fmt: skip
def test_tensors_that_no_engine_can_use_are_refused_before_it_is_asked(tmp_path, shapes, fault, words):
    refused = refusal(of_shapes(tmp_path / "one", **shapes))
    assert refused.fault is fault
    assert all(word in str(refused) for word in words), str(refused)


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
