"""Folders of weights on disk as people have them, and what an engine says to them before it starts."""

import hashlib
import json
import struct

import pytest

from llama_operator import catalog
from llama_operator.desired.contents import declared_contents
from llama_serving.config import EngineSettings, ModelSource, Placement, ServingConfig
from llama_serving.contents.check import CheckpointRefusedError, check_loaded, check_source
from llama_serving.contract.contents import DeclaredFile
from llama_serving.contract.status import DeploymentIdentity
from llama_serving.contract.weights import CopiedFile, Manifest

MODEL = catalog.load().model("llama-3.2-1b")
DECLARED = declared_contents(MODEL, MODEL.variants[0])
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": 16,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "vocab_size": 128256,
}


def safetensors(size=64, name="x"):
    header = json.dumps({name: {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(size)


def config_of(folder, declared=DECLARED, **changes):
    return ServingConfig(
        model_id="chat",
        source=ModelSource(kind="Path", location=str(folder)),
        engine=EngineSettings(tensor_parallel_size=1, max_model_len=16, max_num_seqs=1, cpu_kv_cache_mib=1),
        placement=Placement(device="CPU"),
        identity=DeploymentIdentity(namespace="n", name="chat", revision="chat-1"),
        contents=declared,
    ).model_copy(update=changes)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "model.safetensors").write_bytes(safetensors())
    (tmp_path / "tokenizer.json").write_text("{}")
    return tmp_path


def sharded(folder, *, names, there=None):
    (folder / "model.safetensors").unlink()
    for name in names if there is None else there:
        tensor = f"layer.{names.index(name)}" if name in names else "x"
        (folder / name).write_bytes(safetensors(name=tensor))
    index = {"metadata": {"total_size": 1}, "weight_map": {f"layer.{n}": name for n, name in enumerate(names)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def refusal(folder, declared=DECLARED):
    with pytest.raises(CheckpointRefusedError) as caught:
        check_source(config_of(folder, declared))
    with pytest.raises(CheckpointRefusedError) as again:
        check_loaded(config_of(folder, declared), str(folder), looked_at=True)
    assert str(caught.value) == str(again.value)
    return str(caught.value)


def test_the_declared_model_may_start(folder):
    assert check_source(config_of(folder))
    check_loaded(config_of(folder), str(folder), looked_at=True)


def test_a_config_of_before_the_field_checks_nothing(tmp_path):
    assert check_source(config_of(tmp_path / "nothing", None))
    check_loaded(config_of(tmp_path / "nothing", None), str(tmp_path), looked_at=False)


def test_the_message_says_where_which_field_declared_seen_and_what_to_do(folder):
    (folder / "config.json").write_text(json.dumps(CONFIG | {"num_hidden_layers": 48}))
    assert refusal(folder) == (
        f"CheckpointRefused: chat was not started: {folder} is not what the catalog's llama-3.2-1b declares: config.json: "
        "num_hidden_layers is 48, declared num_hidden_layers 16. Put the weights of that model there, or have an "
        "administrator add these as a LlamaModel with their lineage; then set spec.rollout.restartedAt"
    )


def test_llama_4_on_the_claim_of_a_model_under_another_license_is_refused_with_what_an_administrator_can_do(folder):
    declared = DECLARED.model_copy(
        update={"declared_by": "LlamaModel acme-chat", "architectures": (), "model_types": ()}
    )
    scout = {"num_hidden_layers": 48, "hidden_size": 5120, "num_local_experts": 16}
    (folder / "config.json").write_text(
        json.dumps({"model_type": "llama4", "text_config": CONFIG | scout, "vision_config": {"hidden_size": 1408}})
    )
    assert refusal(folder, declared) == (
        f"CheckpointRefused: chat was not started: {folder} is not what LlamaModel acme-chat declares: config.json: "
        "text_config.num_hidden_layers is 48, declared num_hidden_layers 16; config.json: text_config.hidden_size is 5120, "
        "declared hidden_size 2048; config.json: text_config.num_local_experts is 16, declared a model without experts; "
        "config.json: it has a vision_config, declared is a model of text only. Put the declared weights there, or have an "
        "administrator declare what is there in the LlamaModel (spec.architectureFingerprint, spec.weights, spec.lineage); "
        "then set spec.rollout.restartedAt"
    )


def test_many_differences_are_one_line_that_a_condition_can_hold(folder):
    (folder / "config.json").write_text(json.dumps(dict.fromkeys(CONFIG, "é" * 5000) | {"num_local_experts": "x" * 9}))
    text = refusal(folder)
    assert len(text.splitlines()) == 1
    assert len(text) < 1400
    assert "; and 4 more. Put" in text


@pytest.mark.parametrize(
    "content", ["", "{", "NaN", "[" * 100_000, '{"hidden_size": ' + "9" * 5000 + "}", "null", "[]"]
)
def test_a_config_that_is_no_object_is_refused(folder, content):
    (folder / "config.json").write_text(content)
    assert "config.json" in refusal(folder)


def test_a_folder_without_config_and_no_folder_are_refused(folder):
    (folder / "config.json").unlink()
    assert "it has no config.json that can be read" in refusal(folder)
    with pytest.raises(
        CheckpointRefusedError, match=r"no config\.json that can be read; it cannot be read: No such file"
    ):
        check_source(config_of(folder / "none"))


def test_a_config_that_is_a_pipe_or_a_folder_does_not_hang(folder):
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    assert "no config.json that can be read" in refusal(folder)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8-sig", "utf-16"])
def test_a_config_in_an_encoding_that_engines_do_not_read_is_refused_in_words(folder, encoding):
    (folder / "config.json").write_bytes(json.dumps(CONFIG | {"x": "\xe9"}, ensure_ascii=False).encode(encoding))
    assert "no JSON in UTF-8 without a byte order mark" in refusal(folder)


@pytest.mark.parametrize("names", [["pytorch_model.bin"], ["pytorch_model-00001-of-00002.bin", "x.pt"], ["model.pth"]])
def test_pickles_alone_are_refused_before_any_of_them_is_read(folder, names):
    (folder / "model.safetensors").unlink()
    for name in (*names, "training_args.bin", "optimizer.pt"):
        # Opened by nobody: a pipe without a writer would wait for ever.
        (folder / name).write_bytes(b"cos\nsystem\n(S'touch /tmp/x'\ntR.")
    text = refusal(folder)
    assert f"it has pickled weights only ({', '.join(sorted(names))})" in text
    assert "convert them to safetensors" in text


def test_pickles_beside_safetensors_do_not_matter(folder):
    (folder / "pytorch_model.bin").write_bytes(b"x")
    assert check_source(config_of(folder))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["llama.Q4_K_M.gguf"], "it has GGUF files only (llama.Q4_K_M.gguf)"),
        (["adapter_model.safetensors"], "it has an adapter only"),
        (["README.md"], "it has no weights (*.safetensors) at its top"),
        (["training_args.bin"], "it has no weights (*.safetensors) at its top"),
    ],
)
def test_what_the_engine_cannot_read_is_named(folder, names, words):
    (folder / "model.safetensors").unlink()
    for name in names:
        (folder / name).write_bytes(safetensors())
    assert words in refusal(folder)


SHARDS = [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]


def test_all_shards_may_start(folder):
    sharded(folder, names=SHARDS)
    assert check_source(config_of(folder))


def test_a_missing_shard_is_named(folder):
    sharded(folder, names=SHARDS, there=SHARDS[:2])
    assert f"model.safetensors.index.json names {SHARDS[2]}, which is not there" in refusal(folder)


def test_missing_shards_without_an_index_are_counted(folder):
    sharded(folder, names=SHARDS, there=SHARDS[:2])
    (folder / "model.safetensors.index.json").unlink()
    assert "1 of 3 shards (model-*-of-00003.safetensors) are not there" in refusal(folder)


def test_shards_of_another_copy_beside_those_of_the_index_do_not_matter(folder):
    other = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    sharded(folder, names=SHARDS, there=[*SHARDS, *other, "consolidated.safetensors"])
    assert check_source(config_of(folder))
    (folder / "model.safetensors.index.json").unlink()
    assert "the files of several checkpoints (model-*-of-2, model-*-of-3, consolidated.safetensors)" in refusal(folder)


@pytest.mark.parametrize("index", ["", "{}", "[]", '{"weight_map": {}}', '{"weight_map": {"x": 5}}', "[" * 100_000])
def test_a_broken_index_is_refused(folder, index):
    (folder / "model.safetensors.index.json").write_text(index)
    assert "model.safetensors.index.json has no weight_map that names files" in refusal(folder)


def test_an_index_that_leads_out_of_the_folder_is_refused(folder):
    sharded(folder, names=["../other/model.safetensors"], there=["model.safetensors"])
    assert "names ../other/model.safetensors, which is not there" in refusal(folder)


@pytest.mark.parametrize("name", ["tokenizer.model", "tekken.json", "o200k.tiktoken", "vocab.json"])
def test_a_model_without_a_tokenizer_is_refused_before_its_gpus_wait(folder, name):
    (folder / "tokenizer.json").rename(folder / "tokenizer_config.json")
    assert "no tokenizer (tokenizer.json" in refusal(folder)
    (folder / name).write_text("{}")
    assert check_source(config_of(folder))


def test_a_download_that_was_cut_off_is_told_by_its_header(folder):
    (folder / "model.safetensors").write_bytes(safetensors(4096)[:-1000])
    assert "its header says" in refusal(folder)
    assert "it is not whole" in refusal(folder)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "a pointer of Git LFS"),
        (b"", "no safetensors file"),
        (b"PK\x03\x04" + bytes(100), "no safetensors file"),
        (b"\xff" * 100, "no safetensors file"),
        (struct.pack("<Q", 2) + b"[]", "no safetensors file"),
        (struct.pack("<Q", 4) + b"nope", "no safetensors file"),
        (struct.pack("<Q", 9) + b'{"x": {}}', "no safetensors file"),
    ],
)
def test_what_only_has_the_name_of_a_weight_file_is_refused(folder, content, words):
    (folder / "model.safetensors").write_bytes(content)
    assert words in refusal(folder)


