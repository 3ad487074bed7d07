"""Sends the parts of a stream that are there at once in one piece. `straight` calls it.

vLLM makes the first two parts of a stream at the same moment, and the last two too, and Starlette sends each of them, and the end, by
itself: five ways through the server's socket and HAProxy for two. A part never waits for one that is not made yet. The head waits
for the first part: before it nobody can tell anything by it, and of requests that begin together each head would go before the tokens of all.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any, Final

from llama_serving.door.asgi import Message, Send

MOST_BYTES: Final = 64 * 1024
"""Of one piece."""

Flush = Callable[[], Awaitable[None]]


async def send_parts(parts: AsyncIterator[Any], send: Send, *, head: Message, charset: str) -> None:
    """Send an answer to its end.

    Args:
        parts: Of its body, texts or bytes. If there is an error before the first, nothing is sent.
        send: Takes the messages.
        head: The first message.
        charset: Of the texts.
    """
    made: list[bytes] = []
    size, begun = 0, False

    async def put(*, more: bool) -> None:
        nonlocal size, begun
        piece, size = b"".join(made), 0
        made.clear()
        if not begun:
            begun = True
            await send(head)
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
    await put(more=False)


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
