import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_serving.desk.fair import fair_share


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
