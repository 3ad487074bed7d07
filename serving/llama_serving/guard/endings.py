"""How each dialect says that an answer was stopped, annotated, or could not be checked to its end. Pure; `middleware` uses it.

A stopped answer ends as clients of the dialect know it: `finish_reason` `content_filter`, `stop_reason` `refusal`, or `incomplete`
because of `content_filter`. vLLM writes the first by itself.
"""

import json
from typing import Any, Final

from llama_serving.contract.usage import Dialect
from llama_serving.door.refusals import Dialect as ErrorForm
from llama_serving.door.refusals import Refusal, body_of
from llama_serving.guard.answer import FILTERED
from llama_serving.guard.verdict import Judgement

_LAST: Final = {
    Dialect.CHAT: (b"data: [DONE]",),
    Dialect.COMPLETIONS: (b"data: [DONE]",),
    Dialect.MESSAGES: (b"event: message_stop",),
    Dialect.RESPONSES: (b"event: response.completed", b"event: response.incomplete", b"event: response.failed"),
}
"""How the last event of a stream begins: clients may read no further."""


def is_last(event: bytes, dialect: Dialect) -> bool:
    """Whether an event ends a stream."""
    return event.startswith(_LAST[dialect])


def told_stopped(event: bytes, dialect: Dialect) -> bytes:
    """Return an event of a stopped answer with the end that clients know.

    Args:
        event: An event of a stream, as vLLM wrote it.
        dialect: Its API.
    """
    if dialect is Dialect.MESSAGES and event.startswith(b"event: message_delta"):
        fields = _data(event)
        fields.setdefault("delta", {})["stop_reason"] = "refusal"
        return _event("message_delta", fields)
    if dialect is Dialect.RESPONSES and event.startswith(_LAST[Dialect.RESPONSES]):
        fields = _data(event)
        fields["type"] = "response.incomplete"
        _incomplete(fields.get("response", {}))
        return _event("response.incomplete", fields)
    return event


def body_stopped(body: bytes, dialect: Dialect) -> bytes:
    """Return a whole answer that was stopped with the end that clients know."""
    if dialect not in {Dialect.MESSAGES, Dialect.RESPONSES}:
        return body
    fields = json.loads(body)
    if dialect is Dialect.MESSAGES:
        fields["stop_reason"] = "refusal"
    else:
        _incomplete(fields)
    return _json(fields)


def annotation(judgement: Judgement, dialect: Dialect, before: bytes) -> bytes:
    """Return the event that tells at the end of a stream what the guard said of it.

    Args:
        judgement: What it said.
        dialect: The API of the stream.
        before: An event before it: names of the answer are taken from there.
    """
    said: dict[str, Any] = {"verdict": judgement.word}
    if judgement.categories:
        said["categories"] = list(judgement.categories)
    if judgement.why is not None:
        said["why"] = str(judgement.why)
    if dialect in {Dialect.MESSAGES, Dialect.RESPONSES}:
        return _event("guard", {"type": "guard", "guard": said})
    names = ("id", "object", "created", "model")
    chunk = {name: value for name, value in _data(before).items() if name in names}
    return b"data: " + _json({**chunk, "choices": [], "guard": said}) + b"\n\n"


def broken_off(refusal: Refusal, dialect: Dialect) -> bytes:
    """Return the events that end a stream which has begun, with an error."""
    if dialect is Dialect.MESSAGES:
        return b"event: error\ndata: " + body_of(refusal, ErrorForm.ANTHROPIC) + b"\n\n"
    if dialect is Dialect.RESPONSES:
        error = {"type": "error", "code": refusal.code, "message": refusal.message, "param": refusal.param}
        return _event("error", {**error, "sequence_number": 0})
    return b"data: " + body_of(refusal, ErrorForm.OPENAI) + b"\n\ndata: [DONE]\n\n"


def _incomplete(response: dict[str, Any]) -> None:
    response["status"] = "incomplete"
    response["incomplete_details"] = {"reason": FILTERED}


def _data(event: bytes) -> dict[str, Any]:
    """The fields of an event; none if they cannot be read."""
    _, _, data = event.partition(b"data: ")
    try:
        fields = json.loads(data)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _event(name: str, fields: dict[str, Any]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + _json(fields) + b"\n\n"


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
