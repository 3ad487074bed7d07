"""Finds the trace that a user names: a shape or a file, with settings behind a colon. Called by the command and the bench.

`wave`, `wave:low=5,high=30,period=900`, `trace.csv`, `trace.jsonl:times=5,start=600,length=1800`.
"""

import math
from dataclasses import replace
from pathlib import Path

from llama_operator.errors import InvalidManifestError
from llama_operator.simulate.traces.files import DAY_SECONDS, LONGEST_DAYS, read
from llama_operator.simulate.traces.lengths import CONVERSATION, Lengths, fixed
from llama_operator.simulate.traces.lines import Reading
from llama_operator.simulate.traces.shapes import SHAPES, Shape, draw
from llama_operator.simulate.traces.trace import Part, Trace

_OF_SHAPES = ("low", "high", "period", "at", "length", "prompt", "output")
_OF_PARTS = ("share", "start", "length")
_OF_FILES = ("times", *_OF_PARTS, "unit", "prompt", "output")
_ABOVE_ZERO = ("times", "share", "length", "period", "unit", "prompt", "output")
_WHOLE = ("times", "prompt", "output")
_AT_MOST = {"share": 1.0}
_MOST_REQUESTS = 20_000_000
"""Some 14 days of 16 requests a second; each takes a hundred bytes."""


def find(text: str, seed: int) -> Trace:
    """Return the trace that `text` names.

    Raises:
        InvalidManifestError: If there is no such shape or file, or a setting cannot be used.
    """
    # A file may have a colon in its name.
    name, _, rest = (text, "", "") if ":" not in text or _is_there(text) else text.rpartition(":")
    shape = SHAPES.get(name)
    settings = _settings(rest, _OF_SHAPES if shape is not None else _OF_FILES)
    if shape is not None:
        return _of_shape(text, name, _changed(shape, settings), _lengths(settings), seed)
    if not _is_there(name):
        problem = f"{name!r} is neither a shape nor a file"
        raise InvalidManifestError.of(
            "the command line", "--trace", problem, f"give a file, or one of {', '.join(SHAPES)}"
        )
    return _of_file(text, Path(name), settings, seed)


def _is_there(name: str) -> bool:
    """Whether there is a regular file, or a folder, that may be looked at."""
    try:
        return bool(name) and (Path(name).is_file() or Path(name).is_dir())
    except OSError:
        return False


def _of_shape(text: str, name: str, shape: Shape, lengths: Lengths, seed: int) -> Trace:
    days = shape.length / DAY_SECONDS
    if days > LONGEST_DAYS:
        problem = f"{text!r} lasts {days:,.0f} days, and at most {LONGEST_DAYS} are played"
        raise InvalidManifestError.of("the command line", "--trace", problem, "a shorter length, in seconds")
    _check_size(text, max(shape.low, shape.high) * shape.length)
    trace = draw(name, shape, seed, lengths)
    if not trace.arrivals:
        raise InvalidManifestError.of(
            "the command line", "--trace", f"{text!r} has no request", "a higher rate, or a longer length"
        )
    return trace


def _of_file(text: str, path: Path, settings: dict[str, float], seed: int) -> Trace:
    given = "prompt" in settings or "output" in settings
    reading = Reading(seed, _lengths(settings), lengths_are_given=given, unit=settings.get("unit"))
    trace = read(path, Part(**{key: settings[key] for key in _OF_PARTS if key in settings}), reading)
    if not trace.arrivals:
        raise InvalidManifestError.of(
            "the command line", "--trace", f"{text!r} has no request", "take another part of it"
        )
    copies = int(settings.get("times", 1))
    _check_size(text, len(trace.arrivals) * copies)
    return trace.times(copies)


def _changed(shape: Shape, settings: dict[str, float]) -> Shape:
    return replace(
        shape,
        low=settings.get("low", shape.low),
        high=settings.get("high", shape.high),
        period=settings.get("period", shape.period),
        at=settings.get("at", shape.at),
        length=settings.get("length", shape.length),
    )


def _check_size(text: str, requests: float) -> None:
    if requests > _MOST_REQUESTS:
        problem = f"{text!r} has {requests:,.0f} requests, and at most {_MOST_REQUESTS:,} are played"
        raise InvalidManifestError.of("the command line", "--trace", problem, "take a part of it, or a lower rate")


def _settings(text: str, known: tuple[str, ...]) -> dict[str, float]:
    settings: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if name not in known or not 0 <= number < math.inf:
            allowed = f"name=number with {', '.join(known)}"
            raise InvalidManifestError.of(
                "the command line", "--trace", f"{part!r} is no setting of this trace", allowed
            )
        _check(name, number, part)
        if name in settings:
            raise InvalidManifestError.of("the command line", "--trace", f"{name} is said twice", "once")
        settings[name] = number
    return settings


def _check(name: str, number: float, part: str) -> None:
    problem = ""
    if name in _ABOVE_ZERO and number == 0:
        problem = "is to be above 0"
    elif name in _WHOLE and not number.is_integer():
        problem = "is to be a whole number"
    elif number > _AT_MOST.get(name, math.inf):
        problem = f"is to be at most {_AT_MOST[name]:g}"
    if problem:
        raise InvalidManifestError.of("the command line", "--trace", f"{part!r} cannot be", f"{name} {problem}")


def _lengths(settings: dict[str, float]) -> Lengths:
    """Take the lengths out of the settings; those of a public trace if they are not there."""
    prompt, output = settings.pop("prompt", None), settings.pop("output", None)
    if prompt is None and output is None:
        return CONVERSATION
    return fixed(int(prompt or 1155), int(output or 211))
