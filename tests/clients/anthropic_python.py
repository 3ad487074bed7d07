"""Anthropic's Python client, unmodified, on /v1/messages."""

import anthropic
from cases import (
    ALIAS,
    ARGUMENTS,
    KEY,
    LIMITED_KEY,
    LONG,
    MESSAGES,
    MODEL,
    URL,
    WRONG_KEY,
    case,
    check_arguments,
    check_raised,
    run,
)

TOOLS = [{"name": "count_legs", "description": "Counts legs.", "input_schema": ARGUMENTS, "strict": True}]


def client_with(key):
    return anthropic.Anthropic(base_url=URL, api_key=key, max_retries=0, timeout=120)


client = client_with(KEY)


@case("messages")
def messages():
    answer = client.messages.create(model=MODEL, max_tokens=12, system="Answer shortly.", messages=MESSAGES)
    assert answer.model == MODEL
    assert answer.role == "assistant"
    assert answer.usage.output_tokens > 0
    assert answer.stop_reason in {"max_tokens", "end_turn"}, answer.stop_reason


@case("messages stream")
def messages_stream():
    with client.messages.stream(model=MODEL, max_tokens=12, messages=MESSAGES) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert final.usage.output_tokens > 0
    assert final.content[0].text == text
    assert final.usage.input_tokens > 0


@case("beta")
def beta():
    # As coding agents ask: with a query, a cached block and the name of a user.
    answer = client.beta.messages.create(
        model=MODEL,
        max_tokens=4,
        system=[{"type": "text", "text": "Answer shortly.", "cache_control": {"type": "ephemeral"}}],
        messages=MESSAGES,
        metadata={"user_id": "somebody"},
        extra_body={"temperature": 1},
    )
    assert answer.usage.output_tokens > 0


@case("alias")
def alias():
    assert client.messages.create(model=ALIAS, max_tokens=2, messages=MESSAGES).model == ALIAS
    with client.messages.stream(model=ALIAS, max_tokens=2, messages=MESSAGES) as stream:
        assert stream.get_final_message().model == ALIAS


@case("count tokens")
def count_tokens():
    counted = client.messages.count_tokens(model=MODEL, messages=MESSAGES)
    answer = client.messages.create(model=MODEL, max_tokens=1, messages=MESSAGES)
    assert counted.input_tokens == answer.usage.input_tokens, (counted, answer.usage)


@case("models")
def models():
    assert client.get("/v1/models", cast_to=object)["data"][0]["id"] == MODEL
    assert [model.id for model in client.models.list()] == [MODEL, ALIAS]


@case("tool by name")
def tool_by_name():
    answer = client.messages.create(
        model=MODEL,
        max_tokens=200,
        messages=MESSAGES,
        tools=TOOLS,
        tool_choice={"type": "tool", "name": "count_legs"},
    )
    (use,) = [part for part in answer.content if part.type == "tool_use"]
    assert use.name == "count_legs"
    check_arguments(use.input)
    assert answer.stop_reason == "tool_use", answer.stop_reason


@case("tool required")
def tool_required():
    answer = client.messages.create(
        model=MODEL,
        max_tokens=200,
        messages=MESSAGES,
        tools=TOOLS,
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
    )
    (use,) = [part for part in answer.content if part.type == "tool_use"]
    check_arguments(use.input)
    further = [
        *MESSAGES,
        {"role": "assistant", "content": answer.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "4"}]},
    ]
    assert client.messages.create(model=MODEL, max_tokens=4, messages=further, tools=TOOLS).content


@case("tool required stream")
def tool_required_stream():
    with client.messages.stream(
        model=MODEL,
        max_tokens=200,
        messages=MESSAGES,
        tools=TOOLS,
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
    ) as stream:
        final = stream.get_final_message()
    (use,) = [part for part in final.content if part.type == "tool_use"]
    check_arguments(use.input)


@case("json schema")
def json_schema():
    answer = client.messages.create(
        model=MODEL,
        max_tokens=300,
        messages=MESSAGES,
        output_config={"format": {"type": "json_schema", "schema": ARGUMENTS}},
    )
    check_arguments(answer.content[0].text)


@case("wrong key")
def wrong_key():
    check_raised(
        lambda: client_with(WRONG_KEY).messages.create(model=MODEL, max_tokens=1, messages=MESSAGES),
        anthropic.AuthenticationError,
        "API key",
    )


@case("unknown model")
def unknown_model():
    check_raised(
        lambda: client.messages.create(model="claude-opus-4", max_tokens=1, messages=MESSAGES),
        anthropic.NotFoundError,
        "claude-opus-4",
        "not_found_error",
    )


@case("rate limit")
def rate_limit():
    limited = client_with(LIMITED_KEY)
    limited.messages.create(model=MODEL, max_tokens=1, messages=MESSAGES)
    for action in (
        lambda: limited.messages.create(model=MODEL, max_tokens=1, messages=MESSAGES),
        lambda: limited.messages.count_tokens(model=MODEL, messages=MESSAGES),
    ):
        error = check_raised(action, anthropic.RateLimitError)
        assert int(error.response.headers["retry-after"]) >= 1


@case("too long")
def too_long():
    check_raised(
        lambda: client.messages.create(model=MODEL, max_tokens=8, messages=[{"role": "user", "content": "a" * 4000}]),
        anthropic.BadRequestError,
        "1024",
        "invalid_request_error",
    )


@case("cancel")
def cancel():
    stream = client.messages.create(model=MODEL, max_tokens=LONG, messages=MESSAGES, stream=True)
    next(event for event in stream if event.type == "content_block_delta")
    stream.close()


run()
