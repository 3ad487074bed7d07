"""Who plays when: incidents that take the same nodes never at the same time, all others beside each other."""

import concurrent.futures
import threading

from gameday.incident import Incident, condition, nothing
from gameday.runner import _Queue

PATIENCE = 60


def incident(name, *takes):
    return Incident(name=name, title=name, cause=nothing, says=(condition("Ready", "True"),), takes=frozenset(takes))


def test_incidents_that_take_the_same_nodes_follow_each_other():
    now, most, lock = set(), set(), threading.Lock()

    def play(one):
        with lock:
            now.add(one.name)
            most.add(frozenset(now))
        with lock:
            now.remove(one.name)

    queue = _Queue([incident(f"a{number}", "h200-8") for number in range(8)])
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(queue.work, play) for _ in range(4)]:
            done.result(PATIENCE)
    assert most == {frozenset({f"a{number}"}) for number in range(8)}


def test_incidents_that_take_different_nodes_are_played_beside_each_other():
    both = threading.Barrier(2, timeout=PATIENCE)
    queue = _Queue([incident("first", "h200-8"), incident("second", "h200-8"), incident("third", "a100-4")])
    order = []

    def play(one):
        order.append(one.name)
        if one.name != "second":
            both.wait()

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(queue.work, play) for _ in range(2)]:
            done.result(PATIENCE)
    assert sorted(order) == ["first", "second", "third"]
    assert order.index("second") == 2


def test_a_play_that_raises_gives_its_nodes_back():
    queue = _Queue([incident("first", "h200-8"), incident("second", "h200-8")])
    played = []

    def play(one):
        played.append(one.name)
        if one.name == "first":
            raise ValueError(one.name)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = [pool.submit(queue.work, play) for _ in range(2)]
    assert sorted(played) == ["first", "second"]
    assert sum(one.exception() is not None for one in results) == 1
