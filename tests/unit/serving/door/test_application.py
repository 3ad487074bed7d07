"""A request that comes in has one normal form, and one that does not is told why."""

import asyncio
import json

import pytest

from llama_serving.contract.door import Access, DoorSettings
from llama_serving.door.application import Closed, Door
from llama_serving.door.caller import Caller, caller_of, has_passed_the_door, request_id_of
from llama_serving.door.loop.ways import MINE
from llama_serving.door.refused_keys import RefusedKeys
from support.serving.doors import CHAT, FIRST, SECOND, Asked, scope_of, write

BEARER = f"Bearer {FIRST.text}"
JSON = ("content-type", "application/json")


# What the client sends as Authorization and x-api-key; whether it comes in.
CREDENTIALS = [
    ([BEARER], [], True),
    ([], [FIRST.text], True),
    ([f"bearer   {FIRST.text}"], [], True),
    ([BEARER], [FIRST.text], True),
    ([BEARER], [""], True),
    ([""], [FIRST.text], True),
    (["Bearer "], [FIRST.text], True),
    (["bearer"], [FIRST.text], True),
    ([], [], False),
    ([""], [], False),
    ([], [""], False),
    (["Bearer "], [""], False),
    (["", BEARER], [], False),
    ([f"Bearer {SECOND.text}"], [""], False),
    ([BEARER, BEARER], [], False),
    ([BEARER], [SECOND.text], False),
    ([f"Bearer {SECOND.text}"], [FIRST.text], False),
    ([], [FIRST.text, FIRST.text], False),
    ([], [FIRST.text, ""], False),
    ([FIRST.text], [], False),
    (["Basic " + FIRST.text], [], False),
    (["Basic x"], [FIRST.text], False),
    ([f"Bearer {FIRST.text} {FIRST.text}"], [], False),
    ([f"Bearer {FIRST.text},Bearer {FIRST.text}"], [], False),
    ([BEARER.upper()], [], False),
    ([f"Bearer {FIRST.text[:-1]}a"], [], False),
    ([f"Bearer {FIRST.text}x"], [], False),
    ([f"Bearer {SECOND.text}"], [], False),
    (["Bearer " + "a" * 10_000], [], False),
    (["Bearer \xe4\xf6"], [], False),
]


@pytest.mark.parametrize(("authorization", "x_api_key", "comes_in"), CREDENTIALS)
async def test_one_key_comes_in_and_all_others_get_one_answer(ask, authorization, x_api_key, comes_in):
    headers = [("authorization", value) for value in authorization] + [("x-api-key", value) for value in x_api_key]
    answer = await ask(headers=[*headers, JSON, ("content-length", str(len(CHAT)))])
    if comes_in:
        assert caller_of(answer.passed) == Caller("team-a", FIRST.id, ())
        return
    assert (answer.status, answer.passed, answer.header("www-authenticate")) == (401, None, "Bearer")
    without = await ask()
    assert answer.body == without.body
    assert answer.error["code"] == "invalid_api_key"


async def test_two_keys_are_refused_also_if_both_are_valid(ask):
    write(ask.folder, SECOND)
    ask.keys.look()
    answer = await ask("GET", "/v1/models", headers=[("authorization", BEARER), ("x-api-key", SECOND.text)])
    assert answer.status == 401


async def test_a_key_in_the_address_is_none(ask):
    assert (
        await ask("GET", "/v1/models", query_string=f"key={FIRST.text}&api_key={FIRST.text}".encode())
    ).status == 401


async def test_who_asks_stands_in_the_scope_and_nowhere_else(ask):
    write(ask.folder, SECOND, models=("m", "adapter"))
    ask.keys.look()
    passed = (await ask(key=SECOND)).passed
    caller = caller_of(passed)
    assert caller == Caller("team-a", SECOND.id, ("m", "adapter"))
    assert (caller.may_ask_for("adapter"), caller.may_ask_for("other")) == (True, False)
    assert Caller().may_ask_for("other")
    assert SECOND.secret not in repr(passed)


async def test_an_open_endpoint_takes_all_for_the_same_tenant(ask_open):
    for headers in ([], [("authorization", "Bearer EMPTY")], [("authorization", "x"), ("authorization", "y")]):
        answer = await ask_open(headers=[*headers, JSON])
        assert caller_of(answer.passed) == Caller("anonymous", None, ())
        assert has_passed_the_door(answer.passed)
    assert not has_passed_the_door(scope_of())


