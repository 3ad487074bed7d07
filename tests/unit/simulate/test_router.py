"""How requests are shared among replicas: HAProxy's counts of connections begin anew when a replica comes or goes."""

import pytest

from llama_operator.simulate.fixed_server import FixedServer
from llama_operator.simulate.replica import Replica
from llama_operator.simulate.request import Arrival, Request
from llama_operator.simulate.router import PathLimits, Router


def router(count, path="Direct"):
    made = Router(PathLimits(path), seed=1)
    for number in range(count):
        made.add(replica(f"old-{number}"))
    return made


def replica(name):
    return Replica(name, FixedServer(), asked_at=0.0, ready_at=0.0, samples=1)


def send(to, count, seconds=1000.0):
    for _ in range(count):
        to.arrive(Request(Arrival(0.0, 1, 1, seconds)), 0.0)


def in_flight(to):
    return [one.engine.in_flight for one in to.ready]


@pytest.mark.parametrize(
    ("path", "after"),
    [
        # The new worker of HAProxy knows nothing of what the old one has on its way.
        ("Direct", [13, 13, 3]),
        # Serve's router asks replicas, and draws two.
        ("Ingress", [10, 10, 9]),
    ],
)
def test_a_new_replica_gets_its_part_from_haproxy_and_all_from_serve_until_it_has_as_many(path, after):
    to = router(2, path)
    send(to, 20)
    to.add(replica("new"))
    send(to, 9)
    assert in_flight(to) == pytest.approx(after, abs=3 if path == "Ingress" else 0)


def test_after_a_replica_has_gone_the_others_are_equal_whatever_they_hold():
    to = router(3)
    send(to, 9)
    held, _, _ = to.ready
    send(to, 3)
    gone = to.remove_newest()
    assert gone.name == "old-2"
    held.engine.accept(Request(Arrival(0.0, 1, 1, 1000.0)), 0.0)
    send(to, 4)
    assert in_flight(to) == [4 + 1 + 2, 4 + 2]


def test_what_ends_in_an_old_worker_does_not_count_in_the_new_one():
    to = router(2)
    send(to, 2)
    to.add(replica("new"))
    first = to.ready[0]
    to.ended(first, first.engine.advance())
    send(to, 3)
    assert in_flight(to) == [1, 2, 1]
    to.ended(first, first.engine.advance())
    assert [one.connections for one in to.ready] == [0, 1, 1]
    send(to, 1)
    assert in_flight(to) == [1, 2, 1]


def test_without_a_replica_all_wait_and_the_first_one_gets_them():
    to = router(0)
    send(to, 3)
    to.add(replica("first"))
    assert [one.name for one in to.hand_on(0.0)] == ["first"] * 3
    assert in_flight(to) == [3]
    assert to.ready[0].connections == 3
