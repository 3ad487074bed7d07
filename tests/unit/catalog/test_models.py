"""What the planner and users may rely on in every entry of the model catalog."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

import llama_operator.catalog as package
from llama_operator.catalog import load
from llama_operator.catalog.models import Model, Variant
from llama_operator.catalog.weights import quantization

MODELS = load().models
VARIANTS = [(model, variant) for model in MODELS for variant in model.variants]
DATA = Path(str(package.__file__)).parent / "data"
QUALITY = ["BF16", "FP16", "FP8", "INT8", "INT4"]


def model(model_id: str) -> Model:
    return load().model(model_id)


def repositories(model: Model) -> tuple[str, ...]:
    """Repositories of all variants, in their order, without repetition."""
    return tuple(dict.fromkeys(variant.repository for variant in model.variants if variant.repository is not None))


def ids(value: object) -> str:
    return f"{value.precision}-{value.repository}" if isinstance(value, Variant) else getattr(value, "id", "")


@pytest.mark.parametrize("name", ["models.json", "accelerators.json", "licenses.json"])
def test_data_files_are_sorted_and_formatted_in_one_way(name: str) -> None:
    text = (DATA / name).read_text(encoding="utf-8")
    entries = json.loads(text)
    keys = [entry.get("id") or entry["name"] for entry in entries]
    assert keys == sorted(keys)
    assert text == json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


def test_the_catalog_has_every_llama_generation() -> None:
    assert len(MODELS) == 36
    assert {model.family for model in MODELS} >= {
        "llama-1",
        "llama-2",
        "code-llama",
        "llama-3",
        "llama-3.1",
        "llama-3.2",
        "llama-3.2-vision",
        "llama-3.3",
        "llama-4",
        "llama-guard",
        "meditron",
    }


@pytest.mark.parametrize("model", MODELS, ids=ids)
def test_variants_come_best_quality_first(model: Model) -> None:
    ranks = [QUALITY.index(variant.precision) for variant in model.variants]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize("model", MODELS, ids=ids)
def test_16_bit_variants_have_the_native_type_of_the_weights(model: Model) -> None:
    wide = {variant.precision for variant in model.variants if variant.precision in {"BF16", "FP16"}}
    assert wide == {"FP16" if model.architecture.dtype == "float16" else "BF16"}


@pytest.mark.parametrize(("model", "variant"), VARIANTS, ids=ids)
def test_quantized_variants_name_a_method_of_vllm_and_16_bit_ones_name_none(model: Model, variant: Variant) -> None:
    del model
    if variant.precision in {"BF16", "FP16"}:
        assert variant.quantization is None
    else:
        method = quantization.method(variant.quantization)
        assert method is not None
        assert variant.precision in method.precisions
        assert not method.not_planned
        assert method.deprecated is (variant.engine_limits != ())


@pytest.mark.parametrize(("model", "variant"), VARIANTS, ids=ids)
def test_no_variant_is_larger_than_the_16_bit_weights(model: Model, variant: Variant) -> None:
    assert model.params_total / 2 < variant.weight_bytes <= 2 * model.params_total


@pytest.mark.parametrize("model", [m for m in MODELS if m.modality == "Text" and not m.generated], ids=ids)
def test_every_dense_text_model_can_be_had_in_fp8(model: Model) -> None:
    assert model.default_variant("FP8") is not None


@pytest.mark.parametrize("model", MODELS, ids=ids)
def test_the_default_repository_is_the_instruct_one_where_there_is_one(model: Model) -> None:
    tuned = [name for name in repositories(model) if "instruct" in name.lower() or "-chat" in name.lower()]
    first = {model.default_variant(precision) for precision in model.precisions}
    assert not tuned or {variant.repository for variant in first if variant} <= set(tuned)


@pytest.mark.parametrize("model", MODELS, ids=ids)
def test_no_variant_reaches_beyond_the_positions_of_the_architecture(model: Model) -> None:
    assert model.context_length <= model.architecture.max_position_embeddings
    for variant in model.variants:
        assert model.context_of(variant) <= model.architecture.max_position_embeddings


@pytest.mark.parametrize("model", MODELS, ids=ids)
def test_heads_and_layers_fit_together(model: Model) -> None:
    shape = model.architecture
    assert shape.num_attention_heads % shape.num_key_value_heads == 0
    assert 0 < shape.self_attention_layers <= shape.num_hidden_layers
    if shape.moe is not None:
        assert shape.moe.moe_layers + shape.moe.dense_layers == shape.num_hidden_layers
        assert (shape.moe.dense_layers == 0) == (shape.moe.dense_intermediate_size == 0)


@pytest.mark.parametrize("model", MODELS, ids=ids)
def test_multimodal_models_have_an_image_encoder_and_text_models_none(model: Model) -> None:
    assert (model.modality == "TextAndImage") == (model.architecture.vision is not None)


def test_the_context_of_a_variant_may_differ_from_the_default() -> None:
    scout, coder = model("llama-4-scout"), model("code-llama-70b")
    assert {scout.context_of(variant) for variant in scout.variants} == {10_485_760, 262_144}
    assert coder.context_length == 4096
    base = next(v for v in coder.variants if v.repository == "codellama/CodeLlama-70b-hf")
    assert coder.context_of(base) == 16_384


def test_llama_3_2_vision_says_which_engine_it_needs() -> None:
    blocked = {model.id for model in MODELS if model.engine_constraints}
    assert blocked == {"llama-3.2-11b-vision", "llama-3.2-90b-vision", "llama-guard-3-11b-vision"}
    assert "vLLM 0.10.2 or older" in model("llama-3.2-11b-vision").engine_constraints[0]


def test_a_checkpoint_in_a_deprecated_format_says_which_argument_it_needs() -> None:
    variants = [variant for variant in model("llama-3.1-405b").variants if variant.quantization == "fbgemm_fp8"]
    assert len(variants) == 2
    for variant in variants:
        assert "allow_deprecated_quantization" in variant.engine_limits[0].sentence


def test_repositories_that_vllm_cannot_load_are_listed_with_a_reason_and_are_no_variants() -> None:
    excluded = {entry.repository for model in MODELS for entry in model.excluded}
    offered = {name for model in MODELS for name in repositories(model)}
    assert "meta-llama/Llama-3.2-1B-Instruct-SpinQuant_INT4_EO8" in excluded
    assert not excluded & offered


def test_a_repository_belongs_to_one_model() -> None:
    names = [name for model in MODELS for name in repositories(model)]
    assert len(names) == len(set(names))


def test_the_project_s_own_model_is_tiny_and_needs_no_download() -> None:
    tiny = model("tiny-random-llama")
    assert tiny.generated
    assert repositories(tiny) == ()
    assert tiny.params_total < 2_000_000
    assert [model.id for model in MODELS if model.generated] == [tiny.id]


def test_models_cannot_be_changed() -> None:
    subject = model("llama-3.1-8b")
    with pytest.raises(ValidationError, match="frozen"):
        subject.params_total = 1  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        subject.architecture.num_hidden_layers = 1  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        subject.variants[0].weight_bytes = 1  # type: ignore[misc]


def test_an_unknown_field_in_a_data_file_is_an_error() -> None:
    entry = model("llama-3.1-8b").model_dump(mode="json") | {"parameters": 8}
    with pytest.raises(ValidationError, match="parameters"):
        Model.model_validate_json(json.dumps(entry))


def test_a_pin_is_a_whole_commit_and_the_same_for_every_variant_of_a_repository():
    pins = {}
    for model in load().models:
        for variant in model.variants:
            pins.setdefault(variant.repository, set()).add(variant.revision)
    assert {len(commits) for commits in pins.values()} == {1}
    known = [commit for (commit,) in pins.values() if commit is not None]
    assert all(len(commit) == 40 and set(commit) <= set("0123456789abcdef") for commit in known)
    assert len(known) >= 44
    assert len(set(known)) == len(known)
