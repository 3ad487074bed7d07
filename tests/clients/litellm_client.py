"""LiteLLM as a library, unmodified: its OpenAI, hosted vLLM and Anthropic providers."""

import litellm
from cases import (
    ALIAS,
    ARGUMENTS,
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

litellm.telemetry = False
OPENAI = {"api_base": f"{URL}/v1", "num_retries": 0, "max_retries": 0, "timeout": 120}


def ask(model=f"openai/{MODEL}", key=KEY, messages=MESSAGES, **fields):
    return litellm.completion(model=model, messages=messages, api_key=key, **{**OPENAI, "max_tokens": 12, **fields})


@case("chat")
def chat():
    for model in (f"openai/{MODEL}", f"hosted_vllm/{MODEL}"):
        assert ask(model).usage.completion_tokens > 0, model


@case("chat stream")
def chat_stream():
    chunks = list(ask(stream=True, stream_options={"include_usage": True}))
    assert litellm.stream_chunk_builder(chunks).usage.completion_tokens > 0


@case("alias")
def alias():
    assert ask(f"openai/{ALIAS}").model == ALIAS


@case("completions")
def completions():
    answer = litellm.text_completion(
        model=f"text-completion-openai/{MODEL}", prompt="One llama", api_key=KEY, max_tokens=5, **OPENAI
    )
    assert answer.usage.completion_tokens > 0


@case("responses")
def responses():
    answer = litellm.responses(
        model=f"openai/{MODEL}", input=QUESTION, max_output_tokens=8, api_key=KEY, api_base=f"{URL}/v1"
    )
    assert answer.usage.output_tokens > 0


@case("responses stream")
def responses_stream():
    events = litellm.responses(
        model=f"openai/{MODEL}", input=QUESTION, max_output_tokens=8, api_key=KEY, api_base=f"{URL}/v1", stream=True
    )
    kinds = {str(getattr(event.type, "value", event.type)) for event in events}
    assert {"response.output_text.delta", "response.completed"} & kinds, kinds


@case("messages")
def messages():
    answer = litellm.completion(
        model=f"anthropic/{MODEL}", messages=MESSAGES, api_base=URL, api_key=KEY, max_tokens=8, num_retries=0
    )
    assert answer.usage.completion_tokens > 0


@case("messages stream")
def messages_stream():
    chunks = list(
        litellm.completion(
            model=f"anthropic/{MODEL}",
            messages=MESSAGES,
            api_base=URL,
            api_key=KEY,
            max_tokens=8,
            num_retries=0,
            stream=True,
        )
    )
    assert litellm.stream_chunk_builder(chunks).usage.completion_tokens > 0


@case("tool by name")
def tool_by_name():
    chosen = {"type": "function", "function": {"name": "count_legs"}}
    (call,) = ask(tools=TOOLS, tool_choice=chosen, max_tokens=200).choices[0].message.tool_calls
    assert call.function.name == "count_legs"
    check_arguments(call.function.arguments)


@case("tool required")
def tool_required():
    answer = ask(tools=TOOLS, tool_choice="required", parallel_tool_calls=False, max_tokens=200)
    (call,) = answer.choices[0].message.tool_calls
    check_arguments(call.function.arguments)
    assert answer.choices[0].finish_reason == "tool_calls"


@case("tool required stream")
def tool_required_stream():
    chunks = list(ask(tools=TOOLS, tool_choice="required", parallel_tool_calls=False, max_tokens=200, stream=True))
    (call,) = litellm.stream_chunk_builder(chunks).choices[0].message.tool_calls
    check_arguments(call.function.arguments)


@case("json schema")
def json_schema():
    wanted = {"type": "json_schema", "json_schema": {"name": "animal", "schema": ARGUMENTS, "strict": True}}
    check_arguments(ask(response_format=wanted, max_tokens=300).choices[0].message.content)


@case("logprobs")
def logprobs():
    assert ask(logprobs=True, top_logprobs=2).choices[0].logprobs.content


@case("wrong key")
def wrong_key():
    check_raised(lambda: ask(key=WRONG_KEY), litellm.AuthenticationError, "API key")
    check_raised(
        lambda: litellm.completion(
            model=f"anthropic/{MODEL}", messages=MESSAGES, api_base=URL, api_key=WRONG_KEY, max_tokens=1, num_retries=0
        ),
        litellm.AuthenticationError,
        "API key",
    )


@case("unknown model")
def unknown_model():
    check_raised(lambda: ask("openai/gpt-4o"), litellm.NotFoundError, "gpt-4o")


@case("rate limit")
def rate_limit():
    ask(key=LIMITED_KEY, max_tokens=1)
    error = check_raised(lambda: ask(key=LIMITED_KEY, max_tokens=1), litellm.RateLimitError)
    # Where LiteLLM keeps the headers of the answer.
    assert int(error.response.headers.get("retry-after") or error.litellm_response_headers["retry-after"]) >= 1


@case("too long")
def too_long():
    check_raised(
        lambda: ask(messages=[{"role": "user", "content": "a" * 4000}]), litellm.ContextWindowExceededError, "1024"
    )


@case("embeddings")
def embeddings():
    check_raised(
        lambda: litellm.embedding(model=f"openai/{MODEL}", input=["llama"], api_key=KEY, **OPENAI),
        litellm.NotFoundError,
        "makes no embeddings",
    )


@case("cancel")
def cancel():
    stream = ask(max_tokens=LONG, stream=True, extra_body={"ignore_eos": True})
    next(stream)
    stream.completion_stream.close()


run()
