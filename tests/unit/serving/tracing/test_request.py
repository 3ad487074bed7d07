"""The span of a request, from the door to the engine's last token, as a collector gets it."""

import asyncio
import contextvars
import json
import re
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBasedTraceIdRatio

from llama_serving.contract.door import Access, DoorSettings
from llama_serving.desk.meter import metered
from llama_serving.desk.middleware import DeskMiddleware
from llama_serving.door.application import Door
from llama_serving.door.keys import KeyFolder, Keys
from llama_serving.door.refused_keys import RefusedKeys
from llama_serving.tracing.request import CURRENT, UNTRACED, Traces
from support.serving.desks.parts import MODEL, Engine, desk_of, limits_of, sampling, until
from support.serving.doors import FIRST, NOW, SECOND, Clock, scope_of, write

CHAT = "/v1/chat/completions"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET_WORDS = "the prompt of acme"
REQUEST = {"model": MODEL, "messages": [{"role": "user", "content": SECRET_WORDS}], "max_tokens": 6}


def parent(flags="01"):
    return ("traceparent", f"00-{TRACE}-{SPAN}-{flags}")


class Endpoint:
    """Door, desk and an application that asks an engine; nothing of it is traced but by the door."""

    def __init__(self, folder, *tenants, sampler=ALWAYS_ON, access=Access.KEYS, with_traces=True):
        write(folder, FIRST)
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.parts, self.engine = desk_of(*tenants), metered(Engine(cached=4))
        self.passed, self.behind, self.status, self.error = [], self._ask_the_engine, 200, None
        self.clock, ids = Clock(), count(1)
        self.door = Door(
            DeskMiddleware(self._application, desk=self.parts.desk),
            settings=DoorSettings(access=access, keys_folder=str(folder), model_id=MODEL, max_body_bytes=4096),
            keys=Keys(KeyFolder(folder), clock=self.clock, now=lambda: NOW),
            to_board=False,
            new_id=lambda: f"request-{next(ids)}",
            refused_keys=RefusedKeys(self.clock),
            traces=Traces(self.provider.get_tracer("test")) if with_traces else None,
        )

    @property
    def spans(self):
        return self.exporter.get_finished_spans()

    @property
    def span(self):
        (span,) = self.spans
        return span

    async def __call__(self, path=CHAT, request=REQUEST, *, method="POST", headers=(), key=FIRST, body=None):
        content = json.dumps(request).encode() if body is None else body
        sent = [("content-type", "application/json"), ("content-length", str(len(content)))] if method == "POST" else []
        sent += [("authorization", f"Bearer {key.text}")] if key is not None else []
        messages = [{"type": "http.request", "body": content if method == "POST" else b"", "more_body": False}]
        answer = []

        async def receive():
            if messages:
                return messages.pop(0)
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message):
            answer.append(message)

        await self.door(scope_of(method, path, [*sent, *headers]), receive, send)
        return answer[0]["status"] if answer else None

    async def _application(self, scope, receive, send):
        self.passed.append(dict(scope["headers"]))
        message = await receive()
        if self.error is not None:
            raise self.error
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        if self.status == 200 and message["body"]:
            await self.behind(json.loads(message["body"]), send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _ask_the_engine(self, request, send):
        params = sampling(request.get("max_tokens", 4096), n=request.get("n") or 1, stream=bool(request.get("stream")))
        async for _ in self.engine.generate([1] * 10, params, "call"):
            await send({"type": "http.response.body", "body": b"a part of the answer", "more_body": True})


@pytest.fixture
def endpoint(tmp_path):
    return Endpoint(tmp_path / "keys")


def attributes(span):
    return dict(span.attributes or {})


async def test_a_span_says_what_was_asked_and_used_and_by_whom(endpoint):
    asked = REQUEST | {"temperature": 0.7, "top_p": 1, "n": 2, "stream": True, "seed": 1, "user": "somebody"}
    assert await endpoint(request=asked) == 200
    assert endpoint.span.name == f"chat {MODEL}"
    assert endpoint.span.kind is otel.SpanKind.SERVER
    assert attributes(endpoint.span) == {
        "http.request.method": "POST",
        "http.route": CHAT,
        "http.response.status_code": 200,
        "llama.request.id": "request-1",
        "llama.tenant": "team-a",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.max_tokens": 6,
        "gen_ai.request.temperature": 0.7,
        "gen_ai.request.top_p": 1,
        "gen_ai.request.choice.count": 2,
        "gen_ai.request.stream": True,
        "gen_ai.response.model": MODEL,
        "gen_ai.response.finish_reasons": ("length",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.output_tokens": 12,
    }


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        (CHAT, "chat"),
        ("/v1/completions", "text_completion"),
        ("/v1/responses", "chat"),
        ("/v1/messages", "chat"),
        ("/v1/messages/count_tokens", "count_tokens"),
    ],
)
async def test_each_api_has_its_operation(endpoint, path, operation):
    request = {"model": MODEL, "prompt" if path == "/v1/completions" else "messages": SECRET_WORDS, "max_tokens": 2}
    if path == "/v1/responses":
        request = {"model": MODEL, "input": SECRET_WORDS, "max_output_tokens": 2}
    elif path != "/v1/completions":
        request["messages"] = REQUEST["messages"]
    assert await endpoint(path, request) == 200
    assert endpoint.span.name == f"{operation} {MODEL}"
    assert attributes(endpoint.span)["gen_ai.operation.name"] == operation


