"""What the engine's application says of a request that it cannot serve, in the form of the client's dialect. Pure; `desk.middleware` uses it.

vLLM names its errors by its own classes, with the status as a number for a code. Libraries of clients choose what they raise by
the words of their own API: LiteLLM for example tries a model with a longer context where the code says that it was too short.
"""

import json
from typing import Any, Final

from llama_serving.door.refusals import Refusal

LONGEST: Final = 64 * 1024
"""An error that is longer is handed on as it is."""

_TOO_LONG: Final = ("maximum context length", "longer than the maximum model length")
_FIRST_SERVER_ERROR: Final = 500
_NOT_FOUND: Final = 404


def refusal_of(status: int, body: bytes) -> Refusal | None:
    """Read an error of vLLM; None for what is none.

    Args:
        status: Status of the answer.
        body: The answer.
    """
    try:
        error: Any = json.loads(body)["error"]
        message = error["message"]
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(message, str) or _is_in_form(error):
        return None
    param = error.get("param")
    return Refusal(
        status,
        message,
        code=_code(status, message),
        param=param if isinstance(param, str) else None,
    )


def _is_in_form(error: dict[str, Any]) -> bool:
    """Whether it is told in a form of clients already: by the guard, which stands between desk and engine."""
    code, kind = error.get("code"), error.get("type")
    return isinstance(code, str) or (code is None and isinstance(kind, str) and kind.endswith("_error"))


def _code(status: int, message: str) -> str:
    if status >= _FIRST_SERVER_ERROR:
        return "engine_error"
    if any(words in message for words in _TOO_LONG):
        return "context_length_exceeded"
    return "not_found" if status == _NOT_FOUND else "invalid_value"
