"""Reads traces of others: Azure's csv, Mooncake's jsonl, and the clients of ServeGen. Called by `simulate.traces.named`.

The files are not shipped; a user gives their path. docs/simulate.md says where they come from.
"""

import csv
import json
import math
import random
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from llama_operator.errors import FieldProblem, InvalidManifestError
from llama_operator.simulate.request import Arrival
from llama_operator.simulate.traces.lengths import CONVERSATION, Lengths
from llama_operator.simulate.traces.trace import Trace

_AZURE_HEADER = "TIMESTAMP"
_MILLISECONDS = 1000
_WINDOW_SECONDS = 600.0
_AFTER_LAST = 0.001
"""Seconds by which a trace is longer than its last arrival."""
_CLIENT_COLUMNS = 6
_KNOWN = (
    "csv of Azure (TIMESTAMP,ContextTokens,GeneratedTokens), jsonl of Mooncake (timestamp, input_length, output_length), "
    "csv of a ServeGen client (t, rate, CV, distribution, two parameters), or a folder of these"
)


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


def read(path: Path, seed: int, part: Part = Part(), lengths: Lengths = CONVERSATION) -> Trace:
    """Read a trace.

    Args:
        path: File, or folder of ServeGen clients whose requests add up.
        seed: What arrivals are drawn from, where the file has rates.
        part: What is taken of it.
        lengths: Lengths of requests, where the file has none.

    Raises:
        InvalidManifestError: If the file cannot be read, or is none of the known kinds.
    """
    try:
        if path.is_dir():
            return _clients(sorted(path.glob("*.csv")), path.name, seed, part, lengths)
        with path.open(encoding="utf-8") as file:
            first = file.readline()
        if first.startswith(_AZURE_HEADER):
            return _part(_azure(path), part, seed)
        if first.startswith("{"):
            return _part(_mooncake(path), part, seed)
        if first.count(",") == _CLIENT_COLUMNS - 1:
            return _clients([path], path.stem, seed, part, lengths)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise _unread(path, f"cannot be read: {error}") from error
    raise _unread(path, "is none of the kinds that are known")


def _unread(path: Path, problem: str) -> InvalidManifestError:
    return InvalidManifestError("the command line", (FieldProblem("--trace", f"{path} {problem}", f"give a {_KNOWN}"),))


def _azure(path: Path) -> Trace:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [
            (datetime.fromisoformat(row["TIMESTAMP"][:26]), int(row["ContextTokens"]), int(row["GeneratedTokens"]))
            for row in csv.DictReader(file)
        ]
    start = rows[0][0]
    return _trace(path, [((at - start).total_seconds(), prompt, output) for at, prompt, output in rows])


def _mooncake(path: Path) -> Trace:
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    start = rows[0]["timestamp"]
    return _trace(
        path, [((row["timestamp"] - start) / _MILLISECONDS, row["input_length"], row["output_length"]) for row in rows]
    )


def _trace(path: Path, rows: list[tuple[float, int, int]]) -> Trace:
    arrivals = tuple(Arrival(at, max(1, prompt), max(1, output)) for at, prompt, output in sorted(rows))
    return Trace(path.stem, arrivals[-1].at + _AFTER_LAST, arrivals)


def _part(trace: Trace, part: Part, seed: int) -> Trace:
    chance = random.Random(f"{seed}/{trace.name}")
    arrivals = tuple(
        replace(one, at=one.at - part.start)
        for one in trace.arrivals
        if part.start <= one.at < part.end and (part.share >= 1 or chance.random() < part.share)
    )
    return Trace(trace.name, min(part.length, max(0.0, trace.length - part.start)), arrivals)


def _clients(paths: list[Path], name: str, seed: int, part: Part, lengths: Lengths) -> Trace:
    if not paths:
        raise ValueError("the folder has no csv")
    arrivals: list[Arrival] = []
    last = 0.0
    for path in paths:
        # Each client has chance of its own, so that one more client changes none of the others.
        chance = random.Random(f"{seed}/{path.stem}")
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                begin = float(row[0])
                last = max(last, begin + _WINDOW_SECONDS)
                if part.start - _WINDOW_SECONDS < begin < part.end:
                    arrivals += _window(begin, row, chance, part, lengths)
    return Trace(name, min(part.length, max(0.0, last - part.start)), tuple(sorted(arrivals, key=lambda one: one.at)))


def _window(begin: float, row: list[str], chance: random.Random, part: Part, lengths: Lengths) -> list[Arrival]:
    """Draw the arrivals of one window: times between them are of the distribution that the row names."""
    if float(row[1]) <= 0 or not row[4]:
        return []
    shape, scale = float(row[4]), float(row[5])
    weibull = row[3] == "Weibull"
    drawn: list[Arrival] = []
    second = begin
    while True:
        second += chance.weibullvariate(scale, shape) if weibull else chance.gammavariate(shape, scale)
        if second >= begin + _WINDOW_SECONDS:
            return drawn
        if part.start <= second < part.end and (part.share >= 1 or chance.random() < part.share):
            drawn.append(Arrival(second - part.start, *lengths.draw(chance)))
