"""Pure ASGI in front of vLLM's application: reads a request once, refuses what may not pass, and hands on what was admitted.

The door has judged before it: path, key, size. The desk (`desk`) decides about limits; here is what the protocol needs.
"""

import asyncio
import uuid
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any, Final

from llama_serving.contract.usage import DIALECTS, Dialect
from llama_serving.desk.desk import Desk, Visit
from llama_serving.desk.meter import CURRENT
from llama_serving.desk.reading import RefusedError, read_json, write_json
from llama_serving.desk.refusing import standing_headers
from llama_serving.desk.wish import Wish, refuse_coming, refuse_conversation, refuse_model, wish_of
from llama_serving.door import engine_errors
from llama_serving.door.asgi import ASGIApp, Header, Message, Receive, Scope, Send
from llama_serving.door.body import replayed
from llama_serving.door.caller import Caller, caller_of, request_id_of
from llama_serving.door.credentials import NoKey
from llama_serving.door.refusals import BAD_KEY, Refusal, body_of, dialect_of, send_refusal
from llama_serving.door.refused_keys import RefusedKeys
from llama_serving.door.routes import NOT_FOUND
from llama_serving.tracing import request as tracing
from llama_serving.tracing.names import OPERATIONS

_LONG_BODY: Final = 128 * 1024
"""A longer body is read in a thread: its tokens of other requests would have to wait for a millisecond and more."""

ASKED_NAME: Final[ContextVar[str | None]] = ContextVar("llama_asked_name", default=None)
"""Name under which the request that is served now asked for its model, an alias for example; None outside a request. Answers have it."""

_FIRST_ERROR: Final = 400

_HAS_PRIORITY: Final = frozenset({Dialect.CHAT, Dialect.COMPLETIONS, Dialect.RESPONSES})


