from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_serving.desk.fair import Visitors, fair_share


@pytest.mark.parametrize(
    ("waiting", "share"),
    [
        ({"flood": 100}, 100),
        ({"flood": 100, "quiet": 0}, 96),
        ({"flood": 100, "quiet": 3}, 90),
        ({"flood": 50, "other": 50}, 50),
        ({"flood": 80, "other": 20}, 56),
        ({"flood": 34, "b": 33, "c": 33}, 33),
        ({"flood": 90, "b": 0, "c": 0, "d": 0}, 88),
    ],
)
def test_one_tenant_may_have_what_the_others_do_not_want(waiting, share):
    assert fair_share("flood", waiting, 100) == share


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 50), min_size=1), st.integers(1, 1000))
def test_the_share_is_at_least_an_equal_one_and_at_most_all(waiting, places):
    for tenant in waiting:
        share = fair_share(tenant, waiting, places)
        assert max(1, places // len(waiting)) <= share <= max(1, places)


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(100, 200), min_size=2), st.integers(8, 100))
def test_where_all_want_more_than_there_is_all_get_the_same(waiting, places):
    assert {fair_share(tenant, waiting, places) for tenant in waiting} == {places // len(waiting)}


def request(is_waiting=True):
    return type("Request", (SimpleNamespace,), {"__hash__": object.__hash__})(is_waiting=is_waiting)


def test_requests_that_run_take_no_place_and_those_who_are_gone_want_none():
    visitors = Visitors()
    for tenant in ("flood", "quiet"):
        visitors.asks(tenant, 0.0)
    for _ in range(6):
        visitors.add("flood", request())
    for _ in range(20):
        visitors.add("flood", request(is_waiting=False))
    assert visitors.count == 26
    assert not visitors.has_place("flood", 10, 0.0)
    assert visitors.has_place("quiet", 10, 0.0)
    assert visitors.has_place("flood", 11, 0.0)
    visitors.asks("flood", 20.0)
    assert visitors.has_place("flood", 10, 20.0)


def test_between_two_counts_those_that_come_and_go_are_counted():
    visitors = Visitors()
    visitors.asks("one", 0.0)
    assert visitors.has_place("one", 2, 0.0)
    waiting = [request(), request()]
    for one in waiting:
        visitors.add("one", one)
    assert not visitors.has_place("one", 2, 0.1)
    visitors.remove("one", waiting[0])
    assert visitors.has_place("one", 2, 0.1)
