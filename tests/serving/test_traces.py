"""The traces of a real deployment: one tree from the client to vLLM, and no key, prompt or answer in it."""

import secrets

import httpx
import pytest

from support.serving.ray_cluster import wait_for

pytestmark = [pytest.mark.serving, pytest.mark.timeout(1800)]

PROMPT = "zebras under the quiet moon"
BODY = {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 8, "ignore_eos": True, "temperature": 0}
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def before(collector):
    """Traces of the tests before, which other servers may have sent, and those of the first requests here."""
    return {span.trace for span in collector.spans()}


@pytest.fixture(scope="module")
def asked(before):
    """The traces that clients asked for here."""
    return set()


@pytest.fixture
def ask(herd, app, before, asked, collector):
    """Sends a request with a trace of its own; returns the answer, the id of the trace and that of the client's span.

    Until HAProxy knows a replica that started a moment ago, Serve's own proxy hands requests on to it: that is waited for.
    """
    with httpx.Client(base_url=f"http://127.0.0.1:{app.cluster.http_port}", timeout=120) as client:

        def send(path=CHAT, *, key=herd.text, most_lines=None, sampled=True, **body):
            trace, span = secrets.token_hex(16), secrets.token_hex(8)
            if sampled:
                asked.add(trace)
            headers = {"Authorization": f"Bearer {key}", "traceparent": f"00-{trace}-{span}-0{int(sampled)}"}
            with client.stream("POST", path, json=BODY | {"model": app.model} | body, headers=headers) as answer:
                if most_lines is None:
                    answer.read()
                    return answer, trace, span
                for number, _ in enumerate(answer.iter_lines()):
                    if number == most_lines:
                        break
            return answer, trace, span

        def names_of(trace):
            names = {span.name.partition(" ")[0] for span in collector.spans(trace)}
            return names if {"chat", "replica_handle_request", "llm_request"} <= names else None

        def comes_directly():
            answer, trace, _ = send()
            answer.raise_for_status()
            asked.remove(trace)
            before.add(trace)
            return "proxy_http_request" not in wait_for(lambda: names_of(trace), seconds=60, what=f"spans of {trace}")

        if not asked:
            wait_for(comes_directly, seconds=240, what="requests that reach the replica by HAProxy alone")
        send.key = herd
        yield send


def has_usage(span):
    return "gen_ai.usage.output_tokens" in span.attributes


@pytest.fixture
def spans_of(collector, eventually):
    """Waits for spans of a trace with these names; returns them by name.

    On a machine so busy that HAProxy takes the replica for absent a request goes by Serve's proxy. Then its door and the desk have
    a span each, and only that of the desk has what was used: `used` waits for that one.
    """

    def find(trace, *names, used=False):
        def found():
            spans = sorted(collector.spans(trace), key=has_usage)
            by_name = {span.name.partition(" ")[0]: span for span in spans}
            complete = by_name.keys() >= set(names) and (not used or any(map(has_usage, spans)))
            return by_name if complete else None

        return eventually(found, seconds=60, what=f"spans {names} of {trace}")

    return find


def test_a_request_is_one_tree_from_the_client_over_door_and_serve_to_vllm(app, ask, spans_of, collector, eventually):
    answer, trace, client = ask()
    assert answer.status_code == 200, answer.text
    found = spans_of(trace, "chat", "replica_handle_request", "llm_request", used=True)
    door = found["chat"]

    def up():
        spans, way = {span.id: span for span in collector.spans(trace)}, [found["llm_request"]]
        while way[-1].parent in spans:
            way.append(spans[way[-1].parent])
        return way if way[-1].parent == client else None

    way = eventually(up, seconds=60, what=f"spans of {trace} up to the client")
    over = [span.name.partition(" ")[0] for span in way]
    # By Serve's proxy there is one door more: see `spans_of`.
    usual = ["llm_request", "replica_handle_request", "chat"]
    assert over in (usual, ["llm_request", "chat", *usual[1:]]), over
    usage = answer.json()["usage"]
    assert door.name == f"chat {app.model}"
    assert door.attributes == {
        "http.request.method": "POST",
        "http.route": CHAT,
        "http.response.status_code": 200,
        "llama.request.id": answer.headers["x-request-id"],
        "llama.tenant": "herd",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": app.model,
        "gen_ai.request.max_tokens": 8,
        "gen_ai.request.temperature": 0,
        "gen_ai.response.model": app.model,
        "gen_ai.response.finish_reasons": ("length",),
        "gen_ai.usage.input_tokens": usage["prompt_tokens"],
        "gen_ai.usage.cache_read.input_tokens": door.attributes["gen_ai.usage.cache_read.input_tokens"],
        "gen_ai.usage.output_tokens": 8,
    }
    assert {span.resource["service.name"] for span in found.values()} == {"chat"}
    assert found["llm_request"].attributes["gen_ai.usage.completion_tokens"] == 8


