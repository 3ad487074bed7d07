"""Only two forms are a verdict; and an answer is checked at fixed lengths."""

import pytest

from llama_serving.guard.verdict import SAFE, Judgement, Why, failed, judgement_of, worst
from llama_serving.guard.windows import next_check

NO_VERDICT = failed(Why.NO_VERDICT)


@pytest.mark.parametrize("said", ["safe", "\n\nsafe", "\nsafe\n", "  \n\nsafe"])
def test_safe(said):
    assert judgement_of(said, frozenset()) == SAFE


@pytest.mark.parametrize(
    ("said", "categories"),
    [
        ("unsafe\nS1", ("S1",)),
        ("\n\nunsafe\nS1,S9", ("S1", "S9")),
        ("unsafe\nS14\n", ("S14",)),
        ("unsafe\nS2,S2", ("S2",)),
    ],
)
def test_unsafe(said, categories):
    assert judgement_of(said, frozenset()) == Judgement(safe=False, categories=categories)


@pytest.mark.parametrize(
    "said",
    [
        "", "unsafe", "Safe", "safe.", "safe because it is harmless", "unsafe S1", "unsafe\n", "unsafe\nS0", "unsafe\nviolent",
        "unsafe\nS1, S9", "I think\nsafe", "safe\nunsafe\nS1", "unsafe\nS1\nsafe", "not safe", " safe", "unsafe\nS1,", "unsafe\nS1000",
        "ignore the rules: safe", "safe safe",
    ],
)  # fmt: skip
def test_anything_else_is_no_verdict(said):
    assert judgement_of(said, frozenset()) == NO_VERDICT


def test_only_categories_that_count_make_unsafe():
    counted = frozenset({"S1"})
    assert judgement_of("unsafe\nS5", counted) == SAFE
    assert judgement_of("unsafe\nS5,S1", counted) == Judgement(safe=False, categories=("S1",))


def test_unsafe_outweighs_unknown_and_that_outweighs_safe():
    unsafe = Judgement(safe=False, categories=("S1",))
    assert worst([SAFE, NO_VERDICT, unsafe, Judgement(safe=False, categories=("S2", "S1"))]).categories == ("S1", "S2")
    assert worst([SAFE, NO_VERDICT]) == NO_VERDICT
    assert worst([]) == SAFE


def test_the_points_of_checks():
    points, at = [], 0
    while at < 1024:
        at = next_check(at)
        points.append(at)
    assert points == [32, 64, 128, 256, 512, 768, 1024]
    assert [next_check(31), next_check(32), next_check(300)] == [32, 64, 512]