async def test_the_client_is_the_parent_of_the_door_and_the_door_of_what_stands_behind(endpoint):
    await endpoint(headers=[parent(), ("tracestate", "vendor=1")])
    context = endpoint.span.get_span_context()
    assert endpoint.span.parent is not None
    assert (f"{context.trace_id:032x}", f"{endpoint.span.parent.span_id:016x}") == (TRACE, SPAN)
    assert endpoint.passed[0][b"traceparent"] == f"00-{TRACE}-{context.span_id:016x}-01".encode()
    assert endpoint.passed[0][b"tracestate"] == b"vendor=1"


async def test_what_stands_between_door_and_desk_is_the_parent_of_the_engine(endpoint):
    desk = endpoint.door._app

    async def serve(scope, receive, send):
        tracer = endpoint.provider.get_tracer("serve")
        # As Serve does: its span is below the header, and the current one of the tasks that it starts.
        above = otel.propagation.tracecontext.TraceContextTextMapPropagator().extract(
            {name.decode(): value.decode() for name, value in scope["headers"]}
        )
        with tracer.start_as_current_span("serve", context=above):
            await asyncio.create_task(desk(scope, receive, send))

    endpoint.door._app = serve
    await endpoint()
    serves, doors = endpoint.spans
    assert serves.parent.span_id == doors.get_span_context().span_id
    assert endpoint.passed[0][b"traceparent"].split(b"-")[2] == f"{serves.get_span_context().span_id:016x}".encode()


@pytest.mark.parametrize(
    ("sampler", "headers", "recorded"),
    [
        (ALWAYS_OFF, [], False),
        (ParentBasedTraceIdRatio(0.0), [], False),
        (ParentBasedTraceIdRatio(0.0), [parent("01")], True),
        (ParentBasedTraceIdRatio(1.0), [parent("00")], False),
        (ParentBasedTraceIdRatio(1.0), [], True),
        # None of them is a parent: the trace begins here.
        (ParentBasedTraceIdRatio(1.0), [parent("00"), parent("00")], True),
        (ParentBasedTraceIdRatio(1.0), [("traceparent", f"00-{'0' * 32}-{SPAN}-00")], True),
        (ParentBasedTraceIdRatio(1.0), [("traceparent", f"ff-{TRACE}-{SPAN}-00")], True),
        (ParentBasedTraceIdRatio(0.0), [("traceparent", "nonsense")], False),
    ],
)
async def test_the_first_one_decides_whether_a_request_is_traced(tmp_path, sampler, headers, recorded):
    endpoint = Endpoint(tmp_path / "keys", sampler=sampler)
    assert await endpoint(headers=headers) == 200
    assert bool(endpoint.spans) is recorded
    # Those behind are told, in any case: none of them begins a trace of its own.
    flags = int(endpoint.passed[0][b"traceparent"].rpartition(b"-")[2], 16)
    assert bool(flags & 1) is recorded


