import math

from hypothesis import given
from hypothesis import strategies as st

from llama_serving.desk.buckets import WINDOW_SECONDS, SlidingWindow

STEPS = st.lists(
    st.tuples(st.floats(0, 40), st.integers(1, 60), st.integers(0, 60)),
    max_size=40,
)


@given(STEPS)
def test_no_sixty_seconds_have_more_than_the_limit(steps):
    window, now, taken = SlidingWindow(100), 5.0, []
    for pause, amount, back in steps:
        now += pause
        bucket = window.take(amount, now)
        if bucket is not None:
            kept = amount - min(back, amount)
            window.give_back(bucket, amount - kept)
            taken.append((now, kept))
        recent = sum(kept for at, kept in taken if now - at < WINDOW_SECONDS)
        assert recent <= 100
        assert window.used(now) >= recent


@given(STEPS)
def test_after_the_wait_that_it_says_the_amount_is_there(steps):
    window, now = SlidingWindow(100), 5.0
    for pause, amount, _ in steps:
        now += pause
        wait = window.seconds_until(amount, now)
        assert (wait <= 0) == (amount <= window.remaining(now))
        now += wait
        assert window.take(amount, now) is not None


def test_what_is_larger_than_the_limit_never_fits():
    window = SlidingWindow(10)
    assert window.seconds_until(11, 0.0) == math.inf
    assert window.take(11, 0.0) is None


def test_what_is_given_back_can_be_taken_again_and_is_not_counted_twice():
    window = SlidingWindow(10)
    bucket = window.take(10, 0.0)
    window.give_back(bucket, 6)
    assert window.remaining(0.0) == 6
    window.give_back(bucket, 100)
    assert window.remaining(0.0) == 10
    assert window.seconds_until_full(0.0) == 0.0


def test_nothing_comes_back_for_a_minute_that_is_over():
    window = SlidingWindow(10)
    bucket = window.take(10, 0.0)
    window.take(3, 61.0)
    window.give_back(bucket, 10)
    assert window.remaining(61.0) == 7


def test_a_charge_may_exceed_the_limit_and_is_paid_off_later():
    window = SlidingWindow(10)
    window.charge(25, 0.0)
    assert (window.used(0.0), window.remaining(0.0)) == (25, 0)
    assert window.remaining(61.0) == 10


def test_it_keeps_no_more_than_a_minute():
    window = SlidingWindow(0)
    for second in range(10_000):
        window.charge(1, second)
    assert len(window._buckets) <= 62


def test_what_was_taken_at_the_end_of_a_bucket_is_held_for_sixty_seconds_as_well():
    window = SlidingWindow(10)
    window.take(10, 0.49)
    assert window.take(1, 60.48) is None
    assert window.take(1, 60.5) is not None


def test_what_was_used_within_some_seconds_is_told_to_a_bucket():
    window = SlidingWindow(1000)
    for second, amount in ((0.0, 5), (10.0, 7), (11.0, 11)):
        window.charge(amount, second)
    assert window.used_within(2.0, 11.0) == 18
    assert window.used_within(0.5, 11.0) == 11
    assert window.used_within(2.0, 30.0) == 0
    assert window.used(30.0) == 23
