"""The whole desk in the path of a request, in front of an application that asks an engine as vLLM's does."""

import asyncio
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_serving.contract.tenants import DeskSettings, HouseLimit, HouseLimits
from llama_serving.contract.usage import UsageEvent
from llama_serving.desk.meter import metered
from llama_serving.desk.middleware import ASKED_NAME, DeskMiddleware
from support.serving.desks.parts import MODEL, Engine, desk_of, limits_of, sampling, until

CHAT, COMPLETIONS, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"
COUNT = "/v1/messages/count_tokens"
HELLO = [{"role": "user", "content": "Hello"}]
GOOD = {
    CHAT: {"messages": HELLO},
    COMPLETIONS: {"prompt": "Hello"},
    RESPONSES: {"input": "Hello"},
    MESSAGES: {"messages": HELLO, "max_tokens": 16},
    COUNT: {"messages": HELLO},
}


class Application:
    """Stands for vLLM's: reads the request, asks the engine, and answers."""

    def __init__(self, engine):
        self.engine, self.bodies, self.headers, self.status = engine, [], [], 200
        self.sees, self.seen, self.parts = lambda: None, [], [b""]

    def answers(self, status, body, parts):
        """Answer with an error, in some parts."""
        size = max(1, -(-len(body) // parts))
        self.status = status
        self.parts = [body[at : at + size] for at in range(0, len(body), size)] or [b""]

    async def __call__(self, scope, receive, send):
        message = await receive()
        assert not message["more_body"]
        request = json.loads(message["body"])
        self.bodies.append(request)
        self.headers.append(dict(scope["headers"]))
        self.seen.append(self.sees())
        lengths = ("max_completion_tokens", "max_tokens", "max_output_tokens")
        length = next((request[name] for name in lengths if request.get(name) is not None), 4096)
        stream = bool(request.get("stream"))
        await send({"type": "http.response.start", "status": self.status, "headers": [(b"x-own", b"1")]})
        if scope["path"] != COUNT and self.status == 200:
            params = sampling(length, n=request.get("n") or 1, stream=stream)
            async for output in self.engine.generate([1] * 10, params, "call"):
                part = str(len(output.outputs[0].token_ids)).encode()
                await send({"type": "http.response.body", "body": part, "more_body": True})
        for number, part in enumerate(self.parts, 1):
            await send({"type": "http.response.body", "body": part, "more_body": number < len(self.parts)})


class Service:
    """A desk in front of the application."""

    def __init__(self, *tenants, **settings):
        self.parts = desk_of(*tenants, **settings)
        self.engine = metered(Engine(cached=4))
        self.app = Application(self.engine)
        self.asgi = DeskMiddleware(self.app, desk=self.parts.desk)

    @property
    def events(self):
        return [UsageEvent.model_validate_json(line) for line in self.parts.log.lines]

    async def send(self, path, body, *, tenant="acme", models=(), left=None, chunks=1):
        """Send a request; `left` is set when the client leaves."""
        content = body if isinstance(body, bytes) else json.dumps({"model": MODEL} | body).encode()
        size = max(1, -(-len(content) // chunks))
        parts = [content[at : at + size] for at in range(0, len(content), size)] or [b""]
        messages = [
            {"type": "http.request", "body": part, "more_body": number + 1 < len(parts)}
            for number, part in enumerate(parts)
        ]
        answer = []

        async def receive():
            if messages:
                return messages.pop(0)
            await (left or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        async def send(message):
            answer.append(message)
            await asyncio.sleep(0)

        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "root_path": "",
            "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())],
            "llama.tenant": tenant,
            "llama.key": "abcdefghijklmnop",
            "llama.models": models,
            "llama.request": f"req-{id(answer)}",
        }
        await self.asgi(scope, receive, send)
        return Answer(answer)


class Answer:
    def __init__(self, messages):
        self.status = messages[0]["status"] if messages else None
        self.headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]} if messages else {}
        self.body = b"".join(message.get("body", b"") for message in messages[1:])

    @property
    def error(self):
        return json.loads(self.body)["error"]


@pytest.mark.parametrize("path", GOOD)
@pytest.mark.parametrize("stream", [True, False])
async def test_each_dialect_is_served_and_booked(path, stream):
    service = Service(limits_of(tokens_per_minute=100_000, requests_per_minute=10))
    answer = await service.send(path, GOOD[path] | {"stream": stream})
    assert answer.status == 200
    assert answer.headers["x-own"] == "1"
    assert answer.headers["x-ratelimit-remaining-requests"] == "9"
    (event,) = service.events
    assert (event.subject, event.source, event.data.key_id) == (
        "acme",
        "/namespaces/team/llamadeployments/chat",
        "abcdefghijklmnop",
    )
    assert (event.data.dialect, event.data.stream, event.data.status, event.data.model) == (
        {CHAT: "chat", COMPLETIONS: "completions", RESPONSES: "responses", MESSAGES: "messages", COUNT: "count_tokens"}[
            path
        ],
        stream,
        200,
        MODEL,
    )
    expected = {COMPLETIONS: (10, 16, 4), MESSAGES: (10, 16, 4), COUNT: (0, 0, 0)}.get(path, (10, 4096, 4))
    assert (event.data.prompt_tokens, event.data.output_tokens, event.data.cached_tokens) == expected
    service.parts.counters.flush()
    counted = service.parts.counted.values
    assert counted[("llama_gateway_requests", "acme", MODEL, event.data.dialect, "200")] == 1
    if expected[0]:
        assert counted[("llama_gateway_tokens", "acme", MODEL, "output")] == expected[1]
    service.parts.durations.publish()
    assert [(name, labels["gen_ai_request_model"]) for name, _, labels in service.parts.observed.values] == [
        ("request_duration", MODEL)
    ]


async def test_limits_are_settled_by_what_the_engine_made():
    service = Service(limits_of(tokens_per_minute=100_000, tokens_per_day=1_000_000))
    await service.send(CHAT, {"messages": HELLO, "max_tokens": 5000})
    standing = service.parts.desk.standing_of("acme")
    assert standing.tokens.remaining == 100_000 - 5010
    assert standing.budget_left == 1_000_000 - 5010


async def test_a_request_without_a_length_reserves_what_is_left_and_makes_no_more():
    service = Service(limits_of(tokens_per_minute=300))
    answer = await service.send(CHAT, GOOD[CHAT])
    assert answer.status == 200
    assert "max_tokens" not in service.app.bodies[0]
    (event,) = service.events
    # About 20 tokens are estimated for the prompt.
    assert 250 < event.data.output_tokens < 300
    assert event.data.finish_reason == "length"


async def test_without_limits_an_answer_is_as_long_as_the_model_allows():
    service = Service()
    await service.send(CHAT, GOOD[CHAT])
    assert service.events[0].data.output_tokens == 4096


async def test_the_cap_of_a_tenant_holds_for_requests_that_name_no_length_and_refuses_longer_ones():
    service = Service(limits_of(max_output_tokens=50))
    await service.send(CHAT, GOOD[CHAT])
    assert service.events[0].data.output_tokens == 50
    answer = await service.send(CHAT, GOOD[CHAT] | {"max_tokens": 51})
    assert answer.status == 400
    assert "50" in answer.error["message"]


@pytest.mark.parametrize(
    ("limits", "made"), [({}, 8), ({"tokens_per_minute": 1000}, 8), ({"max_output_tokens": 50}, 16)]
)
async def test_a_completion_that_names_no_length_is_no_longer_than_the_cap(limits, made):
    service = Service(limits_of(**({"max_output_tokens": 8} | limits)))
    assert (await service.send(COMPLETIONS, GOOD[COMPLETIONS])).status == 200
    assert service.events[0].data.output_tokens == made


@pytest.mark.parametrize(
    ("limits", "first", "code", "headers"),
    [
        ({"requests_per_minute": 1}, {}, "rate_limit_exceeded", {"retry-after", "x-ratelimit-remaining-requests"}),
        (
            {"tokens_per_minute": 1000},
            {"max_tokens": 900},
            "rate_limit_exceeded",
            {"retry-after", "x-ratelimit-reset-tokens"},
        ),
    ],
)
async def test_a_limit_of_a_minute_says_when_to_come_again(limits, first, code, headers):
    service = Service(limits_of(**limits))
    assert (await service.send(CHAT, GOOD[CHAT] | first)).status == 200
    answer = await service.send(CHAT, GOOD[CHAT] | {"max_tokens": 900})
    assert (answer.status, answer.error["code"]) == (429, code)
    assert headers <= answer.headers.keys()
    assert 1 <= int(answer.headers["retry-after"]) <= 61
    service.parts.clock.move(62)
    assert (await service.send(CHAT, GOOD[CHAT] | {"max_tokens": 900})).status == 200


async def test_an_exhausted_budget_says_when_it_starts_again_and_asks_for_no_retry():
    service = Service(limits_of(tokens_per_day=1000))
    await service.send(CHAT, GOOD[CHAT] | {"max_tokens": 900})
    answer = await service.send(CHAT, GOOD[CHAT] | {"max_tokens": 900})
    assert (answer.status, answer.error["code"]) == (429, "insufficient_quota")
    assert "retry-after" not in answer.headers
    assert "2026-11-28 00:00 UTC" in answer.error["message"]
    service.parts.clock.move(12 * 3600)
    assert (await service.send(CHAT, GOOD[CHAT] | {"max_tokens": 900})).status == 200


@pytest.mark.parametrize("limits", [{"tokens_per_minute": 1000}, {"tokens_per_day": 1000}, {"tokens_per_month": 1000}])
async def test_what_a_limit_never_allows_is_no_429(limits):
    answer = await Service(limits_of(**limits)).send(CHAT, GOOD[CHAT] | {"max_tokens": 2000})
    assert answer.status == 400
    assert "1000" in answer.error["message"]
    assert "2000" in answer.error["message"]


async def test_the_number_of_requests_at_once_is_kept_and_freed():
    service = Service(limits_of(concurrent_requests=2))
    service.engine.held.clear()
    running = [asyncio.create_task(service.send(CHAT, GOOD[CHAT] | {"max_tokens": 4})) for _ in range(2)]
    for _ in range(20):
        await asyncio.sleep(0)
    refused = await service.send(CHAT, GOOD[CHAT])
    assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
    service.engine.held.set()
    assert [answer.status for answer in await asyncio.gather(*running)] == [200, 200]
    service.parts.clock.move(1)
    assert (await service.send(CHAT, GOOD[CHAT] | {"max_tokens": 4})).status == 200


async def test_tenants_that_are_not_listed_have_the_limits_of_others_each_for_itself():
    service = Service(others=limits_of("others", requests_per_minute=1))
    assert (await service.send(CHAT, GOOD[CHAT], tenant="one")).status == 200
    assert (await service.send(CHAT, GOOD[CHAT], tenant="two")).status == 200
    refused = await service.send(CHAT, GOOD[CHAT], tenant="one")
    assert refused.status == 429
    assert "'one'" in refused.error["message"]


async def test_new_settings_hold_for_the_next_request():
    service = Service()
    await service.send(CHAT, GOOD[CHAT])
    settings = desk_of(limits_of(requests_per_minute=1)).desk._settings
    service.parts.desk.reconfigure(settings)
    assert (await service.send(CHAT, GOOD[CHAT])).status == 200
    assert (await service.send(CHAT, GOOD[CHAT])).status == 429
    service.parts.desk.reconfigure(desk_of().desk._settings)
    assert (await service.send(CHAT, GOOD[CHAT])).status == 200


@pytest.mark.parametrize("model", ["nobody", "adapter", "x" * 5000, "\u2603", ""])
async def test_a_model_that_is_not_allowed_is_not_told_from_one_that_does_not_exist(model):
    service = Service()
    unknown = await service.send(CHAT, {"model": "nobody", "messages": HELLO})
    answer = await service.send(CHAT, {"model": model, "messages": HELLO}, models=(MODEL,))
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")
    shown = re.compile("'.*?'")
    assert shown.sub("", answer.error["message"]) == shown.sub("", unknown.error["message"])
    assert len(answer.body) < 500


async def test_a_key_for_an_adapter_reaches_it_and_not_the_model():
    service = Service()
    assert (await service.send(CHAT, {"model": "adapter", "messages": HELLO}, models=("adapter",))).status == 200
    assert (await service.send(CHAT, {"messages": HELLO}, models=("adapter",))).status == 404
    # A request that names no model asks for the base.
    assert (await service.send(CHAT, json.dumps({"messages": HELLO}).encode(), models=("adapter",))).status == 404
    assert (await service.send(CHAT, json.dumps({"messages": HELLO}).encode())).status == 200
    assert service.app.bodies[-1]["model"] == MODEL


async def test_the_salt_is_the_tenants_whatever_the_client_says():
    service = Service()
    for tenant in ("acme", "acme", "globex"):
        await service.send(CHAT, GOOD[CHAT] | {"cache_salt": "mine"}, tenant=tenant)
    await service.send(MESSAGES, GOOD[MESSAGES], tenant="globex")
    first, again, other, messages = (body["cache_salt"] for body in service.app.bodies)
    assert first == again != other == messages
    assert re.fullmatch("[0-9a-f]{64}", first)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RESPONSES, MESSAGES])
