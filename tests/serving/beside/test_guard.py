"""The guard in front of a real engine: a second engine beside it, whose words a test chooses (`support.serving.stand_in_guard`).

The answers of the generated model without randomness are known from a first request, so a piece of one can be called unsafe.
"""

import json

import httpx
import pytest

from llama_serving.contract.guard import GUARD_HEADER, GuardSettings
from llama_serving.contract.tenants import DeskSettings
from llama_serving.contract.usage import USAGE_FILES, UsageEvent
from support.serving.stand_in_guard import FILE

pytestmark = [pytest.mark.serving, pytest.mark.timeout(1800)]

SECONDS = 120
DIALECTS = ("/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses")
TOKENS = 90
"""Three checks: after 32 and 64 tokens, and at the end."""


@pytest.fixture(scope="module")
def guarded(deploy, equipped):
    """The tiny model behind a guard."""
    return deploy(equipped)


@pytest.fixture
def says(guarded):
    """Chooses what the guard says; by itself it calls everything safe."""
    file = guarded.cluster.folder / FILE

    def say(**words):
        aside = file.with_suffix(".new")
        aside.write_text(json.dumps(words))
        aside.rename(file)

    say()
    yield say
    say()


@pytest.fixture(scope="module")
def in_force():
    """How the guard is used now; empty before anything is known."""
    return []


@pytest.fixture
def used(guarded, live, eventually, in_force):
    """Sets how the guard is used, without a restart; each test begins with the same settings."""
    replicas = guarded.cluster.replicas(guarded.config.server_deployment)

    def use(**settings):
        guard = GuardSettings(deadline_ms=settings.pop("deadline_ms", 20_000), **settings)
        if in_force == [guard]:
            return
        in_force.clear()
        guarded.apply(live(desk=DeskSettings(guard=guard)))
        wanted = guard.model_dump(mode="json", exclude_none=True)
        eventually(
            lambda: (
                guarded.cluster.deployment_config(guarded.config.server_deployment)["user_config"].get("guard")
                == wanted
            ),
            seconds=60,
            what="Serve to take the settings",
        )
        guarded.cluster.wait_until_running()
        in_force.append(guard)

    use()
    yield use
    assert guarded.cluster.replicas(guarded.config.server_deployment) == replicas, "a setting of the guard is live"


@pytest.fixture
def ask(guarded, used):
    """Asks in any dialect; without randomness."""
    headers = {"Authorization": f"Bearer {guarded.cluster.api_key}"}
    with httpx.Client(
        base_url=f"http://127.0.0.1:{guarded.cluster.http_port}", headers=headers, timeout=SECONDS
    ) as client:

        def send(path, text, *, stream=False, tokens=TOKENS, **more):
            body = {"model": guarded.model, "temperature": 0, "stream": stream}
            if path == "/v1/completions":
                body |= {"prompt": text, "max_tokens": tokens, "ignore_eos": True}
            elif path == "/v1/responses":
                body |= {"input": text, "max_output_tokens": tokens, "ignore_eos": True}
            else:
                body |= {"messages": [{"role": "user", "content": text}], "max_tokens": tokens}
                body |= {"ignore_eos": True} if "chat" in path else {}
            return client.post(path, json=body | more)

        yield send


def events(answer):
    """The data of each event of a stream, in any dialect."""
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def streamed_text(answer):
    """All text that a stream has let out, from wherever it stands."""
    found = []
    for event in events(answer):
        for choice in event.get("choices", ()):
            found += [choice.get("text"), (choice.get("delta") or {}).get("content")]
        if event.get("type") == "content_block_delta":
            found.append(event["delta"].get("text"))
        if event.get("type") == "response.output_text.delta":
            found.append(event["delta"])
    return "".join(text for text in found if text)


def whole_text(answer):
    """The text of an answer that was not streamed."""
    body = answer.json()
    if "choices" in body:
        return body["choices"][0].get("text") or body["choices"][0].get("message", {}).get("content") or ""
    parts = body["content"] if "content" in body else [part for item in body["output"] for part in item["content"]]
    return "".join(part["text"] for part in parts)


def ends_filtered(path, answer, *, stream):
    """Whether an answer says, as its dialect does, that it was stopped."""
    said = events(answer) if stream else [answer.json()]
    if path == "/v1/messages":
        return any((one.get("delta") or one).get("stop_reason") == "refusal" for one in said)
    if path == "/v1/responses":
        last = said[-1].get("response", said[-1])
        return (last["status"], last["incomplete_details"]) == ("incomplete", {"reason": "content_filter"})
    return any(choice.get("finish_reason") == "content_filter" for one in said for choice in one.get("choices", ()))


