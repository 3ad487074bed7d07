"""How requests reach replicas, on the two paths of a deployment. Called by `simulate.run`.

`Ingress`: Ray Serve's router. A replica accepts so many requests at once, the rest waits in the router in the order of arrival, from where
a new replica can take it; of two replicas drawn by chance the one with fewer requests gets the next (power of two choices,
`ray/serve/_private/request_router/pow_2_router.py`). `Direct`: HAProxy sends to the replica with the fewest connections, and what waits does so
in the engines; an engine refuses beyond its limit. Without a replica both hold requests back.
"""

import random
from collections import deque
from dataclasses import dataclass
from typing import Literal

from llama_operator.simulate.replica import Replica
from llama_operator.simulate.request import End, Request

Path = Literal["Direct", "Ingress"]
_ALL_EQUAL = 2


@dataclass(frozen=True, slots=True)
class PathLimits:
    """What a path lets through.

    Attributes:
        path: How requests reach replicas.
        max_ongoing: Requests that a replica accepts at once.
        max_queued: Requests that may wait in the router, or on `Direct` in one engine, before the next one is refused.
    """

    path: Path = "Direct"
    max_ongoing: int = 100_000
    max_queued: int = 10_000


class Router:
    """The router of one run."""

    def __init__(self, limits: PathLimits, seed: int) -> None:
        self._limits = limits
        self._chance = random.Random(f"{seed}/router")
        self.queue: deque[Request] = deque()
        self.ready: list[Replica] = []
        """Replicas that take requests; kept by `simulate.run`."""

    def arrive(self, request: Request, now: float) -> Replica | None:
        """Take a request from a client.

        Returns:
            The replica that got it; None if it waits or was refused.
        """
        if not self.queue and (replica := self._choose()) is not None:
            if self._limits.path == "Direct" and replica.engine.waiting >= self._limits.max_queued:
                request.finish(now, End.REFUSED)
                return None
            replica.engine.accept(request, now)
            return replica
        if len(self.queue) >= self._limits.max_queued:
            request.finish(now, End.REFUSED)
        else:
            self.queue.append(request)
        return None

    def hand_on(self, now: float) -> list[Replica]:
        """Hand on what waits here, as far as replicas take it; returns the replicas that got some."""
        took: list[Replica] = []
        while self.queue and (replica := self._choose()) is not None:
            replica.engine.accept(self.queue.popleft(), now)
            took.append(replica)
        return took

    def _choose(self) -> Replica | None:
        if not self.ready:
            return None
        if self._limits.path == "Direct":
            return min(self.ready, key=_in_flight)
        if len(self.ready) > _ALL_EQUAL:
            best = min(self._chance.sample(self.ready, _ALL_EQUAL), key=_in_flight)
        else:
            best = min(self.ready, key=_in_flight)
        if best.engine.in_flight < self._limits.max_ongoing:
            return best
        # Both are full: Serve draws again until it meets one that is not.
        others = [replica for replica in self.ready if replica.engine.in_flight < self._limits.max_ongoing]
        return self._chance.choice(others) if others else None


def _in_flight(replica: Replica) -> int:
    return replica.engine.in_flight
