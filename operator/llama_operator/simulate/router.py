"""How requests reach replicas, on the two paths of a deployment. Called by `simulate.run`.

`Ingress`: Ray Serve's router. A replica accepts so many requests at once, the rest waits in the router in the order of arrival, from where
a new replica can take it; of two replicas drawn by chance the one with fewer requests gets the next (power of two choices,
`ray/serve/_private/request_router/pow_2_router.py`). `Direct`: HAProxy sends to the replica with the fewest connections, and what waits does so
in the engines; an engine refuses beyond its limit. Serve reloads HAProxy whenever a replica comes or goes: a new worker takes over, whose counts begin
at 0, and what is on its way ends in the old one (`HAProxyApi._graceful_reload` of `ray/serve/_private/haproxy.py`). Without a replica both hold requests back.
"""

import random
from collections import deque
from collections.abc import Iterable
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
        """Replicas that take requests, in the order in which they came."""
        self._worker = 0
        """HAProxy's process: a reload starts the next one."""

    def add(self, replica: Replica) -> None:
        """Send requests to a replica from now on."""
        self.ready.append(replica)
        self._reload()

    def remove_newest(self) -> Replica:
        """Send no more requests to the replica that came last, and return it."""
        replica = self.ready.pop()
        self._reload()
        return replica

    def ended(self, replica: Replica, requests: Iterable[Request]) -> None:
        """Take note of requests that a replica has answered: connections of an old worker are not counted."""
        replica.connections -= sum(request.worker == self._worker for request in requests)

    def arrive(self, request: Request, now: float) -> Replica | None:
        """Take a request from a client.

        Returns:
            The replica that got it; None if it waits or was refused.
        """
        if not self.queue and (replica := self._choose()) is not None:
            if self._limits.path == "Direct" and replica.engine.waiting >= self._limits.max_queued:
                request.finish(now, End.REFUSED)
                return None
            self._send(request, replica, now)
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
            self._send(self.queue.popleft(), replica, now)
            took.append(replica)
        return took

    def _send(self, request: Request, replica: Replica, now: float) -> None:
        replica.engine.accept(request, now)
        if request.end is None:
            request.worker = self._worker
            replica.connections += 1

    def _reload(self) -> None:
        self._worker += 1
        for replica in self.ready:
            replica.connections = 0

    def _choose(self) -> Replica | None:
        if not self.ready:
            return None
        if self._limits.path == "Direct":
            return min(self.ready, key=_connections)
        if len(self.ready) > _ALL_EQUAL:
            best = min(self._chance.sample(self.ready, _ALL_EQUAL), key=_in_flight)
        else:
            best = min(self.ready, key=_in_flight)
        if best.engine.in_flight < self._limits.max_ongoing:
            return best
        # Both are full: Serve draws again until it meets one that is not.
        others = [replica for replica in self.ready if replica.engine.in_flight < self._limits.max_ongoing]
        return self._chance.choice(others) if others else None


def _connections(replica: Replica) -> int:
    return replica.connections


def _in_flight(replica: Replica) -> int:
    return replica.engine.in_flight
