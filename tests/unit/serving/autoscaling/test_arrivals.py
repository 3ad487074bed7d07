"""Level and trend of arrivals: what one line explains, and no more."""

import math
import random

import pytest

from llama_serving.autoscaling.arrivals import counted, load, persistent
from llama_serving.autoscaling.memory import Memory
from llama_serving.autoscaling.signal import Facts, ReplicaReading
from llama_serving.autoscaling.trust import Trusted
from support.serving.scaling.fluid_fleet import poisson

NOW = 100_000.0


def seen(rate, seconds=320, seed=0):
    """Bins of arrivals; `rate` is a function of seconds before now, which are negative."""
    draw = random.Random(seed)  # noqa: S311 - arrivals of a test
    last = int(NOW // 5)
    return [
        (last + back, float(sum(poisson(draw, rate(5 * back + second)) for second in range(5))), 5.0)
        for back in range(-seconds // 5, 0)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_a_calm_load_is_averaged_and_has_no_trend(seed):
    found = load(seen(lambda _: 20.0, seed=seed), NOW)

    assert found.level == pytest.approx(20, rel=0.1)
    assert found.ahead(130)[0] == pytest.approx(20, rel=0.25)


@pytest.mark.parametrize("seed", range(5))
def test_a_trend_is_followed_as_far_as_it_was_watched(seed):
    found = load(seen(lambda at: 60 + at / 10, seed=seed), NOW)

    assert found.level == pytest.approx(60, rel=0.1)
    assert found.ahead(100)[0] == pytest.approx(70, rel=0.1)
    assert found.ahead(10_000) == found.ahead(found.seconds)


def flank(at, turn):
    """A wave of 20 minutes, `turn` seconds after its trough."""
    return 28 - 16 * math.cos(2 * math.pi * (at + turn) / 1200)


@pytest.mark.parametrize("turn", [180, 450, 650])
def test_a_flank_that_bends_is_neither_lagged_behind_nor_overshot(turn):
    """It gets steeper, flattens, and turns down."""
    found = [load(seen(lambda at: flank(at, turn), seed=seed), NOW) for seed in range(8)]
    level = sum(one.level for one in found) / len(found)
    ahead = sum(one.ahead(120)[0] for one in found) / len(found)
    assert level == pytest.approx(flank(0, turn), abs=2.5)
    assert ahead == pytest.approx(flank(120, turn), abs=8)


@pytest.mark.parametrize("seed", range(5))
def test_the_noise_of_counts_is_told_from_the_shape_of_the_load(seed):
    assert load(seen(lambda at: 60 + at / 10, seed=seed), NOW).dispersion < 1.8
    assert load(seen(lambda at: 60.0 if at > -100 else 6.0, seed=seed), NOW).dispersion < 1.8


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ago", [12, 30, 60, 110])
def test_a_step_is_no_trend(seed, ago):
    found = load(seen(lambda at: 60.0 if at >= -ago else 6.0, seed=seed), NOW)

    assert found.level == pytest.approx(60, rel=0.25)
    assert found.ahead(130)[0] < 60 * 1.5


def test_nothing_counted_is_not_nothing_that_came():
    assert load([], NOW) is None
    assert load([(int(NOW // 5) - 1, 0.0, 5.0)], NOW).level == 0


def reading(**changes):
    return ReplicaReading(name="r", waiting=0, running=1, kv_usage=0, slots=8, reported_at=NOW, **changes)


def memory(accepted, moved=NOW - 1):
    return Memory(at=NOW - 1, ready=1, counters=(("r", accepted, 0.0, 0.0, 0.0, 0.0, moved, 0.0),))


def trust(*readings):
    return Trusted(readings, 0.0, "")


def test_a_counter_that_went_back_began_anew():
    assert counted(memory(100.0), trust(reading(accepted=130)), 1, NOW).accepted == 30
    assert counted(memory(100.0), trust(reading(accepted=7)), 1, NOW).accepted == 7


def test_a_replica_that_was_away_brings_no_burst():
    back = counted(memory(100.0, moved=NOW - 1000), trust(reading(accepted=10_100)), 1, NOW)
    assert back.accepted == pytest.approx(10)


def test_a_new_replica_brings_all_that_it_took_but_not_to_a_memory_that_begins():
    other = ReplicaReading(name="new", waiting=0, running=1, kv_usage=0, slots=8, accepted=5, reported_at=NOW)
    assert counted(memory(100.0), trust(reading(accepted=100), other), 2, NOW).accepted == 5
    assert counted(Memory(), trust(other), 1, NOW) is None


def test_replicas_that_are_not_believed_take_as_much_as_the_others():
    assert counted(memory(100.0), trust(reading(accepted=110)), 3, NOW).accepted == 30
    assert counted(memory(100.0), trust(), 3, NOW) is None


def test_a_replica_that_thaws_brings_no_burst():
    """Its counters stood still while it looked idle: 600 seconds of work do not arrive in one second."""
    facts = Facts(per_token=75e-6)
    thawed = reading(accepted=4600, finished=4500, prompt_tokens=5e6, generated_tokens=1e6)
    assert counted(memory(100.0), trust(thawed), 1, NOW, facts).accepted == 0
    assert counted(memory(100.0), trust(reading(accepted=130, prompt_tokens=3e4)), 1, NOW, facts).accepted == 30


@pytest.mark.parametrize(
    ("prompts", "counts"),
    [
        pytest.param([80_000], 1, id="one that took 45 seconds, counted when it ends"),
        pytest.param([60_000] * 3, 3, id="three that ended together"),
        pytest.param([80_000] * 8, 0, id="more than the cache holds: they were computed before, and nobody knows when"),
    ],
)
def test_long_prompts_that_end_are_counted(prompts, counts):
    """8B on an L4."""
    facts = Facts(per_token=1.4e-4, per_pair=1.05e-8)
    said = {"accepted": len(prompts), "finished": len(prompts), "prompt_tokens": sum(prompts)}
    ended = reading(kv_tokens=200_000, **said, prompt_pairs=sum(tokens**2 / 2 for tokens in prompts))
    assert counted(memory(0.0), trust(ended), 1, NOW, facts).accepted == counts


@pytest.mark.parametrize("seed", range(5))
def test_a_slope_that_was_not_seen_is_not_sure(seed):
    found = load(seen(lambda _: 20.0, seconds=80, seed=seed), NOW)
    assert found.slope_error > 0
    assert found.ahead(60)[1] > found.ahead(0)[1] > found.level_error


def test_a_queue_that_flickers_is_none():
    flips = tuple((NOW + second, 400.0 * (second % 7 < 4), 0.0) for second in range(8))
    assert persistent(flips, 1) == 0
    assert persistent(tuple((NOW + second, 400.0, 0.0) for second in range(8)), 1) == 400
    assert persistent(flips[:2], 1) is None
