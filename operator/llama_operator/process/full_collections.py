"""Keeps Python's full garbage collections out of reconciles. Run by `process`.

A full collection looks at every object of the cache while nothing else runs: 0.1 s for 300 deployments, and allocations start
one every few seconds under load. Nearly everything here is freed by its reference count, and young cycles by the cheap
collections of the young; so full ones can wait until nobody waits for them.
"""

import asyncio
import gc
from collections.abc import Callable
from typing import Final

_LOOK_SECONDS: Final = 1.0
_IDLE_SECONDS: Final = 60.0
"""Between two full collections while there are idle moments."""
_LONGEST_SECONDS: Final = 900.0
"""Without one, a collection comes anyway."""
_NEVER: Final = 1_000_000
"""Collections of the middle generation before a full one; more than a process lives to see."""


async def collect_when_idle(busy: Callable[[], bool], clock: Callable[[], float]) -> None:
    """Take full collections over from the interpreter until cancelled.

    Args:
        busy: Whether somebody would wait for a collection.
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
