"""OpenAI's Python client, unmodified."""

import openai
from cases import (
    ALIAS,
    ARGUMENTS,
    FUNCTION,
    KEY,
    LIMITED_KEY,
    LONG,
    MESSAGES,
    MODEL,
    QUESTION,
    TOOLS,
    URL,
    WRONG_KEY,
    case,
    check_arguments,
    check_raised,
    run,
)


def client_with(key):
    return openai.OpenAI(base_url=f"{URL}/v1", api_key=key, max_retries=0, timeout=120)


client = client_with(KEY)
EARLIER_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "count_legs", "arguments": '{"animal": "llama", "legs": 4}'},
}


@case("models")
def models():
    listed = [model.id for model in client.models.list()]
    assert listed == [MODEL, ALIAS], listed
    assert client.models.retrieve(ALIAS).id == ALIAS


@case("chat")
def chat():
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES, max_completion_tokens=12, n=2)
    assert answer.model == MODEL
    assert len(answer.choices) == 2
    assert answer.usage.completion_tokens > 0


@case("roles and parts")
def roles_and_parts():
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "developer", "content": "Answer shortly."},
            {"role": "user", "content": [{"type": "text", "text": QUESTION}], "name": "somebody"},
            {"role": "assistant", "content": None, "tool_calls": [EARLIER_CALL]},
            {"role": "tool", "tool_call_id": EARLIER_CALL["id"], "content": [{"type": "text", "text": "4"}]},
        ],
        max_tokens=4,
        user="somebody",
        seed=7,
        stop=["\n\n"],
    )
    assert answer.usage.completion_tokens > 0


@case("chat stream")
def chat_stream():
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=MESSAGES, max_tokens=12, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage.completion_tokens > 0
    assert {chunk.model for chunk in chunks} == {MODEL}


@case("alias")
def alias():
    answer = client.chat.completions.create(model=ALIAS, messages=MESSAGES, max_tokens=4)
    assert answer.model == ALIAS, answer.model
    chunks = client.chat.completions.create(model=ALIAS, messages=MESSAGES, max_tokens=4, stream=True)
    assert {chunk.model for chunk in chunks} == {ALIAS}


@case("completions")
def completions():
    answer = client.completions.create(model=MODEL, prompt=["One llama", "Two"], max_tokens=5, logprobs=2)
    assert len(answer.choices) == 2
    assert answer.choices[0].logprobs.token_logprobs
    text = "".join(
        chunk.choices[0].text for chunk in client.completions.create(model=MODEL, prompt="a", max_tokens=5, stream=True)
    )
    assert text


@case("responses")
def responses():
    answer = client.responses.create(model=MODEL, input=QUESTION, max_output_tokens=8)
    assert answer.model == MODEL
    assert answer.usage.output_tokens > 0
    assert answer.output[0].content[0].text is not None


@case("responses stream")
def responses_stream():
    with client.responses.stream(model=MODEL, input=MESSAGES, max_output_tokens=8) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert "response.output_text.delta" in kinds, kinds
    assert final.usage.output_tokens > 0


@case("tool by name")
def tool_by_name():
    chosen = {"type": "function", "function": {"name": "count_legs"}}
    answer = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, tools=TOOLS, tool_choice=chosen, max_tokens=200
    )
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "count_legs"
    check_arguments(call.function.arguments)


@case("tool required")
def tool_required():
    answer = client.chat.completions.create(
        model=MODEL,
        messages=MESSAGES,
        tools=TOOLS,
        tool_choice="required",
        parallel_tool_calls=False,
        max_tokens=200,
    )
    (call,) = answer.choices[0].message.tool_calls
    check_arguments(call.function.arguments)
    assert answer.choices[0].finish_reason == "tool_calls", answer.choices[0].finish_reason
    # The conversation goes on with the result of the call.
    further = [
        *MESSAGES,
        answer.choices[0].message,
        {"role": "tool", "tool_call_id": call.id, "content": "4"},
    ]
    assert client.chat.completions.create(model=MODEL, messages=further, tools=TOOLS, max_tokens=4).choices


