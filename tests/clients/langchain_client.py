"""LangChain's client of OpenAI (langchain-openai), unmodified."""

import openai
from cases import (
    ALIAS,
    ARGUMENTS,
    KEY,
    LIMITED_KEY,
    LONG,
    MODEL,
    QUESTION,
    URL,
    WRONG_KEY,
    case,
    check_arguments,
    check_raised,
    run,
)
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings


def chat_with(key=KEY, **settings):
    values = {"model": MODEL, "max_tokens": 12} | settings
    return ChatOpenAI(base_url=f"{URL}/v1", api_key=key, max_retries=0, timeout=120, **values)


def count_legs(animal: str, legs: int) -> str:
    """Count legs."""
    return f"{animal} has {legs}"


COUNT_LEGS = tool(count_legs, args_schema=ARGUMENTS)


@case("chat")
def chat():
    answer = chat_with().invoke([("system", "Answer shortly."), ("user", QUESTION)])
    assert answer.usage_metadata["output_tokens"] > 0
    assert answer.response_metadata["model_name"] == MODEL


@case("chat stream")
def chat_stream():
    whole = None
    for chunk in chat_with(stream_usage=True).stream(QUESTION):
        whole = chunk if whole is None else whole + chunk
    assert whole.usage_metadata["output_tokens"] > 0


@case("alias")
def alias():
    assert chat_with(model=ALIAS).invoke(QUESTION).response_metadata["model_name"] == ALIAS


@case("completions")
def completions():
    model = OpenAI(base_url=f"{URL}/v1", api_key=KEY, model=MODEL, max_tokens=8, max_retries=0)
    assert isinstance(model.invoke("One llama"), str)
    assert "".join(model.stream("One llama")) is not None


@case("responses")
def responses():
    answer = chat_with(use_responses_api=True).invoke(QUESTION)
    assert answer.usage_metadata["output_tokens"] > 0


@case("responses stream")
def responses_stream():
    whole = None
    for chunk in chat_with(use_responses_api=True).stream(QUESTION):
        whole = chunk if whole is None else whole + chunk
    assert whole.usage_metadata["output_tokens"] > 0


def call_of(chosen, **settings):
    bound = chat_with(max_tokens=200).bind_tools([COUNT_LEGS], tool_choice=chosen, strict=True, **settings)
    answer = bound.invoke(QUESTION)
    (call,) = answer.tool_calls
    check_arguments(call["args"])
    return bound, answer, call


@case("tool by name")
def tool_by_name():
    _, _, call = call_of("count_legs")
    assert call["name"] == "count_legs"


@case("tool required")
def tool_required():
    bound, answer, call = call_of("any", parallel_tool_calls=False)
    result = ToolMessage(COUNT_LEGS.invoke(call["args"]), tool_call_id=call["id"])
    assert bound.invoke([HumanMessage(QUESTION), answer, result])


@case("tool required stream")
def tool_required_stream():
    bound = chat_with(max_tokens=200).bind_tools(
        [COUNT_LEGS], tool_choice="any", strict=True, parallel_tool_calls=False
    )
    whole = None
    for chunk in bound.stream(QUESTION):
        whole = chunk if whole is None else whole + chunk
    (call,) = whole.tool_calls
    check_arguments(call["args"])


@case("json schema")
def json_schema():
    schema = {"title": "animal", "description": "An animal.", **ARGUMENTS}
    for method in ("json_schema", "function_calling"):
        structured = chat_with(max_tokens=300).with_structured_output(schema, method=method, strict=True)
        check_arguments(structured.invoke(QUESTION))


@case("logprobs")
def logprobs():
    answer = chat_with(logprobs=True, top_logprobs=2).invoke(QUESTION)
    assert answer.response_metadata["logprobs"]["content"]


@case("wrong key")
def wrong_key():
    check_raised(lambda: chat_with(WRONG_KEY).invoke(QUESTION), openai.AuthenticationError, "API key")


@case("unknown model")
def unknown_model():
    check_raised(lambda: chat_with(model="gpt-4o").invoke(QUESTION), openai.NotFoundError, "gpt-4o")


@case("rate limit")
def rate_limit():
    limited = chat_with(LIMITED_KEY)
    limited.invoke(QUESTION)
    error = check_raised(lambda: limited.invoke(QUESTION), openai.RateLimitError)
    assert int(error.response.headers["retry-after"]) >= 1


@case("embeddings")
def embeddings():
    model = OpenAIEmbeddings(
        base_url=f"{URL}/v1", api_key=KEY, model=MODEL, max_retries=0, check_embedding_ctx_length=False
    )
    check_raised(lambda: model.embed_query("llama"), openai.NotFoundError, "makes no embeddings")


@case("cancel")
def cancel():
    stream = chat_with(max_tokens=LONG, extra_body={"ignore_eos": True}).stream(QUESTION)
    next(stream)
    stream.close()


run()
