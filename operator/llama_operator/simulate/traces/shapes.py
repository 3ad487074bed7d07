"""Traces that are drawn: a shape of the rate over time, Poisson arrivals, lengths of a public trace. Called by `simulate.traces.named`.

Arrivals of a rate that changes are drawn by thinning (Lewis and Shedler, 1979): those of the highest rate, each of which is kept with the share
that the rate has of it then.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from llama_operator.simulate.request import Arrival
from llama_operator.simulate.traces.lengths import CONVERSATION, Lengths
from llama_operator.simulate.traces.trace import Trace


@dataclass(frozen=True, slots=True)
class Shape:
    """How the rate moves between `low` and `high` requests a second.

    Attributes:
        level: From the second, and the shape itself, to a share: 0 is `low`, 1 is `high`.
        low: Requests a second.
        high: Requests a second.
        period: Seconds after which the shape repeats, where it does.
        at: Second of the first rise, where there is one.
        length: Seconds.
    """

    level: Callable[["Shape", float], float]
    low: float
    high: float
    period: float = 1200.0
    at: float = 600.0
    length: float = 3600.0

    def rate(self, second: float) -> float:
        """Requests a second at `second`."""
        return self.low + (self.high - self.low) * self.level(self, second)


def _steady(_shape: Shape, _second: float) -> float:
    return 1.0


def _step(shape: Shape, second: float) -> float:
    return 1.0 if second >= shape.at else 0.0


def _wave(shape: Shape, second: float) -> float:
    return (1 - math.cos(2 * math.pi * second / shape.period)) / 2


def _on_off(shape: Shape, second: float) -> float:
    """On for half of the period, off for the other half."""
    return 1.0 if second % shape.period >= shape.period / 2 else 0.0


_SPIKE_SHARE = 0.1


def _spikes(shape: Shape, second: float) -> float:
    """A tenth of the period, at its end."""
    return 1.0 if second % shape.period >= shape.period * (1 - _SPIKE_SHARE) else 0.0


def _ramp(shape: Shape, second: float) -> float:
    """Up until half of the time, and down again."""
    half = shape.length / 2
    return 1 - abs(second - half) / half


def _burst(shape: Shape, second: float) -> float:
    """Nothing, then all at once, then nothing."""
    return 1.0 if shape.at <= second < shape.at + shape.period else 0.0


SHAPES = {
    "steady": Shape(_steady, low=0.0, high=20.0),
    "step": Shape(_step, low=6.0, high=60.0),
    "wave": Shape(_wave, low=12.0, high=44.0),
    "spikes": Shape(_spikes, low=10.0, high=60.0, period=600.0),
    "on-off": Shape(_on_off, low=4.0, high=40.0),
    "slow-ramp": Shape(_ramp, low=6.0, high=48.0, length=7200.0),
    "from-zero": Shape(_burst, low=0.0, high=20.0, at=120.0, period=2400.0),
}
"""Shapes by name, with what they are if nothing else is said."""


def draw(name: str, shape: Shape, seed: int, lengths: Lengths = CONVERSATION) -> Trace:
    """Draw a trace of `shape`; the same seed draws the same."""
    chance = random.Random(f"{seed}/{name}")
    highest, second = max(shape.low, shape.high), 0.0
    arrivals = []
    while highest > 0:
        second += chance.expovariate(highest)
        if second >= shape.length:
            break
        if chance.random() * highest < shape.rate(second):
            arrivals.append(Arrival(second, *lengths.draw(chance)))
    return Trace(name, shape.length, tuple(arrivals))