async def test_the_priority_is_the_tenants_where_the_engine_orders_by_it(ordered, path):
    service = Service(limits_of(priority=-5), orders_by_priority=ordered)
    await service.send(path, GOOD[path] | {"priority": 0})
    assert service.app.bodies[0].get("priority") == (-5 if ordered and path != MESSAGES else None)


async def test_the_engine_gets_the_length_of_what_it_gets():
    service = Service()
    await service.send(CHAT, GOOD[CHAT], chunks=7)
    (headers,) = service.app.headers
    assert int(headers[b"content-length"]) == len(json.dumps(service.app.bodies[0], separators=(",", ":")).encode())


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_pays_for_what_was_made(stream):
    service = Service(limits_of(tokens_per_minute=100_000))
    task = asyncio.create_task(service.send(CHAT, GOOD[CHAT] | {"max_tokens": 1000, "stream": stream}))
    await until(lambda: service.engine.states and service.engine.states[0].made >= 50)
    states = service.engine.states
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    # A stream that nobody reads is ended by a task of its own.
    await until(lambda: service.events)
    (event,) = service.events
    assert (event.data.output_tokens, event.data.finish_reason) == (states[0].made, "abort")
    assert event.data.status == 200
    assert service.parts.desk.standing_of("acme").tokens.remaining == 100_000 - 10 - states[0].made


