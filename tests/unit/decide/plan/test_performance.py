"""The performance model: orders that physics imposes, limits that it keeps, and cards that it does not know."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator import catalog
from llama_operator.decide.plan.memory import Sharding
from llama_operator.decide.plan.performance import (
    Limits,
    Performance,
    Workload,
    replica_model,
    replicas_needed,
    sequences_held,
)

KNOWN = catalog.load()
CHAT = Workload(1155, 211, 0)
PLENTY = 10_000_000
TOKENS = st.integers(1, 20_000)


def predicted(
    model="llama-3.1-70b",
    precision="FP8",
    accelerator="H100-80GB",
    tensor=4,
    pipeline=1,
    kv=PLENTY,
    workload=CHAT,
    **more,
):
    found = KNOWN.model(model)
    one = replica_model(
        found, found.default_variant(precision), KNOWN.accelerator(accelerator), Sharding(tensor, pipeline), 8
    )
    return one and one.best(kv, workload, **({"max_num_seqs": 256, "limits": Limits()} | more))


def replica(accelerator="H100-80GB", precision="FP8", tensor=4, model="llama-3.1-70b", pipeline=1):
    found = KNOWN.model(model)
    return replica_model(
        found, found.default_variant(precision), KNOWN.accelerator(accelerator), Sharding(tensor, pipeline), 8
    )


def test_more_sequences_at_once_serve_more_and_each_of_them_slower():
    found = [replica().at(number, CHAT) for number in (1, 2, 8, 64, 256, 1024)]
    for fewer, more in pairwise(found):
        assert more.requests_per_minute >= fewer.requests_per_minute
        assert more.time_per_output_token_us >= fewer.time_per_output_token_us
        assert more.time_to_first_token_ms >= fewer.time_to_first_token_ms


@given(st.integers(1, 512), TOKENS, TOKENS, st.sampled_from([1, 2, 3]))
def test_requests_that_make_tokens_are_rate_times_time(concurrency, prompt, output, stages):
    found = replica(pipeline=stages).at(concurrency, Workload(prompt, output, 0))
    rate, seconds = found.requests_per_minute / 60, (output - 1) * found.time_per_output_token_us / 1e6
    # Little's law; those whose prompt is computed are in flight too, and times are rounded up.
    assert rate * seconds <= concurrency * 1.01


@pytest.mark.parametrize(
    ("slower", "faster"),
    [
        ({"tensor": 4}, {"tensor": 8}),
        ({"accelerator": "H100-80GB"}, {"accelerator": "H200-141GB"}),
        ({"accelerator": "A100-80GB", "precision": "BF16"}, {"accelerator": "H100-80GB", "precision": "BF16"}),
        ({"precision": "BF16"}, {"precision": "FP8"}),
        ({"model": "llama-3.1-70b"}, {"model": "llama-3.1-8b"}),
    ],
)
def test_better_hardware_and_smaller_weights_are_faster(slower, faster):
    one, other = replica(**slower).at(16, CHAT), replica(**faster).at(16, CHAT)
    assert other.requests_per_minute > one.requests_per_minute
    assert other.time_per_output_token_us < one.time_per_output_token_us


def test_no_single_answer_is_faster_than_reading_the_weights_once_per_token():
    found = KNOWN.model("llama-3.1-70b").default_variant("FP8")
    floor = found.weight_bytes * 0.95 / 8 / (KNOWN.accelerator("H100-80GB").memory_bandwidth_gb_per_second * 1e9)
    assert predicted(tensor=8, max_num_seqs=1).time_per_output_token_us > floor * 1e6


def test_experts_that_no_token_needs_are_not_read():
    scout = KNOWN.model("llama-4-scout")
    dense_read = scout.default_variant("BF16").weight_bytes / 8 / 3.35e12
    assert replica("H100-80GB", "BF16", 8, "llama-4-scout").decode_stage_seconds(1, 100) < dense_read


def test_the_kv_cache_bounds_what_runs_at_once():
    assert predicted(kv=20_000).concurrency < predicted(kv=200_000).concurrency < predicted().concurrency == 256


@given(TOKENS, TOKENS, st.integers(0, 1_000_000))
def test_sequences_evenly_spread_over_their_length_fit_the_cache(prompt, output, kv_tokens):
    held = sequences_held(kv_tokens, Workload(prompt, output, 0))
    # The k-th of n has k / n of its answer: together (n + 1) / 2 answers.
    assert held == 0 or 2 * held * prompt + (held + 1) * output <= 2 * kv_tokens
    assert 2 * (held + 1) * prompt + (held + 2) * output > 2 * kv_tokens
    assert held >= 1 or prompt + output > kv_tokens


@given(
    st.one_of(st.none(), st.integers(50, 5000)),
    st.one_of(st.none(), st.integers(5_000, 200_000)),
    st.sampled_from([1, 2, 4, 8]),
)
def test_limits_are_kept_wherever_one_sequence_keeps_them(first, each, tensor):
    limits = Limits(first, each)
    found = predicted(tensor=tensor, limits=limits)
    alone = replica(tensor=tensor).at(1, CHAT)
    assert found.within(limits) or (found == alone and not alone.within(limits))
    more = replica(tensor=tensor).at(found.concurrency + 1, CHAT)
    assert found.concurrency == 256 or not more.within(limits)


def test_a_card_without_known_speed_gets_no_prediction():
    assert predicted("tiny-random-llama", "BF16", "CPU", 1) is None


@pytest.mark.parametrize("name", KNOWN.accelerator_names)
def test_every_gpu_has_a_speed(name):
    accelerator = KNOWN.accelerator(name)
    found = predicted("llama-3.1-8b", "BF16", name, 1)
    assert (found is None) == (accelerator.device == "CPU")


@pytest.mark.parametrize(("rate", "each", "replicas"), [(0, 10, 1), (1, 10, 1), (10, 10, 1), (11, 10, 2), (7, 0, 7)])
def test_replicas_sustain_the_rate_together(rate, each, replicas):
    performance = Performance(1, 1, 1, each, 1)
    assert replicas_needed(performance, Workload(1, 1, rate)) == replicas
