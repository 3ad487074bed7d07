"""Sends the parts of a stream that are there at once in one piece. `straight` calls it.

vLLM makes the first two parts of a stream at the same moment, and the last two too, and Starlette sends each of them, and the end, by
itself: five ways through the server's socket and HAProxy for two. A part never waits for one that is not made yet.

The head goes with the first part, or the heads of requests that begin together would go before the first tokens of all. It does not
wait long: some clients give up when they see no head, however long they would wait for tokens.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any, Final

from llama_serving.door.asgi import Message, Send

MOST_BYTES: Final = 64 * 1024
"""Of one piece."""

HEAD_SECONDS: Final = 0.2
"""The longest that a head waits for the first part."""

Flush = Callable[[], Awaitable[None]]


async def send_parts(parts: AsyncIterator[Any], send: Send, *, head: Message, charset: str) -> None:
    """Send an answer to its end.

    Args:
        parts: Of its body, texts or bytes. If there is an error before the first, and soon, nothing is sent.
        send: Takes the messages.
        head: The first message.
        charset: Of the texts.
    """
    beginning = _Head(head, send)
    made: list[bytes] = []
    size = 0

    async def put(*, more: bool) -> None:
        nonlocal size
        piece, size = b"".join(made), 0
        made.clear()
        await beginning.sent()
        await send({"type": "http.response.body", "body": piece, "more_body": more})

    async def flush() -> None:
        if made:
            await put(more=True)

    try:
        while True:
            part = await _Next(parts, flush)
            made.append(part.encode(charset) if isinstance(part, str) else bytes(part))
            size += len(made[-1])
            if size >= MOST_BYTES:
                await flush()
    except StopAsyncIteration:
        pass
    except Exception:
        # What was made before the error belongs to the client.
        await flush()
        raise
    finally:
        beginning.waits_no_more()
    await put(more=False)


class _Head:
    """The head of an answer, which is sent once: when it is asked for, or by itself after `HEAD_SECONDS`."""

    def __init__(self, message: Message, send: Send) -> None:
        self._message = message
        self._send = send
        self._sending: asyncio.Future[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._alone)

    async def sent(self) -> None:
        """Send it, or wait until it is sent."""
        if self._sending is None:
            self.waits_no_more()
            self._sending = asyncio.get_running_loop().create_future()
            self._sending.set_result(None)
            await self._send(self._message)
        elif not self._sending.done() or self._sending.exception() is not None:
            await self._sending

    def waits_no_more(self) -> None:
        """It is not sent by itself any more."""
        self._timer.cancel()

    def _alone(self) -> None:
        if self._sending is None:
            self._sending = asyncio.ensure_future(self._send(self._message))
            # Who sends the first part is told that the client has gone. If no part comes, nobody is.
            self._sending.add_done_callback(lambda sending: sending.cancelled() or sending.exception())


class _Next:
    """Awaits the next of `parts`, and calls `flush` if it is not there at once."""

    def __init__(self, parts: AsyncIterator[Any], flush: Flush) -> None:
        self._parts = parts
        self._flush = flush

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._parts.__anext__().__await__()
        failed: Exception | None = None
        try:
            waits_for = steps.send(None)
            try:
                yield from self._flush().__await__()
            except BaseException as error:  # noqa: BLE001 - the parts have to hear of it where they wait, and end
                failed = error if isinstance(error, Exception) else None
                waits_for = steps.throw(error if failed is None else asyncio.CancelledError())
            while True:
                try:
                    got = yield waits_for
                except GeneratorExit:
                    steps.close()
                    raise
                except BaseException as error:  # noqa: BLE001 - handed on: a cancellation belongs to who waits
                    waits_for = steps.throw(error)
                else:
                    waits_for = steps.send(got)
        except StopIteration as end:
            if failed is not None:
                raise failed from None
            return end.value
        except asyncio.CancelledError:
            if failed is not None:
                raise failed from None
            raise
