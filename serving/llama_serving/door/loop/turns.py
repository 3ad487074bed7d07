"""Lets the parts of streams that come from one step of the engine go out one right after the other. The door sends through it.

A step makes a part of each stream. Between the write of one part and the write of the next the loop makes the next part, which takes
a tenth of a millisecond. In that time HAProxy has read what there was and sleeps again, so each write has to wake it, and that is the
dearest thing that a part costs. So a part waits until every task that could run has run.
"""

import asyncio
from typing import Final


class Turns:
    """The turns of one event loop."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    async def end(self) -> None:
        """Wait until the tasks that can run now have run."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._over)
        # A future for each task: a task that is cancelled cancels the future that it waits for.
        mine: asyncio.Future[None] = loop.create_future()
        self._waiting.append(mine)
        await mine

    def _over(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)


TURNS: Final = Turns()
"""Those of the loop that serves HTTP. A process has one."""
