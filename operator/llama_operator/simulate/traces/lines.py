"""Reads files that have a line for each request: csv with a header, and jsonl. Called by `simulate.traces.files`.

Columns have the names of public traces (Azure, Mooncake, BurstGPT, Vidur), of OpenAI's API, and of the product's own usage log. Where lines have no
lengths, they are drawn.
"""

import csv
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TextIO, TypeAlias

from llama_operator.simulate.request import Arrival
from llama_operator.simulate.traces.lengths import Lengths

_TIME = ("TIMESTAMP", "time", "arrival_time", "arrived_at", "started")
_PROMPT = ("ContextTokens", "input_length", "Request tokens", "num_prefill_tokens", "prompt_tokens", "input_tokens")
_OUTPUT = (
    "GeneratedTokens",
    "output_length",
    "Response tokens",
    "num_decode_tokens",
    "completion_tokens",
    "output_tokens",
)
"""Names of columns, read without regard to case, spaces and underscores."""
_LENGTHS = "token"
"""What is in the name of a column of lengths, if it is none of those above: then lengths are not drawn."""
_DELIMITERS = ",;\t"
_SECONDS, _MILLISECONDS = 1.0, 0.001
_SINCE_1970 = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3), (1e9, 1.0))
"""A time from which on a number is one since 1970, and its unit in seconds: 1e9 seconds are the year 2001, and 1e11 are 5138."""
_MOST_TOKENS = 1e9
_FEW = 3
_LATEST = 1e20
"""Beyond any time, in any unit."""

_Time: TypeAlias = float | datetime


class UnreadableError(ValueError):
    """A line is none of a request: says which, and what is wrong."""


class NoSuchSettingError(ValueError):
    """A setting says what the lines say themselves."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How lines are read.

    Attributes:
        seed: What is drawn by chance is drawn from it.
        lengths: Lengths of requests, where lines have none.
        lengths_are_given: Whether the user gave them: then lines may have none.
        unit: Seconds of one unit of times that are numbers; None to tell by the first time.
    """

    seed: int
    lengths: Lengths
    lengths_are_given: bool = False
    unit: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """What a line says.

    Attributes:
        where: Number and file.
        at: When the request came.
        lengths: Tokens of prompt and answer; None if it does not say.
        source: Which deployment it is of, in the usage log.
    """

    where: str
    at: _Time
    lengths: tuple[int, int] | None
    source: str = ""


def is_csv(first: str) -> bool:
    """Whether a first line is a header that has a time."""
    return bool(_columns(_cells(first))[0])


def read_csv(file: TextIO, name: str) -> Iterator[Line]:
    """Yield the requests of a csv.

    Raises:
        UnreadableError: If a line cannot be read; says which, and what is wrong.
    """
    header = file.readline()
    names = [one.strip() for one in _cells(header)]
    columns = _columns(names)
    for row in (reader := csv.reader(file, delimiter=_delimiter(header))):
        if not any(row):
            continue
        line = f"line {reader.line_num + 1} of {name}"
        if len(row) < len(names):
            raise UnreadableError(f"{line} has {len(row)} of {len(names)} columns")
        yield _request(dict(zip(names, row, strict=False)), columns, line)


def read_jsonl(file: TextIO, name: str, seen: set[object]) -> Iterator[Line]:
    """Yield the requests of a jsonl.

    Args:
        file: What is read.
        name: Its name.
        seen: Lines of the usage log, which count once, also if several files have them; what is read is added.

    Raises:
        UnreadableError: If a line cannot be read; says which, and what is wrong.
    """
    for number, text in enumerate(file, start=1):
        if not text.strip():
            continue
        line = f"line {number} of {name}"
        try:
            fields = json.loads(text)
        except RecursionError as error:
            raise UnreadableError(f"{line} is nested too deep") from error
        except json.JSONDecodeError as error:
            if not text.endswith("\n"):
                # The last one, whose writer was killed.
                return
            raise UnreadableError(f"{line} is no JSON: {error}") from error
        if not isinstance(fields, dict):
            raise UnreadableError(f"{line} is no object")
        source = ""
        if isinstance(fields.get("data"), dict):
            # A CloudEvent of the usage log: it is unique by these, if it has them.
            event = fields.get("source"), fields.get("id")
            if all(isinstance(one, str) for one in event):
                if event in seen:
                    continue
                seen.add(event)
            source, fields = str(fields.get("source", "")), fields["data"]
        yield replace(_request(fields, _columns(list(fields)), line), source=source)


