"""A server that takes one request after the other, each for a time that is known: what queueing theory has formulas for.

Stands in for `simulate.engine.Engine` in the checks against M/M/c and M/D/1: then only what lies around the engines is simulated.
"""

import math
from collections import deque
from collections.abc import Iterator

from llama_operator.simulate.engine import Reading
from llama_operator.simulate.request import End, Request


class FixedServer:
    """One server; the first token of a request is the moment at which its service begins."""

    __slots__ = ("_accepted", "_finished", "_queue", "due")

    def __init__(self) -> None:
        self._queue: deque[Request] = deque()
        self._accepted = self._finished = 0
        self.due = math.inf

    @property
    def in_flight(self) -> int:
        """Requests that it has taken and not ended."""
        return len(self._queue)

    @property
    def waiting(self) -> int:
        """Requests that wait in it."""
        return max(0, len(self._queue) - 1)

    def requests(self) -> Iterator[Request]:
        """Yield all requests in it."""
        yield from self._queue

    def accept(self, request: Request, now: float) -> None:
        """Take a request."""
        self._accepted += 1
        self._queue.append(request)
        if len(self._queue) == 1:
            self._begin(now)

    def advance(self) -> list[Request]:
        """End the request that is due, and begin the next one."""
        now, request = self.due, self._queue.popleft()
        request.finish(now, End.ANSWERED)
        self._finished += 1
        self.due = math.inf
        if self._queue:
            self._begin(now)
        return [request]

    def read(self, now: float) -> Reading:  # noqa: ARG002 - the interface of an engine
        """Say what it reports."""
        return Reading(self.waiting, min(1, len(self._queue)), 0.0, self._accepted, self._finished, 0, 0.0, 0)

    def _begin(self, now: float) -> None:
        request = self._queue[0]
        request.first_token = now
        self.due = now + request.arrival.service_seconds
