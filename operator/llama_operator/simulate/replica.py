"""A simulated replica: a start, an engine, a drain, and the GPU time of all of it. Made and moved by `simulate.run`."""

import math
from collections import deque
from collections.abc import Iterator
from enum import Enum
from typing import Protocol

from llama_operator.simulate.engine import Reading
from llama_operator.simulate.request import Request


class Stage(Enum):
    """Where a replica is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    GONE = "gone"


class Server(Protocol):
    """What computes the requests of a replica."""

    due: float
    """When something ends in it; infinite while it has nothing to do."""

    @property
    def in_flight(self) -> int:
        """Requests that it has taken and not ended."""
        ...

    @property
    def waiting(self) -> int:
        """Requests that wait in it."""
        ...

    def requests(self) -> Iterator[Request]:
        """Yield all requests in it."""
        ...

    def accept(self, request: Request, now: float) -> None:
        """Take a request."""
        ...

    def advance(self) -> list[Request]:
        """End what is due, and go on; returns the requests that are answered."""
        ...

    def read(self, now: float) -> Reading:
        """Say what it reports at `now`."""
        ...


class Replica:
    """One replica; it holds its GPUs from the moment at which it was asked for until it is gone."""

    __slots__ = (
        "asked_at",
        "connections",
        "engine",
        "gone_at",
        "name",
        "ready_at",
        "samples",
        "stage",
        "stop_by",
        "watched",
    )

    def __init__(self, name: str, engine: Server, *, asked_at: float, ready_at: float, samples: int) -> None:
        self.name, self.engine = name, engine
        self.asked_at, self.ready_at, self.gone_at = asked_at, ready_at, math.inf
        self.stage = Stage.STARTING
        self.connections = 0
        """Requests in it that HAProxy knows of; kept by `simulate.router`."""
        self.stop_by = math.inf
        """When a drain ends, answered or not."""
        self.watched = math.inf
        """The end of a block of its engine for which the event loop has an entry."""
        self.samples: deque[tuple[float, Reading]] = deque(maxlen=samples)