def test_sizes_that_were_declared_are_compared(folder):
    size = (folder / "model.safetensors").stat().st_size
    exact = DECLARED.model_copy(update={"files": (DeclaredFile(name="model.safetensors", size_bytes=size),)})
    assert check_source(config_of(folder, exact))
    (folder / "model.safetensors").write_bytes(safetensors(65))
    assert f"model.safetensors has {size + 1} bytes, declared {size} bytes" in refusal(folder, exact)
    (folder / "more.safetensors").write_bytes(safetensors())
    assert "more.safetensors has" in refusal(folder, exact)


def test_a_total_that_was_declared_is_compared_with_room_for_headers(folder):
    sharded(folder, names=SHARDS)
    total = 8 * 1024**3
    declared = DECLARED.model_copy(update={"weight_bytes": total})
    assert f"declared sizeBytes {total}" in refusal(folder, declared)
    near = DECLARED.model_copy(update={"weight_bytes": 100})
    assert check_source(config_of(folder, near))


def test_what_could_not_be_looked_at_before_or_after_does_not_start(tmp_path):
    source = ModelSource(kind="ObjectStore", location="s3://bucket/model")
    config = config_of(tmp_path, source=source)
    with pytest.raises(CheckpointRefusedError, match="could not be looked at"):
        check_loaded(config, "s3://bucket/model", looked_at=False)
    check_loaded(config, "s3://bucket/model", looked_at=True)