@case("tool required stream")
def tool_required_stream():
    with client.chat.completions.stream(
        model=MODEL, messages=MESSAGES, tools=TOOLS, tool_choice="required", parallel_tool_calls=False, max_tokens=200
    ) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls
    assert call.function.name == "count_legs"
    check_arguments(call.function.arguments)
    assert final.choices[0].finish_reason == "tool_calls", final.choices[0].finish_reason


@case("tool in responses")
def tool_in_responses():
    answer = client.responses.create(
        model=MODEL,
        input=QUESTION,
        tools=[{"type": "function", **FUNCTION}],
        tool_choice={"type": "function", "name": "count_legs"},
        max_output_tokens=200,
    )
    (call,) = [item for item in answer.output if item.type == "function_call"]
    check_arguments(call.arguments)


@case("json schema")
def json_schema():
    wanted = {"type": "json_schema", "json_schema": {"name": "animal", "schema": ARGUMENTS, "strict": True}}
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES, response_format=wanted, max_tokens=300)
    check_arguments(answer.choices[0].message.content)


@case("logprobs")
def logprobs():
    answer = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_tokens=4, logprobs=True, top_logprobs=3, extra_body={"ignore_eos": True}
    )
    entries = answer.choices[0].logprobs.content
    assert len(entries) == 4, len(entries)
    assert all(len(entry.top_logprobs) >= 3 for entry in entries)


@case("wrong key")
def wrong_key():
    check_raised(client_with(WRONG_KEY).models.list, openai.AuthenticationError, "API key")
    check_raised(
        lambda: client_with("sk-none").chat.completions.create(model=MODEL, messages=MESSAGES),
        openai.AuthenticationError,
        "API key",
    )


@case("unknown model")
def unknown_model():
    error = check_raised(
        lambda: client.chat.completions.create(model="gpt-4o", messages=MESSAGES), openai.NotFoundError, "gpt-4o"
    )
    assert error.code == "model_not_found", error.code


@case("rate limit")
def rate_limit():
    limited = client_with(LIMITED_KEY)
    limited.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=1)
    error = check_raised(
        lambda: limited.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=1), openai.RateLimitError
    )
    assert int(error.response.headers["retry-after"]) >= 1
    assert error.code == "rate_limit_exceeded", error.code
    stream = check_raised(
        lambda: limited.responses.create(model=MODEL, input=QUESTION, stream=True), openai.RateLimitError
    )
    assert int(stream.response.headers["retry-after"]) >= 1


@case("embeddings")
def embeddings():
    check_raised(
        lambda: client.embeddings.create(model=MODEL, input="llama"), openai.NotFoundError, "makes no embeddings"
    )


@case("stored responses")
def stored_responses():
    for fields in ({"store": True}, {"background": True}, {"previous_response_id": "resp_1"}):
        (name,) = fields
        check_raised(
            lambda fields=fields: client.responses.create(model=MODEL, input=QUESTION, **fields),
            openai.BadRequestError,
            name,
            "keeps no answers",
        )


@case("too long")
def too_long():
    error = check_raised(
        lambda: client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "a" * 4000}]),
        openai.BadRequestError,
        "1024",
    )
    assert (error.code, error.type) == ("context_length_exceeded", "invalid_request_error"), error


@case("cancel")
def cancel():
    for chunks in (
        client.chat.completions.create(
            model=MODEL, messages=MESSAGES, max_tokens=LONG, stream=True, extra_body={"ignore_eos": True}
        ),
        client.responses.create(
            model=MODEL, input=QUESTION, max_output_tokens=LONG, stream=True, extra_body={"ignore_eos": True}
        ),
    ):
        next(iter(chunks))
        chunks.close()


run()
