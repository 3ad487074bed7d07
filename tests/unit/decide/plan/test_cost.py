"""Cost: amounts that add up, and the number of tokens from which on a deployment beats an API."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator import catalog
from llama_operator.catalog.figures import prices
from llama_operator.decide.plan.cost import cost
from llama_operator.decide.plan.performance import Performance, Workload

SPEED = Performance(100, 10_000, 1000, 60, 10)
DOLLAR = 1_000_000


def test_a_bill_that_can_be_checked_by_hand():
    # 2 replicas of 4 GPUs at 2 dollars: 16 dollars an hour. 100 requests of 1,000 tokens a minute: 6 M tokens an hour.
    found = cost(2 * DOLLAR, 4, 2, SPEED, Workload(900, 100, 100), api_usd_micros_per_million_tokens=4 * DOLLAR)
    assert (found.gpus, found.usd_micros_per_hour, found.requests_per_minute) == (8, 16 * DOLLAR, 100)
    assert found.tokens_per_day == 144_000_000
    assert found.usd_micros_per_million_tokens == 2_666_667
    assert found.usd_micros_per_million_output_tokens == 26_666_667
    assert found.capacity_tokens_per_day == 172_800_000
    assert found.break_even is not None
    assert (found.break_even.tokens_per_day, found.break_even.reachable) == (96_000_000, True)


def test_a_rate_beyond_what_is_sustained_is_not_billed():
    assert cost(DOLLAR, 1, 1, SPEED, Workload(1, 1, 1000)).requests_per_minute == 60


def test_no_rate_means_full_load():
    assert cost(DOLLAR, 1, 3, SPEED, Workload(1, 1, 0)).requests_per_minute == 180


def test_nothing_served_has_no_price_per_token():
    found = cost(DOLLAR, 1, 0, SPEED, Workload(10, 10, 0), api_usd_micros_per_million_tokens=DOLLAR)
    assert (found.usd_micros_per_hour, found.usd_micros_per_million_tokens) == (0, None)


@given(
    st.integers(1, 20 * DOLLAR),
    st.integers(1, 64),
    st.integers(1, 100),
    st.integers(1, 100_000),
    st.integers(1, 50 * DOLLAR),
)
def test_at_the_break_even_both_cost_the_same(each, gpus, replicas, rate, api):
    speed = Performance(1, 1, 1, rate, 1)
    found = cost(each, gpus, replicas, speed, Workload(100, 100, 0), api_usd_micros_per_million_tokens=api)
    assert found.break_even is not None
    ours, theirs = found.usd_micros_per_hour * 24, found.break_even.tokens_per_day * api / 1e6
    assert 0 <= theirs - ours <= api / 1e6 + 1e-3
    assert found.break_even.reachable == (found.break_even.tokens_per_day <= found.capacity_tokens_per_day)


def test_every_price_is_of_a_card_that_we_know_and_says_whose_it_is():
    table = prices.load()
    assert table.basis
    assert {price.accelerator for price in table.prices} <= set(catalog.load().accelerator_names)
    assert all(price.source for price in table.prices)


@pytest.mark.parametrize(("name", "expected"), [("A", 2 * DOLLAR), ("B", None)])
def test_an_hour_of_a_card(name, expected):
    assert prices.table("ours", {"A": 2 * DOLLAR}).of(name) == expected
