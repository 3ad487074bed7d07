"""Which requests are on their way from the door to the engine. The door tells of each; `engine.loop.first_come` lets them go first.

One event loop of a replica reads requests and hands out tokens. While sixteen streams get their tokens, a request that comes in
gets one turn in so many, and its first token waits for that.
"""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final


class Way:
    """That of one request.

    Args:
        ended: Called once, when it is over.
    """

    def __init__(self, ended: Callable[["Way"], None]) -> None:
        self._ended = ended
        self.is_over = False

    def end(self) -> None:
        """The request has come to the engine, or goes there no more."""
        if not self.is_over:
            self.is_over = True
            self._ended(self)


class Ways:
    """All requests that are on their way in this process."""

    def __init__(self) -> None:
        self._open: set[Way] = set()
        self._waits_for: set[Way] = set()
        self._passed: asyncio.Future[None] | None = None

    def begin(self) -> Way:
        """A request that has come in whole sets out."""
        way = Way(self._over)
        self._open.add(way)
        return way

    async def let_pass(self, most_seconds: float) -> None:
        """Wait for those that are on their way now, and not for those that come later. One caller at a time.

        Args:
            most_seconds: A request that needs longer waits for something itself. Nobody waits for it again.
        """
        if not self._open:
            return
        loop = asyncio.get_running_loop()
        self._waits_for, self._passed = set(self._open), loop.create_future()
        timer = loop.call_later(most_seconds, self._go_on)
        try:
            await self._passed
        finally:
            timer.cancel()
            self._open -= self._waits_for
            self._waits_for, self._passed = set(), None

    def _over(self, way: Way) -> None:
        self._open.discard(way)
        if way in self._waits_for:
            self._waits_for.discard(way)
            if not self._waits_for:
                self._go_on()

    def _go_on(self) -> None:
        if self._passed is not None and not self._passed.done():
            self._passed.set_result(None)


WAYS: Final = Ways()
"""Those of this process."""

MINE: Final[ContextVar[Way | None]] = ContextVar("llama_way", default=None)
"""That of the request that runs."""
