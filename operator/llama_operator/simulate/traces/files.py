"""Reads a trace from a file or a folder: tells of which kind it is. Called by `simulate.traces.named`.

Files of others are not shipped; a user gives their path. docs/simulate.md says where they come from.
"""

import csv
import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from llama_operator.errors import FieldProblem, InvalidManifestError
from llama_operator.simulate.traces import lines, servegen
from llama_operator.simulate.traces.lines import Line, NoSuchSettingError, Reading
from llama_operator.simulate.traces.trace import Part, Trace, of_arrivals

_PACKED = ".gz"
LONGEST_DAYS = 31
DAY_SECONDS = 86_400
_KNOWN = (
    "csv with a header (a time, and tokens of prompt and answer, as Azure's TIMESTAMP,ContextTokens,GeneratedTokens), jsonl (timestamp, "
    "input_length, output_length, or the usage log), csv of a ServeGen client (t, rate, CV, distribution, two parameters), or a folder of these"
)


def read(path: Path, part: Part, reading: Reading) -> Trace:
    """Read a trace.

    Args:
        path: File, or folder whose requests add up.
        part: What is taken of it.
        reading: How it is read.

    Raises:
        InvalidManifestError: If the file cannot be read, or is none of the known kinds.
    """
    try:
        trace = _read(path, part, reading)
    except NoSuchSettingError as error:
        raise _unread(path, f"takes no setting {error}", "leave it out") from error
    except (OSError, EOFError, zlib.error, csv.Error, ValueError) as error:
        raise _unread(path, f"cannot be read: {error}") from error
    if trace.length > LONGEST_DAYS * DAY_SECONDS:
        days = f"lasts {trace.length / DAY_SECONDS:,.0f} days, and at most {LONGEST_DAYS} are played"
        raise _unread(path, days, "take a part of it, in seconds after its first request: start=0,length=86400")
    return trace


def _read(path: Path, part: Part, reading: Reading) -> Trace:
    paths = _files(path)
    with _opened(paths[0]) as file:
        first = file.readline()
    if (jsonl := first.lstrip().startswith("{")) or lines.is_csv(first):
        return _of_lines(path, paths, part, reading, jsonl=jsonl)
    if not servegen.is_client(first):
        raise _unread(path, "is none of the kinds that are known" if first else "is empty")
    if reading.unit is not None:
        raise NoSuchSettingError("unit: ServeGen has seconds")
    return servegen.draw(paths, _opened, _name(path), reading.seed, part, reading.lengths)


def _unread(path: Path, problem: str, allowed: str = f"give a {_KNOWN}") -> InvalidManifestError:
    return InvalidManifestError("the command line", (FieldProblem("--trace", f"{path} {problem}", allowed),))


def _files(path: Path) -> list[Path]:
    """Return the files of a folder and of those in it, of one kind; or the file itself.

    Raises:
        InvalidManifestError: If there is none, or of two kinds, or a folder cannot be read.
    """
    if not path.is_dir():
        return [path]
    found: dict[str, list[Path]] = {".jsonl": [], ".csv": []}
    for folder, below, names in os.walk(path, onerror=_raise):
        # What begins with a dot is of editors, and of Kubernetes where it mounts a ConfigMap: all is there twice.
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            kind = Path(name.removesuffix(_PACKED)).suffix
            if not name.startswith(".") and kind in found:
                found[kind].append(Path(folder) / name)
    kinds = [files for files in found.values() if files]
    if len(kinds) != 1:
        raise _unread(path, "has csv and jsonl in it" if kinds else "has no csv and no jsonl in it")
    return kinds[0]


def _raise(error: OSError) -> None:
    raise error


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open text, also if it is packed or begins with a byte order mark."""
    try:
        if path.suffix == _PACKED:
            with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as packed:
                yield packed
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:
                yield file
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is no text in UTF-8") from error


def _of_lines(path: Path, paths: list[Path], part: Part, reading: Reading, *, jsonl: bool) -> Trace:
    requests: list[Line] = []
    seen: set[object] = set()
    for one in paths:
        with _opened(one) as file:
            requests += lines.read_jsonl(file, one.name, seen) if jsonl else lines.read_csv(file, one.name)
    arrivals = lines.arrivals(requests, reading, jsonl=jsonl)
    return of_arrivals(_name(path), arrivals).part(part, reading.seed)


def _name(path: Path) -> str:
    return path.name if path.is_dir() else Path(path.name.removesuffix(_PACKED)).stem