async def test_without_traces_the_trace_of_the_client_is_handed_on(tmp_path):
    endpoint = Endpoint(tmp_path / "keys", with_traces=False)
    assert await endpoint(headers=[parent()]) == 200
    assert endpoint.passed[0][b"traceparent"].decode() == parent()[1]


REFUSED = [
    ({"key": None}, 401, "invalid_api_key"),
    ({"key": SECOND}, 401, "invalid_api_key"),
    ({"path": "/metrics"}, 404, "unknown_url"),
    ({"method": "GET"}, 405, "method_not_allowed"),
    ({"path": "/v1/embeddings"}, 404, "unsupported_endpoint"),
    ({"body": b"x" * 5000}, 413, "request_too_large"),
    ({"body": b"{"}, 400, "invalid_json"),
    ({"request": REQUEST | {"model": SECRET_WORDS}}, 404, "model_not_found"),
    ({"request": REQUEST | {"kv_transfer_params": {}}}, 400, "invalid_value"),
    ({"request": REQUEST | {"max_tokens": 8000}}, 429, "rate_limit_exceeded"),
]


@pytest.mark.parametrize(("asked", "status", "code"), REFUSED)
async def test_a_refused_request_has_a_span_with_the_code_of_its_refusal(tmp_path, asked, status, code):
    endpoint = Endpoint(tmp_path / "keys", limits_of("team-a", tokens_per_minute=10_000))
    if status == 429:
        await endpoint(request=REQUEST | {"max_tokens": 7000})
        endpoint.exporter.clear()
    assert await endpoint(**asked) == status
    got = attributes(endpoint.span)
    assert (got["http.response.status_code"], got["error.type"]) == (status, code)
    assert endpoint.span.status.status_code is otel.StatusCode.UNSET
    assert "gen_ai.usage.output_tokens" not in got


async def test_no_key_no_prompt_and_no_answer_is_in_any_span(tmp_path):
    endpoint = Endpoint(tmp_path / "keys", limits_of("team-a", tokens_per_minute=10_000))
    endpoint.error = ValueError(f"cannot read {SECRET_WORDS}")
    with pytest.raises(ValueError, match="cannot read"):
        await endpoint()
    endpoint.error = None
    await endpoint()
    for asked, _, _ in REFUSED:
        await endpoint(**asked)
    exported = "".join(span.to_json() for span in endpoint.spans)
    assert len(endpoint.spans) == 2 + len(REFUSED)
    for word in (FIRST.text, FIRST.id, SECOND.id, FIRST.sha256, SECRET_WORDS, "a part of the answer"):
        assert word not in exported


@pytest.mark.parametrize("path", ["/-/healthz", "/-/routes", "/llama/status"])
async def test_what_machines_ask_every_second_has_no_span(endpoint, path):
    endpoint.door._app = endpoint._application
    assert await endpoint(path, method="GET", key=None, headers=[parent()]) == 200
    assert endpoint.spans == ()


async def test_a_path_that_is_not_listed_is_in_no_span(endpoint):
    await endpoint("/v1/models/some-model", method="GET")
    await endpoint(f"/{SECRET_WORDS}", method="GET")
    await endpoint(method="BREW")
    assert [span.name for span in endpoint.spans] == ["GET", "GET", "chat"]
    assert attributes(endpoint.spans[2])["http.request.method"] == "_OTHER"


async def test_a_request_that_is_cut_off_has_a_span_with_the_tokens_that_it_used(endpoint):
    task = asyncio.create_task(endpoint(request=REQUEST | {"max_tokens": 4000, "stream": True}))
    await until(lambda: endpoint.engine.states and endpoint.engine.states[0].made >= 20)
    (state,) = endpoint.engine.states
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await until(lambda: endpoint.spans)
    got = attributes(endpoint.span)
    assert got["gen_ai.usage.output_tokens"] == state.made >= 20
    assert got["gen_ai.response.finish_reasons"] == ("abort",)
    assert got["error.type"] == "cancelled"
    assert endpoint.span.status.status_code is otel.StatusCode.UNSET


async def test_an_answer_that_nobody_reads_to_its_end_is_cut_off_also_if_the_application_returns(endpoint):
    async def behind(request, send):
        outputs = endpoint.engine.generate([1] * 10, sampling(4000), "call")
        for _ in range(5):
            await anext(outputs)
        endpoint.kept = outputs

    endpoint.behind = behind
    assert await endpoint() == 200
    assert attributes(endpoint.span)["error.type"] == "cancelled"
    assert attributes(endpoint.span)["gen_ai.usage.output_tokens"] == 5


