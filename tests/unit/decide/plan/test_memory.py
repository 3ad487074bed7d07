"""The memory of a rank meets what engines logged and what publishers say works, stage by stage."""

import pytest

from llama_operator import catalog
from llama_operator.catalog.figures import reserve
from llama_operator.decide.plan.memory import (
    GIB,
    Sharding,
    Step,
    estimate,
    longest_context,
    reserve_bytes,
    tokens_needed,
)

KNOWN = catalog.load()
POINTS = reserve.load().working_points


def rank(model, precision="BF16", accelerator="H100-80GB", tensor=1, pipeline=1, **options):
    facts = KNOWN.model(model)
    variant = facts.default_variant(precision).model_copy(update=options.pop("variant", {}))
    return estimate(
        facts,
        variant,
        KNOWN.accelerator(accelerator),
        Sharding(tensor, pipeline),
        **({"utilization_percent": 90, "kv_element_bytes": 2} | options),
    )


@pytest.mark.parametrize(
    "point", POINTS, ids=lambda p: f"{p.model}-{p.precision}-{p.accelerator}-TP{p.tensor}PP{p.pipeline}"
)
def test_a_published_start_works_or_fails_as_published(point):
    memory = at(point)
    assert (memory.kv_tokens >= tokens_needed(point.tokens, 1)) == (point.works and not point.older_engine)


@pytest.mark.parametrize(
    "point", [p for p in POINTS if p.kv_cache_bytes], ids=lambda p: f"{p.model}-{p.precision}-TP{p.tensor}"
)
def test_the_kv_cache_is_within_a_tenth_of_what_the_engine_logged_and_not_larger(point):
    left = at(point).left_for_kv
    assert left == pytest.approx(point.kv_cache_bytes, rel=0.1)
    assert left <= point.kv_cache_bytes


def at(point):
    return rank(
        point.model,
        point.precision,
        point.accelerator,
        point.tensor,
        point.pipeline,
        variant={"weight_bytes": point.weight_bytes} if point.weight_bytes else {},
        utilization_percent=point.utilization_percent,
        kv_element_bytes=point.kv_element_bytes,
        step=Step(point.batched_tokens, point.max_num_seqs, graphs=not point.eager),
    )


def test_there_are_working_points_on_both_sides_of_the_reserve():
    assert {point.works for point in POINTS} == {True, False}


@pytest.mark.parametrize(
    ("model", "precision", "tensor", "logged"),
    [
        # "Loading model weights took ..." of vLLM: vllm#10511, #11550 and #17122, KAITO's catalog for the whole.
        ("llama-3-8b", "BF16", 1, 14.96 * GIB),
        ("llama-3-8b", "BF16", 2, 7.48 * GIB),
        ("llama-3.3-70b-instruct", "BF16", 1, 131.42 * GIB),
    ],
)
def test_weights_meet_what_the_engine_logged(model, precision, tensor, logged):
    assert rank(model, precision, tensor=tensor).weights == pytest.approx(logged, rel=0.003)


def test_the_first_405b_fp8_checkpoint_with_duplicated_kv_heads_meets_what_the_engine_logged():
    # vllm#6746: 57.7520 GB (GiB in truth) on each of eight, with 16 KV heads and 496.1 GB in all.
    assert rank("llama-3.1-405b", "FP8", tensor=8, variant={"weight_bytes": 496_100_000_000}).weights == pytest.approx(
        57.752 * GIB, rel=0.003
    )


def test_the_engines_own_activation_peak_is_within_the_reserve():
    # vllm#10511: Llama 3 8B on one H100, 1.26 GiB at the peak of its profiling run.
    shape = KNOWN.model("llama-3-8b").architecture
    reserved = reserve_bytes(shape, KNOWN.accelerator("H100-80GB"), Sharding(1, 1))
    assert 1.26 * GIB < reserved < 4 * GIB


def test_more_ranks_than_kv_heads_replicate_the_kv_cache():
    eight, sixteen = rank("llama-3.1-405b", tensor=8), rank("llama-3.1-405b", tensor=16)
    assert eight.kv_bytes_per_token == sixteen.kv_bytes_per_token == 2 * 126 * 1 * 128 * 2
    # Half of the other weights, and a whole copy of the keys' and values' projections.
    assert sixteen.weights > eight.weights / 2


def test_fp8_halves_the_kv_cache_of_a_token():
    wide, narrow = (rank("llama-3.1-8b", kv_element_bytes=size).kv_bytes_per_token for size in (2, 1))
    assert wide == 131_072
    assert narrow == 65_536


def test_the_stage_with_the_fewest_tokens_bounds_the_cache():
    # 126 layers on 4 stages: 31, 32, 32, 31; the middle ones have no embedding, but one layer more.
    memory = rank("llama-3.1-405b", tensor=8, pipeline=4)
    assert memory.kv_bytes_per_token == 32 * 2 * 128 * 2
    first = rank("llama-3.1-405b", tensor=8, pipeline=2)
    assert first.kv_bytes_per_token == 63 * 2 * 128 * 2
    assert first.weights > 811_706_777_600 / 16


def test_the_image_encoder_is_on_every_stage_and_quantized_ends_are_not_shrunk():
    scout = KNOWN.model("llama-4-scout")
    one, two = rank("llama-4-scout", tensor=8), rank("llama-4-scout", tensor=8, pipeline=2)
    shape = scout.architecture
    end = shape.vocab_size * shape.hidden_size * 2 / 8
    assert two.weights > one.weights / 2
    assert two.weights >= (one.weights - 2 * end) / 2 + end
    wide, narrow = rank("llama-3.1-8b"), rank("llama-3.1-8b", "FP8")
    assert narrow.weights > wide.weights / 2 + 0.9 * 128_256 * 4096 * 2


def test_chunked_attention_is_planned_as_if_every_layer_kept_everything():
    assert rank("llama-4-scout", tensor=1).kv_bytes_per_token == 196_608


def test_images_take_cache_whatever_the_length_of_the_text():
    memory = rank("llama-3.2-11b-vision")
    assert memory.kv_bytes_per_token == 131_072
    assert memory.kv_bytes_per_sequence == 209_846_272
    assert memory.kv_tokens - memory.kv_tokens_beside(4) >= 4 * 209_846_272 // 131_072 - 16


@pytest.mark.parametrize(
    "changed",
    [Step(batched_tokens=32768), Step(max_num_seqs=1024), Step(batched_tokens=32768, max_num_seqs=1024, graphs=False)],
)
def test_a_larger_step_takes_a_larger_reserve(changed):
    assert rank("llama-3.1-70b", step=changed).reserve > rank("llama-3.1-70b").reserve


def test_eager_mode_needs_no_memory_for_graphs():
    assert rank("llama-3.1-70b", step=Step(graphs=False)).reserve < rank("llama-3.1-70b").reserve


def test_the_longest_context_is_the_one_that_is_just_held():
    for held in (16, 32, 4096, 100_000):
        length = longest_context(held, 3)
        assert length == 0 or tokens_needed(length, 3) <= held
        assert tokens_needed(length + 16, 3) > held
