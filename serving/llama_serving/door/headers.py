"""Reads the headers of a request, and chooses those that are handed on. `door.application` calls it.

Serve and vLLM obey headers that belong to no client: they choose adapters, priorities, ranks, time limits and the id under
which a request is filed, and a new version may add more. So the list says what is handed on. The key is not: nothing behind
the door can log it. `Origin` is not either, so no layer behind answers browsers of other sites.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from llama_serving.door.asgi import Header
from llama_serving.door.refusals import Refusal

_TRACE_PARENT: Final = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_MEDIA: Final = rb"(?:\*/\*|[\w.+-]+/(?:\*|[\w.+-]+))(?: ?; ?[\w-]+=[\w.-]+)*"
_ACCEPT: Final = re.compile(_MEDIA + rb"(?: ?, ?" + _MEDIA + rb")*")
_PRINTABLE: Final = re.compile(rb"[ -~]+")
_MOST_HANDED_ON: Final = 1024
_DIGITS: Final = re.compile(rb"[0-9]{1,18}")
_CHARSETS: Final = {b"", b"charset=utf-8", b'charset="utf-8"', b"charset=utf8", b'charset="utf8"'}
"""With the name that UTF-8 has in some languages; nothing that is read depends on it."""
_PLAIN: Final = {b"", b"identity"}
"""Codings that change nothing."""
_JSON: Final = b"application/json"
_MOST_BYTES: Final = 32 * 1024
_MOST_HEADERS: Final = 128

REQUEST_ID: Final = b"x-request-id"

_STREAM: Final = b"text/event-stream"
_UNBUFFERED: Final = (b"x-accel-buffering", b"no")
"""What nginx, and others after it, obey: by itself it keeps a stream until it has a page of it, or all."""


@dataclass(frozen=True, slots=True)
class RequestHeaders:
    """The headers that mean something to the door, each with all its values."""

    values: dict[bytes, list[bytes]] = field(default_factory=dict)
    size: int = 0
    count: int = 0

    def all(self, name: bytes) -> list[bytes]:
        """Return all values of the header `name`, in lower case."""
        return self.values.get(name, [])

    @property
    def says_length(self) -> int | None:
        """Length of the body that the client announces, in bytes; None if it announces none."""
        lengths = self.all(b"content-length")
        return int(lengths[0]) if lengths and _DIGITS.fullmatch(lengths[0]) else None

    @property
    def has_body(self) -> bool:
        """Whether a body follows."""
        return bool(self.all(b"transfer-encoding")) or self.says_length not in {None, 0}

    @property
    def waits(self) -> bool:
        """Whether the client sends its body only when it is asked to."""
        return bool(self.all(b"expect"))


_READ: Final = frozenset(
    (
        b"accept",
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"expect",
        b"traceparent",
        b"tracestate",
        b"transfer-encoding",
        b"x-api-key",
    )
)


def read(headers: list[Header]) -> RequestHeaders:
    """Sort the headers of a request by name."""
    values: dict[bytes, list[bytes]] = {}
    size = 0
    for name, value in headers:
        size += len(name) + len(value)
        lower = name.lower()
        if lower in _READ:
            values.setdefault(lower, []).append(value.strip())
    return RequestHeaders(values, size, len(headers))


def fault_of(headers: RequestHeaders, *, with_body: bool) -> Refusal | None:
    """Say what is wrong with the headers, apart from the key.

    Args:
        headers: Of the request.
        with_body: Whether the request is one that has a body.
    """
    if headers.size > _MOST_BYTES or headers.count > _MOST_HEADERS:
        words = (
            f"The headers are too long: {_MOST_HEADERS} headers with {_MOST_BYTES} bytes together are read. Send fewer."
        )
        return Refusal(431, words, code="headers_too_large")
    if _unclear_length(headers):
        words = "The length of the body is not clear. Send one Content-Length, or Transfer-Encoding: chunked, not both."
        return Refusal(400, words, code="unclear_body_length")
    if not with_body:
        words = "This request has a body, and its method has none. Send it without a body."
        return Refusal(400, words, code="unexpected_body") if headers.has_body else None
    if any(coding.lower() not in _PLAIN for coding in headers.all(b"content-encoding")):
        words = "The body is compressed, which is not read here. Send it without Content-Encoding."
        return Refusal(415, words, code="unsupported_content_encoding")
    types = headers.all(b"content-type")
    if len(types) != 1 or not _is_json(types[0]):
        words = "The body must be JSON in UTF-8. Send it with one header Content-Type: application/json, and no other charset than utf-8."
        return Refusal(415, words, code="unsupported_media_type")
    return None


def handed_on(
    headers: RequestHeaders, *, request_id: str, body_length: int | None, parent: tuple[Header, ...] = ()
) -> list[Header]:
    """Return the headers that the next layer gets.

    Args:
        headers: Of the request.
        request_id: Id that the door gave the request.
        body_length: Bytes of the body, which the door has read; None for a request without one.
        parent: The door's own place in the trace of the request, which takes the place of the client's; empty if it has none.
    """
    on = [(REQUEST_ID, request_id.encode())]
    if body_length is not None:
        on += [(b"content-type", _JSON), (b"content-length", str(body_length).encode())]
    accept = b", ".join(headers.all(b"accept"))
    if len(accept) <= _MOST_HANDED_ON and _ACCEPT.fullmatch(accept):
        on.append((b"accept", accept))
    if parent:
        return [*on, *parent]
    above, state = trace_of(headers)
    if above is not None:
        on.append((b"traceparent", above))
    if state:
        on.append((b"tracestate", state))
    return on


def trace_of(headers: RequestHeaders) -> tuple[bytes | None, bytes]:
    """Return the trace to which the client says that its request belongs, as `traceparent` and `tracestate`.

    The first is None, and the second empty, where there is none or it is not well formed.
    """
    parents = headers.all(b"traceparent")
    if len(parents) != 1 or not _TRACE_PARENT.fullmatch(parents[0]):
        return None, b""
    state = b",".join(headers.all(b"tracestate"))
    is_clear = len(state) <= _MOST_HANDED_ON and _PRINTABLE.fullmatch(state)
    return parents[0], state if is_clear else b""


def answered(headers: list[Header], request_id: str) -> list[Header]:
    """Return the headers of an answer with what the door says of it, once: the id of the request, and that no proxy keeps a stream."""
    ours = [(REQUEST_ID, request_id.encode())]
    if any(name.lower() == b"content-type" and value.startswith(_STREAM) for name, value in headers):
        ours.append(_UNBUFFERED)
    names = {name for name, _ in ours}
    return [header for header in headers if header[0].lower() not in names] + ours


def _unclear_length(headers: RequestHeaders) -> bool:
    """Whether servers could read different lengths out of the headers: the next request would begin elsewhere for each."""
    lengths, codings = headers.all(b"content-length"), headers.all(b"transfer-encoding")
    if lengths and codings:
        return True
    if codings:
        return [coding.lower() for coding in codings] != [b"chunked"]
    return len(lengths) > 1 or any(not _DIGITS.fullmatch(length) for length in lengths)


def _is_json(value: bytes) -> bool:
    kind, _, parameters = value.lower().partition(b";")
    return kind.strip() == _JSON and parameters.strip() in _CHARSETS
