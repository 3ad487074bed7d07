"""Draws the requests of ServeGen's clients, whose files have a rate and a distribution for each window. Called by `simulate.traces.files`."""

import csv
import math
import random
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TextIO

from llama_operator.simulate.request import Arrival
from llama_operator.simulate.traces.lengths import Lengths
from llama_operator.simulate.traces.trace import Part, Trace

_COLUMNS = 6
"""Second, rate, variation, distribution, and its shape and scale."""
_WINDOW_SECONDS = 600.0
_DISTRIBUTIONS = ("Gamma", "Weibull")


def is_client(first: str) -> bool:
    """Whether a first line is that of a client: numbers, and no header."""
    return first.count(",") == _COLUMNS - 1 and first.partition(",")[0].strip().replace(".", "", 1).isdigit()


def draw(
    paths: Iterable[Path],
    opened: Callable[[Path], AbstractContextManager[TextIO]],
    name: str,
    seed: int,
    part: Part,
    lengths: Lengths,
) -> Trace:
    """Draw the arrivals of clients, which add up.

    Args:
        paths: A file for each client.
        opened: Opens one.
        name: Name of the trace.
        seed: What they are drawn from.
        part: What is taken of them.
        lengths: Lengths of requests.

    Raises:
        ValueError: If a line cannot be read; says which.
    """
    arrivals: list[Arrival] = []
    last = 0.0
    for path in paths:
        # Each client has chance of its own, so that one more client changes none of the others.
        chance = random.Random(f"{seed}/{path.stem}")
        with opened(path) as file:
            for number, row in enumerate(csv.reader(file), start=1):
                try:
                    begin = float(row[0])
                    last = max(last, begin + _WINDOW_SECONDS)
                    if part.start - _WINDOW_SECONDS < begin < part.end:
                        arrivals += _window(begin, row, chance, part, lengths)
                except (ValueError, IndexError) as error:
                    raise ValueError(f"line {number} of {path.name}: {error}") from error
    return Trace(name, min(part.length, max(0.0, last - part.start)), tuple(sorted(arrivals, key=lambda one: one.at)))


def _window(begin: float, row: list[str], chance: random.Random, part: Part, lengths: Lengths) -> list[Arrival]:
    """Draw the arrivals of one window: times between them are of the distribution that the row names."""
    rate = float(row[1])
    if not math.isfinite(rate):
        raise ValueError(f"a rate of {row[1]}")
    if rate <= 0 or not row[4]:
        return []
    shape, scale = float(row[4]), float(row[5])
    if row[3] not in _DISTRIBUTIONS:
        raise ValueError(f"no distribution {row[3]!r}; known are {' and '.join(_DISTRIBUTIONS)}")
    if not (0 < shape < math.inf and 0 < scale < math.inf):
        raise ValueError(f"shape {row[4]} and scale {row[5]} are to be above 0")
    weibull = row[3] == "Weibull"
    drawn: list[Arrival] = []
    second = begin
    while True:
        second += chance.weibullvariate(scale, shape) if weibull else chance.gammavariate(shape, scale)
        if second >= begin + _WINDOW_SECONDS:
            return drawn
        if part.start <= second < part.end and (part.share >= 1 or chance.random() < part.share):
            drawn.append(Arrival(second - part.start, *lengths.draw(chance)))
