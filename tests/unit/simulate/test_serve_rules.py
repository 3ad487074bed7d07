"""What the simulated Serve makes of a wish is what the installed one makes of it."""

import random

import pytest

from llama_operator.simulate.fleet_view import ServeDelays
from llama_operator.simulate.serve_rules import ServeRules

theirs = pytest.importorskip("ray.serve.autoscaling_policy", reason="Ray Serve is not installed")
config = pytest.importorskip("ray.serve.config")


@pytest.mark.parametrize("seed", range(20))
def test_factors_and_delays_are_those_of_the_installed_serve(seed):
    chance = random.Random(seed)
    up, down = chance.choice([0.0, 5.0, 30.0]), chance.choice([0.0, 20.0, 300.0])
    factors = chance.choice([1.0, 1.0, 2.0]), chance.choice([1.0, 0.5])
    rules = ServeRules(ServeDelays(up, down, *factors))
    known = config.AutoscalingConfig(
        min_replicas=0,
        max_replicas=50,
        upscale_delay_s=up,
        downscale_delay_s=down,
        upscaling_factor=factors[0],
        downscaling_factor=factors[1],
    )
    ready = target = 3
    state, wish = {}, 3.0
    for now in range(600):
        if chance.random() < 0.1:
            wish = chance.choice([0.0, 1.0, 2.5, 4.0, 9.0])
        if chance.random() < 0.1:
            ready = max(0, min(target, ready + chance.choice([-1, 0, 1])))
        scaled = theirs._apply_scaling_factors(wish, ready, known)
        if ready == 0 and scaled > 0:
            expected = scaled
        else:
            expected, state = theirs._apply_delay_logic(max(0, scaled), target, known, state, _now=float(now))
        assert rules.apply(wish, ready=ready, target=target, now=float(now)) == expected
        target = expected


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_at_zero_serve_starts_as_many_as_its_factor_says(factor):
    rules = ServeRules(ServeDelays(upscaling_factor=factor))
    assert rules.at_zero(0, 0, 1) == factor
    assert rules.at_zero(0, 5, 1) == 5
    assert rules.at_zero(0, 0, 0) is None
    assert rules.at_zero(1, 1, 9) is None
    assert ServeRules(ServeDelays(asked_at_zero=True)).at_zero(0, 0, 1) is None
