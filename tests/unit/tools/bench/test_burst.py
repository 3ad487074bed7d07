"""What `make bench-burst` makes of its measurements."""

import pytest

from bench.burst import ANSWER, Speed, burst_of, predicted, waits
from bench.serving import SLOTS

SPEED = Speed({1: 0.002, 2: 0.0022, 4: 0.0026, 8: 0.0034, SLOTS: 0.005}, per_prompt_token=1e-5, beside=0.004)


def test_steps_are_those_that_were_measured_and_straight_between_them():
    table = SPEED.step_time()
    assert [table.seconds(running, 0.0, 0.0) for running in SPEED.steps] == pytest.approx(list(SPEED.steps.values()))
    assert table.seconds(3, 0.0, 0.0) == pytest.approx(0.0024)
    assert table.seconds(SLOTS + 100, 0.0, 0.0) == pytest.approx(0.005 + 100 * 1e-5)


def test_an_engine_in_the_simulator_answers_what_is_said_to_be_the_most():
    arrivals = burst_of(SPEED.most, seed=1)
    asked = len(arrivals) / 100
    assert asked == pytest.approx(0.72 * SPEED.most, rel=0.1), "20 s of 1.6 and 80 s of 0.5, less what chance takes"
    answers = predicted(SPEED, arrivals)
    assert len(answers) == len(arrivals)
    burst = waits(answers)
    assert 8 < burst.longest < 16, "0.6 of the work of 20 s waits at its end"
    assert 55 < burst.late_until < 80, "and is worked off by half of the engine"
    assert burst.answer == pytest.approx(ANSWER * SPEED.steps[SLOTS], rel=0.1)


def test_a_slower_machine_takes_as_much_longer_for_everything_in_the_engine():
    slower = SPEED.slower(2.0)
    assert slower.most == pytest.approx(SPEED.most / 2)
    assert slower.beside == SPEED.beside