def test_a_request_that_is_cut_off_has_a_span_with_what_it_used(app, ask, spans_of):
    _, trace, _ = ask(most_lines=20, stream=True, max_tokens=400)
    door = spans_of(trace, "chat", used=True)["chat"]
    assert 5 <= door.attributes["gen_ai.usage.output_tokens"] < 400
    assert door.attributes["gen_ai.response.finish_reasons"] == ("abort",)
    assert door.attributes["error.type"] == "cancelled"


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        ({"key": "llm_wrong"}, 401, "invalid_api_key"),
        ({"model": PROMPT}, 404, "model_not_found"),
        ({"max_tokens": 100_000}, 400, None),
    ],
)
def test_a_refused_request_has_a_span_with_the_code_of_its_refusal(ask, spans_of, sent, status, code):
    answer, trace, _ = ask(**sent)
    assert answer.status_code == status, answer.text
    door = spans_of(trace, "chat")["chat"]
    assert door.attributes["error.type"] == (code or str(status))
    assert door.attributes["http.response.status_code"] == status


def test_nothing_else_was_sent_and_no_key_prompt_or_answer(ask, asked, before, spans_of, collector):
    answer, trace, _ = ask(max_tokens=30)
    spans_of(trace, "chat", "llm_request")
    sent = collector.raw
    text = answer.json()["choices"][0]["message"]["content"]
    for words in (ask.key.text, ask.key.id, ask.key.sha256, PROMPT, text):
        assert words.encode() not in sent
    # Whoever asks without a trace, or says that it is not to be recorded, has none; and nothing of Serve's own calls is there.
    here = [span for span in collector.spans() if span.trace not in before]
    assert {span.trace for span in here} <= asked
    for one in {span.trace for span in here}:
        names = {span.name.partition(" ")[0] for span in here if span.trace == one}
        # Only a request that went by Serve's proxy has these, and then both.
        by_proxy = {"proxy_http_request", "route_to_replica"}
        assert names - by_proxy <= {"chat", "replica_handle_request", "llm_request"}
        assert names & by_proxy in (set(), by_proxy)


def test_the_histograms_of_the_conventions_stand_beside_the_other_metrics(app, ask, eventually):
    assert ask(sampled=False)[0].status_code == 200
    labels = {"operation_name": "chat", "provider_name": "vllm", "request_model": app.model}

    # Ray may publish a series without labels before the first value has come.
    def published():
        lines = app.cluster.metrics().splitlines()
        return all(
            any(
                line.startswith(f"ray_gen_ai_server_{name}_seconds_bucket")
                and f'le="{first}"' in line
                and all(f'gen_ai_{label}="{value}"' in line for label, value in labels.items())
                for line in lines
            )
            for name, first in (
                ("request_duration", "0.01"),
                ("time_to_first_token", "0.001"),
                ("time_per_output_token", "0.01"),
            )
        )

    eventually(published, seconds=60, what="the histograms, with their labels")


def test_what_vllm_counts_arrives_whole_although_it_is_recorded_later(app, ask, eventually):
    def counted(name):
        lines = app.cluster.metrics().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))

    # One comes with the state of the scheduler, of which only the last of several is recorded, the other with the tokens.
    names = "ray_vllm_prefix_cache_queries_total", "ray_vllm_prompt_tokens_total"
    before = [counted(name) for name in names]
    messages = [{"role": "user", "content": PROMPT * 8}]
    answers = [ask(sampled=False, messages=messages)[0] for _ in range(5)]
    tokens = sum(answer.json()["usage"]["prompt_tokens"] for answer in answers)
    assert tokens > 1000, "what tests before have left to be told is little beside it"
    eventually(
        lambda: all(counted(name) - old >= tokens for name, old in zip(names, before, strict=True)),
        seconds=60,
        what="all tokens of the prompts, in both counts",
    )