# What no client may say to the layers behind.
STRIPPED = [
    "serve_multiplexed_model_id",
    "serve-multiplexed-model-id",
    "x-request-timeout-seconds",
    "x-request-disconnect-disabled",
    "x-session-id",
    "x-vllm-priority",
    "x-data-parallel-rank",
    "endpoint-load-metrics-format",
    "x-forwarded-for",
    "x-forwarded-user",
    "x-tenant-id",
    "x-llama-tenant",
    "llama.tenant",
    "origin",
    "cookie",
    "host",
    "authorization",
    "x-api-key",
    "user-agent",
    "baggage",
    "connection",
    "upgrade",
]


async def test_few_headers_go_on(ask_open):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    good = [("accept", "text/html"), ("traceparent", trace), ("tracestate", "a=b"), ("x-request-id", "mine")]
    headers = [*((name, "value") for name in STRIPPED), *good, ("content-type", "application/json; charset=UTF-8")]
    answer = await ask_open(headers=headers, parts=[CHAT[:5], CHAT[5:]])
    assert sorted(answer.passed["headers"]) == [
        (b"accept", b"text/html"),
        (b"content-length", str(len(CHAT)).encode()),
        (b"content-type", b"application/json"),
        (b"traceparent", trace.encode()),
        (b"tracestate", b"a=b"),
        (b"x-request-id", b"request-1"),
    ]
    assert answer.sent == CHAT