def test_weights_of_an_object_store_are_checked_where_they_were_downloaded(folder):
    source = ModelSource(kind="ObjectStore", location="s3://bucket/model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointRefusedError, match="no weights"):
        check_loaded(config_of(folder, source=source), str(folder), looked_at=False)
    streams = EngineSettings(
        tensor_parallel_size=1, max_model_len=16, max_num_seqs=1, cpu_kv_cache_mib=1, load_format="runai_streamer"
    )
    check_loaded(config_of(folder, source=source, engine=streams), str(folder), looked_at=True)


def tensors(**shapes):
    """A weight file whose header names tensors of one byte an element."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 1
        for length in shape:
            size *= length
        header[name.replace("__", ".")] = {"dtype": "U8", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


LAYERS = {f"model__layers__{n}__mlp__down_proj__weight": [1] for n in range(16)}


def test_weights_of_another_model_beside_a_config_that_was_copied_are_told_by_their_headers(folder):
    (folder / "model.safetensors").write_bytes(tensors(**LAYERS, model__embed_tokens__weight=[2, 2048]))
    assert check_source(config_of(folder))
    more = LAYERS | {"model__layers__47__mlp__down_proj__weight": [1]}
    (folder / "model.safetensors").write_bytes(tensors(**more, model__embed_tokens__weight=[2, 5120]))
    text = refusal(folder)
    assert "its weights have 17 layers, declared num_hidden_layers 16" in text
    assert "the shape of embed_tokens.weight is [2, 5120], declared hidden_size 2048" in text


@pytest.mark.parametrize("shape", [[4096], [0], []])
def test_weights_that_a_sharded_training_saved_flat_are_told(folder, shape):
    (folder / "model.safetensors").write_bytes(tensors(**LAYERS, model__embed_tokens__weight=shape))
    assert f"the shape of embed_tokens.weight is {shape}, declared hidden_size 2048" in refusal(folder)


def test_layers_of_an_image_encoder_do_not_count(folder):
    vision = {f"vision_model__transformer__layers__{n}__weight": [1] for n in range(32)}
    text = {f"language_model__{name}": shape for name, shape in LAYERS.items()}
    (folder / "model.safetensors").write_bytes(tensors(**text, **vision))
    assert check_source(config_of(folder))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("snapshots/0e9e39f2/config.json", "the model is in snapshots/COMMIT below it"),
        ("adapter_config.json", "it is an adapter: serve it with its base model"),
        ("params.json", "take the copy for transformers"),
    ],
)
def test_a_folder_that_is_no_model_is_told_by_what_it_is(tmp_path, name, words):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("{}")
    assert words in refusal(tmp_path)


def test_a_streamer_reads_files_beside_the_index_too(folder):
    sharded(folder, names=SHARDS, there=[*SHARDS, "consolidated.safetensors"])
    assert check_source(config_of(folder))
    streams = config_of(folder).engine.model_copy(update={"load_format": "runai_streamer"})
    with pytest.raises(CheckpointRefusedError, match=r"consolidated\.safetensors is not in .* would read it too"):
        check_source(config_of(folder, engine=streams))


def test_a_tensor_in_two_files_that_the_engine_reads_is_refused(folder):
    sharded(folder, names=SHARDS)
    (folder / SHARDS[1]).write_bytes(tensors(layer__0=[1], layer__1=[1]))
    assert f"layer.0 is in {SHARDS[0]} and {SHARDS[1]}: remove the copy that does not count" in refusal(folder)
    (folder / "model.safetensors.index.json").unlink()
    assert "layer.0 is in" in refusal(folder)


def test_a_tensor_that_is_not_in_the_file_of_the_index_is_refused(folder):
    sharded(folder, names=SHARDS)
    (folder / SHARDS[0]).write_bytes(safetensors(name="other"))
    assert f"model.safetensors.index.json says that {SHARDS[0]} has layer.0, which it has not" in refusal(folder)


def test_a_tensor_that_only_the_index_lacks_does_not_matter(folder):
    sharded(folder, names=SHARDS)
    (folder / SHARDS[1]).write_bytes(tensors(layer__1=[1], rotary__inv_freq=[1]))
    assert check_source(config_of(folder))


def test_the_index_of_a_copy_with_more_shards_is_refused(folder):
    sharded(folder, names=[f"model-000{n:02}-of-00030.safetensors" for n in range(1, 31)], there=["model.safetensors"])
    assert "and 27 more, which are not there (finish the upload, or remove an index that is left over)" in refusal(
        folder
    )


def test_a_copy_that_was_changed_after_it_was_verified_starts_no_engine(folder):
    content = (folder / "config.json").read_bytes()
    files = (CopiedFile(path="config.json", size=len(content), sha256="0" * 64),)
    text = Manifest(id="0123456789abcdef", source="acme/chat", files=files).model_dump_json().encode()
    (folder / "manifest.json").write_bytes(text)
    (folder / ".complete").write_text(json.dumps({"manifest": f"sha256:{hashlib.sha256(text).hexdigest()}"}))
    assert "config.json was changed after the copy was verified" in refusal(folder)
