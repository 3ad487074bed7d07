"""Serve's controller stands still, its clock is set, its store cannot be read: a fleet stays as it is, and what was measured too."""

import math

import pytest

from llama_serving.autoscaling.arrivals import counted
from llama_serving.autoscaling.memory import Memory
from llama_serving.autoscaling.signal import Facts, ReplicaReading
from llama_serving.autoscaling.trust import Trusted
from support.serving.scaling.listed_fleet import ALL, START, Fleet
from support.serving.scaling.serve_contexts import NOW, Store

FACTS = Facts(per_token=0.001)


class Slow(Store):
    """A store that cannot be read at first."""

    def __init__(self, failures):
        super().__init__()
        self.failures = failures

    def read(self, key):
        if self.kept and self.failures > 0:
            self.failures -= 1
            raise ConnectionError(key)
        return super().read(key)


@pytest.mark.parametrize("clock", [-3600.0, -5.0, 5.0, 30.0, 600.0])
def test_a_clock_that_is_set_changes_a_fleet_by_no_more_than_one_start_is_worth(clock):
    fleet = Fleet()
    before = fleet.wishes[-1]
    memory = fleet.goes_on(300, 500, ALL, target=4, clock=clock)
    assert memory.cold_start == START
    assert max(fleet.wishes[600:]) <= math.ceil(1.2 * max(4, before))
    assert memory.level == pytest.approx(2.0, rel=0.1)


def test_a_clock_that_was_set_back_stays_behind_where_a_setting_changes():
    """The memory is ahead of the clock then, and a new policy knows only the memory."""
    fleet = Fleet()
    fleet.goes_on(300, 330, ALL, target=4, clock=-60.0)
    memory = fleet.goes_on(330, 400, ALL, target=4, clock=-60.0, changes=True)
    assert (memory.cold_start, max(fleet.wishes[600:])) == (START, fleet.wishes[599])


@pytest.mark.parametrize("seconds", [11, 60])
def test_a_controller_that_stood_still_asks_for_nothing_by_doubt(seconds):
    fleet = Fleet()
    before = fleet.wishes[-1]
    memory = fleet.goes_on(300 + seconds, 500, ALL, target=4)
    assert set(fleet.wishes[600:]) <= {before, 4}
    assert (memory.cold_start, fleet.wishes[-1]) == (START, before)


def test_a_store_that_cannot_be_read_for_some_seconds_is_waited_for():
    fleet = Fleet(store=Slow(failures=8))
    memory = fleet.goes_on(300, 310, ALL, target=4, changes=True)
    assert set(fleet.wishes[600:608]) == {4}, "it stays as it is meanwhile"
    assert (memory.cold_start, memory.ready, max(fleet.wishes[600:])) == (START, 4, 4)
    assert memory.began < NOW + 10


def test_a_store_that_cannot_be_read_at_all_is_given_up():
    fleet = Fleet(store=Slow(failures=1000))
    memory = fleet.goes_on(300, 400, ALL, target=4, changes=True)
    assert memory.ready == 4
    assert max(fleet.wishes[600:]) <= 5


def reading(name, requests):
    """A replica that has computed so many requests of 1,000 and 100 tokens since it started."""
    done = {
        "accepted": requests,
        "finished": requests,
        "prompt_tokens": 1000.0 * requests,
        "generated_tokens": 100.0 * requests,
    }
    return ReplicaReading(name=name, waiting=0.0, running=1.0, kv_usage=0.1, slots=8.0, reported_at=1001.0, **done)


@pytest.mark.parametrize(
    ("requests", "arrived"), [(3.0, 3.0), (5000.0, 0.0)], ids=["it began to serve just now", "it was there before"]
)
def test_what_a_replica_did_before_it_was_listed_does_not_arrive_now(requests, arrived):
    """A new controller lists one engine after the other; what each of them has ever done came as one burst."""
    memory = Memory(at=1000.0, began=900.0, ready=1, ready_since=990.0, counters=(("a", *[0.0] * 5, 1000.0, 0.0),))
    trust = Trusted((reading("a", 0.0), reading("b", requests)), 0.0, "")
    moved = counted(memory, trust, 2, 1001.0, FACTS)
    assert moved is not None
    assert moved.accepted == arrived
