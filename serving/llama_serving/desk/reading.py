"""Reads the body of a request as JSON, strictly. Pure; `middleware` calls it.

What is judged is what the engine gets: the body is written anew from what was read here. So a text that two readers may
understand in two ways is refused: double names, numbers that are none, texts that are no Unicode.
"""

import json
import math
import re
from typing import Any, Final

from llama_serving.door.refusals import Refusal

MOST_LEVELS: Final = 64
"""Deepest nesting. A schema of a tool has ten levels or so; readers behind this one give up at some hundreds."""

_LONGEST_NUMBER: Final = 20
_LONG_NUMBER: Final = re.compile(rb"[0-9]{21}")


class RefusedError(Exception):
    """The request is refused."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class _TwiceError(ValueError):
    """A name stands twice in one object."""


class _NumberError(ValueError):
    """A number that no reader takes in the same way."""


def read_json(body: bytes) -> dict[str, Any]:
    """Return the object that `body` holds.

    Raises:
        RefusedError: If it holds anything else; the words say what is wrong.
    """
    try:
        value = json.loads(
            body.decode(),
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_float=_finite,
            # A call for each number: only where one of them can be too long.
            parse_int=_bounded if _LONG_NUMBER.search(body) else None,
        )
    except UnicodeDecodeError:
        raise _bad("The body is not text in UTF-8. Send JSON in UTF-8.") from None
    except _TwiceError as error:
        raise _bad(f"The body has the field {_shown(str(error))} twice in one object. Send it once.") from None
    except _NumberError as error:
        raise _bad(
            f"The body has the number {_shown(str(error))}, which is not allowed. Send a number of usual size."
        ) from None
    except json.JSONDecodeError as error:
        raise _bad(f"The body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise _too_deep() from None
    if not isinstance(value, dict):
        raise _bad("The body must be a JSON object with the fields of the request.")
    if body.count(b"[") + body.count(b"{") > MOST_LEVELS and _levels(value) > MOST_LEVELS:
        raise _too_deep()
    return value


def write_json(value: dict[str, Any]) -> bytes:
    """Return `value` as JSON in UTF-8.

    Raises:
        RefusedError: If a text in it is no Unicode: half of a surrogate pair.
    """
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:
        raise _bad(
            "A text in the body has half of a surrogate pair (\\ud800 to \\udfff). Send whole characters."
        ) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for name in names if names.count(name) > 1))
    return value


def _no_constant(name: str) -> None:
    raise _NumberError(name)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _NumberError(text)
    return value


def _bounded(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise _NumberError(text)
    return int(text)


def _levels(value: Any) -> int:
    levels, layer = 0, [value]
    while layer:
        levels += 1
        layer = [
            inner
            for outer in layer
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return levels


def _too_deep() -> RefusedError:
    return _bad(f"The body is nested deeper than {MOST_LEVELS} levels. Send a flatter one.")


def _bad(message: str) -> RefusedError:
    return RefusedError(Refusal(400, message, code="invalid_json"))


def _shown(text: str, most: int = 40) -> str:
    """Return a piece of a client's text as it may stand in an answer."""
    return ascii(text if len(text) <= most else f"{text[:most]}...")
