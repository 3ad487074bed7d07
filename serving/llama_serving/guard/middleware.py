"""Pure ASGI between the desk and vLLM's application: has each request checked, and holds its answer until that is done.

The guard reads the request while the engine does: the first byte waits for both. Answers are held in `screening`, where the engine
makes them; here is what HTTP and the dialects need.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

from llama_serving.contract.guard import GUARD_HEADER
from llama_serving.contract.usage import DIALECTS, Dialect
from llama_serving.door.asgi import ASGIApp, Message, Receive, Scope, Send
from llama_serving.door.body import replayed
from llama_serving.door.caller import caller_of, request_id_of
from llama_serving.door.refusals import send_refusal
from llama_serving.guard import endings
from llama_serving.guard.asked import Asked, asked_of
from llama_serving.guard.judge import Judge
from llama_serving.guard.screening import CURRENT, Screening, unreadable
from llama_serving.guard.verdict import Judgement

_LONG_BODY: Final = 128 * 1024
"""A longer body is read in a thread, as the desk does."""
_FIRST_ERROR: Final = 400


class GuardMiddleware:
    """The guard, in the path of requests.

    Args:
        app: vLLM's application.
        judge: The guard.
        decode: Makes text of tokens.
        salt_of: Returns the salt of a tenant.
    """

    def __init__(
        self, app: ASGIApp, *, judge: Judge, decode: Callable[[list[int]], str], salt_of: Callable[[str], str]
    ) -> None:
        self._app = app
        self._judge = judge
        self._decode = decode
        self._salt_of = salt_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have a request checked that asks for an answer; hand on any other."""
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        dialect = DIALECTS.get(path) if scope["type"] == "http" and scope["method"] == "POST" else None
        if dialect is None or dialect is Dialect.COUNT_TOKENS:
            # A count of tokens is a number: no text leaves.
            await self._app(scope, receive, send)
            return
        body = await _body(receive)
        if body is None:
            return
        request, asked = await self._read(body, dialect)
        screening = Screening(
            self._judge, asked, salt=self._salt_of(caller_of(scope).tenant), request_id=request_id_of(scope) or ""
        )
        if screening.blocks and asked.unread is not None:
            screening.refusal = unreadable(asked.unread)
            await screening.close()
            await send_refusal(screening.refusal, path, send)
            return
        answer = _Answering(send, screening, dialect, path, stream=request.get("stream") is True)
        await self._answer(screening, answer, self._app(scope, replayed(body, receive), answer))

    async def _read(self, body: bytes, dialect: Dialect) -> tuple[dict[str, Any], Asked]:
        def read() -> tuple[dict[str, Any], Asked]:
            # The desk has written it: it is an object.
            request = json.loads(body)
            return request, asked_of(request, dialect, self._decode)

        return await asyncio.to_thread(read) if len(body) > _LONG_BODY else read()

    async def _answer(self, screening: Screening, answer: "_Answering", answering: Any) -> None:
        token = CURRENT.set(screening)
        app = asyncio.ensure_future(answering)
        try:
            if screening.blocks:
                await asyncio.wait({app, screening.input}, return_when=asyncio.FIRST_COMPLETED)
                if not screening.input.done() and answer.is_error:
                    # Nothing was made: the engine has refused the request.
                    screening.input.cancel()
                else:
                    await screening.input
            if screening.refusal is None:
                await answer.open()
                await _ended(app, screening)
            if screening.refusal is not None:
                app.cancel()
                await asyncio.gather(app, return_exceptions=True)
                await answer.refuse()
        finally:
            CURRENT.reset(token)
            if not app.done():
                app.cancel()
                await asyncio.gather(app, return_exceptions=True)
            await screening.close()


async def _ended(app: "asyncio.Future[None]", screening: Screening) -> None:
    """Wait for the application. What it raises because a check has ended it is told by the refusal."""
    try:
        await app
    except Exception:
        if screening.refusal is None:
            raise


class _Answering:
    """`send` of one request.

    Args:
        send: Where answers go.
        screening: The request's.
        dialect: Its API.
        path: Its path.
        stream: Whether the answer comes in parts.
    """

    def __init__(self, send: Send, screening: Screening, dialect: Dialect, path: str, *, stream: bool) -> None:
        self._send = send
        self._screening = screening
        self._dialect = dialect
        self._path = path
        self._stream = stream
        self._lock = asyncio.Lock()
        self._open = not screening.blocks
        self._held: list[Message] = []
        self._start: Message | None = None
        self._began = False
        self._ended = False
        self._before = b""

    @property
    def is_error(self) -> bool:
        """Whether what is held is an error of the application."""
        return bool(self._held) and self._held[0].get("status", 200) >= _FIRST_ERROR

    async def __call__(self, message: Message) -> None:
        """Take a message of the application."""
        async with self._lock:
            if self._ended:
                return
            if self._screening.refusal is not None:
                await self._refuse()
            elif self._open:
                await self._pass(message)
            else:
                self._held.append(message)

    async def open(self) -> None:
        """Let pass what is held, and what comes."""
        async with self._lock:
            self._open = True
            for message in self._held:
                await self._pass(message)
            self._held = []

    async def refuse(self) -> None:
        """Tell the refusal of the screening, in place of what is still to come."""
        async with self._lock:
            if not self._ended:
                await self._refuse()

    async def _refuse(self) -> None:
        refusal = self._screening.refusal
        self._ended = True
        if refusal is None:
            return
        if not self._began:
            await send_refusal(refusal, self._path, self._send)
            return
        body = endings.broken_off(refusal, self._dialect) if self._stream else b""
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def _pass(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            # It waits for the first byte: until then a refusal can still have its own status.
            self._start = message
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if self._stream:
            body = await self._event(body)
            if not body and more:
                return
            await self._begin(None)
        else:
            body = await self._whole(body)
            await self._begin(len(body) if not more and not self._began else None)
        await self._send({**message, "body": body})

    async def _begin(self, length: int | None) -> None:
        if self._start is None:
            return
        start, self._start, self._began = self._start, None, True
        headers = list(start.get("headers", ()))
        if length is not None:
            headers = [(name, value) for name, value in headers if name.lower() != b"content-length"]
            headers.append((b"content-length", str(length).encode()))
        known = self._screening.blocks or (self._screening.annotates and not self._stream)
        if known and start["status"] < _FIRST_ERROR:
            headers.append((GUARD_HEADER.encode(), self._screening.judgement.text.encode()))
        await self._send({**start, "headers": headers})

    async def _event(self, event: bytes) -> bytes:
        """An event of a stream, with what the guard has to say."""
        if self._screening.stopped:
            event = endings.told_stopped(event, self._dialect)
        if endings.is_last(event, self._dialect):
            judgement = self._screening.judgement if self._screening.blocks else await self._screening.final()
            if self._tells(judgement):
                event = endings.annotation(judgement, self._dialect, self._before) + event
        elif event:
            self._before = event
        return event

    def _tells(self, judgement: Judgement) -> bool:
        """Whether the end of a stream tells what the guard said: in mode `Annotate`, or where something passed unchecked."""
        if self._screening.blocks:
            return judgement.safe is None
        return self._screening.annotates

    async def _whole(self, body: bytes) -> bytes:
        if self._screening.annotates:
            await self._screening.final()
        if self._screening.stopped and body:
            return endings.body_stopped(body, self._dialect)
        return body


async def _body(receive: Receive) -> bytes | None:
    """Return the body, which the desk hands on whole; None if the client has left."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)
