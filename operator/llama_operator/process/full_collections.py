"""Keeps Python's full garbage collections out of reconciles. Run by `process.operator`.

A full collection looks at every object of the cache while nothing else runs: 0.1 s for 300 deployments, and under load
allocations start one every few seconds. Reference counts free nearly everything here, and the cheap collections of young
objects free young cycles. So a full one can wait until no pass waits.
"""

import asyncio
import gc
from collections.abc import Callable
from typing import Final

_LOOK_SECONDS: Final = 1.0
_IDLE_SECONDS: Final = 60.0
"""Between two full collections while there are idle moments."""
_LONGEST_SECONDS: Final = 900.0
"""Between two full collections if there is no idle moment."""
_NEVER: Final = 1_000_000
"""Collections of the middle generation before a full one: more than any process reaches."""


async def collect_when_idle(busy: Callable[[], bool], clock: Callable[[], float]) -> None:
    """Take full collections over from the interpreter until cancelled.

    Args:
        busy: Whether a pass would wait for a collection.
        clock: Monotonic seconds.
    """
    young, middle, old = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)
    last = clock()
    try:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            waited = clock() - last
            if waited >= (_LONGEST_SECONDS if busy() else _IDLE_SECONDS) and gc.get_count()[2] >= old:
                gc.collect()
                last = clock()
    finally:
        gc.set_threshold(young, middle, old)
