"""What the scripts of all Python clients share: the cases, their inputs, and the lines in which they report.

Runs in the environment of each client, so it needs nothing but Python. `clients.__main__` reads the lines.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

URL = os.environ["LLAMA_URL"]
MODEL = os.environ["LLAMA_MODEL"]
ALIAS = os.environ["LLAMA_ALIAS"]
KEY = os.environ["LLAMA_KEY"]
LIMITED_KEY = os.environ["LLAMA_LIMITED_KEY"]
"""Key of a tenant that may send one request a minute."""
WRONG_KEY = os.environ["LLAMA_WRONG_KEY"]

QUESTION = "What is a llama?"
MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": QUESTION}]
LONG = 900
"""Tokens of an answer that is cut off: more than come before the client is gone."""

# Small, so that a model with random weights comes to the end of it.
ARGUMENTS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "animal": {"type": "string", "enum": ["llama", "alpaca"]},
        "legs": {"type": "integer", "enum": [2, 4]},
    },
    "required": ["animal", "legs"],
    "additionalProperties": False,
}
FUNCTION: dict[str, Any] = {
    "name": "count_legs",
    "description": "Counts legs.",
    "parameters": ARGUMENTS,
    "strict": True,
}
TOOLS: list[dict[str, Any]] = [{"type": "function", "function": FUNCTION}]

Case = Callable[[], None]
_CASES: list[tuple[str, Case]] = []


def case(name: str) -> Callable[[Case], Case]:
    """Add a case under the name that the table shows."""

    def add(function: Case) -> Case:
        _CASES.append((name, function))
        return function

    return add


def check_arguments(arguments: Any) -> None:
    """Check that a call of the tool, or an answer by the schema, is what the schema allows."""
    values = json.loads(arguments) if isinstance(arguments, str) else arguments
    assert set(values) == {"animal", "legs"}, values
    assert values["animal"] in {"llama", "alpaca"}, values
    assert values["legs"] in {2, 4}, values


def check_raised(action: Callable[[], Any], kind: type[BaseException], *words: str) -> Any:
    """Check that `action` raises exactly the error that the client has for it, and return that."""
    raised: Exception | None = None
    try:
        answer = action()
    except Exception as error:  # noqa: BLE001 - which one it is, is the question
        raised = error
    assert raised is not None, f"no error, but {answer!r}"
    assert isinstance(raised, kind), f"{type(raised).__module__}.{type(raised).__name__}: {raised}"
    missing = [word for word in words if word not in str(raised)]
    assert not missing, f"{missing} not in {raised}"
    return raised


def run() -> None:
    """Run all cases, each of which may fail, and report one line of JSON for each."""
    only = sys.argv[1:]
    for name, function in _CASES:
        if only and name not in only:
            continue
        try:
            function()
            print(json.dumps({"case": name, "ok": True}), flush=True)
        except Exception as error:  # noqa: BLE001 - the next case runs all the same
            traceback.print_exc()
            why = f"{type(error).__name__}: {error}"[:500]
            print(json.dumps({"case": name, "ok": False, "why": why}), flush=True)
