"""What the engine's HTTP application takes and answers: the fields of its models that can hold text. `real_frontend` asks for it.

Its models change with its versions.
"""

import types
import typing
from collections.abc import Iterator
from typing import Any

import pydantic
from vllm.entrypoints.anthropic import protocol as messages
from vllm.entrypoints.openai.chat_completion import protocol as chat
from vllm.entrypoints.openai.completion import protocol as completions
from vllm.entrypoints.openai.responses import protocol as responses

REQUESTS = {
    "chat": chat.ChatCompletionRequest,
    "completions": completions.CompletionRequest,
    "messages": messages.AnthropicMessagesRequest,
    "responses": responses.ResponsesRequest,
}
ANSWERS = {
    "chat": (chat.ChatCompletionResponse, chat.ChatCompletionStreamResponse),
    "completions": (completions.CompletionResponse, completions.CompletionStreamResponse),
    "messages": (messages.AnthropicMessagesResponse, messages.AnthropicStreamEvent),
    "responses": (responses.ResponsesResponse, responses.StreamingResponsesResponse),
}
_SCALARS = (int, float, bool, type(None))


def holds_text(annotation: Any) -> bool:
    """Whether a value of this type can hold a text of anybody's choice."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return holds_text(typing.get_args(annotation)[0])
    if origin is typing.Literal or annotation in _SCALARS:
        return False
    if origin in {typing.Union, types.UnionType, list, tuple}:
        return any(holds_text(inner) for inner in typing.get_args(annotation) if inner is not Ellipsis)
    return True


def models_of(annotation: Any) -> Iterator[type[pydantic.BaseModel]]:
    """All models in a type."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from models_of(inner)
    inner = getattr(annotation, "__value__", None)
    if inner is not None:
        yield from models_of(inner)


def texts_of(model: type[pydantic.BaseModel], seen: set[type]) -> Iterator[str]:
    """`Model.field` of each text in a model and in those below it."""
    if model in seen:
        return
    seen.add(model)
    for name, field in model.model_fields.items():
        below = list(models_of(field.annotation))
        for inner in below:
            yield from texts_of(inner, seen)
        if plain_text(field.annotation):
            yield f"{model.__name__}.{name}"


def plain_text(annotation: Any) -> bool:
    """Whether a value can hold text itself, and not only in a model below."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return False
    origin = typing.get_origin(annotation)
    if origin in {typing.Annotated, typing.Union, types.UnionType, list, tuple} or hasattr(annotation, "__value__"):
        inners = typing.get_args(annotation) or (annotation.__value__,)
        inners = inners[:1] if origin is typing.Annotated else inners
        return any(plain_text(inner) for inner in inners if inner is not Ellipsis)
    return holds_text(annotation)


def texts() -> dict[str, dict[str, list[str]]]:
    """The fields of requests and of answers that can hold text, by dialect."""
    return {
        "requests": {
            dialect: sorted(
                field.alias or name for name, field in model.model_fields.items() if holds_text(field.annotation)
            )
            for dialect, model in REQUESTS.items()
        },
        "answers": {
            dialect: sorted({text for root in roots for model in models_of(root) for text in texts_of(model, set())})
            for dialect, roots in ANSWERS.items()
        },
    }