def booked(app, request_id, eventually):
    """The line of the usage log for a request."""

    def find():
        files = app.cluster.folder.glob(f"session_latest/logs/{USAGE_FILES}")
        lines = [UsageEvent.model_validate_json(line) for file in files for line in file.read_text().splitlines()]
        return next((line.data for line in lines if line.id == request_id), None)

    return eventually(find, seconds=60, what=f"a line for {request_id}")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", DIALECTS)
def test_what_is_asked_is_refused_in_the_form_of_its_dialect(ask, says, path, stream):
    says(unsafe={"forbidden": "S1"})
    answer = ask(path, f"this is forbidden in {path}", stream=stream)

    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error.get("code", "content_filter") == "content_filter"
    assert "forbidden" not in answer.text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", DIALECTS)
def test_no_unsafe_text_leaves_in_any_dialect(ask, says, path, stream):
    question = f"say something in {path}"
    safe = ask(path, question, stream=stream)
    assert (safe.status_code, safe.headers[GUARD_HEADER]) == (200, "safe"), safe.text
    whole = streamed_text(safe) if stream else whole_text(safe)
    assert len(whole) >= TOKENS - 2, "one character is one token"
    # It begins in one window and ends in the next.
    marker = whole[56:72]

    says(unsafe={marker: "S9"})
    answer = ask(path, question, stream=stream)

    assert answer.status_code == 200, answer.text
    assert ends_filtered(path, answer, stream=stream), answer.text
    released = streamed_text(answer) if stream else whole_text(answer)
    assert whole.startswith(released)
    # Parts of an answer may come together, so a check may read a few characters more; never the whole marker.
    assert marker not in released if stream else released == ""
    assert "S9" not in answer.text


def test_what_a_stopped_answer_took_is_booked(guarded, ask, says, eventually):
    whole = streamed_text(ask("/v1/chat/completions", "book this", stream=True))
    says(unsafe={whole[40:50]: "S2"})
    answer = ask("/v1/chat/completions", "book this", stream=True)
    usage = booked(guarded, answer.headers["x-request-id"], eventually)

    assert usage.finish_reason == "content_filter"
    assert 32 <= usage.output_tokens < TOKENS, "the engine stops, and what it made is booked"


def test_the_second_choice_is_checked_as_the_first_is(ask, says):
    seeded = {"n": 2, "temperature": 1, "seed": 7}
    safe = ask("/v1/chat/completions", "two answers", **seeded).json()
    first, second = (choice["message"]["content"] for choice in safe["choices"])
    marker = second[20:36]
    assert marker not in first

    says(unsafe={marker: "S3"})
    answer = ask("/v1/chat/completions", "two answers", **seeded).json()

    assert [choice["finish_reason"] for choice in answer["choices"]] == ["length", "content_filter"]
    assert [choice["message"]["content"] or "" for choice in answer["choices"]] == [first, ""]


@pytest.mark.parametrize("stream", [False, True])
def test_arguments_of_a_tool_are_checked(ask, says, stream):
    unit = {"type": "object", "properties": {"unit": {"enum": ["c", "f"]}}, "required": ["unit"]}
    function = {"name": "weather", "strict": True, "parameters": unit | {"additionalProperties": False}}
    tools = {"tools": [{"type": "function", "function": function}], "tool_choice": "required"}
    # The question has the schema, the answer alone has this.
    says(unsafe={'"parameters":{"unit":"': "S4"})
    answer = ask("/v1/chat/completions", "how warm is it?", stream=stream, tokens=64, **tools)

    assert answer.status_code == 200, answer.text
    assert ends_filtered("/v1/chat/completions", answer, stream=stream), answer.text
    calls = [
        call["function"].get("arguments") or ""
        for one in (events(answer) if stream else [answer.json()])
        for choice in one["choices"]
        for call in (choice.get("delta") or choice.get("message") or {}).get("tool_calls") or ()
    ]
    assert "unit" not in "".join(calls)


def test_what_tools_and_earlier_turns_say_is_checked_as_well(ask, says):
    says(unsafe={"forbidden": "S1"})
    for hidden in (
        [{"role": "user", "content": "hi"}, {"role": "tool", "tool_call_id": "c1", "content": "this is forbidden"}],
        [
            {"role": "user", "content": "this is forbidden"},
            {"role": "assistant", "content": "sure"},
            {"role": "user", "content": "go on"},
        ],
        [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "forbidden"},
            {"role": "user", "content": "b"},
        ],
    ):
        assert ask("/v1/chat/completions", "", messages=hidden).status_code == 400


