"""How many requests a replica gets that is new, or was down: HAProxy itself, configured by Ray's own code, in front of stubs."""

import concurrent.futures
import contextlib
import time

import pytest

from llama_serving.contract.routing import Routing
from llama_serving.routing.amend import ENGINE_BACKEND, RETURN_SECONDS, eased
from support.serving.replicas import Front

REPLICAS = 3
HELD = {"messages": [{"role": "user", "content": "hi"}], "stop": "hold"}
FULL = 12
"""Requests that each of the others has when a replica comes back."""
MORE = 12
AN_HOUR = 3600
"""So long that no replica grows while a test runs, however slow the machine is."""


@pytest.fixture
def start(tmp_path):
    with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor(64) as pool:

        def make(**options):
            front = Front(tmp_path, Routing.LEAST_CONNECTIONS, REPLICAS, **options)
            stack.callback(front.stop)
            # Requests that are held end before their threads are waited for.
            stack.callback(lambda: [replica.release() for replica in front.replicas.values()])
            front.hold = lambda requests: hold(front, pool, requests)
            return front

        with stack:
            yield make


def hold(front, pool, requests):
    """Send requests that stay open; how many of them each replica got."""
    before = {name: replica.held for name, replica in front.replicas.items()}
    for _ in range(requests):
        wanted = sum(replica.held for replica in front.replicas.values()) + 1
        pool.submit(front.post, HELD)
        eventually(lambda wanted=wanted: sum(replica.held for replica in front.replicas.values()) == wanted)
    return {name: replica.held - before[name] for name, replica in front.replicas.items()}


def eventually(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def with_one_that_comes_back(front):
    """The replica that was down while the others got `FULL` requests each."""
    back = next(reversed(front.replicas))
    front.replicas[back].stop()
    eventually(lambda: front.down() == 1)
    front.hold(FULL * (REPLICAS - 1))
    front.replicas[back].start()
    eventually(lambda: front.down() == 0)
    return back


def test_a_replica_that_was_down_gets_a_small_part_at_first(start):
    front = start(return_seconds=AN_HOUR)
    assert front.growing() == {}, "at the start of HAProxy nobody is slowed"
    back = with_one_that_comes_back(front)
    assert front.growing() == {back: pytest.approx(5, abs=5)}
    got = front.hold(MORE)
    assert 1 <= got[back] <= 2, got


def test_without_it_such_a_replica_would_get_them_all(start):
    front = start(return_seconds=0)
    back = with_one_that_comes_back(front)
    assert front.hold(MORE)[back] == MORE


def test_who_grows_goes_on_after_a_change_of_replicas_and_who_is_new_does_not_begin_to(start):
    front = start(return_seconds=AN_HOUR, started=REPLICAS - 1)
    back = next(iter(front.replicas))
    front.replicas[back].stop()
    eventually(lambda: front.down() == 1)
    front.replicas[back].start()
    eventually(lambda: front.down() == 0)
    front.grow()
    assert list(front.growing()) == [back]


def test_a_change_of_replicas_begins_with_equal_parts(start):
    front = start(return_seconds=AN_HOUR, started=REPLICAS - 1)
    old, new = list(front.replicas)[:-1], list(front.replicas)[-1]
    assert front.hold(2 * FULL) == {old[0]: FULL, old[1]: FULL, new: 0}
    front.grow()
    # The process that knows of the open requests is the one before: in this all have none.
    assert front.growing() == {}
    assert front.hold(MORE) == dict.fromkeys(front.replicas, MORE // REPLICAS)


def test_the_product_writes_its_time_into_the_section_of_the_replicas_only():
    text = f"defaults\n    mode http\nbackend http-llama-board\n    x\nbackend {ENGINE_BACKEND}\n    log global\n"
    added = [line for line in eased(text).splitlines() if line not in text.splitlines()]
    assert added == [f"    default-server slowstart {RETURN_SECONDS}s"]
    assert eased(text).splitlines()[5] == added[0]
    assert eased("defaults\n    mode http\n") == "defaults\n    mode http\n", "before there is an application"
