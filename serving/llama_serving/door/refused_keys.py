"""Tells the log which keys were refused, and why: clients are not told. `door.application` calls it.

A key's id is no secret, its other parts never get here. Strangers can send as many wrong keys as they like, so the lines are
limited; how many were left out is said with the next one.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from llama_serving.door.credentials import NoKey

_LOGGER = logging.getLogger("ray.serve")
_LINES: Final = 20
_SECONDS: Final = 60.0


class RefusedKeys:
    """Writes at most 20 lines a minute.

    Args:
        clock: Seconds that only go on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._lines = 0
        self._left_out = 0

    def tell(self, reason: NoKey, key_id: str | None, request_id: str) -> None:
        """Say that a request was refused.

        Args:
            reason: Why.
            key_id: Id of the key, if it has the form of one.
            request_id: Id that the answer has.
        """
        if self._clock() - self._began >= _SECONDS:
            self._began, self._lines = self._clock(), 0
        if self._lines >= _LINES:
            self._left_out += 1
            return
        self._lines += 1
        _LOGGER.warning("Refused request %s: %s (key %s)%s", request_id, reason, key_id or "unknown", self._others())

    def _others(self) -> str:
        left_out, self._left_out = self._left_out, 0
        return f"; {left_out} more were refused since the line before" if left_out else ""