async def test_a_client_that_leaves_before_its_body_is_there_is_nobody():
    service = Service()

    async def receive():
        return {"type": "http.disconnect"}

    await service.asgi({"type": "http", "method": "POST", "path": CHAT, "headers": []}, receive, None)
    assert service.events == []


async def test_a_refusal_of_the_engine_itself_costs_no_tokens():
    service = Service(limits_of(tokens_per_minute=1000, requests_per_minute=10))
    service.app.status = 400
    await service.send(CHAT, GOOD[CHAT] | {"max_tokens": 500})
    standing = service.parts.desk.standing_of("acme")
    assert (standing.tokens.remaining, standing.requests.remaining) == (1000, 9)
    assert service.events[0].data.status == 400


async def test_an_error_of_the_application_is_settled_too():
    service = Service(limits_of(tokens_per_minute=1000))

    async def broken(scope, receive, send):
        raise RuntimeError("broken")

    asgi = DeskMiddleware(broken, desk=service.parts.desk)
    service.asgi = asgi
    with pytest.raises(RuntimeError):
        await service.send(CHAT, GOOD[CHAT] | {"max_tokens": 500})
    assert service.parts.desk.standing_of("acme").tokens.remaining == 1000


async def test_other_paths_of_the_application_are_closed_and_reading_passes():
    service = Service()
    for path in (
        "/tokenize",
        "/v1/chat/completions/batch",
        "/v1/chat/completions/",
        "/invocations",
        "/v1/load_lora_adapter",
    ):
        assert (await service.send(path, {})).status == 404
    assert service.app.bodies == []
    passed = []

    async def app(scope, receive, send):
        passed.append(scope)

    await DeskMiddleware(app, desk=service.parts.desk)(
        {"type": "http", "method": "GET", "path": "/v1/models"}, None, None
    )
    await DeskMiddleware(app, desk=service.parts.desk)({"type": "lifespan"}, None, None)
    assert len(passed) == 2


