"""One simulated request, from its arrival to its one end. Made by `simulate.run`, moved by the router and the engines."""

import math
from dataclasses import dataclass
from enum import Enum


class End(Enum):
    """How a request ended; every request ends exactly once."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """503 of the router or 429 of an engine: too many wait already."""
    TOO_LONG = "too long"
    """400: prompt and answer are longer than the context, or the KV cache."""
    CUT = "cut"
    """Its replica was stopped before it had answered."""
    PENDING = "pending"
    """Still on its way when the simulation stopped."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request of a trace."""

    at: float
    """Seconds since the trace began."""
    prompt_tokens: int
    output_tokens: int
    service_seconds: float = 0.0
    """How long a server of a fixed service time takes; 0 for engines, which have a model of steps."""


class Request:
    """A request on its way; times are seconds since the trace began."""

    __slots__ = ("arrival", "computed", "context", "end", "ended", "first_token", "joined", "left", "worker")

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.first_token = math.inf
        self.ended = math.inf
        self.end: End | None = None
        self.context = arrival.prompt_tokens
        """Tokens that have to be computed before the next one is generated: the prompt; after preemption also the answer so far."""
        self.computed = 0
        """Tokens of `context` that are computed."""
        self.left = arrival.output_tokens
        """Tokens of the answer that are still to be generated when it joins the running ones."""
        self.joined = 0
        """Step of its engine in which `context` was complete."""
        self.worker = 0
        """Which process of HAProxy has sent it; kept by `simulate.router`."""

    def finish(self, now: float, end: End) -> None:
        """End the request.

        Raises:
            AssertionError: If it has ended before.
        """
        if self.end is not None:
            raise AssertionError(f"a request ended twice: {self.end} and {end}")
        self.end, self.ended = end, now
