"""Every size in the catalog is recomputed from the shape, and compared with what publishers say."""

import pytest

from llama_operator.catalog import load
from llama_operator.catalog.formulas import (
    active_parameters,
    kv_bytes_per_token,
    parameters,
    weight_bytes,
)
from llama_operator.catalog.models import Architecture, Model, Precision, Variant
from llama_operator.decide.plan.memory import Sharding, estimate

MODELS = load().models
VARIANTS = [(model, variant) for model in MODELS for variant in model.variants]
GIB = 1 << 30

PUBLISHED_PARAMETERS = {
    "llama-1-7b": 6_738_415_616,
    "llama-1-13b": 13_015_864_320,
    "llama-1-33b": 32_528_943_616,
    "llama-1-65b": 65_285_660_672,
    "llama-2-70b": 68_976_648_192,
    "code-llama-7b": 6_738_546_688,
    "code-llama-34b": 33_743_970_304,
    "llama-3-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "llama-3.2-11b-vision": 10_670_220_835,
    "llama-3.2-90b-vision": 88_593_355_323,
    "llama-4-scout": 108_641_793_536,
    "llama-4-maverick": 401_583_781_376,
    "llama-guard-4-12b": 12_001_097_216,
    "meditron-7b": 6_738_554_880,
}


def ids(model: Model) -> str:
    return model.id


def variant_ids(pair: object) -> str:
    return f"{pair.precision}-{pair.repository}" if isinstance(pair, Variant) else getattr(pair, "id", "")


def model(model_id: str) -> Model:
    return load().model(model_id)


def shape_of(model: Model, variant: Variant) -> Architecture:
    """The architecture of the model, with what the repository of the variant changes."""
    architecture = model.architecture
    if variant.vocab_size is not None:
        architecture = architecture.model_copy(update={"vocab_size": variant.vocab_size})
    if variant.image_size is not None and architecture.vision is not None:
        vision = architecture.vision.model_copy(update={"image_size": variant.image_size})
        architecture = architecture.model_copy(update={"vision": vision})
    return architecture


@pytest.mark.parametrize("model", MODELS, ids=ids)
def test_parameters_follow_exactly_from_the_shape(model: Model) -> None:
    assert parameters(model.architecture).total == model.params_total
    assert active_parameters(model.architecture) == model.params_active


@pytest.mark.parametrize(("model_id", "published"), PUBLISHED_PARAMETERS.items())
def test_parameters_are_the_published_ones(model_id: str, published: int) -> None:
    assert model(model_id).params_total == published


def test_a_token_of_a_mixture_of_experts_passes_about_17_billion_parameters() -> None:
    assert model("llama-4-scout").params_active == 17_172_894_720
    assert model("llama-4-maverick").params_active == 17_184_691_200


@pytest.mark.parametrize("model", MODELS, ids=ids)
def test_kv_cache_per_token_follows_exactly_from_the_shape(model: Model) -> None:
    assert kv_bytes_per_token(model.architecture) == model.kv_bytes_per_token
    assert kv_bytes_per_token(model.architecture, element_bytes=1) * 2 == model.kv_bytes_per_token


def test_grouped_query_attention_makes_the_kv_cache_of_the_405b_sixteen_times_smaller() -> None:
    architecture = model("llama-3.1-405b").architecture
    without_groups = architecture.model_copy(update={"num_key_value_heads": architecture.num_attention_heads})
    assert kv_bytes_per_token(architecture) == 516_096
    assert kv_bytes_per_token(without_groups) == 16 * 516_096


def test_cross_attention_layers_hold_no_text_but_every_image() -> None:
    assert kv_bytes_per_token(model("llama-3.2-11b-vision").architecture) == 131_072
    for model_id, expected in {
        "llama-3.2-11b-vision": 209_846_272,
        "llama-3.2-90b-vision": 524_615_680,
        "llama-4-scout": 0,
    }.items():
        one, card = model(model_id), load().accelerator("H100-80GB")
        memory = estimate(one, one.variants[0], card, Sharding(1, 1), utilization_percent=90, kv_element_bytes=2)
        assert memory.kv_bytes_per_sequence == expected


@pytest.mark.parametrize(("model", "variant"), VARIANTS, ids=variant_ids)
def test_weights_follow_from_the_shape_unless_a_size_is_published(model: Model, variant: Variant) -> None:
    computed = weight_bytes(shape_of(model, variant), variant.precision)
    if variant.bytes_source == "formula":
        assert variant.weight_bytes == computed
    else:
        # Publishers keep more layers wide than the formula, never fewer.
        assert variant.weight_bytes > computed


@pytest.mark.parametrize(("model", "variant"), VARIANTS, ids=variant_ids)
def test_a_variant_quantized_while_loading_reads_the_16_bit_weights(model: Model, variant: Variant) -> None:
    wide = weight_bytes(shape_of(model, variant), "BF16")
    on_load = variant.quantization == "fp8_per_tensor"
    assert variant.stored_bytes == (wide if on_load else None)
    assert variant.bytes_to_read == (wide if on_load else variant.weight_bytes)


def test_the_fp8_checkpoint_of_meta_quantizes_the_405b_without_attention_first_and_last_layer() -> None:
    big = model("llama-3.1-405b")
    shape = big.architecture
    quantized = (shape.num_hidden_layers - 2) * 3 * shape.hidden_size * shape.intermediate_size
    (published,) = {v.weight_bytes for v in big.variants if v.bytes_source == "published"}
    assert published == 487_229_938_472
    assert published == pytest.approx(2 * big.params_total - quantized, rel=0.001)


def test_the_fp8_checkpoint_of_meta_quantizes_the_routed_experts_of_maverick_without_the_last_layer() -> None:
    maverick = model("llama-4-maverick")
    shape, moe = maverick.architecture, maverick.architecture.moe
    assert moe is not None
    quantized = (moe.moe_layers - 1) * moe.experts * 3 * shape.hidden_size * shape.intermediate_size
    fp8 = maverick.default_variant("FP8")
    assert fp8 is not None
    assert fp8.weight_bytes == 432_972_397_256
    assert fp8.weight_bytes == pytest.approx(2 * maverick.params_total - quantized, rel=0.001)


@pytest.mark.parametrize(
    ("model_id", "precision", "published"),
    [
        ("llama-3.1-405b", "BF16", 811_767_808_360),
        ("llama-4-maverick", "BF16", 803_413_224_368),
        ("llama-3.1-70b", "INT8", 72_700_000_000),
        ("llama-3.3-70b-instruct", "BF16", 131.42 * GIB),
        ("llama-3.1-8b", "BF16", 14.96 * GIB),
    ],
)
def test_formulas_meet_published_sizes_within_a_thousandth(
    model_id: str, precision: Precision, published: float
) -> None:
    computed = weight_bytes(model(model_id).architecture, precision)
    assert computed == pytest.approx(published, rel=0.001)


def test_the_first_405b_checkpoint_with_duplicated_kv_heads_meets_its_published_size() -> None:
    shape = model("llama-3.1-405b").architecture.model_copy(update={"num_key_value_heads": 16})
    assert weight_bytes(shape, "BF16") == pytest.approx(820_292_838_224, rel=0.001)


def test_a_smaller_vocabulary_and_a_smaller_image_make_a_variant_smaller() -> None:
    for model_id in ("code-llama-7b", "llama-3.2-11b-vision"):
        sizes = {variant.weight_bytes for variant in model(model_id).variants if variant.precision == "BF16"}
        assert len(sizes) == 2
