"""Calls of tools as Llama 3.1 to 3.3 write them: `{"name": ..., "parameters": {...}}`, one or several. Pure.

A call begins at the beginning of the answer, of a line, after `<|python_tag|>`, or after another call. An object that does not
name a tool of the request is a text: models are asked for JSON as well. Arguments are handed on as they come.
"""

import json
from typing import Final

import regex

from llama_serving.tool_calls.pieces import Arguments, Begin, Names, Piece, Text

TAG: Final = "<|python_tag|>"

_HEAD: Final = regex.compile(
    r'\s*(?:<\|python_tag\|>\s*)?\{\s*(?:"type"\s*:\s*"function"\s*,\s*)?"name"\s*:\s*"(?P<name>[^"\\]{1,256})"\s*'
    r'(?:,\s*"(?:parameters|arguments)"\s*:\s*(?P<value>[{"nN])|(?P<bare>\}))'
)
_SEPARATOR: Final = regex.compile(r"[\s;,]*")
_NULL: Final = "null"


class JsonCalls:
    """Reads one answer.

    Args:
        names: Names of the tools.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._held = ""
        self._may_begin = True
        self._called = False
        self._value: _Value | None = None

    def feed(self, text: str) -> list[Piece]:
        """Take the next part of the answer."""
        self._held += text
        return self._read(over=False)

    def end(self) -> list[Piece]:
        """Return what was kept."""
        return self._read(over=True)

    def _read(self, *, over: bool) -> list[Piece]:
        pieces: list[Piece] = []
        while self._held:
            before = (len(self._held), self._may_begin)
            if self._value is not None:
                pieces += self._in_call(self._value, over=over)
            elif self._may_begin:
                pieces += self._at_beginning(over=over)
            else:
                pieces += self._in_text(over=over)
            if before == (len(self._held), self._may_begin):
                break
        return pieces

    def _at_beginning(self, *, over: bool) -> list[Piece]:
        if self._called:
            # What stands between two calls is no text.
            self._held = self._held[_SEPARATOR.match(self._held).end() :]
        head = _HEAD.match(self._held, partial=not over)
        if head is None or (not head.partial and head["name"] not in self._names):
            self._may_begin = False
            return []
        if head.partial:
            return []
        self._held = self._held[head.start("value") :] if head["value"] else self._held[head.end() :]
        self._called = True
        if head["value"]:
            self._value = _Value()
            return [Begin(head["name"])]
        return [Begin(head["name"]), Arguments("{}")]

    def _in_call(self, value: "_Value", *, over: bool) -> list[Piece]:
        used, arguments = value.read(self._held)
        self._held = self._held[used:]
        if value.over:
            self._value = None
        elif over:
            self._held = ""
        return [Arguments(arguments)] if arguments else []

    def _in_text(self, *, over: bool) -> list[Piece]:
        line, tag = self._held.find("\n"), self._held.find(TAG)
        if tag >= 0 and (line < 0 or tag < line):
            # The tag itself is no text.
            text, self._held, self._may_begin = self._held[:tag], self._held[tag + len(TAG) :], True
        elif line >= 0:
            text, self._held, self._may_begin = self._held[: line + 1], self._held[line + 1 :], True
        else:
            kept = 0 if over else _longest_start(self._held)
            text, self._held = self._held[: len(self._held) - kept], self._held[len(self._held) - kept :]
        return [Text(text)] if text else []


class _Value:
    """The arguments of one call, and the rest of the object around them."""

    def __init__(self) -> None:
        self.over = False
        self._depth = 0
        self._is_object: bool | None = None
        self._arguments_over = False
        self._in_string = self._escaped = False
        self._text = ""

    def read(self, text: str) -> tuple[int, str]:
        """Return how much of `text` belongs to the call, and what of it are arguments."""
        if self._is_object is None:
            self._is_object = text[0] == "{"
        out = ""
        for position, letter in enumerate(text):
            if not self._arguments_over:
                out += self._argument(letter)
                continue
            if self._of_rest(letter):
                self.over = True
                return position + 1, out
        return len(text), out

    def _argument(self, letter: str) -> str:
        """Take a letter of the arguments; returns what can be handed on."""
        if not self._is_object:
            return self._other_value(letter)
        self._count(letter)
        self._arguments_over = self._depth == 0 and not self._in_string
        return letter

    def _other_value(self, letter: str) -> str:
        """A text with JSON in it, or null, in place of an object."""
        self._text += letter
        if self._text[0] == '"':
            self._count(letter)
            if self._in_string:
                return ""
        elif len(self._text) < len(_NULL):
            return ""
        self._arguments_over = True
        try:
            inner = json.loads(self._text, strict=False)
        except ValueError:
            inner = None
        return (
            inner
            if isinstance(inner, str) and inner.lstrip().startswith("{")
            else "{}"
            if inner is None
            else self._text
        )

    def _of_rest(self, letter: str) -> bool:
        """Take a letter after the arguments; returns whether it ends the object around them."""
        if letter == "}" and self._depth == 0 and not self._in_string:
            return True
        self._count(letter)
        return False

    def _count(self, letter: str) -> None:
        if self._escaped:
            self._escaped = False
        elif self._in_string:
            self._escaped, self._in_string = letter == "\\", letter != '"'
        elif letter == '"':
            self._in_string = True
        elif letter in "{[":
            self._depth += 1
        elif letter in "}]":
            self._depth -= 1


def _longest_start(text: str) -> int:
    """Length of the longest end of `text` with which the tag may begin."""
    return next((length for length in range(min(len(TAG) - 1, len(text)), 0, -1) if text.endswith(TAG[:length])), 0)
