"""A trace: who arrives when. Made by the other modules of `simulate.traces`, replayed by `simulate.run`."""

from dataclasses import dataclass, replace

from llama_operator.simulate.request import Arrival


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


_APART_SECONDS = 3.7
"""Between two copies: long enough that no request meets itself, short against a cold start."""


def _at(arrival: Arrival) -> float:
    return arrival.at
