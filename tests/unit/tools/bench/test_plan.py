"""The comparison with AIConfigurator: a grid that is large enough, manifests that are valid, and a fair count."""

import pytest

from bench import plan as bench_plan
from bench import plan_grid as grid

POINTS = list(grid.points())


def configuration(gpus, rate, mode="agg", sharding="tp1pp1dp1"):
    return {"gpus": gpus, "requests_per_second": rate, "mode": mode, "sharding": sharding}


def test_the_grid_has_200_questions_and_each_is_another_one():
    assert len(set(POINTS)) == len(POINTS) >= 200


@pytest.mark.parametrize(
    "point", POINTS[::16], ids=lambda point: f"{point.model.label} {point.accelerator} {point.goal.name}"
)
def test_every_question_is_a_valid_manifest(point):
    assert bench_plan.parse(bench_plan.manifest(point))


@pytest.mark.parametrize(("rate", "gpus"), [(0.1, 1), (2, 2), (3, 3), (5, 4), (10, 8)])
def test_the_reference_may_take_whatever_has_the_fewest_gpus_at_the_load(rate, gpus):
    answer = {"configurations": [configuration(1, 1.0), configuration(4, 5.0)]}
    assert bench_plan.best(answer, rate).gpus == gpus


def test_no_answer_is_no_reference():
    assert bench_plan.best({"configurations": []}, 1) is None


def test_405b_in_16_bits_on_h100_is_planned_over_two_nodes():
    point = next(p for p in POINTS if p.model.label == "llama-3.1-405b BF16" and p.accelerator == "H100-80GB")
    planned = bench_plan.ours(point)
    assert (planned.sharding.tensor, planned.sharding.pipeline, planned.nodes) == (8, 2, 2)


def test_a_replica_at_its_load_has_no_more_at_once_than_planned():
    point = next(p for p in POINTS if p.model.label == "llama-3.1-70b FP8" and p.requests_per_second > 8)
    planned = bench_plan.ours(point)
    assert 1 <= bench_plan.concurrency_at_load(point, planned) <= planned.performance.concurrency
