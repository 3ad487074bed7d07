"""The clairvoyant keeps the goal with few replicas, and disturbances do to metrics what they say."""

import math

import pytest

from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec
from llama_operator.simulate.compare import case_of, compare, play
from llama_operator.simulate.disturbances import STATELESS, Forgetful, between, frozen
from llama_operator.simulate.fleet_view import FleetView, ReplicaView, Wish
from llama_operator.simulate.need import find_need
from llama_operator.simulate.scalers.known import Fixed
from llama_operator.simulate.traces.named import find


def test_the_need_keeps_the_goal_and_one_replica_less_does_not(planned):
    # 33 requests a second need five replicas by far: where four nearly keep the goal, the search may end at one more for a moment.
    setup, trace = planned(cold_start=60.0, maximum=20), find("step:low=5,high=33,at=120,length=240", 1)
    need = find_need(setup, trace, seed=1)
    assert need.attainment >= 0.99
    assert need.at(60.0) < need.at(200.0) == need.peak
    fewer = find_need(planned(maximum=need.peak - 1), trace, seed=1)
    assert fewer.attainment < 0.99


def test_all_start_from_the_same_fleet_and_hours_are_over_the_clairvoyants(planned):
    spec = LlamaDeploymentSpec.model_validate({"model": {"name": "llama-3.3-70b-instruct"}})
    trace = find("step:low=5,high=30,at=120,length=240", 1)
    case = case_of(planned(cold_start=60.0, maximum=20), trace, spec, seed=1)
    product, clairvoyant = compare(case, ("product", "clairvoyant"), 1)
    assert product.record.seconds[0].ready == clairvoyant.record.seconds[0].ready == case.initial
    assert clairvoyant.relative_hours == 1.0
    assert product.relative_hours == pytest.approx(product.outcome.gpu_hours / clairvoyant.outcome.gpu_hours)
    assert clairvoyant.outcome.attainment > product.outcome.attainment
    assert play(case, "product", 1).record.replica_seconds == product.record.replica_seconds


def view(now=0.0, **changes):
    values = {"waiting": 3.0, "running": 9.0, "kv_usage": 0.5, "slots": 100, "accepted": 50, "finished": 40}
    values |= {
        "prompt_tokens": 7,
        "prompt_pairs": 25.0,
        "generated_tokens": 8,
        "reported_at": now,
        "kv_tokens": 1e5,
    } | changes
    return FleetView(now, 2, 2, 5.0, 1, 40, 60.0, tuple(ReplicaView(name, **values) for name in ("a", "b")))


@pytest.mark.parametrize("name", STATELESS)
def test_each_disturbance_changes_the_metrics_and_nothing_else(name):
    told = STATELESS[name](view(now=10.0))
    assert told != view(now=10.0)
    assert (told.now, told.ready, told.target, told.minimum, told.maximum) == (10.0, 2, 2, 1, 40)
    assert between(STATELESS[name], 20.0, 30.0)(view(now=10.0)) == view(now=10.0)


def test_values_that_are_no_numbers_are_no_numbers():
    told = STATELESS["NaN"](view())
    assert math.isnan(told.router_queue)
    assert all(math.isnan(one.kv_usage) for one in told.replicas)


@pytest.mark.parametrize(("anew", "reported"), [(False, 10.0), (True, 40.0)])
def test_frozen_replicas_repeat_their_last_report(anew, reported):
    freeze = frozen(20.0, 50.0, anew=anew)
    freeze(view(now=10.0, waiting=1.0))
    told = freeze(view(now=40.0, waiting=99.0))
    assert {(one.waiting, one.reported_at) for one in told.replicas} == {(1.0, reported)}
    assert freeze(view(now=60.0, waiting=2.0)) == view(now=60.0, waiting=2.0)


def test_a_forgetful_controller_makes_its_scaler_anew():
    made = []
    scaler = Forgetful(lambda: made.append(1) or Fixed(3), 60.0)
    assert [scaler.wish(view(now=float(now))) for now in range(0, 130, 10)] == [Wish(3)] * 13
    assert len(made) == 3