async def test_a_full_queue_is_said_with_a_time_to_come_again():
    service = Service(max_waiting=10)
    service.parts.load.waiting = 10
    answer = await service.send(CHAT, GOOD[CHAT])
    assert (answer.status, answer.error["code"]) == (429, "server_overloaded")
    assert int(answer.headers["retry-after"]) >= 1


async def test_a_tenant_that_floods_leaves_places_to_others():
    service = Service(max_waiting=20)
    service.parts.load.slots = 2
    service.engine.held.clear()
    flood = []
    for _ in range(60):
        flood.append(asyncio.create_task(service.send(CHAT, GOOD[CHAT] | {"max_tokens": 2}, tenant="flood")))
        for _ in range(8):
            await asyncio.sleep(0)
    assert sum(not task.done() for task in flood) == 22  # what runs and what waits, as long as it is alone
    quiet = await service.send(CHAT, GOOD[CHAT], tenant="quiet")
    assert quiet.status == 429  # there is no place at all, but from now on some are kept
    service.engine.held.set()
    await asyncio.gather(*flood)
    service.parts.clock.move(1)
    service.engine.held.clear()
    flood = []
    for _ in range(60):
        flood.append(asyncio.create_task(service.send(CHAT, GOOD[CHAT] | {"max_tokens": 2}, tenant="flood")))
        for _ in range(8):
            await asyncio.sleep(0)
    assert sum(not task.done() for task in flood) == 18
    guests = [asyncio.create_task(service.send(CHAT, GOOD[CHAT] | {"max_tokens": 2}, tenant="quiet")) for _ in range(4)]
    for _ in range(20):
        await asyncio.sleep(0)
    service.engine.held.set()
    assert [answer.status for answer in await asyncio.gather(*guests)] == [200] * 4
    statuses = [answer.status for answer in await asyncio.gather(*flood)]
    assert statuses.count(429) == 42


