import json
import multiprocessing
import subprocess
import sys

import pytest
from tokenizers import Tokenizer

from llama_serving.generated import checkpoint
from llama_serving.generated import tokenizer as tiny_tokenizer

FILES = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


def read(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkpoint.ensure(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def tokenizer(folder):
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def test_the_same_bytes_come_out_everywhere(folder, tmp_path):
    again = tmp_path / "elsewhere" / "tiny"
    subprocess.run(
        [sys.executable, "-m", "llama_serving.generated.checkpoint", str(again)], check=True, capture_output=True
    )

    assert read(again) == read(folder)
    assert set(read(folder)) == FILES


def test_a_checkpoint_that_is_there_is_left_alone(tmp_path):
    folder = checkpoint.ensure(tmp_path / "tiny")
    (folder / "tokenizer_config.json").write_text("edited")

    assert checkpoint.ensure(folder) == folder
    assert (folder / "tokenizer_config.json").read_text() == "edited"


def test_processes_that_write_it_at_once_leave_one_whole_checkpoint(tmp_path, folder):
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert set(pool.map(checkpoint.ensure, [tmp_path / "tiny"] * 8)) == {tmp_path / "tiny"}

    assert read(tmp_path / "tiny") == read(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_a_folder_with_something_else_in_it_is_not_overwritten(tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "thesis.txt").write_text("precious")

    with pytest.raises(OSError, match="tiny"):
        checkpoint.ensure(tmp_path / "tiny")

    assert read(tmp_path / "tiny") == {"thesis.txt": b"precious"}
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_the_weights_have_the_shapes_that_the_config_announces(folder):
    config = json.loads((folder / "config.json").read_text())
    data = (folder / "model.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    shapes = {name: tensor["shape"] for name, tensor in header.items() if name != "__metadata__"}
    hidden, heads, dim = config["hidden_size"], config["num_attention_heads"], config["head_dim"]

    assert config["architectures"] == ["LlamaForCausalLM"]
    assert shapes["model.embed_tokens.weight"] == shapes["lm_head.weight"] == [config["vocab_size"], hidden]
    assert shapes["model.layers.1.self_attn.q_proj.weight"] == [heads * dim, hidden]
    assert shapes["model.layers.1.self_attn.k_proj.weight"] == [config["num_key_value_heads"] * dim, hidden]
    assert shapes["model.layers.1.mlp.down_proj.weight"] == [hidden, config["intermediate_size"]]
    assert {tensor["dtype"] for name, tensor in header.items() if name != "__metadata__"} == {"BF16"}
    assert max(tensor["data_offsets"][1] for tensor in list(header.values())[1:]) == len(data) - 8 - size


@pytest.mark.parametrize("text", ["Hello, llama!", "Grüße, 日本語 🦙", "line\n\ttab  two spaces", ""])
def test_any_text_survives_the_tokenizer_one_token_a_byte(tokenizer, text):
    tokens = tokenizer.encode(text).ids

    assert tokens == [tiny_tokenizer.BEGIN_OF_TEXT, *text.encode()]
    assert tokenizer.decode(tokens) == text


def test_the_special_tokens_of_the_chat_template_are_single_tokens(tokenizer):
    turn = tokenizer.encode("<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>", add_special_tokens=False)

    assert len(turn.ids) == 3 + len(b"user\n\nHi")
    assert turn.ids[-1] == tiny_tokenizer.END_OF_TURN
    assert tokenizer.get_vocab_size() == tiny_tokenizer.VOCABULARY_SIZE == 512
