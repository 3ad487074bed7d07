"""The guard in front of a real engine: a second engine beside it, whose words a test chooses (`support.serving.stand_in_guard`).

The answers of the generated model without randomness are known from a first request, so a piece of one can be called unsafe.
"""

import json

import httpx
import pytest

from llama_serving.contract.guard import GUARD_HEADER, GuardSettings
from llama_serving.contract.tenants import DeskSettings
from support.serving.stand_in_guard import FILE

pytestmark = [pytest.mark.serving, pytest.mark.timeout(1800)]

SECONDS = 120
DIALECTS = ("/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses")
TOKENS = 90
"""Three checks: after 32 and 64 tokens, and at the end."""


@pytest.fixture(scope="module")
def guarded(deploy, config):
    """The tiny model behind a guard."""
    return deploy(config(guard=True))


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


@pytest.fixture
def used(guarded, live, eventually):
    """Sets how the guard is used, without a restart, and gives the settings back at the end."""
    replicas = guarded.cluster.replicas(guarded.config.server_deployment)

    def use(**settings):
        guard = GuardSettings(deadline_ms=settings.pop("deadline_ms", 20_000), **settings)
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
    assert len(released) <= 64 if stream else released == ""
    assert marker[:8] not in released or len(released) < 72
    assert "S9" not in answer.text