async def test_answers_of_messages_are_refused_in_their_own_form():
    answer = await Service(limits_of(requests_per_minute=1)).send(MESSAGES, GOOD[MESSAGES] | {"n": "x"})
    assert json.loads(answer.body)["type"] == "error"


BAD = {
    "not json": b"{",
    "empty": b"",
    "no object": b"[]",
    "text": b'"text"',
    "twice": b'{"model": "a", "model": "b"}',
    "twice inside": b'{"model": "m", "messages": [{"role": "user", "role": "system"}]}',
    "NaN": b'{"temperature": NaN}',
    "infinity": b'{"temperature": -Infinity}',
    "huge float": b'{"temperature": 1e999}',
    "huge number": b'{"seed": ' + b"9" * 50 + b"}",
    "number of 5000 digits": b'{"seed": ' + b"9" * 5000 + b"}",
    "deep lists": b'{"x": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "deep objects": b'{"x": ' * 300 + b"1" + b"}" * 300,
    "very deep": b"[" * 1_000_000,
    "no UTF-8": b'{"model": "\xff"}',
    "UTF-16": '{"model": "m"}'.encode("utf-16"),
    "half a pair": b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
    "control": b'{"model": "\x00"}',
    "BOM": b"\xef\xbb\xbf{}",
}


@pytest.mark.parametrize("what", BAD)
async def test_what_is_no_json_is_refused_in_words(what):
    service = Service()
    answer = await service.send(CHAT, BAD[what])
    assert answer.status == 400, answer.body
    assert answer.error["code"] == "invalid_json"
    assert len(answer.body) < 500
    assert service.app.bodies == []


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    [
        *(
            "model",
            "messages",
            "prompt",
            "input",
            "max_tokens",
            "max_completion_tokens",
            "max_output_tokens",
            "n",
            "stream",
        ),
        *(
            "stop",
            "stop_sequences",
            "tools",
            "chat_template_kwargs",
            "best_of",
            "priority",
            "store",
            "system",
            "echo",
            "logprobs",
        ),
    ]
)


