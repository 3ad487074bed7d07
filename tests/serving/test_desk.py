"""The desk of a real deployment: limits hold, and what is booked is what the engine made."""

import concurrent.futures
import contextlib
import json

import httpx
import openai
import pytest

from llama_serving.contract.tenants import DeskSettings, TenantLimits
from llama_serving.contract.usage import USAGE_FILES, UsageEvent
from support.serving.api_keys import is_known

pytestmark = [pytest.mark.serving, pytest.mark.timeout(1800)]

QUESTION = [{"role": "user", "content": "What is a llama?"}]


@pytest.fixture
def tenant(app, keys, eventually):
    """A client of a tenant of its own, whose key is known."""
    clients = contextlib.ExitStack()

    def make(name="acme"):
        url, key = f"http://127.0.0.1:{app.cluster.http_port}", keys.add(name).text
        eventually(lambda: is_known(url, key), seconds=60, what="the key to be known")
        headers = {"Authorization": f"Bearer {key}"}
        return clients.enter_context(httpx.Client(base_url=url, headers=headers, timeout=120))

    with clients:
        yield make


def booked(app, request_id, eventually):
    """The line of the usage log for a request."""

    def find():
        for file in app.cluster.folder.glob(f"session_latest/logs/{USAGE_FILES}"):
            for line in file.read_text().splitlines():
                event = UsageEvent.model_validate_json(line)
                if event.id == request_id:
                    return event
        return None

    return eventually(find, seconds=60, what=f"a line for {request_id}")


BODIES = {
    "/v1/chat/completions": {"messages": QUESTION, "max_tokens": 7, "ignore_eos": True},
    "/v1/completions": {"prompt": ["One llama", "Two llamas"], "max_tokens": 5, "ignore_eos": True},
    "/v1/messages": {"messages": QUESTION, "max_tokens": 4},
    "/v1/responses": {"input": "What is a llama?", "max_output_tokens": 4},
}


def said(path, answer):
    usage = answer.json()["usage"]
    if path in {"/v1/chat/completions", "/v1/completions"}:
        return usage["prompt_tokens"], usage["completion_tokens"]
    return usage["input_tokens"], usage["output_tokens"]


@pytest.mark.parametrize("path", BODIES)
def test_what_is_booked_is_what_the_answer_says_in_each_dialect(app, tenant, eventually, path):
    answer = tenant().post(path, json=BODIES[path] | {"model": app.model})

    assert answer.status_code == 200, answer.text
    event = booked(app, answer.headers["x-request-id"], eventually)
    assert (event.data.prompt_tokens, event.data.output_tokens) == said(path, answer)
    assert event.subject == "acme"
    assert event.data.status == 200


def test_a_stream_that_is_cut_is_booked_with_what_the_engine_made_and_frees_it(app, tenant, eventually):
    seen = 0
    body = {"model": app.model, "prompt": "llama", "max_tokens": 400, "stream": True, "ignore_eos": True}
    with tenant().stream("POST", "/v1/completions", json=body) as answer:
        request_id = answer.headers["x-request-id"]
        for line in answer.iter_lines():
            seen += line.startswith("data: {")
            if seen == 20:
                break

    event = booked(app, request_id, eventually)
    assert 20 <= event.data.output_tokens < 400
    assert event.data.finish_reason == "abort"
    eventually(lambda: app.cluster.status().running_requests == 0, seconds=60, what="the engine to be free")


STREAMS = {
    "/v1/chat/completions": {"messages": QUESTION, "max_tokens": 400, "ignore_eos": True},
    "/v1/messages": {"messages": QUESTION, "max_tokens": 400},
    "/v1/responses": {"input": "What is a llama?", "max_output_tokens": 400, "ignore_eos": True},
}


@pytest.mark.parametrize("path", STREAMS)
def test_a_client_that_leaves_frees_the_engine_in_the_other_dialects(app, tenant, eventually, path):
    with tenant().stream("POST", path, json=STREAMS[path] | {"model": app.model, "stream": True}) as answer:
        request_id = answer.headers["x-request-id"]
        # Each dialect says hello before the first token.
        lines = (line for line in answer.iter_lines() if line.startswith("data: {"))
        for _ in range(8):
            next(lines)

    event = booked(app, request_id, eventually)
    assert event.data.finish_reason == "abort"
    assert event.data.output_tokens < 400
    eventually(lambda: app.cluster.status().running_requests == 0, seconds=60, what="the engine to be free")


def test_an_alias_comes_and_goes_without_a_restart_and_answers_in_each_dialect(app, live, tenant, eventually):
    client, alias = tenant(), "Llama-default"
    before = set(app.cluster.replicas(app.config.server_deployment))
    app.apply(live(desk=DeskSettings(aliases=(alias,))))

    def listed():
        return [model["id"] for model in client.get("/v1/models").json()["data"]]

    def answers(path, model=alias):
        return client.post(path, json=BODIES[path] | {"model": model})

    eventually(lambda: listed() == [app.model, alias], seconds=60, what="the alias to be listed")
    eventually(lambda: answers("/v1/completions").status_code == 200, seconds=60, what="the alias to be known")
    for path, body in BODIES.items():
        answer = answers(path)
        assert answer.json()["model"] == alias, path
        assert booked(app, answer.headers["x-request-id"], eventually).data.model == alias
        with client.stream("POST", path, json=body | {"model": alias, "stream": True}) as stream:
            said = "".join(stream.iter_lines()).replace('": "', '":"')
        assert f'"model":"{alias}"' in said, path
        assert app.model not in said, path
        assert answers(path, app.model).json()["model"] == app.model

    app.apply(live())
    eventually(lambda: listed() == [app.model], seconds=60, what="the alias to be gone")
    eventually(lambda: answers("/v1/completions").status_code == 404, seconds=60, what="the alias to be refused")
    assert set(app.cluster.replicas(app.config.server_deployment)) == before


