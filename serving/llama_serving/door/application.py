"""The door: pure ASGI, in front of every HTTP server of Ray Serve. `door.installed` puts it there.

It answers in this order: is there such a path, is it asked with the right method, who asks, are the headers clear, is the body
short enough. Only what passes all of it reaches Serve, in one normal form: the path as it is listed, no query, the few headers
that are handed on, the body in one piece. Who asks stands in the scope, see `door.caller`.

It knows nothing of models and limits: that is the desk's.
"""

from collections.abc import Callable
from typing import Final

from llama_serving.contract.door import Access, DoorSettings
from llama_serving.door import body, headers, refusals
from llama_serving.door.asgi import ASGIApp, Message, Receive, Scope, Send
from llama_serving.door.body import NoBody, Room
from llama_serving.door.caller import AT_OWN_DOOR, NOBODY, Caller, marked
from llama_serving.door.credentials import NoKey, key_in
from llama_serving.door.headers import RequestHeaders
from llama_serving.door.keys import Keys
from llama_serving.door.loop.turns import TURNS
from llama_serving.door.loop.ways import MINE, WAYS
from llama_serving.door.plain_errors import PlainError, plain_error
from llama_serving.door.refusals import Refusal
from llama_serving.door.refused_keys import RefusedKeys
from llama_serving.door.routes import NOT_FOUND, Asked, asked, at_the_board, with_path
from llama_serving.door.traced import begin
from llama_serving.tracing.names import CANCELLED
from llama_serving.tracing.request import RequestTrace, Traces

BODY_SECONDS: Final = 120.0
"""Time for a whole body."""

ROOM_BYTES: Final = 256 * 1024**2
"""Memory for all bodies that are being read in one process; at least two of the longest fit."""

_SMALL: Final = 64 * 1024
_SMALL_SECONDS: Final = 1.0
_LINGER: Final = 64 * 1024**2
_LINGER_SECONDS: Final = 2.0

_NO_KEYS: Final = Refusal(
    503,
    "The endpoint cannot read its API keys at the moment. Try again in a minute; if it goes on, tell the team that runs it.",
    code="keys_unavailable",
    headers=((b"retry-after", b"60"),),
)
_SLOW: Final = Refusal(
    408,
    f"The body did not arrive within {BODY_SECONDS:.0f} seconds. Send the request again.",
    code="request_timeout",
)
_NO_ROOM: Final = Refusal(
    429,
    "Too many long requests arrive at the same time. Send the request again in some seconds.",
    code="server_overloaded",
    type="requests",
    headers=((b"retry-after", b"5"),),
)


