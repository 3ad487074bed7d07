"""Tells in the form of the client's dialect what Ray Serve says in plain text. `door.application` asks it for each answer.

Serve answers by itself what it cannot hand on: a queue that is full, a replica that does not start, a request that takes too long. Its words are for
whoever runs it, and have neither the form that clients read nor, by themselves, a time after which to try again.
"""

from http import HTTPStatus
from typing import Final

from llama_serving.door.asgi import Header, Message
from llama_serving.door.refusals import Refusal, body_of, dialect_of, headers_of

_OF_CLIENTS: Final = "/v1/"
"""Below it are the paths whose clients read errors in a form."""

_LONGEST: Final = 500
"""Letters of Serve's words that are told."""

_AGAIN_SECONDS: Final = 5
_OURS: Final = frozenset((b"content-type", b"content-length"))
_SAYS_NOTHING: Final = "Internal Server Error"

_WORDS: Final[dict[int, str]] = {
    HTTPStatus.REQUEST_TIMEOUT: "The request took longer than this endpoint gives one.",
    HTTPStatus.TOO_MANY_REQUESTS: f"The endpoint has no place for the request at the moment. Try again in {_AGAIN_SECONDS} s.",
    HTTPStatus.SERVICE_UNAVAILABLE: f"The endpoint cannot take the request at the moment. Try again in {_AGAIN_SECONDS} s.",
}


class PlainError:
    """An error in plain text, while it comes.

    Args:
        status: Its status.
        others: Its headers, without those of the body.
        path: What was asked for.
    """

    def __init__(self, status: int, others: tuple[Header, ...], path: str) -> None:
        self._status = status
        self._others = others
        self._path = path
        self._body = b""

    def takes(self, part: Message) -> bool:
        """Take the next part of the body; return whether more comes."""
        self._body = (self._body + part.get("body", b""))[: 4 * _LONGEST]
        return bool(part.get("more_body", False))

    def answer(self) -> tuple[Message, Message]:
        """Return the answer in its place."""
        refusal = self._refusal()
        content = body_of(refusal, dialect_of(self._path))
        start = {"type": "http.response.start", "status": refusal.status, "headers": headers_of(refusal, content)}
        return start, {"type": "http.response.body", "body": content}

    def _refusal(self) -> Refusal:
        said = " ".join(self._body.decode(errors="replace").split())[:_LONGEST]
        words = _WORDS.get(self._status, "The endpoint could not answer the request.")
        again = self._status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
        says_when = any(name.lower() == b"retry-after" for name, _ in self._others)
        return Refusal(
            self._status,
            words if said in {"", _SAYS_NOTHING} else f"{words} Ray Serve says: {said}",
            code=_code(self._status),
            headers=(*self._others, *(((b"retry-after", b"%d" % _AGAIN_SECONDS),) if again and not says_when else ())),
        )


def plain_error(start: Message, path: str) -> PlainError | None:
    """Return the error that begins with `start`; None if it is none, or has a form already."""
    if start["status"] < HTTPStatus.BAD_REQUEST or not path.startswith(_OF_CLIENTS):
        return None
    sent = [(bytes(name), bytes(value)) for name, value in start.get("headers", ())]
    kinds = [value for name, value in sent if name.lower() == b"content-type"]
    if not all(kind.lower().startswith(b"text/plain") for kind in kinds):
        return None
    return PlainError(start["status"], tuple(one for one in sent if one[0].lower() not in _OURS), path)


def _code(status: int) -> str:
    try:
        return HTTPStatus(status).name.lower()
    except ValueError:
        return "error"
