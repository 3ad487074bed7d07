"""A trace: who arrives when. Made by the other modules of `simulate.traces`, replayed by `simulate.run`."""

import math
import random
from dataclasses import dataclass, replace

from llama_operator.simulate.request import Arrival

_AFTER_LAST = 0.001
"""Seconds by which a trace is longer than its last arrival, where nothing else says how long it is."""


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a trace is taken.

    Attributes:
        start: Its first second.
        length: Its seconds.
        share: Share of the requests, drawn by chance.
    """

    start: float = 0.0
    length: float = math.inf
    share: float = 1.0

    @property
    def end(self) -> float:
        """Its last second."""
        return self.start + self.length


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in the order of their arrival."""

    name: str
    length: float
    """Seconds."""
    arrivals: tuple[Arrival, ...]

    @property
    def mean_prompt(self) -> float:
        """Tokens of a prompt, on average."""
        return sum(one.prompt_tokens for one in self.arrivals) / max(1, len(self.arrivals))

    @property
    def mean_output(self) -> float:
        """Tokens of an answer, on average."""
        return sum(one.output_tokens for one in self.arrivals) / max(1, len(self.arrivals))

    @property
    def rate(self) -> float:
        """Requests a second, on average."""
        return len(self.arrivals) / self.length if self.length else 0.0

    def times(self, copies: int) -> "Trace":
        """Return so many copies on top of each other, each some seconds later than the one before: the same shape, more load.

        What leaves at the end comes in at the beginning.
        """
        shifted = (
            replace(one, at=(one.at + copy * _APART_SECONDS) % self.length)
            for copy in range(copies)
            for one in self.arrivals
        )
        return Trace(self.name, self.length, tuple(sorted(shifted, key=_at)))

    def part(self, part: Part, seed: int) -> "Trace":
        """Return a part, whose times begin at 0; `seed` draws the share of it."""
        chance = random.Random(f"{seed}/{self.name}")
        arrivals = tuple(
            replace(one, at=one.at - part.start)
            for one in self.arrivals
            if part.start <= one.at < part.end and (part.share >= 1 or chance.random() < part.share)
        )
        return Trace(self.name, min(part.length, max(0.0, self.length - part.start)), arrivals)


def of_arrivals(name: str, arrivals: list[Arrival]) -> Trace:
    """Make a trace that is as long as its arrivals, which may come in any order."""
    ordered = tuple(sorted(arrivals, key=_order))
    return Trace(name, ordered[-1].at + _AFTER_LAST if ordered else 0.0, ordered)


_APART_SECONDS = 3.7
"""Between two copies: long enough that no request meets itself, short against a cold start."""


def _at(arrival: Arrival) -> float:
    return arrival.at


def _order(arrival: Arrival) -> tuple[float, int, int]:
    return arrival.at, arrival.prompt_tokens, arrival.output_tokens