class Door:
    """Judges each request, and hands it on if it may come in.

    Args:
        app: What stands behind.
        settings: What is enforced.
        keys: The valid keys; needed if the settings ask for keys.
        to_board: Whether the next layer chooses an application by the path, and shall choose the board for what it answers.
        new_id: Makes ids of requests.
        refused_keys: Where refused keys are told.
        traces: Begins the trace of a request; None where traces are off.
        body_seconds: Time for a whole body.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: DoorSettings,
        keys: Keys | None,
        to_board: bool,
        new_id: Callable[[], str],
        refused_keys: RefusedKeys,
        traces: Traces | None = None,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        if settings.access is Access.KEYS and keys is None:
            raise ValueError("a door that asks for keys needs keys")
        self._app = app
        self._settings = settings
        self._keys = keys if settings.access is Access.KEYS else None
        self._to_board = to_board
        self._new_id = new_id
        self._refused_keys = refused_keys
        self._traces = traces
        self._body_seconds = body_seconds
        self._room = Room(max(ROOM_BYTES, 2 * settings.max_body_bytes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        if scope["type"] == "http":
            request_id, sent = self._new_id(), headers.read(scope["headers"])
            # A request has a task of its own, and its context ends with it.
            AT_OWN_DOOR.set(True)
            with begin(self._traces, scope, sent, request_id) as trace:
                await self._request(
                    scope, sent, receive, _answering(send, request_id, trace, scope["path"]), request_id, trace
                )
        elif scope["type"] == "websocket":
            await refuse_websocket(scope, receive, send)
        else:
            # Start and end of the server itself.
            await self._app(scope, receive, send)

    async def _request(
        self, scope: Scope, sent: RequestHeaders, receive: Receive, send: Send, request_id: str, trace: RequestTrace
    ) -> None:
        judged = self._judge(scope, sent, request_id)
        if isinstance(judged, Refusal):
            trace.is_refused(judged.code)
            await refuse(judged, scope, sent, receive, send)
            return
        what, caller = judged
        trace.comes_from(caller.tenant)
        content: bytes | NoBody = b""
        if scope["method"] == "POST":
            most = self._settings.max_body_bytes
            content = await body.read(receive, most=most, seconds=self._body_seconds, room=self._room)
        if content is NoBody.CLIENT_GONE:
            trace.is_refused(CANCELLED)
            return
        if isinstance(content, NoBody):
            refusal = {NoBody.TOO_SLOW: _SLOW, NoBody.NO_ROOM: _NO_ROOM}.get(content) or self._too_long()
            trace.is_refused(refusal.code)
            await refuse(refusal, scope, sent, receive, send)
            return
        length = len(content) if scope["method"] == "POST" else None
        inner = with_path(marked(scope, caller, request_id), at_the_board(what) if self._to_board else what.path)
        inner["headers"] = headers.handed_on(sent, request_id=request_id, body_length=length, parent=trace.headers)
        again = body.replayed(content, receive)
        # A long body is not kept here for as long as its answer takes.
        del content
        way = WAYS.begin()
        MINE.set(way)
        try:
            await self._app(inner, again, send)
        finally:
            way.end()

    def _judge(self, scope: Scope, sent: RequestHeaders, request_id: str) -> tuple[Asked, Caller] | Refusal:
        """Say what is asked for by whom, from all that comes before the body."""
        what = asked(scope)
        if isinstance(what, Refusal):
            return what
        caller = NOBODY if what.route.public else self._caller(sent, request_id)
        if isinstance(caller, Refusal):
            return caller
        # Words about what a model does not do come after the key: nothing is said of a model to strangers.
        refusal = what.route.refusal or headers.fault_of(sent, with_body=scope["method"] == "POST")
        if refusal is None and (sent.says_length or 0) > self._settings.max_body_bytes:
            refusal = self._too_long()
        return (what, caller) if refusal is None else refusal

    def _caller(self, sent: RequestHeaders, request_id: str) -> Caller | Refusal:
        if self._keys is None:
            return NOBODY
        if not self._keys.are_known:
            return _NO_KEYS
        key = key_in(sent.all(b"authorization"), sent.all(b"x-api-key"))
        found = key if isinstance(key, NoKey) else self._keys.caller_with(key)
        if isinstance(found, NoKey):
            self._refused_keys.tell(found, None if isinstance(key, NoKey) else key.id, request_id)
            return refusals.BAD_KEY
        return found

    def _too_long(self) -> Refusal:
        words = f"The body is longer than {self._settings.max_body_bytes} bytes, which is the most here. Send a shorter request."
        return Refusal(413, words, code="request_too_large")


class Closed:
    """A door that lets nobody in, health checks included: its settings cannot be read, so nobody knows what to enforce.

    Args:
        app: What stands behind.
    """

    _REFUSAL: Final = Refusal(
        503,
        "The endpoint cannot read its own settings, so it answers nothing. Tell the team that runs it: the log says what is wrong.",
        code="settings_unreadable",
    )

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse."""
        if scope["type"] == "http":
            await refuse(self._REFUSAL, scope, headers.read(scope["headers"]), receive, send)
        elif scope["type"] == "websocket":
            await refuse_websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def refuse(refusal: Refusal, scope: Scope, sent: RequestHeaders, receive: Receive, send: Send) -> None:
    """Answer with `refusal`, also if the client still sends its body.

    A short body is read first, so that the connection can be used again. Otherwise the answer goes out before the body has
    come, the connection is closed, and for a moment the rest is read and dropped: a client that still sends gets the answer.
    """
    content = refusals.body_of(refusal, refusals.dialect_of(scope["path"]))
    answer = refusals.headers_of(refusal, content)
    length = sent.says_length
    short = not sent.has_body or (length is not None and length <= _SMALL and not sent.waits)
    if short and (not sent.has_body or await body.drop(receive, most=_SMALL, seconds=_SMALL_SECONDS)):
        await send({"type": "http.response.start", "status": refusal.status, "headers": answer})
        await send({"type": "http.response.body", "body": content})
        return
    answer.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": answer})
    await send({"type": "http.response.body", "body": content, "more_body": True})
    if not sent.waits:
        await body.drop(receive, most=_LINGER, seconds=_LINGER_SECONDS)
    await send({"type": "http.response.body", "body": b""})


async def refuse_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a WebSocket before it opens; none of the routes is one."""
    await receive()
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    content = refusals.body_of(NOT_FOUND, refusals.dialect_of(scope["path"]))
    answer = refusals.headers_of(NOT_FOUND, content)
    await send({"type": "websocket.http.response.start", "status": NOT_FOUND.status, "headers": answer})
    await send({"type": "websocket.http.response.body", "body": content})


def _answering(send: Send, request_id: str, trace: RequestTrace, path: str) -> Send:
    plain: PlainError | None = None

    async def answering(message: Message) -> None:
        nonlocal plain
        if message["type"] == "http.response.start":
            trace.is_answered(message["status"])
            plain = plain_error(message, path)
            if plain is not None:
                return
            message = _from_the_door(message, request_id)
        elif plain is not None:
            if plain.takes(message):
                return
            start, message = plain.answer()
            await send(_from_the_door(start, request_id))
        elif message.get("more_body"):
            await TURNS.end()
        await send(message)

    return answering


def _from_the_door(start: Message, request_id: str) -> Message:
    return {**start, "headers": headers.answered(list(start.get("headers", ())), request_id)}
