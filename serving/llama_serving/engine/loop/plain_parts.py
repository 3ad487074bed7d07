"""Hands the parts of a stream on as they are where the request offers no tool. `frontend` puts it in.

vLLM reads each part of each stream for calls of tools, and keeps all of the answer for that. Where no tool is offered it then hands on
the part that came: this does the same, without the reading.

No vLLM is imported here. What is read of it: `_make_parser` and `parser_cls` of its service of conversations.
"""

import logging
from collections.abc import Callable
from typing import Any, Final

_NAMES: Final = ("_make_parser", "parser_cls")
_LOGGER = logging.getLogger("ray.serve")


class PlainParts:
    """A parser of vLLM for one stream in which nothing is a call.

    Args:
        message: Makes the part of a message from its text; without one, a part that says nothing.
    """

    reasoning_parser = None

    def __init__(self, message: Callable[..., Any]) -> None:
        self._message = message

    def parse_delta(self, *, delta_text: str, **others: Any) -> Any:
        """Return the part; None for one without text. vLLM calls this."""
        del others
        return self._message(content=delta_text) if delta_text else None


def is_plain(request: Any, parser_class: Any) -> bool:
    """Whether nothing in the answer of `request` is to be read: it is streamed, without tools, and with all that the model says."""
    return bool(
        request.stream
        and not request.tools
        and request.include_reasoning
        and getattr(request, "tool_choice", None) in (None, "none")
        and getattr(parser_class, "reasoning_parser_cls", None) is None
    )


def without_reading(service: Any, message: Callable[..., Any]) -> None:
    """Let `service` read the streams of requests with tools only.

    Args:
        service: vLLM's service of conversations; an attribute is replaced.
        message: vLLM's part of a message.
    """
    if service is None or not all(hasattr(service, name) for name in _NAMES):
        _LOGGER.warning("vLLM reads streams in another way than is known here: each part of a stream is read for calls")
        return
    make = service._make_parser  # noqa: SLF001

    def made(request: Any, *others: Any) -> Any:
        return PlainParts(message) if is_plain(request, service.parser_cls) else make(request, *others)

    service._make_parser = made  # noqa: SLF001
