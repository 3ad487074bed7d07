"""What becomes of requests that meet a replica on its way out: HAProxy itself, configured by Ray's own code, in front of stubs."""

import concurrent.futures
import http.client
import json
import time

import pytest

from llama_serving.contract.routing import Routing
from llama_serving.routing.amend import BODY_SECONDS, ENGINE_BACKEND, repeating
from support.serving.ray_cluster import LOOPBACK
from support.serving.replicas import CHAT, START_SECONDS, Front

LEAVE = {"messages": [{"role": "user", "content": "hi"}], "stop": "leave"}
HOLD = {"messages": [{"role": "user", "content": "hi"}], "stop": "hold"}
HELLO = {"messages": [{"role": "user", "content": "hi"}]}
PATIENCE = 60
"""Seconds after which a test gives up."""


def eventually(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def start(tmp_path):
    fronts = []

    def make(replicas):
        # The last replica is the one that a change brings.
        front = Front(tmp_path, Routing.LEAST_CONNECTIONS, replicas + 1, started=replicas)
        fronts.append(front)
        return front

    yield make
    for front in fronts:
        front.stop()


@pytest.fixture
def client(start):
    """A client with a connection of its own, which stays open from one request to the next."""
    opened = []

    def connect(front):
        connection = http.client.HTTPConnection(LOOPBACK, front.port, timeout=START_SECONDS)
        connection.connect()
        opened.append(connection)

        def ask(body):
            same = connection.sock
            connection.request("POST", CHAT, json.dumps(body).encode(), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            words = answer.read().decode()
            assert connection.sock in (same, None), "the answer came on the connection that was there"
            return answer.status, words

        return ask

    yield connect
    for connection in opened:
        connection.close()


def test_the_process_of_before_asks_another_replica_if_one_closes_without_a_word(start, client):
    front = start(2)
    leaves, stays = list(front.replicas.values())[:2]
    stays.stays = True
    clients = [client(front) for _ in range(4)]
    assert all(ask(HELLO)[0] == 200 for ask in clients)
    front.grow()
    assert [ask(LEAVE) for ask in clients] == [(200, stays.name)] * 4
    assert leaves.left, "it was asked"


def test_the_process_of_before_gets_past_all_replicas_that_are_gone(start, client):
    front = start(4)
    *gone, stays = list(front.replicas.values())[:4]
    ask, *others = [client(front) for _ in range(5)]
    assert ask(HELLO)[0] == 200
    with concurrent.futures.ThreadPoolExecutor(len(others)) as pool:
        held = []
        for other in others:
            # One after the other: HAProxy's threads count connections apart for a moment, and two may choose the same replica.
            held.append(pool.submit(other, HOLD))
            eventually(lambda: sum(replica.held for replica in (*gone, stays)) == len(held))
        assert [replica.held for replica in (*gone, stays)] == [1, 1, 1, 1]
        front.grow()
        for replica in gone:
            replica.stop()
        eventually(lambda: sum(one.done() for one in held) == len(gone))
        # Those that are gone have no connection, and the one that is there has one.
        assert ask(HELLO) == (200, stays.name)
        stays.release()


def test_what_breaks_a_replica_is_not_tried_on_the_next(start, client):
    front = start(3)
    ask = client(front)
    assert ask(LEAVE)[0] == 502
    assert sum(replica.left for replica in front.replicas.values()) == 1


def test_each_section_with_replicas_has_as_many_tries_as_it_takes_to_find_them_down():
    def server(name):
        return f"    server {name} 10.0.0.1:30000 check observe layer4 error-limit 5 on-error mark-down"

    backend = [f"backend {ENGINE_BACKEND}", server("a"), server("b"), "    server proxy 10.0.0.2:8000 check backup"]
    board = ["backend http-llama-board", "    server c 10.0.0.2:30001 check"]
    others = ["backend default_backend", "    http-request return status 404", "backend http-empty", "    log global"]
    changed = repeating("\n".join([*backend, *board, *others])).splitlines()
    added = [line.strip() for line in changed if line not in (*backend, *board, *others)]
    rest = [
        "http-request disable-l7-retry unless { stopping }",
        f"http-request wait-for-body time {BODY_SECONDS}s if {{ stopping }}",
    ]
    first = "retry-on conn-failure empty-response"
    assert added == [first, "retries 11", *rest, first, "retries 3", *rest]
