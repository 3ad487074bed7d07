"""Reads traces of others: Azure's csv, Mooncake's jsonl, and the clients of ServeGen. Called by `simulate.traces.named`.

The files are not shipped; a user gives their path. docs/simulate.md says where they come from.
"""

import csv
import json
import random
from datetime import datetime
from pathlib import Path

from llama_operator.errors import FieldProblem, InvalidManifestError
from llama_operator.simulate.request import Arrival
from llama_operator.simulate.traces.lengths import CONVERSATION, Lengths
from llama_operator.simulate.traces.trace import Trace

_AZURE_HEADER = "TIMESTAMP"
_MILLISECONDS = 1000
_WINDOW_SECONDS = 600.0
_CLIENT_COLUMNS = 6
_KNOWN = (
    "csv of Azure (TIMESTAMP,ContextTokens,GeneratedTokens), jsonl of Mooncake (timestamp, input_length, output_length), "
    "csv of a ServeGen client (t, rate, CV, distribution, two parameters), or a folder of these"
)


def read(path: Path, seed: int, lengths: Lengths = CONVERSATION) -> Trace:
    """Read a trace.

    Args:
        path: File, or folder of ServeGen clients whose requests add up.
        seed: What arrivals are drawn from, where the file has rates.
        lengths: Lengths of requests, where the file has none.

    Raises:
        InvalidManifestError: If the file cannot be read, or is none of the known kinds.
    """
    try:
        if path.is_dir():
            return _clients(sorted(path.glob("*.csv")), path.name, seed, lengths)
        with path.open(encoding="utf-8") as file:
            first = file.readline()
        if first.startswith(_AZURE_HEADER):
            return _azure(path)
        if first.startswith("{"):
            return _mooncake(path)
        if first.count(",") == _CLIENT_COLUMNS - 1:
            return _clients([path], path.stem, seed, lengths)
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
    return Trace(path.stem, arrivals[-1].at, arrivals)


def _clients(paths: list[Path], name: str, seed: int, lengths: Lengths) -> Trace:
    if not paths:
        raise ValueError("the folder has no csv")
    chance = random.Random(f"{seed}/{name}")  # noqa: S311 - a simulation, no secret
    arrivals: list[Arrival] = []
    length = 0.0
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                begin = float(row[0])
                length = max(length, begin + _WINDOW_SECONDS)
                arrivals += _window(begin, row, chance, lengths)
    return Trace(name, length, tuple(sorted(arrivals, key=lambda one: one.at)))


def _window(begin: float, row: list[str], chance: random.Random, lengths: Lengths) -> list[Arrival]:
    """Draw the arrivals of one window: times between them are of the distribution that the row names."""
    if float(row[1]) <= 0 or not row[4]:
        return []
    shape, scale = float(row[4]), float(row[5])
    weibull = row[3] == "Weibull"
    drawn, second = [], begin
    while True:
        second += chance.weibullvariate(scale, shape) if weibull else chance.gammavariate(shape, scale)
        if second >= begin + _WINDOW_SECONDS:
            return drawn
        drawn.append(Arrival(second, *lengths.draw(chance)))
