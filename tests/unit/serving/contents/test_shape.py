"""config.json files as publishers write them, against what the catalog and LlamaModels declare."""

import json

import pytest

from llama_operator import catalog
from llama_operator.api.manifest import parse
from llama_operator.catalog.additions import Additions
from llama_operator.desired.contents import declared_contents
from llama_serving.contents.shape import differences

CATALOG = catalog.load()


def llama(layers, hidden, intermediate, heads, kv_heads, vocab, **more):
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocab,
        "torch_dtype": "bfloat16",
    } | more


ROPE = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_type": "llama3"}
LLAMA_2_7B = llama(32, 4096, 11008, 32, 32, 32000, max_position_embeddings=4096, rope_scaling=None)
LLAMA_31_8B = llama(32, 4096, 14336, 32, 8, 128256, max_position_embeddings=131072, rope_scaling=ROPE)
LLAMA_33_70B = llama(80, 8192, 28672, 64, 8, 128256, head_dim=128, rope_scaling=ROPE)
LLAMA_405B = llama(126, 16384, 53248, 128, 8, 128256, rope_scaling=ROPE)
VISION_11B = {
    "architectures": ["MllamaForConditionalGeneration"],
    "model_type": "mllama",
    "image_token_index": 128256,
    "text_config": llama(40, 4096, 14336, 32, 8, 128256)
    | {
        "architectures": None,
        "model_type": "mllama_text_model",
        "cross_attention_layers": [3, 8, 13, 18, 23, 28, 33, 38],
    },
    "vision_config": {"hidden_size": 1280, "num_hidden_layers": 32, "attention_heads": 16, "image_size": 560},
}
SCOUT = {
    "architectures": ["Llama4ForConditionalGeneration"],
    "model_type": "llama4",
    "text_config": {
        "model_type": "llama4_text",
        "num_hidden_layers": 48,
        "hidden_size": 5120,
        "intermediate_size": 8192,
        "intermediate_size_mlp": 16384,
        "num_attention_heads": 40,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "num_local_experts": 16,
        "num_experts_per_tok": 1,
        "interleave_moe_layer_step": 1,
        "vocab_size": 202048,
    },
    "vision_config": {"hidden_size": 1408, "num_hidden_layers": 34},
}
GUARD_4 = SCOUT | {"text_config": SCOUT["text_config"] | {"num_local_experts": 16, "moe_layers": []}}
MISTRAL_7B = llama(32, 4096, 14336, 32, 8, 32768, head_dim=128, sliding_window=None) | {
    "architectures": ["MistralForCausalLM"],
    "model_type": "mistral",
}
MIXTRAL = MISTRAL_7B | {
    "architectures": ["MixtralForCausalLM"],
    "model_type": "mixtral",
    "vocab_size": 32000,
    "num_local_experts": 8,
}
QWEN_25_7B = llama(28, 3584, 18944, 28, 4, 152064) | {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}


def of_catalog(name):
    model = CATALOG.model(name)
    return declared_contents(model, model.variants[0])


def of_llama_model(fingerprint, **spec):
    obj = parse(
        {
            "apiVersion": "llama-operator.io/v1alpha1",
            "kind": "LlamaModel",
            "metadata": {"name": "acme-chat"},
            "spec": {
                "source": {"volumeClaim": {"name": "weights"}},
                "digest": "0" * 64,
                "architectureFingerprint": fingerprint,
                "licenseFamilies": ["apache-2.0"],
            }
            | spec,
        }
    )
    model = Additions(CATALOG, [obj]).added("acme-chat")
    return declared_contents(model, model.variants[0])


MISTRAL = {
    "numHiddenLayers": 32,
    "hiddenSize": 4096,
    "intermediateSize": 14336,
    "numAttentionHeads": 32,
    "numKeyValueHeads": 8,
    "vocabSize": 32768,
    "maxPositionEmbeddings": 32768,
}


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("llama-2-7b", LLAMA_2_7B),
        ("llama-3.1-8b", LLAMA_31_8B),
        ("llama-3.3-70b-instruct", LLAMA_33_70B),
        ("llama-3.1-405b", LLAMA_405B),
        ("llama-3.2-11b-vision", VISION_11B),
        ("llama-4-scout", SCOUT),
        ("llama-guard-4-12b", GUARD_4),
    ],
)
def test_the_file_of_the_publisher_is_as_declared(name, config):
    assert differences(config, of_catalog(name)) == ()


def test_a_mistral_that_is_declared_as_one_is_as_declared():
    assert differences(MISTRAL_7B, of_llama_model(MISTRAL)) == ()


def test_a_qwen_that_is_declared_as_one_is_as_declared():
    declared = MISTRAL | {
        "numHiddenLayers": 28,
        "hiddenSize": 3584,
        "intermediateSize": 18944,
        "numAttentionHeads": 28,
        "numKeyValueHeads": 4,
        "vocabSize": 152064,
    }
    assert differences(QWEN_25_7B, of_llama_model(declared)) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"vocab_size": 128256 + 64},
        {"vocab_size": 128256 + 4096},
        {"vocab_size": 128256 - 256},
        {"torch_dtype": "float16"},
        {"torch_dtype": None, "dtype": "float32"},
        {"rope_scaling": None, "rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"}},
        {"max_position_embeddings": 1_048_576},
        {"quantization_config": {"quant_method": "awq", "bits": 4}},
        {"head_dim": 128},
        {"head_dim": None},
        {"architectures": None},
        {"architectures": ["LLaMAForCausalLM"]},
        {"tie_word_embeddings": True, "eos_token_id": [128001, 128009]},
        {"text_config": None},
        {"vision_config": None},
    ],
    ids=str,
)
def test_what_a_tuning_or_a_quantization_changes_is_no_difference(change):
    assert differences(LLAMA_31_8B | change, of_catalog("llama-3.1-8b")) == ()