@given(st.sampled_from(list(GOOD)), st.dictionaries(NAMES, ODD, min_size=1, max_size=4))
def test_no_value_of_any_field_is_an_error_of_ours(path, fields):
    async def run():
        service = Service(limits_of(tokens_per_minute=10_000, requests_per_minute=100))
        service.app.status = 400  # as the engine would judge most of them
        return await service.send(path, json.dumps({"model": MODEL} | GOOD[path] | fields).encode())

    assert asyncio.run(run()).status in {400, 404, 429}


async def test_an_adapter_that_is_being_loaded_says_when_to_come_again_to_those_who_may_use_it():
    service = Service(coming=lambda: frozenset({"soon"}))
    answer = await service.send(CHAT, {"model": "soon", "messages": HELLO})
    assert (answer.status, answer.error["code"]) == (503, "adapter_loading")
    hidden = await service.send(CHAT, {"model": "soon", "messages": HELLO}, models=(MODEL,))
    assert (hidden.status, hidden.error["code"]) == (404, "model_not_found")


async def test_requests_that_run_are_counted_by_the_name_that_they_ask_for():
    service = Service()
    service.engine.held = asyncio.Event()
    running = asyncio.create_task(service.send(CHAT, {"model": "adapter", "messages": HELLO}))
    await until(lambda: service.parts.desk.running("adapter") == 1)
    assert service.parts.desk.running(MODEL) == 0
    service.engine.held.set()
    await running
    assert service.parts.desk.running("adapter") == 0


ALIAS = "Llama-chat"


@pytest.mark.parametrize("path", GOOD)
async def test_an_alias_is_served_by_the_model_and_booked_as_it_was_asked_for(path):
    service = Service(limits_of(), aliases=(ALIAS,))
    service.app.sees = ASKED_NAME.get
    assert (await service.send(path, GOOD[path] | {"model": ALIAS})).status == 200
    assert service.app.bodies[0]["model"] == MODEL
    assert service.app.seen == [ALIAS]
    assert service.events[0].data.model == ALIAS
    assert ASKED_NAME.get() is None


@pytest.mark.parametrize(
    ("models", "asks", "status"),
    [
        ((), ALIAS, 200),
        ((MODEL,), ALIAS, 200),
        ((ALIAS,), ALIAS, 200),
        ((ALIAS,), MODEL, 404),
        (("adapter",), ALIAS, 404),
        ((), "Llama-chat2", 404),
    ],
)
async def test_a_key_opens_an_alias_by_its_own_name_or_that_of_the_model(models, asks, status):
    service = Service(limits_of(), aliases=(ALIAS,))
    assert (await service.send(CHAT, GOOD[CHAT] | {"model": asks}, models=models)).status == status


async def test_aliases_come_and_go_while_the_replica_serves():
    service = Service(limits_of())
    asks = GOOD[CHAT] | {"model": ALIAS}
    assert (await service.send(CHAT, asks)).status == 404
    service.parts.desk.reconfigure(DeskSettings(aliases=(ALIAS,)))
    assert (await service.send(CHAT, asks)).status == 200
    service.parts.desk.reconfigure(DeskSettings())
    assert (await service.send(CHAT, asks)).status == 404


@pytest.mark.parametrize("path", GOOD)
async def test_a_model_without_a_chat_template_answers_completions_and_says_so_to_conversations(path):
    service = Service(limits_of(), takes_conversations=False)
    answer = await service.send(path, GOOD[path])
    if path == COMPLETIONS:
        assert answer.status == 200
        return
    assert answer.status == 400
    assert "/v1/completions" in answer.error["message"]
    assert "spec.model.chatTemplate" in answer.error["message"]
    assert service.app.bodies == []


VLLM_ERROR = {"error": {"message": "too much", "type": "BadRequestError", "param": "n", "code": 400}}
TOO_LONG = "This model's maximum context length is 1024 tokens."


