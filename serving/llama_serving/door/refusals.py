"""How a request is refused: one form for each dialect that clients speak. The door, the desk and the board use it.

Clients read the message and the status; their libraries raise another error for each status. The words say what to do
next, because they reach people who have never heard of the operator.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from llama_serving.door.asgi import Headers, Send

MESSAGES_PATH: Final = "/v1/messages"


class Dialect(StrEnum):
    """Whose error form a client understands."""

    OPENAI = "OpenAI"
    ANTHROPIC = "Anthropic"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not served.

    Attributes:
        status: Status of HTTP.
        message: What is wrong, and what to do next.
        code: Word for programs, in OpenAI's form.
        type: Kind of error in OpenAI's form; empty if it follows from the status, as Anthropic's always does.
        param: Field of the request that is wrong.
        headers: More headers of the answer, names in lower case.
    """

    status: int
    message: str
    code: str
    type: str = ""
    param: str | None = None
    headers: Headers = ()


BAD_KEY: Final = Refusal(
    401,
    "The API key is missing or not valid. Send a valid key as 'Authorization: Bearer KEY' or 'x-api-key: KEY'. "
    "The team that runs this endpoint makes keys with 'kubectl llama key create'.",
    code="invalid_api_key",
    headers=((b"www-authenticate", b"Bearer"),),
)
"""Of a key that is missing, unknown, mistyped, expired or revoked: clients are not told which."""

_ANTHROPIC_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_FIRST_SERVER_ERROR: Final = 500


def dialect_of(path: str) -> Dialect:
    """Return the dialect of the clients that ask for `path`."""
    below = path == MESSAGES_PATH or path.startswith(f"{MESSAGES_PATH}/")
    return Dialect.ANTHROPIC if below else Dialect.OPENAI


def body_of(refusal: Refusal, dialect: Dialect) -> bytes:
    """Return the JSON that tells a client of `dialect` about `refusal`."""
    fault_of_server = refusal.status >= _FIRST_SERVER_ERROR
    if dialect is Dialect.ANTHROPIC:
        kind = _ANTHROPIC_TYPES.get(refusal.status, "api_error" if fault_of_server else "invalid_request_error")
        return _json({"type": "error", "error": {"type": kind, "message": refusal.message}})
    kind = refusal.type or ("server_error" if fault_of_server else "invalid_request_error")
    fields = {"message": refusal.message, "type": kind, "param": refusal.param, "code": refusal.code}
    return _json({"error": fields})


def headers_of(refusal: Refusal, body: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers of the answer."""
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    return own + list(refusal.headers)


async def send_refusal(refusal: Refusal, path: str, send: Send) -> None:
    """Answer a request for `path` with `refusal`. Nothing may have been sent before."""
    body = body_of(refusal, dialect_of(path))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers_of(refusal, body)})
    await send({"type": "http.response.body", "body": body})


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()