@pytest.mark.parametrize(
    "headers",
    [
        [("traceparent", "00-zz-zz-01")],
        [("traceparent", "\xff")],
        [("tracestate", "a=b")],
        [("accept", "\xff")],
        [("accept", "a/b," * 500 + "a/b")],
        [("accept", "*/*uthorization: Bearer x")],
        [("accept", "*/*x")],
        [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")] * 2,
    ],
)
async def test_a_header_that_is_no_good_stays_outside(ask_open, headers):
    assert (await ask_open("GET", "/about", headers=headers)).passed["headers"] == [(b"x-request-id", b"request-1")]


@pytest.mark.parametrize(
    "accept", ["*/*", "text/html", "text/html;q=0.9, application/json ; q=0.1,text/*", "application/vnd.api+json; v=1"]
)
async def test_what_a_client_accepts_goes_on(ask_open, accept):
    passed = (await ask_open("GET", "/about", headers=[("accept", accept)])).passed
    assert (b"accept", accept.encode()) in passed["headers"]


async def test_every_answer_has_the_id_that_the_door_gave(ask):
    refused, served = await ask(), await ask(key=FIRST)
    assert (refused.header("x-request-id"), served.header("x-request-id")) == ("request-1", "request-2")
    assert (b"X-Request-ID", b"of-serve") not in served.headers
    assert request_id_of(served.passed) == "request-2"
    assert (served.body, served.status, served.after) == (b"hello world", 200, "http.disconnect")


# Headers of a POST, and the status that they get.
FAULTS = [
    ([], 415),
    ([("content-type", "text/plain")], 415),
    ([("content-type", "application/x-www-form-urlencoded")], 415),
    ([("content-type", "multipart/form-data; boundary=x")], 415),
    ([("content-type", "application/json; charset=utf-16")], 415),
    ([JSON, JSON], 415),
    ([JSON, ("content-type", "text/plain")], 415),
    ([JSON, ("content-encoding", "gzip")], 415),
    ([JSON, ("content-encoding", "identity, gzip")], 415),
    ([JSON, ("content-encoding", "identity"), ("content-encoding", "gzip")], 415),
    ([JSON, ("content-length", "5"), ("transfer-encoding", "chunked")], 400),
    ([JSON, ("content-length", "5"), ("content-length", "5")], 400),
    ([JSON, ("content-length", "+5")], 400),
    ([JSON, ("content-length", "0x5")], 400),
    ([JSON, ("content-length", "5, 5")], 400),
    ([JSON, ("content-length", "")], 400),
    ([JSON, ("content-length", "9" * 30)], 400),
    ([JSON, ("transfer-encoding", "gzip, chunked")], 400),
    ([JSON, ("transfer-encoding", "identity")], 400),
    ([JSON, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], 400),
    ([JSON, *[("x-pad", "a" * 1000)] * 40], 431),
    ([JSON, *[("a", "b")] * 200], 431),
    ([JSON, ("transfer-encoding", "Chunked")], 200),
    ([("Content-Type", "Application/JSON ; charset=utf-8")], 200),
    ([("content-type", "application/json;charset=UTF8")], 200),
    ([JSON, ("content-encoding", "Identity")], 200),
    ([JSON, ("content-encoding", "")], 200),
]


@pytest.mark.parametrize(("headers", "status"), FAULTS)
async def test_unclear_headers_are_refused(ask_open, headers, status):
    answer = await ask_open(headers=headers)
    assert answer.status == status
    assert (answer.passed is None) == (status != 200)


@pytest.mark.parametrize("headers", [[("content-length", "3")], [("transfer-encoding", "chunked")]])
async def test_a_request_for_a_page_has_no_body(ask_open, headers):
    assert (await ask_open("GET", "/about", headers=headers, parts=[b"abc"])).error["code"] == "unexpected_body"
    answer = await ask_open("GET", "/about", headers=[("content-length", "0")], parts=[b"", b"abc"])
    assert (answer.status, answer.sent) == (200, b"")


MOST = 4096
# Parts of the body and what is announced; whether it comes in, and how many parts are read at most.
BODIES = [
    ([b"a" * MOST], MOST, True, 3),
    ([b"a" * (MOST + 1)], MOST + 1, False, 1),
    ([b"a" * MOST, b"a"], None, False, 3),
    ([b"a" * 100] * 100, None, False, 100),
    ([b"a" * (MOST // 2)] * 2, None, True, 4),
    ([b""] * 50 + [b"a"], None, True, 54),
    ([], 0, True, 3),
]


@pytest.mark.parametrize(("parts", "announced", "comes_in", "most_reads"), BODIES)
async def test_a_body_that_is_too_long_reaches_nobody(tmp_path, parts, announced, comes_in, most_reads):
    ask = Asked(tmp_path / "keys", access=Access.OPEN, max_body_bytes=MOST)
    length = ("transfer-encoding", "chunked") if announced is None else ("content-length", str(announced))
    answer = await ask(headers=[JSON, length], parts=parts)
    assert answer.asked <= most_reads
    if comes_in:
        assert (answer.status, answer.sent) == (200, b"".join(parts))
        return
    assert (answer.status, answer.error["code"], answer.passed) == (413, "request_too_large", None)
    assert str(MOST) in answer.error["message"]


async def test_a_body_that_is_announced_too_long_is_answered_before_it_is_read(tmp_path):
    ask = Asked(tmp_path / "keys", access=Access.OPEN, max_body_bytes=MOST)
    answer = await ask(headers=[JSON, ("content-length", str(10**9)), ("expect", "100-continue")], parts=[])
    assert (answer.status, answer.asked, answer.header("connection")) == (413, 0, "close")


async def test_a_body_that_comes_too_slowly_reaches_nobody(tmp_path):
    ask = Asked(tmp_path / "keys", access=Access.OPEN, body_seconds=0)
    seen, door = [], ask.door

    async def receive():
        await asyncio.Event().wait()

    async def send(message):
        seen.append(message)

    await door(scope_of(headers=[JSON, ("transfer-encoding", "chunked"), ("expect", "100-continue")]), receive, send)
    assert (seen[0]["status"], json.loads(seen[1]["body"])["error"]["code"]) == (408, "request_timeout")


async def test_bodies_that_arrive_at_the_same_time_share_room(tmp_path, monkeypatch):
    monkeypatch.setattr("llama_serving.door.application.ROOM_BYTES", 0)
    ask = Asked(tmp_path / "keys", access=Access.OPEN, max_body_bytes=MOST)
    room, chunked = ask.door._room, [JSON, ("transfer-encoding", "chunked")]
    assert room.take(MOST + 1), "of two bodies, half arrived"
    refused = await ask(headers=chunked, parts=[b"a" * MOST])
    assert (refused.status, refused.error["code"], refused.header("retry-after")) == (429, "server_overloaded", "5")
    room.give_back(MOST + 1)
    for parts in ([b"a" * MOST], [b"a" * (MOST + 1)], [b"a", None]) * 3:
        await ask(headers=chunked, parts=parts)
    assert room.take(2 * MOST), "each gave back what it took"


async def test_a_client_that_goes_away_before_its_body_came_reaches_nobody(ask_open):
    answer = await ask_open(parts=[b"{", None])
    assert (answer.status, answer.passed) == (None, None)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
async def test_clients_of_anthropic_get_errors_in_their_form(ask, path):
    refused = json.loads((await ask("POST", path)).body)
    assert refused["type"] == "error"
    assert refused["error"]["type"] == "authentication_error"
    assert set(refused["error"]) == {"type", "message"}
    unread = json.loads((await ask("POST", path, key=FIRST, headers=[])).body)
    assert unread["error"]["type"] == "invalid_request_error"


async def test_clients_of_openai_get_errors_in_their_form(ask):
    error = (await ask()).error
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", None, "invalid_api_key")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/metrics", "/about", "/v1/realtime"])
async def test_no_websocket_opens(ask, path):
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    scope = {"type": "websocket", "path": path, "headers": [], "extensions": {}}
    await ask.door(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]
    sent.clear()
    await ask.door({**scope, "extensions": {"websocket.http.response": {}}}, receive, send)
    assert sent[0]["status"] == 404


async def test_a_server_that_starts_is_let_through():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    settings = DoorSettings(access="Open")
    door = Door(app, settings=settings, keys=None, to_board=False, new_id=str, refused_keys=RefusedKeys())
    await door({"type": "lifespan"}, None, None)
    assert seen == ["lifespan"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/about", "/-/healthz"])
async def test_a_door_without_settings_is_closed(ask, path):
    ask.door = Closed(ask.door)
    answer = await ask("GET", path)
    assert (answer.status, answer.passed, answer.error["code"]) == (503, None, "settings_unreadable")


async def test_a_request_is_on_its_way_until_it_ends_and_who_is_refused_sets_out_nowhere(ask, monkeypatch):
    inner, ways = ask.door._app, []

    async def app(scope, receive, send):
        assert not MINE.get().is_over
        ways.append(MINE.get())
        await inner(scope, receive, send)

    monkeypatch.setattr(ask.door, "_app", app)
    assert (await ask()).status == 401
    assert (await ask(key=FIRST, parts=[b"half", None])).status is None
    assert not ways
    await ask(key=FIRST)
    (way,) = ways
    assert way.is_over


TEXT = (b"content-type", b"text/plain; charset=utf-8")
FULL = b"Request dropped due to backpressure (num_queued_requests=3, max_queued_requests=2)."


def said(status, headers, *parts):
    """What a layer behind the door sends."""
    start = {"type": "http.response.start", "status": status, "headers": [list(header) for header in headers]}
    ends = [True] * (len(parts) - 1) + [False]
    bodies = [
        {"type": "http.response.body", "body": part, "more_body": more} for part, more in zip(parts, ends, strict=True)
    ]
    return [start, *bodies]


@pytest.mark.parametrize(
    ("replies", "code", "kind", "again", "words"),
    [
        (
            said(503, [TEXT], FULL),
            "service_unavailable",
            "server_error",
            "5",
            "Try again in 5 s. Ray Serve says: Request dropped",
        ),
        (said(503, [TEXT], FULL[:9], FULL[9:]), "service_unavailable", "server_error", "5", "max_queued_requests=2"),
        (
            said(429, [TEXT, (b"retry-after", b"30")], FULL),
            "too_many_requests",
            "invalid_request_error",
            "30",
            "no place",
        ),
        (
            said(408, [TEXT], b"Request x timed out after 1800s."),
            "request_timeout",
            "invalid_request_error",
            None,
            "1800s",
        ),
        (said(500, [], b"Internal Server Error"), "internal_server_error", "server_error", None, "could not answer"),
        (said(599, [TEXT], b"\xff" * 9000), "error", "server_error", None, "could not answer"),
    ],
)
async def test_what_serve_says_in_plain_text_has_the_form_of_the_dialect(ask_open, replies, code, kind, again, words):
    ask_open.replies = replies
    answer = await ask_open()
    assert (answer.status, answer.header("retry-after")) == (replies[0]["status"], again)
    assert (answer.header("content-type"), answer.header("x-request-id")) == ("application/json", "request-1")
    assert answer.header("content-length") == str(len(answer.body))
    assert (answer.error["code"], answer.error["type"]) == (code, kind)
    assert words in answer.error["message"]
    messages = await ask_open(path="/v1/messages")
    assert json.loads(messages.body)["type"] == "error"


@pytest.mark.parametrize(
    ("path", "replies"),
    [
        ("/v1/chat/completions", said(400, [(b"content-type", b"application/json")], b'{"error": ', b"{}}")),
        ("/v1/chat/completions", said(200, [TEXT], b"a ", b"text")),
        ("/-/healthz", said(503, [TEXT], b"DRAINING")),
        ("/about", said(404, [TEXT], b"no")),
    ],
)
async def test_other_answers_stay_as_they_are(ask_open, path, replies):
    ask_open.replies = replies
    answer = await ask_open("POST" if path.startswith("/v1/") else "GET", path)
    assert answer.status == replies[0]["status"]
    assert answer.body == b"".join(part["body"] for part in replies[1:])