def test_limits_change_while_the_engine_runs_and_hold_from_then_on(app, live, tenant, eventually):
    client = tenant("fir")
    before = set(app.cluster.replicas(app.config.server_deployment))
    body = {"model": app.model, "messages": QUESTION, "max_tokens": 1}
    limits = TenantLimits(name="fir", requests_per_minute=3)
    app.apply(live(desk=DeskSettings(tenants=(limits,))))

    def limited():
        return "x-ratelimit-limit-requests" in client.post("/v1/chat/completions", json=body).headers

    eventually(limited, seconds=120, what="the limit to be known")
    answers = [client.post("/v1/chat/completions", json=body) for _ in range(6)]

    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) >= 3
    assert refused[0].json()["error"]["code"] == "rate_limit_exceeded"
    assert int(refused[0].headers["retry-after"]) >= 1
    assert tenant("gorse").post("/v1/chat/completions", json=body).status_code == 200
    assert set(app.cluster.replicas(app.config.server_deployment)) == before
    app.apply(live())
    app.cluster.wait_until_running()


def test_a_tenant_that_goes_first_does_not_wait_for_the_queue_of_another(app, live, tenant, eventually):
    first, flood = tenant("first"), tenant("flood")
    limits = (
        TenantLimits(name="first", priority=-10, requests_per_minute=1000),
        TenantLimits(name="flood", priority=10, requests_per_minute=1000),
    )
    app.apply(live(desk=DeskSettings(tenants=limits)))
    body = {"model": app.model, "prompt": "llama", "max_tokens": 4, "ignore_eos": True}

    def limited():
        return "x-ratelimit-limit-requests" in first.post("/v1/completions", json=body).headers

    eventually(limited, seconds=120, what="the limits to be known")
    with concurrent.futures.ThreadPoolExecutor(max_workers=40) as pool:
        answers = [pool.submit(flood.post, "/v1/completions", json=body | {"max_tokens": 300}) for _ in range(40)]
        eventually(lambda: app.cluster.status().queue_depth > 20, seconds=60, what="a queue")
        assert first.post("/v1/completions", json=body).status_code == 200
        # Four run at once: in the order of arrival it would have been the last.
        assert sum(answer.done() for answer in answers) < 30
        assert {answer.result().status_code for answer in answers} == {200}
    app.apply(live())
    app.cluster.wait_until_running()


@pytest.mark.parametrize(
    ("field", "value"),
    [("kv_transfer_params", {}), ("chat_template", "{{ 1 }}"), ("n", 1000), ("messages", "text"), ("max_tokens", 1e99)],
)
def test_a_field_that_may_not_be_sent_is_refused_by_its_name(app, field, value):
    answer = app.cluster.post_with(
        "/v1/chat/completions", {"model": app.model, "messages": QUESTION, "max_tokens": 1, field: value}, {}
    )

    assert answer.status_code == 400
    assert field in json.dumps(answer.json()["error"])


@pytest.mark.parametrize("choice", [{"type": "function", "function": {"name": "weather"}}, "required"])
def test_a_tool_that_must_be_called_is_called_with_arguments_that_fit_its_schema(app, choice):
    tool = {
        "type": "function",
        "function": {
            "name": "weather",
            "strict": True,
            "parameters": {
                "type": "object",
                "properties": {"unit": {"enum": ["c", "f"]}},
                "required": ["unit"],
                "additionalProperties": False,
            },
        },
    }
    with app.cluster.client() as client:
        answer = client.chat.completions.create(
            model=app.model,
            messages=QUESTION,
            tools=[tool],
            tool_choice=choice,
            max_tokens=64,
        )

    assert answer.choices[0].message.tool_calls, answer
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments)["unit"] in {"c", "f"}


def test_a_schema_forces_the_answer(app):
    with app.cluster.client() as client:
        answer = client.chat.completions.create(
            model=app.model,
            messages=QUESTION,
            response_format={
                "type": "json_schema",
                "json_schema": {
                    "name": "answer",
                    "schema": {
                        "type": "object",
                        "properties": {"animal": {"enum": ["llama", "alpaca"]}},
                        "required": ["animal"],
                        "additionalProperties": False,
                    },
                },
            },
            max_tokens=64,
        )
        probable = client.chat.completions.create(
            model=app.model, messages=QUESTION, max_tokens=2, logprobs=True, top_logprobs=3
        )

    assert json.loads(answer.choices[0].message.content)["animal"] in {"llama", "alpaca"}
    assert len(probable.choices[0].logprobs.content[0].top_logprobs) == 3


def test_embeddings_are_refused_in_words(app):
    with (
        app.cluster.client() as client,
        pytest.raises(openai.NotFoundError, match="makes no embeddings"),
    ):
        client.embeddings.create(model=app.model, input="llama")
