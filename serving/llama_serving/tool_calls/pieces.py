"""What a reader of calls makes of a text. Called by `json_calls`, `python_calls` and `engine.tool_parsers`."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Text:
    """Words for people."""

    text: str


@dataclass(frozen=True, slots=True)
class Begin:
    """A call begins."""

    name: str


@dataclass(frozen=True, slots=True)
class Arguments:
    """A part of the arguments of the call that began last, as JSON."""

    text: str


Piece = Text | Begin | Arguments


class Reader(Protocol):
    """Reads one answer. Whatever the parts are that it comes in, the pieces add up to the same."""

    def feed(self, text: str) -> list[Piece]:
        """Take the next part of the answer; what cannot be told yet is kept."""
        ...

    def end(self) -> list[Piece]:
        """Return what was kept, when the answer is over."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """A whole call."""

    name: str
    arguments: str
    """As JSON."""


def added_up(pieces: Iterable[Piece]) -> tuple[str, list[Call]]:
    """Return the text, and the calls."""
    text, calls = "", list[Call]()
    for piece in pieces:
        match piece:
            case Text():
                text += piece.text
            case Begin():
                calls.append(Call(piece.name, ""))
            case Arguments():
                calls[-1] = Call(calls[-1].name, calls[-1].arguments + piece.text)
    return text, calls


Names = Collection[str]
"""Names of the tools that a request offers: a call of anything else is a text."""