def arrivals(requests: Iterable[Line], reading: Reading, *, jsonl: bool) -> list[Arrival]:
    """Return who arrives when, in seconds after the first one. Times that are known to the second are spread over it.

    Args:
        requests: What was read, in any order.
        reading: How it is read.
        jsonl: Whether it is jsonl, whose small numbers are milliseconds, as Mooncake's are.

    Raises:
        UnreadableError: If times are of two kinds, or requests of two deployments.
        NoSuchSettingError: If lines say what a setting says.
    """
    every = list(requests)
    if not every:
        return []
    _check_settings(every[0], reading)
    sources = sorted({one.source for one in every})
    if len(sources) > 1:
        raise UnreadableError(
            f"its lines are of {len(sources)} deployments ({', '.join(sources[:_FEW])}): give the files of one of them"
        )
    dates = isinstance(every[0].at, datetime)
    for one in every:
        if isinstance(one.at, datetime) != dates:
            raise UnreadableError(f"{one.where} has a time of another kind than the first one: {one.at}")
    times: list[Any] = [one.at for one in every]
    start = min(times)
    unit = _SECONDS if dates else reading.unit or _unit(start, jsonl=jsonl)
    if unit == _MILLISECONDS and reading.unit is None and start < _SINCE_1970[-1][0] and not all(map(_is_whole, times)):
        raise UnreadableError(
            "its times have fractions: say with unit=1 that they are seconds, or with unit=0.001 that they are not"
        )
    # Divided, because a thousandth is no float.
    seconds = [(at - start).total_seconds() if dates else (at - start) / (1 / unit) for at in times]
    chance = random.Random(f"{reading.seed}/lines")
    spread = unit == _SECONDS and len(every) > 1 and all(_is_whole(at) for at in times)
    return [
        Arrival(
            second + (chance.random() if spread else 0.0),
            *(reading.lengths.draw(chance) if one.lengths is None else one.lengths),
        )
        for second, one in zip(seconds, every, strict=True)
    ]


def _check_settings(first: Line, reading: Reading) -> None:
    if reading.lengths_are_given and first.lengths is not None:
        raise NoSuchSettingError("prompt and output: its lines have lengths of their own")
    if reading.unit is not None and isinstance(first.at, datetime):
        raise NoSuchSettingError("unit: its times are dates")


def _is_whole(at: _Time) -> bool:
    return at.microsecond == 0 if isinstance(at, datetime) else float(at).is_integer()


def _unit(start: float, *, jsonl: bool) -> float:
    """Seconds of one unit: of a time since 1970 by its size, else milliseconds in jsonl and seconds in csv."""
    for least, unit in _SINCE_1970:
        if start >= least:
            return unit
    return _MILLISECONDS if jsonl else _SECONDS


def _delimiter(header: str) -> str:
    return max(_DELIMITERS, key=header.count)


def _cells(header: str) -> list[str]:
    return next(csv.reader([header], delimiter=_delimiter(header)), [])


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _columns(names: list[str]) -> tuple[str, str, str]:
    """Return the names that lines have for time, prompt and answer; empty for one that they do not have."""
    plain = {_plain(name): name for name in reversed(names)}
    time, prompt, output = (
        next((plain[_plain(one)] for one in known if _plain(one) in plain), "") for known in (_TIME, _PROMPT, _OUTPUT)
    )
    return time, prompt, output


def _request(fields: Mapping[str, Any], columns: tuple[str, str, str], line: str) -> Line:
    time, prompt, output = columns
    if not time:
        raise UnreadableError(f"{line} has no time: none of {', '.join(_TIME)}")
    unknown = not prompt and not output and any(_LENGTHS in _plain(name) for name in fields)
    if bool(prompt) != bool(output) or unknown:
        missing = ("answer", _OUTPUT) if prompt else ("prompt", _PROMPT)
        raise UnreadableError(f"{line} has no tokens of the {missing[0]}: none of {', '.join(missing[1])}")
    at = _time(fields[time], f"{line}: {time}")
    if not prompt:
        return Line(line, at, None)
    return Line(line, at, (_tokens(fields[prompt], f"{line}: {prompt}"), _tokens(fields[output], f"{line}: {output}")))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return int(value) if not isinstance(value, float) else value
    except ValueError:
        pass
    try:
        return float(value)
    except ValueError:
        return None


def _time(value: object, where: str) -> _Time:
    number = _number(value)
    if number is not None and abs(number) < _LATEST:
        return number
    try:
        # Without a zone it is UTC, and all of one file are treated alike.
        at = datetime.fromisoformat(str(value).strip())
    except ValueError:
        shown = "is empty" if value in ("", None) else f"{str(value)[:40]!r} is no time"
        raise UnreadableError(f"{where} {shown}; give seconds, or a date as 2026-11-30T07:30:00Z") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _tokens(value: object, where: str) -> int:
    number = _number(value)
    if number is None or not 0 <= number <= _MOST_TOKENS or int(number) != number:
        shown = "is empty" if value in ("", None) else f"{str(value)[:40]!r}"
        raise UnreadableError(f"{where} {shown}, and is to be a whole number of tokens")
    return max(1, int(number))