def test_a_guard_without_a_verdict_lets_nothing_pass(ask, says):
    for path in DIALECTS:
        # The generated model itself: what it says is no verdict.
        says(asks_model=True)
        answer = ask(path, f"judge this in {path}", stream=True)
        assert answer.status_code == 503, answer.text
        assert answer.headers["retry-after"]
        error = answer.json()["error"]
        assert error.get("code", error["type"]) in {"guard_unavailable", "overloaded_error"}


def test_what_is_longer_than_the_guard_reads_is_told_so(ask, says):
    says(asks_model=True)
    # Each prompt fits the model; all together are more than the 2,048 tokens of the guard.
    answer = ask("/v1/completions", ["long " * 90] * 5, tokens=1)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded"), answer.text


@pytest.mark.parametrize("path", DIALECTS)
def test_a_guard_that_fails_while_an_answer_flows_ends_it_with_an_error(ask, says, path):
    question = f"a long story in {path}"
    whole = streamed_text(ask(path, question, stream=True))
    unreadable = whole[70:80]
    says(fails=unreadable)
    answer = ask(path, question, stream=True)

    assert answer.status_code == 200
    released = streamed_text(answer)
    assert whole.startswith(released)
    assert len(released) >= 32
    assert unreadable not in released
    assert "guard of this endpoint could not check" in answer.text
    assert ask(path, question).status_code == 503, "nothing of a whole answer has left"


def test_a_deadline_bounds_the_wait(ask, says, used):
    used(deadline_ms=300)
    says(hangs=True)
    assert ask("/v1/chat/completions", "anybody there?").status_code == 503


def test_failing_open_lets_pass_and_tells_so(ask, says, used):
    used(failure="Open", reason="a trial", deadline_ms=300)
    says(hangs=True)
    whole = ask("/v1/chat/completions", "open, whole", tokens=8)
    streamed = ask("/v1/chat/completions", "open, in parts", tokens=8, stream=True)

    assert (whole.status_code, streamed.status_code) == (200, 200)
    assert whole.headers[GUARD_HEADER] == streamed.headers[GUARD_HEADER] == "not-classified; reason=timeout"
    assert len(streamed_text(streamed)) >= 7
    assert events(streamed)[-1]["guard"] == {"verdict": "not_classified", "why": "timeout"}


def test_annotating_holds_nothing_and_tells_the_verdict(ask, says, used):
    used(mode="Annotate")
    # One test for all dialects: a change of settings takes longer than they do.
    for path in DIALECTS:
        says()
        question = f"annotate in {path}"
        clean = streamed_text(ask(path, question, stream=True))
        says(unsafe={clean[40:50]: "S5"})

        streamed = ask(path, question, stream=True)
        assert streamed_text(streamed) == clean, path
        told = [one["guard"] for one in events(streamed) if "guard" in one]
        assert told == [{"verdict": "unsafe", "categories": ["S5"]}], path
        whole = ask(path, question)
        assert whole.headers[GUARD_HEADER] == "unsafe; categories=S5", path
        assert whole_text(whole) == clean, path


def test_logging_changes_nothing(ask, says, used):
    used(mode="Log")
    says(unsafe={"everything": "S1"})
    answer = ask("/v1/chat/completions", "everything", tokens=8)
    assert (answer.status_code, answer.headers.get(GUARD_HEADER)) == (200, None)


def test_only_the_categories_that_count_stop_anything(ask, says, used):
    used(categories=("S1",))
    says(unsafe={"gossip": "S5", "poison": "S1"})
    assert ask("/v1/chat/completions", "gossip", tokens=4).status_code == 200
    assert ask("/v1/chat/completions", "poison", tokens=4).status_code == 400


def test_a_guard_that_is_killed_refuses_requests_and_comes_back(guarded, ask, says, eventually):
    question = "a story of somebody who dies"
    whole = streamed_text(ask("/v1/chat/completions", question, stream=True))
    deadly = whole[70:80]
    says(dies=deadly)
    answer = ask("/v1/chat/completions", question, stream=True)
    assert "guard of this endpoint could not check" in answer.text
    assert deadly not in streamed_text(answer)
    says()
    eventually(
        lambda: ask("/v1/chat/completions", "and now?", tokens=4).status_code == 200,
        seconds=300,
        what="Serve to start another replica of the guard",
    )
    guarded.cluster.wait_until_running()