def test_a_model_whose_heads_have_their_own_keys_need_not_say_so():
    without = {name: value for name, value in LLAMA_2_7B.items() if name != "num_key_value_heads"}
    assert differences(without, of_catalog("llama-2-7b")) == ()
    assert differences(
        {name: value for name, value in LLAMA_31_8B.items() if name != "num_key_value_heads"},
        of_catalog("llama-3.1-8b"),
    ) == ("it has no num_key_value_heads, declared 8",)


def test_copies_of_the_405b_with_doubled_heads_are_known_and_of_no_other():
    assert differences(LLAMA_405B | {"num_key_value_heads": 16}, of_catalog("llama-3.1-405b")) == ()
    assert differences(LLAMA_31_8B | {"num_key_value_heads": 16}, of_catalog("llama-3.1-8b")) != ()


def test_the_language_part_of_a_multimodal_model_may_stand_alone():
    text = SCOUT["text_config"] | {"architectures": ["Llama4ForCausalLM"]}
    assert differences(text, of_catalog("llama-4-scout")) == ()


@pytest.mark.parametrize("name", ["num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads"])
def test_a_size_that_differs_is_told_with_both_values(name):
    (told,) = differences(LLAMA_31_8B | {name: 17}, of_catalog("llama-3.1-8b"))
    assert told == f"{name} is 17, declared {name} {LLAMA_31_8B[name]}"


def test_llama_4_that_is_declared_as_a_mistral_is_told_by_every_field():
    told = differences(SCOUT, of_llama_model(MISTRAL))
    assert "text_config.num_hidden_layers is 48, declared num_hidden_layers 32" in told
    assert "text_config.num_local_experts is 16, declared a model without experts" in told
    assert "it has a vision_config, declared is a model of text only" in told


def test_llama_4_with_sizes_of_a_mistral_written_beside_its_own_is_still_told():
    assert differences(SCOUT | MISTRAL_7B, of_llama_model(MISTRAL)) != ()


def test_experts_tell_a_mixtral_from_a_mistral():
    declared = MISTRAL | {"vocabSize": 32000}
    assert differences(MIXTRAL, of_llama_model(declared)) == (
        "num_local_experts is 8, declared a model without experts",
    )


def test_scout_is_no_maverick():
    assert differences(SCOUT, of_catalog("llama-4-maverick")) == ("text_config.num_local_experts is 16, declared 128",)


def test_a_class_that_was_declared_has_to_be_there():
    told = differences(MISTRAL_7B, of_llama_model(MISTRAL | {"className": "LlamaForCausalLM"}))
    assert told[0] == 'model_type is "mistral", declared llama'


def test_a_draft_that_makes_the_engine_load_another_model_is_refused():
    config = LLAMA_31_8B | {"speculators_config": {"verifier": {"name_or_path": "/models/llama-4"}}}
    assert "names another model" in differences(config, of_catalog("llama-3.1-8b"))[0]


@pytest.mark.parametrize(
    "broken",
    [
        [],
        "x",
        None,
        5,
        {},
        {"text_config": []},
        {"text_config": "llama"},
        {"num_hidden_layers": "32"},
        {"num_hidden_layers": 32.0},
        {"num_hidden_layers": True},
        {"num_hidden_layers": [32]},
        {"num_hidden_layers": {}},
        {"num_hidden_layers": 10**4000},
        {"hidden_size": float("nan")},
        {"vocab_size": "128256"},
        {"vocab_size": 32000},
        {"vocab_size": 10**6},
        {"num_local_experts": "none"},
        {"num_local_experts": -1},
        {"architectures": "LlamaForCausalLM"},
        {"architectures": ["LlamaForCausalLM", "Llama4ForConditionalGeneration"]},
        {"architectures": [["LlamaForCausalLM"]]},
        {"model_type": ["llama"]},
        {"model_type": None},
        {"vision_config": {"hidden_size": 1}},
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_is_no_config_of_the_model_is_told_on_one_short_line_each(broken):
    config = LLAMA_31_8B | broken if isinstance(broken, dict) and broken else broken
    told = differences(config, of_catalog("llama-3.1-8b"))
    assert told
    assert all("\n" not in text and len(text) < 200 for text in told)


def test_values_of_the_file_cannot_break_the_line():
    config = LLAMA_31_8B | {"model_type": "llama\nLicenseFilesMissing: \u2028x"}
    (told,) = differences(config, of_catalog("llama-3.1-8b"))
    assert told.splitlines() == [told]


@pytest.mark.parametrize("model", [m for m in CATALOG.models if not m.generated], ids=lambda m: m.id)
def test_every_model_of_the_catalog_can_be_declared_and_is_told_from_another_size(model):
    declared = declared_contents(model, model.variants[0])
    shape = model.architecture
    config = {
        "model_type": declared.model_types[0],
        "architectures": [declared.architectures[0]],
        "vocab_size": declared.vocab_size,
        "num_local_experts": declared.experts or None,
    } | {name: values[0] for name, values in declared.sizes.items()}
    assert differences(json.loads(json.dumps(config)), declared) == ()
    assert differences(config | {"hidden_size": shape.hidden_size + 64}, declared) != ()
