"""What HAProxy itself does with the choice of replicas, configured by Ray's own code, in front of stubs of replicas."""

import collections
import concurrent.futures
import json
import socket
import time

import pytest

from llama_serving.contract import keys as api_keys
from llama_serving.contract.routing import Routing
from support.serving.doors import entry
from support.serving.ray_cluster import LOOPBACK
from support.serving.replicas import CHAT, Front

HASH, PREFIX = Routing.CONSISTENT_HASH, Routing.PREFIX_AWARE
REPLICAS = 3
ALICE, ALICES_OTHER, BOB = (api_keys.make(bytes([letter]) * api_keys.RANDOM_BYTES) for letter in b"abc")
SECONDS = 60.0
DIALECTS = (CHAT, "/v1/completions", "/v1/responses", "/v1/messages")


@pytest.fixture(scope="module")
def keys_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    for key, tenant in ((ALICE, "alice"), (ALICES_OTHER, "alice"), (BOB, "bob")):
        made = entry(key).model_copy(update={"tenant": tenant})
        (folder / key.id).write_text(made.model_dump_json())
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory, keys_folder):
    running = {}

    def make(routing, name="", **options):
        if (routing, name) not in running:
            folder = tmp_path_factory.mktemp("front")
            running[routing, name] = Front(folder, routing, REPLICAS, keys_folder, **options)
        return running[routing, name]

    yield make
    for front in running.values():
        front.stop()


def chat(*turns, **fields):
    return {"messages": [{"role": "user", "content": turn} for turn in turns], "model": "m", **fields}


def bearer(key, **headers):
    return {"Authorization": f"Bearer {key.text}", **headers}


def homes(front, bodies, headers=None):
    return {front.post(body, headers) for body in bodies}


def test_all_turns_of_a_conversation_reach_one_replica_and_conversations_spread(start):
    front, seen = start(HASH), collections.Counter()
    for number in range(60):
        named = {"X-Session-Id": f"conversation-{number}"}
        turns = {front.post(chat(*"hello"[:turn]), bearer(ALICE, **named)) for turn in range(3)}
        assert len(turns) == 1
        seen.update(turns)
    assert len(seen) == REPLICAS
    assert max(seen.values()) < 60 * 0.6


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize(
    "body",
    [chat(prompt_cache_key="c"), chat(metadata={"user_id": "c"}), chat(user="c")],
    ids=["key", "metadata", "user"],
)
def test_a_conversation_may_be_named_in_the_body(start, body, path):
    front = start(HASH)
    asked = {front.post(body, bearer(ALICE), path) for _ in range(6)}
    assert asked == {front.post(chat("hi"), bearer(ALICE, **{"x-session-id": "c"}))}


def test_tenants_with_the_same_conversation_are_apart_and_keys_of_one_tenant_are_not(start):
    front = start(HASH)
    named = [{"x-session-id": f"{number}"} for number in range(40)]
    alice = [front.post(chat("hi"), bearer(ALICE, **one)) for one in named]
    assert alice == [front.post(chat("hi"), bearer(ALICES_OTHER, **one)) for one in named]
    assert alice == [front.post(chat("hi"), {"x-api-key": ALICE.text, **one}) for one in named]
    bob = [front.post(chat("hi"), bearer(BOB, **one)) for one in named]
    assert sum(one != other for one, other in zip(alice, bob, strict=True)) > 8


def test_requests_that_name_no_conversation_go_by_least_connections(start):
    seen = collections.Counter(start(HASH).post(chat("hi"), bearer(ALICE)) for _ in range(30))
    # By the fewest connections, whose end HAProxy may hear of a moment after the client.
    assert sum(seen.values()) == 30
    assert min(seen.values()) >= 5, "each has its part"
    assert len(seen) == 3


def test_a_hot_conversation_does_not_fill_one_replica(start):
    front = start(HASH, "hot")
    named = bearer(ALICE, **{"x-session-id": "hot"})
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        asked = []
        for number in range(48):
            asked.append(pool.submit(front.post, chat("hi", stop="hold"), named))
            eventually(lambda number=number: held(front) == number + 1)
        most = max(replica.held for replica in front.replicas.values())
        assert 8 <= most <= 1.25 * 48 / REPLICAS + 1
        assert min(replica.held for replica in front.replicas.values()) > 0
        for replica in front.replicas.values():
            replica.release()
        assert all(one.result() for one in asked)