class DeskMiddleware:
    """The desk, in the path of requests.

    Args:
        app: vLLM's application.
        desk: Decides.
        traces: Goes on with the trace of a request whose door is in another process; None where traces are off.
    """

    def __init__(self, app: ASGIApp, *, desk: Desk, traces: tracing.Traces | None = None) -> None:
        self._app = app
        self._desk = desk
        self._traces = traces
        self._refused_keys = RefusedKeys()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        dialect = DIALECTS.get(path)
        if dialect is None:
            # Whatever else the engine's application answers has no limits, and the door lets none of it in.
            await send_refusal(NOT_FOUND, path, send)
            return
        if self._traces is None or tracing.CURRENT.get() is not tracing.UNTRACED:
            await self._ask(dialect, path, scope, receive, send)
            return
        # Serve's proxy has the door while no replica runs, and calls the first one that starts.
        with self._traces.go_on(scope["headers"], operation=OPERATIONS[dialect]):
            await self._ask(dialect, path, scope, receive, send)

    async def _ask(self, dialect: Dialect, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        if body is None:
            return
        caller = caller_of(scope)
        if self._desk.is_revoked(caller):
            self._desk.rejected(caller.tenant, BAD_KEY.code)
            self._refused_keys.tell(NoKey.REVOKED, caller.key_id, request_id_of(scope) or "")
            await send_refusal(BAD_KEY, path, send)
            return
        try:
            request, wish = await self._read(body, dialect, caller)
            visit = await self._desk.admit(caller, wish, request_id=request_id_of(scope) or uuid.uuid4().hex)
        except RefusedError as error:
            self._desk.rejected(caller.tenant, error.refusal.code)
            visit = error.refusal
        if isinstance(visit, Refusal):
            tracing.CURRENT.get().is_refused(visit.code)
            await send_refusal(visit, path, send)
            return
        await self._serve(visit, request, scope, receive, send)

    async def _read(self, body: bytes, dialect: Dialect, caller: Caller) -> tuple[bytes, Wish]:
        """Return the body as the engine shall get it, and what it asks for."""
        if len(body) > _LONG_BODY:
            return await asyncio.to_thread(self._judged, body, dialect, caller)
        return self._judged(body, dialect, caller)

    def _judged(self, body: bytes, dialect: Dialect, caller: Caller) -> tuple[bytes, Wish]:
        model = self._desk.model
        request = read_json(body)
        wish = wish_of(
            request,
            dialect,
            body_bytes=len(body),
            most_choices=model.most_choices,
            media_domains=model.media_domains,
        )
        name = model.name if wish.model is None else wish.model
        stands_for = self._desk.model_for(caller, name)
        if stands_for is None:
            raise (
                refuse_coming(name) if caller.may_ask_for(name) and name in model.coming() else refuse_model(wish.model)
            )
        if dialect is not Dialect.COMPLETIONS and not model.takes_conversations:
            raise refuse_conversation()
        tracing.CURRENT.get().asks(name, request, max_tokens=wish.output_tokens)
        self._sign(request, dialect, caller, stands_for)
        return write_json(request), wish

    def _sign(self, request: dict[str, Any], dialect: Dialect, caller: Caller, model: str) -> None:
        """Write what the deployment says itself into the request."""
        request["model"] = model
        if dialect is Dialect.COUNT_TOKENS:
            return
        request["cache_salt"] = self._desk.salt_of(caller.tenant)
        request.pop("priority", None)
        if self._desk.model.orders_by_priority and dialect in _HAS_PRIORITY:
            request["priority"] = self._desk.limits_of(caller.tenant).priority

    async def _serve(self, visit: Visit, request: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        errors = InDialect(scope, send)

        async def answering(message: Message) -> None:
            if message["type"] == "http.response.start":
                visit.status = message["status"]
                added = standing_headers(self._desk.standing_of(visit.caller.tenant))
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await errors.send(message)

        token, name = CURRENT.set(visit.tally), ASKED_NAME.set(visit.model)
        try:
            await self._app(_inner(scope, len(request)), replayed(request, receive), answering)
        finally:
            CURRENT.reset(token)
            ASKED_NAME.reset(name)
            await self._desk.leave(visit)


class InDialect:
    """Passes an answer on, and an error of the engine in the form that clients of the dialect know.

    Args:
        scope: The request.
        send: Takes the answer.
    """

    def __init__(self, scope: Scope, send: Send) -> None:
        self._path = scope["path"].removeprefix(scope.get("root_path", ""))
        self._send = send
        self._start: Message | None = None
        """Head of an error that is held back until its body is known."""
        self._body = b""

    async def send(self, message: Message) -> None:
        """Take the next part of the answer."""
        if message["type"] == "http.response.start" and message["status"] >= _FIRST_ERROR:
            self._start = message
            return
        if self._start is None:
            await self._send(message)
            return
        self._body += message.get("body", b"")
        more = message.get("more_body", False)
        if more and len(self._body) <= engine_errors.LONGEST:
            return
        start, self._start = self._start, None
        refusal = None if more else engine_errors.refusal_of(start["status"], self._body)
        body = self._body if refusal is None else body_of(refusal, dialect_of(self._path))
        if not more:
            start = {**start, "headers": _of_length(start.get("headers", ()), len(body))}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


async def _body(receive: Receive) -> bytes | None:
    """Return the body, which the door has bounded; None if the client has left."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _inner(scope: Scope, length: int) -> Scope:
    """The scope that vLLM gets: with a body of `length` bytes, and below the span of Serve if there is one."""
    own = tracing.headers_of_now()
    replaced = {name for name, _ in own}
    headers = [(name, value) for name, value in scope["headers"] if name not in replaced]
    return {**scope, "headers": _of_length([*headers, *own], length)}


def _of_length(headers: Iterable[Header], length: int) -> list[Header]:
    others = [(name, value) for name, value in headers if name not in {b"content-length", b"transfer-encoding"}]
    return [*others, (b"content-length", str(length).encode())]