@pytest.mark.parametrize(
    ("path", "status", "body", "kind", "code"),
    [
        (CHAT, 400, VLLM_ERROR, "invalid_request_error", "invalid_value"),
        (
            CHAT,
            400,
            {"error": VLLM_ERROR["error"] | {"message": TOO_LONG}},
            "invalid_request_error",
            "context_length_exceeded",
        ),
        (RESPONSES, 404, VLLM_ERROR, "invalid_request_error", "not_found"),
        (COMPLETIONS, 500, VLLM_ERROR, "server_error", "engine_error"),
        (MESSAGES, 400, {"type": "error", **VLLM_ERROR}, "invalid_request_error", None),
        (MESSAGES, 404, VLLM_ERROR, "not_found_error", None),
        (MESSAGES, 500, VLLM_ERROR, "api_error", None),
        (COUNT, 400, {"type": "error", **VLLM_ERROR}, "invalid_request_error", None),
    ],
)
@pytest.mark.parametrize("parts", [1, 3])
async def test_an_error_of_the_engine_has_the_form_of_its_dialect(path, status, body, kind, code, parts):
    service = Service(limits_of())
    service.app.answers(status, json.dumps(body).encode(), parts)
    answer = await service.send(path, GOOD[path])
    assert answer.status == status
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert answer.headers["x-own"] == "1"
    assert (answer.error["type"], answer.error.get("code")) == (kind, code)
    assert answer.error["message"] == body["error"]["message"]


OF_GUARD = b'{"error": {"message": "no", "type": "invalid_request_error", "param": null, "code": "content_filter"}}'


@pytest.mark.parametrize(
    "body", [b"Internal Server Error", OF_GUARD, b'{"detail": "x"}', b"[]", b"", b'{"error": 7}', b"x" * 100_000]
)
async def test_what_is_no_error_of_vllm_is_handed_on_as_it_is(body):
    service = Service(limits_of())
    service.app.answers(503, body, 4)
    answer = await service.send(CHAT, GOOD[CHAT])
    assert (answer.status, answer.body) == (503, body)


@pytest.mark.parametrize("path", GOOD)
async def test_a_key_that_was_revoked_a_moment_ago_is_refused_as_at_the_door_and_costs_nothing(path, caplog):
    service = Service(limits_of(requests_per_minute=1, tokens_per_day=1000))
    settings = service.parts.desk._settings
    service.parts.desk.reconfigure(settings.model_copy(update={"revoked_keys": ("abcdefghijklmnop",)}))
    answer = await service.send(path, GOOD[path])
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert (service.app.bodies, service.events) == ([], [])
    assert "its key was revoked a moment ago (key abcdefghijklmnop)" in caplog.text
    service.parts.desk.reconfigure(settings)
    assert (await service.send(path, GOOD[path])).status == 200


@pytest.mark.parametrize(
    ("limit", "most", "named"), [(1, 1, True), (1, 5, False), (1, None, False)], ids=["house", "own", "no policy"]
)
@pytest.mark.parametrize("name", ["requests_per_minute", "tokens_per_minute"])
async def test_a_refusal_names_house_policy_where_the_limit_is_its(name, limit, most, named):
    scale = 1000 if name == "tokens_per_minute" else 1
    house = None
    if most is not None:
        house = HouseLimits(**{name: HouseLimit(most=most * scale, policy="house", tier="CommunityLlama3")})
    service = Service(limits_of(**{name: limit * scale}))
    service.parts.desk.reconfigure(service.parts.desk._settings.model_copy(update={"house": house}))
    answers = [await service.send(CHAT, GOOD[CHAT] | {"max_tokens": 900}) for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 429]
    assert ("LicensePolicy house, tier CommunityLlama3" in answers[1].error["message"]) is named


@pytest.mark.parametrize("budget", [{"tokens_per_day": 1000}, {"tokens_per_month": 1000}])
async def test_the_first_request_of_a_replica_may_name_no_length_although_only_a_budget_limits_it(budget):
    service = Service(limits_of(**budget))
    assert (await service.send(CHAT, GOOD[CHAT])).status == 200
    (event,) = service.events
    assert event.data.output_tokens <= 1000