def eventually(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def held(front):
    return sum(replica.held for replica in front.replicas.values())


def test_a_replica_that_is_gone_is_replaced_and_moves_only_what_was_its_own(start):
    front = start(HASH, "gone")
    named = [bearer(ALICE, **{"x-session-id": f"{number}"}) for number in range(30)]
    before = [front.post(chat("hi"), one) for one in named]
    lost = before[0]
    front.replicas[lost].stop()
    # At once, before HAProxy has seen it: nobody gets an error.
    during = [front.post(chat("hi"), one) for one in named]
    assert lost not in during
    eventually(lambda: front.down() == 1)
    after = [front.post(chat("hi"), one) for one in named]
    assert [(one, then) for one, then in zip(before, after, strict=True) if one not in {then, lost}] == []
    front.replicas[lost].start()
    eventually(lambda: front.down() == 0)
    assert [front.post(chat("hi"), one) for one in named] == before


def test_a_longer_common_beginning_wins_and_tenants_share_none(start):
    front = start(PREFIX)
    documents = [f"{number:03}" + "document " * 200 for number in range(40)]
    where = {}
    for document in documents:
        where[document] = front.post(chat(document, "first question"), bearer(ALICE))
    assert len(set(where.values())) == REPLICAS
    for document, home in where.items():
        assert homes(front, [chat(document, f"question {n}") for n in range(3)], bearer(ALICES_OTHER)) == {home}
        assert homes(
            front, [chat(document, f"question {n}") | {"temperature": n} for n in range(3)], bearer(ALICE)
        ) == {home}
    bob = [front.post(chat(document), bearer(BOB)) for document in documents]
    assert sum(one != where[document] for one, document in zip(bob, documents, strict=True)) > 8


def test_a_conversation_stays_where_it_was_although_all_begin_alike(start):
    front = start(PREFIX, "alike")
    system = "You are helpful. " * 40
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        blocked = [
            pool.submit(front.post, chat(system, f"{n:03}" * 100, stop="hold"), bearer(ALICE)) for n in range(24)
        ]
        eventually(lambda: held(front) == len(blocked))
        assert min(replica.held for replica in front.replicas.values()) > 0, "one beginning fills one replica"
        for replica in front.replicas.values():
            replica.release()
        where = [one.result() for one in blocked]
    assert [front.post(chat(system, f"{n:03}" * 100, "answer", "next"), bearer(ALICE)) for n in range(24)] == where


def test_short_prompts_have_nothing_to_share(start):
    seen = collections.Counter(start(PREFIX).post(chat("hi"), bearer(ALICE)) for _ in range(30))
    # By the fewest connections, whose end HAProxy may hear of a moment after the client.
    assert sum(seen.values()) == 30
    assert min(seen.values()) >= 5, "each has its part"
    assert len(seen) == 3


@pytest.mark.parametrize("routing", [HASH, PREFIX])
def test_another_haproxy_or_a_new_one_chooses_the_same_replica(start, routing):
    # Each node has its own, and a change of replicas starts a new one: neither knows what another has learned.
    front = start(routing, "again")
    asked = [(chat(f"{n:03}" * 300), bearer(ALICE, **{"x-session-id": f"{n}"})) for n in range(20)]
    before = [front.post(*one) for one in asked]
    front.restart()
    assert [front.post(*one) for one in asked] == before


STRANGE = {
    "no messages": b'{"messages": []}' + b" " * 600,
    "no prompt": b'{"prompt": []}' + b" " * 600,
    "a number for a prompt": b'{"prompt": 123}' + b" " * 600,
    "no JSON": b"{" + b"a" * 2000,
    "a list": b"[1, 2]",
    "bytes": bytes(range(256)) * 8,
    "nothing": b"",
    "null": b'{"messages": null, "prompt": null, "user": null, "metadata": 7}',
    "numbers": b'{"prompt": [1, 2, 3], "user": 7, "prompt_cache_key": {"a": 1}}' + b" " * 600,
    "deep": b'{"messages":' + b"[" * 3000 + b"]" * 3000 + b"}",
    "long": json.dumps(chat("x" * 2_000_000)).encode(),
    "long id": json.dumps(chat("x", user="u" * 100_000)).encode(),
}


@pytest.mark.parametrize("routing", [HASH, PREFIX])
@pytest.mark.parametrize("name", STRANGE)
def test_whatever_a_body_is_a_replica_gets_it(start, routing, name):
    front = start(routing)
    status, replica = front.ask("POST", CHAT, STRANGE[name], bearer(ALICE))
    assert (status, replica in front.replicas) == (200, True)
    assert "could not be chosen" not in front.errors()


def test_a_key_in_another_form_chooses_nothing_and_is_judged_by_the_replica(start):
    front = start(HASH)
    for header in ("", "Bearer", f"Bearer llm_{'../' * 8}_x_y", "Basic abc", "Bearer " + "x" * 4000):
        assert front.post(chat("hi"), {"Authorization": header, "x-session-id": "c"})


def test_a_body_that_comes_slowly_is_read_to_its_end(start):
    front = start(HASH)
    body = json.dumps(chat("hi", user="slow")).encode()
    with socket.create_connection((LOOPBACK, front.port)) as connection:
        connection.sendall(f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        for start_ in range(0, len(body), 10):
            connection.sendall(body[start_ : start_ + 10])
            time.sleep(0.02)
        assert connection.recv(4096).startswith(b"HTTP/1.0 200")


def test_other_paths_are_not_read(start):
    front = start(HASH)
    named = bearer(ALICE, **{"x-session-id": "c"})
    assert len({front.ask("GET", "/v1/models", headers=named)[1] for _ in range(6)}) == REPLICAS


def test_haproxy_starts_with_what_ray_wrote_if_it_cannot_be_changed(start):
    front = start(HASH, "other", written="frontend another")
    assert "least connections: the configuration has no section" in front.errors()
    assert front.words() in front.errors(), "status says what the log says"
    assert "least connections: the configuration has no section" in front.words()
    assert len({front.post(chat("hi"), bearer(ALICE, **{"x-session-id": "c"})) for _ in range(6)}) == REPLICAS


def test_haproxy_starts_with_what_ray_wrote_if_it_does_not_take_the_change(start):
    front = start(HASH, "broken", written="frontend http_frontend", spoiled=True)
    assert "HAProxy does not take the configuration" in front.words()
    assert "time limit" not in front.words()
    assert "timeout http-request" in front.config.read_text(), "what it takes stays"
    assert front.post(chat("hi"), bearer(ALICE))