async def test_a_span_waits_for_a_call_of_the_engine_that_ends_after_the_door(endpoint):
    readers = []

    async def behind(request, send):
        # As vLLM does for a request that is not streamed: its handler is cancelled, and not awaited.
        readers.append(asyncio.create_task(endpoint._ask_the_engine(request, send)))
        for _ in range(30):
            await asyncio.sleep(0)

    endpoint.behind = behind
    assert await endpoint(request=REQUEST | {"max_tokens": 4000}) == 200
    assert endpoint.spans == ()
    readers[0].cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    await until(lambda: endpoint.spans)
    assert attributes(endpoint.span)["gen_ai.usage.output_tokens"] > 0
    assert attributes(endpoint.span)["error.type"] == "cancelled"


async def test_a_failure_behind_is_an_error_without_words(endpoint):
    endpoint.error = ValueError(SECRET_WORDS)
    with pytest.raises(ValueError, match=SECRET_WORDS):
        await endpoint()
    assert endpoint.span.status.status_code is otel.StatusCode.ERROR
    assert endpoint.span.status.description is None
    assert attributes(endpoint.span)["error.type"] == "ValueError"
    assert endpoint.span.events == ()


@pytest.mark.parametrize(("status", "is_error"), [(400, False), (500, True), (503, True)])
async def test_an_error_of_the_engine_has_its_status(endpoint, status, is_error):
    endpoint.status = status
    assert await endpoint() == status
    assert attributes(endpoint.span)["error.type"] == str(status)
    assert (endpoint.span.status.status_code is otel.StatusCode.ERROR) is is_error


async def test_a_request_does_not_see_the_trace_of_the_one_before_it(endpoint):
    await asyncio.create_task(endpoint())
    assert CURRENT.get() is UNTRACED


async def test_the_first_request_after_none_ran_has_its_tokens_in_a_span_below_that_of_the_door(endpoint):
    desk = DeskMiddleware(endpoint._application, desk=endpoint.parts.desk, traces=endpoint.door._traces)

    async def proxy(scope, receive, send):
        # Serve's proxy hands the scope to a replica in another process: nothing of this one's context goes with it.
        await asyncio.create_task(desk(scope, receive, send), context=contextvars.Context())

    endpoint.door._app = proxy
    assert await endpoint(headers=[parent()]) == 200
    inner, door = endpoint.spans
    assert (door.name, inner.name) == ("chat", f"chat {MODEL}")
    assert inner.parent.span_id == door.get_span_context().span_id
    assert attributes(inner)["gen_ai.usage.output_tokens"] == 6
    assert endpoint.passed[0][b"traceparent"].split(b"-")[2] == f"{inner.get_span_context().span_id:016x}".encode()


async def test_a_replica_begins_no_trace_by_itself(endpoint):
    desk = DeskMiddleware(endpoint._application, desk=endpoint.parts.desk, traces=endpoint.door._traces)

    async def proxy(scope, receive, send):
        headers = [header for header in scope["headers"] if header[0] != b"traceparent"]
        await asyncio.create_task(desk({**scope, "headers": headers}, receive, send), context=contextvars.Context())

    endpoint.door._app = proxy
    await endpoint()
    assert [span.name for span in endpoint.spans] == ["chat"]


@given(
    st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True), st.from_regex(r"[ -~]{0,80}")
)
def test_whatever_a_client_calls_its_trace_a_request_has_a_place_in_one(above, state):
    provider = TracerProvider(sampler=ParentBasedTraceIdRatio(0.5), shutdown_on_exit=False)
    trace = Traces(provider.get_tracer("test")).begin(
        method="GET", route=None, operation=None, request_id="one", parent=(above.encode(), state.encode())
    )
    headers = dict(trace.headers)
    assert re.fullmatch(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]", headers[b"traceparent"])
    assert headers[b"traceparent"].decode()[36:52] != above[36:52]
    assert re.fullmatch(rb"[ -~]*", headers.get(b"tracestate", b""))
