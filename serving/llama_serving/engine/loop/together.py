"""Sends the parts of a stream that are there at once in one piece. `straight` calls it.

vLLM makes the first two parts of a stream at the same moment, and the last two too, and Starlette sends each of them, and the end, by
itself: five ways through the server's socket and HAProxy for two. A part never waits for one that is not made yet.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any, Final

from llama_serving.door.asgi import Send

MOST_BYTES: Final = 64 * 1024
"""Of one piece."""

Flush = Callable[[], Awaitable[None]]


async def send_parts(parts: AsyncIterator[Any], send: Send, *, charset: str) -> None:
    """Send `parts` as the body of an answer whose head is sent, to its end.

    Args:
        parts: Texts or bytes.
        send: Takes the messages.
        charset: Of the texts.
    """
    made: list[bytes] = []
    size = 0

    async def flush() -> None:
        nonlocal size
        if made:
            piece, size = b"".join(made), 0
            made.clear()
            await send({"type": "http.response.body", "body": piece, "more_body": True})

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
    await send({"type": "http.response.body", "body": b"".join(made), "more_body": False})


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
