"""Finds the trace that a user names: a shape or a file, with settings behind a colon. Called by the command and the bench.

`wave`, `wave:low=5,high=30,period=900`, `trace.csv`, `trace.jsonl:times=5,start=600,length=1800`.
"""

from dataclasses import replace
from pathlib import Path

from llama_operator.errors import InvalidManifestError
from llama_operator.simulate.traces.files import Part, read
from llama_operator.simulate.traces.lengths import CONVERSATION, Lengths, fixed
from llama_operator.simulate.traces.shapes import SHAPES, Shape, draw
from llama_operator.simulate.traces.trace import Trace

_OF_SHAPES = ("low", "high", "period", "at", "length", "prompt", "output")
_OF_FILES = ("times", "share", "start", "length", "prompt", "output")


def find(text: str, seed: int) -> Trace:
    """Return the trace that `text` names.

    Raises:
        InvalidManifestError: If there is no such shape or file, or a setting cannot be used.
    """
    name, _, rest = text.partition(":")
    shape = SHAPES.get(name)
    settings = _settings(rest, _OF_SHAPES if shape is not None else _OF_FILES)
    lengths = _lengths(settings)
    if shape is not None:
        return draw(name, _changed(shape, settings), seed, lengths)
    path = Path(name)
    if not path.exists():
        problem = f"{name!r} is neither a shape nor a file"
        raise InvalidManifestError.of(
            "the command line", "--trace", problem, f"give a file, or one of {', '.join(SHAPES)}"
        )
    part = Part(**{key: value for key, value in settings.items() if key != "times"})
    trace = read(path, seed, part, lengths)
    if not trace.arrivals:
        raise InvalidManifestError.of(
            "the command line", "--trace", f"{text!r} has no request", "take another part of it"
        )
    return trace.times(max(1, int(settings.get("times", 1))))


def _changed(shape: Shape, settings: dict[str, float]) -> Shape:
    return replace(
        shape,
        low=settings.get("low", shape.low),
        high=settings.get("high", shape.high),
        period=settings.get("period", shape.period) or shape.period,
        at=settings.get("at", shape.at),
        length=settings.get("length", shape.length),
    )


def _settings(text: str, known: tuple[str, ...]) -> dict[str, float]:
    settings: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if name not in known or number < 0:
            allowed = f"name=number with {', '.join(known)}"
            raise InvalidManifestError.of(
                "the command line", "--trace", f"{part!r} is no setting of this trace", allowed
            )
        settings[name] = number
    return settings


def _lengths(settings: dict[str, float]) -> Lengths:
    """Take the lengths out of the settings; those of a public trace if they are not there."""
    prompt, output = settings.pop("prompt", None), settings.pop("output", None)
    if prompt is None and output is None:
        return CONVERSATION
    return fixed(max(1, int(prompt or 1155)), max(1, int(output or 211)))
