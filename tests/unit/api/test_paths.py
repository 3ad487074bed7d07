"""Nested values by path, checked by properties: what goes apart comes together again."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_operator.api import paths

NAMES = st.text(alphabet="abcXYZ", min_size=1, max_size=3)
SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
VALUES = st.dictionaries(
    NAMES,
    st.recursive(SCALARS, lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=2), max_leaves=4),
    max_size=3,
)
"""Nested values in which no mapping below the first is empty."""
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(".".join)


@given(VALUES)
def test_leaves_and_nested_are_opposites(values):
    assert paths.nested(paths.leaves(values)) == values


@given(VALUES)
def test_every_leaf_is_at_its_path(values):
    assert all(paths.at(values, path) == value for path, value in paths.leaves(values).items())


@given(VALUES, PATHS)
def test_what_is_taken_away_is_gone_and_everything_else_stays(values, path):
    before = copy.deepcopy(values)
    left = paths.without(values, path)
    assert paths.at(left, path) is None
    below = {name for name in paths.leaves(values) if name == path or name.startswith(f"{path}.")}
    assert paths.leaves(left) == {name: value for name, value in paths.leaves(values).items() if name not in below}
    assert values == before


@given(VALUES, VALUES)
def test_after_a_merge_what_the_patch_names_is_there_and_what_it_does_not_name_stays(target, patch):
    before = copy.deepcopy((target, patch))
    result = paths.merged(target, patch)
    named = paths.leaves(patch)
    assert all(paths.at(result, path) == value for path, value in named.items())
    for path, value in paths.leaves(target).items():
        if not any(path == other or path.startswith(f"{other}.") or other.startswith(f"{path}.") for other in named):
            assert paths.at(result, path) == value
    assert (target, patch) == before
    assert paths.merged(result, patch) == result


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches_of_the_rfc(target, patch, result):
    assert paths.merged(target, patch) == result
