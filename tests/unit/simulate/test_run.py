"""Whole runs: every request ends once, the same seed gives the same run, GPU time is counted, drains and failed starts."""

import math
import random
from collections import Counter
from dataclasses import replace

import pytest

from llama_operator.simulate.cold_start import ColdStart, Starts
from llama_operator.simulate.fleet_view import ServeDelays, Wish
from llama_operator.simulate.outcome import outcome
from llama_operator.simulate.request import End
from llama_operator.simulate.router import PathLimits
from llama_operator.simulate.run import run
from llama_operator.simulate.scalers.known import Fixed
from llama_operator.simulate.traces.named import find


class Restless:
    """Wishes something else every few seconds."""

    name = "restless"

    def __init__(self, seed, delays=None):
        self._chance, self.delays = random.Random(seed), delays

    def wish(self, view):
        return Wish(self._chance.randrange(6) if view.now % 7 == 0 else view.target)


class Planned:
    """Wishes what a table says."""

    name = "planned"
    delays = None

    def __init__(self, *steps):
        self._steps = steps

    def wish(self, view):
        return Wish([count for at, count in self._steps if at <= view.now][-1])


TRACE = "steady:high=30,length=120,prompt=200,output=40"


@pytest.mark.parametrize("path", ["Direct", "Ingress"])
@pytest.mark.parametrize("seed", range(4))
def test_every_request_ends_exactly_once_whatever_happens_to_the_fleet(tiny, path, seed):
    setup = tiny(kv_tokens=900, path=path, cold_start=5.0, drain=4.0, bounds=(0, 5))
    setup = replace(setup, cold_start=ColdStart((3.0, 2.0), failing=0.3))
    trace = find(TRACE, seed)
    scaler = Restless(seed, ServeDelays(1.0, 5.0) if seed % 2 else None)
    record = run(setup, trace.arrivals, scaler, length=trace.length, seed=seed, initial=2)
    assert len(record.requests) == len(trace.arrivals)
    ends = Counter(request.end for request in record.requests)
    assert None not in ends
    assert ends[End.ANSWERED] > 0
    for request in record.requests:
        assert (request.end is End.ANSWERED) <= (request.arrival.at < request.first_token <= request.ended)


def test_the_same_seed_gives_the_same_run_and_another_one_another(tiny):
    def played(seed):
        setup, trace = tiny(path="Ingress", cold_start=5.0), find(TRACE, seed)
        record = run(setup, trace.arrivals, Restless(1), length=trace.length, seed=seed, initial=2)
        return [request.ended for request in record.requests], record.seconds, record.replica_seconds

    assert played(3) == played(3)
    assert played(3) != played(4)


def test_gpu_time_counts_from_the_asking_to_the_end_of_the_drain(tiny):
    setup = tiny(gpus=4)
    setup = replace(setup, cold_start=ColdStart((20.0,), spread=0.0))
    record = run(setup, (), Planned((0, 1), (10, 3), (50, 1)), length=100.0, seed=1)
    # One for all of the time, two from second 10 to 50.
    assert record.replica_seconds == pytest.approx(100 + 2 * 40)
    assert outcome(record, setup).gpu_hours == pytest.approx(4 * 180 / 3600)
    assert record.peak == 3
    by_second = {second.at: second.ready for second in record.seconds}
    assert (by_second[29.0], by_second[31.0], by_second[51.0]) == (1, 3, 1)


def test_replicas_that_do_not_run_yet_are_stopped_first(tiny):
    record = run(tiny(cold_start=30.0), (), Planned((0, 2), (10, 4), (20, 2)), length=60.0, seed=1, initial=2)
    assert {second.ready for second in record.seconds} == {2}


def test_a_drain_answers_what_it_holds_and_is_cut_at_its_end(tiny):
    trace = find("steady:high=5,length=30,prompt=100,output=600", 1)
    counts = []
    for drain in (600.0, 1.0):
        setup = tiny(drain=drain)
        record = run(setup, trace.arrivals, Planned((0, 2), (20, 1)), length=30.0, seed=1, initial=2)
        counts.append(Counter(request.end for request in record.requests))
    assert counts[0] == {End.ANSWERED: len(trace.arrivals)}
    assert counts[1][End.CUT] > 0


@pytest.mark.parametrize(("path", "most"), [("Direct", 2 * 10), ("Ingress", 10)])
def test_a_full_queue_refuses(tiny, path, most):
    trace = find("steady:high=200,length=10,prompt=300,output=50", 1)
    setup = tiny(limits=PathLimits(path, 12 if path == "Ingress" else 10**6, 10))
    record = run(setup, trace.arrivals, Fixed(2), length=trace.length, seed=1, initial=2)
    ends = Counter(request.end for request in record.requests)
    assert ends[End.REFUSED] > 100
    assert max(second.queued for second in record.seconds) <= most + (2 * 4 if path == "Ingress" else 0)


def test_what_waits_in_the_router_goes_to_a_new_replica_and_what_waits_in_an_engine_stays(tiny):
    trace = find("step:low=2,high=60,at=5,length=40,prompt=200,output=30", 1)
    waits = {}
    for path in ("Direct", "Ingress"):
        setup = replace(tiny(path=path), cold_start=ColdStart((10.0,), spread=0.0))
        record = run(setup, trace.arrivals, Planned((0, 1), (5, 8)), length=trace.length, seed=1)
        waits[path] = outcome(record, setup).largest_wait
    assert waits["Ingress"] < waits["Direct"]


def test_at_zero_requests_wait_and_serve_starts_one_replica_without_asking_the_policy(tiny):
    class Never:
        name, delays = "never", ServeDelays(5.0, 300.0)

        def wish(self, view):
            assert view.ready or not view.router_queue
            return Wish(view.target)

    setup = replace(tiny(bounds=(0, 5)), cold_start=ColdStart((10.0,), spread=0.0))
    trace = find("from-zero:high=5,at=20,period=20,length=60,prompt=50,output=5", 1)
    record = run(setup, trace.arrivals, Never(), length=trace.length, seed=1, initial=0)
    found = outcome(record, setup)
    assert (found.refused, found.pending, found.cut) == (0, 0, 0)
    assert record.changes[0].after == 1
    assert 9 < found.largest_wait < 13


def test_starts_spread_by_stage_fail_and_may_never_end():
    steady = [Starts(ColdStart((60.0, 40.0)), seed).seconds() for seed in range(200)]
    assert 90 <= min(steady) < 95
    assert 105 < max(steady) <= 110
    failing = [Starts(ColdStart((60.0, 40.0), failing=0.5), seed).seconds() for seed in range(200)]
    assert sum(failing) / 200 > 140
    starts = Starts(ColdStart((60.0,), never=2), 1)
    assert [starts.seconds() == math.inf for _ in range(3)] == [True, True, False]
