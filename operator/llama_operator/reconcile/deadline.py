"""Ends a pass that takes too long, so that a read that hangs never holds a worker. Called by `reconcile.deployment`."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from llama_operator.errors import PassTooLongError

_INSIST_SECONDS: Final = 10.0
"""Between two cancellations: what a pass still does when it is ended may hang as well."""

_T = TypeVar("_T")


async def within(seconds: float, work: Coroutine[Any, Any, _T]) -> _T:
    """Wait for `work`, and end it after `seconds`. It never goes on after this returns.

    Args:
        seconds: How long it may take.
        work: What to do.

    Returns:
        What `work` returns; also if that was just when it was to end.

    Raises:
        PassTooLongError: It took longer and was ended.
        Exception: What `work` raises in time.
    """
    task = asyncio.ensure_future(work)
    late = False
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
        while not done:
            late = True
            task.cancel("the pass takes too long")
            done, _ = await asyncio.wait({task}, timeout=_INSIST_SECONDS)
    except asyncio.CancelledError:
        task.cancel("the pass was stopped")
        await asyncio.gather(task, return_exceptions=True)
        raise
    if late and (task.cancelled() or task.exception() is not None):
        raise PassTooLongError(seconds) from None
    return task.result()
