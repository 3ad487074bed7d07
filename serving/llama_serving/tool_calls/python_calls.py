"""Calls of tools as Llama 4 writes them: `[get_weather(city="Lima"), get_time()]`. Pure.

The list is the whole answer, or stands at its beginning. A call that cannot be read is a text, and so is all that follows it.
Arguments are Python, so a call is handed on as soon as it is whole, and not in parts.
"""

import ast
import json
from typing import Any, Final

import regex

from llama_serving.tool_calls.pieces import Arguments, Begin, Names, Piece, Text

END: Final = "<|python_end|>"

_NAME: Final = r"(?P<name>[A-Za-z_][A-Za-z0-9_.-]{0,255})"
_HEAD: Final = regex.compile(rf"\s*(?:<\|python_start\|>\s*)?\[\s*(?={_NAME}\()")
_BEGUN: Final = regex.compile(r"\[\s*([A-Za-z0-9_.-]*)$")
"""The beginning of a name, as long as the text ends with it."""
_NEXT: Final = regex.compile(rf"\s*{_NAME}\(")
_BETWEEN: Final = regex.compile(r"\s*(?:(?P<more>,)\s*(?=[^\]\s])|,?\s*\])")
_KEYWORD: Final = regex.compile(r"\s*([A-Za-z_][A-Za-z0-9_-]*)\s*=(?!=)")
_JSON_WORDS: Final = {"null": None, "true": True, "false": False}
_CLOSES: Final = {"(": ")", "[": "]", "{": "}"}
_CONTROLS: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\x00"}


class PythonCalls:
    """Reads one answer.

    Args:
        names: Names of the tools.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._held = ""
        self._state = "beginning"
        self._list = ""
        """What stood before the first call."""
        self._called = False

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
            before = (len(self._held), self._state)
            match self._state:
                case "beginning":
                    self._at_beginning(over=over)
                case "call":
                    pieces += self._at_call(over=over)
                case "between":
                    self._between(over=over)
                case "after":
                    self._after(over=over)
                case _:
                    pieces += self._in_text()
            if before == (len(self._held), self._state):
                break
        return pieces

    def _at_beginning(self, *, over: bool) -> None:
        head = _HEAD.match(self._held, partial=not over)
        if head is not None and head.partial:
            begun = _BEGUN.search(self._held)
            if begun is None or any(name.startswith(begun[1]) for name in self._names):
                return
            head = None
        if head is None or head["name"] not in self._names:
            self._state = "text"
            return
        self._list, self._held, self._state = self._held[: head.end()], self._held[head.end() :], "call"

    def _at_call(self, *, over: bool) -> list[Piece]:
        head = _NEXT.match(self._held, partial=not over)
        if head is not None and head.partial:
            return []
        if head is None or head["name"] not in self._names:
            return self._no_call()
        length = _length_of(self._held[head.end() :])
        if length is None:
            return self._no_call() if over else []
        arguments = _arguments(self._held[head.end() : head.end() + length])
        if arguments is None:
            return self._no_call()
        self._held, self._state, self._called = self._held[head.end() + length + 1 :], "between", True
        return [Begin(head["name"]), Arguments(json.dumps(arguments, ensure_ascii=False))]

    def _no_call(self) -> list[Piece]:
        """Take what looked like a call for a text; with the beginning of its list, if that had no call."""
        self._state = "text"
        return [] if self._called else [Text(self._list)]

    def _between(self, *, over: bool) -> None:
        found = _BETWEEN.match(self._held, partial=not over)
        if found is None:
            self._state = "text"
        elif not found.partial:
            self._held = self._held[found.end() :]
            self._state = "call" if found["more"] else "after"

    def _after(self, *, over: bool) -> None:
        self._held = self._held.lstrip()
        if self._held.startswith(END):
            self._held = self._held[len(END) :]
        elif over or not END.startswith(self._held):
            self._state = "text"

    def _in_text(self) -> list[Piece]:
        text, self._held = self._held, ""
        return [Text(text)]


def _length_of(text: str) -> int | None:
    """Length of the arguments at the beginning of `text`, up to their closing bracket; None if that is not there yet."""
    open_brackets = list[str]()
    quote, position = "", 0
    while position < len(text):
        letter = text[position]
        if quote:
            if letter == "\\":
                position += 1
            elif letter == quote:
                quote = ""
        elif letter in "\"'":
            quote = letter
        elif letter in _CLOSES:
            open_brackets.append(_CLOSES[letter])
        elif open_brackets and letter == open_brackets[-1]:
            open_brackets.pop()
        elif letter == ")" and not open_brackets:
            return position
        position += 1
    return None


def _arguments(text: str) -> dict[str, Any] | None:
    """Read `city="Lima", days=3`; None for what has no name, or is no value of JSON."""
    found: dict[str, Any] = {}
    for part in _parts(text):
        keyword = _KEYWORD.match(part)
        if keyword is None:
            return None
        try:
            found[keyword[1]] = _value(ast.parse(_escaped(part[keyword.end() :].strip()), mode="eval").body)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
    return found


def _parts(text: str) -> list[str]:
    """Cut at the commas that stand in no text and in no bracket."""
    parts, begin, depth, quote, position = list[str](), 0, 0, "", 0
    while position < len(text):
        letter = text[position]
        if quote:
            position += letter == "\\"
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append(text[begin:position])
            begin = position + 1
        position += 1
    rest = text[begin:]
    return [*parts, rest] if rest.strip() else parts


def _escaped(text: str) -> str:
    """Write line breaks inside texts as Python wants them: models write them as they are."""
    out, quote, position = list[str](), "", 0
    while position < len(text):
        letter = text[position]
        if quote and letter == "\\":
            out.append(text[position : position + 2])
            position += 2
            continue
        if not quote and letter in "\"'":
            quote = letter
        elif letter == quote:
            quote = ""
        out.append(_CONTROLS.get(letter, letter) if quote else letter)
        position += 1
    return "".join(out)


def _value(node: ast.expr) -> Any:
    """The value of JSON that an expression means; raises ValueError for anything that would have to be computed."""
    match node:
        case ast.Constant(value=str() | bool() | int() | float() | None as value):
            return value
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            return [_value(item) for item in items]
        case ast.Dict(keys=keys, values=values):
            return {_key(key): _value(value) for key, value in zip(keys, values, strict=True)}
        case ast.Name(id=word) if word in _JSON_WORDS:
            return _JSON_WORDS[word]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case _:
            raise ValueError("not a value of JSON")


def _key(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise ValueError("not a key of JSON")
