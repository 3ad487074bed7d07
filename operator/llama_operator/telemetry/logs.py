"""Log lines: one JSON object each for machines, or text for people. Configured once, by `main`.

Every line that a pass writes carries its object and the id of the pass, kopf's own lines included; a pass is found again by
searching for its id. Secrets cannot get in: nothing of a request's headers, and no object, is ever logged.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from typing_extensions import override

from llama_operator.settings.operator import LogFormat, LogLevel
from llama_operator.status.events import EventFacts
from llama_operator.telemetry.context import CURRENT_PASS

_QUIET: Final = ("kopf", "asyncio", "aiohttp", "kubernetes", "opentelemetry", "urllib3")
"""Libraries whose routine is not worth a line."""
_DEEDS: Final = logging.getLogger("llama_operator.events")
_EVENT: Final = "llama_operator_event"
"""Attribute of a record that tells of an event."""


def configure(log_format: LogFormat, level: LogLevel, stream: TextIO = sys.stderr) -> None:
    """Send all log lines of the process to `stream`."""
    as_text = log_format is LogFormat.TEXT or (log_format is LogFormat.AUTO and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    if level is not LogLevel.DEBUG:
        handler.addFilter(_without_traces)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _without_traces(record: logging.LogRecord) -> bool:
    """Cut kopf's traces: it logs each failure at every layer; the message names it, and level Debug shows all."""
    if record.name.startswith("kopf"):
        record.exc_info = None
    return True


def deed(facts: EventFacts, *, of_interest: bool = True) -> None:
    """Write the line of an event: what the operator did or saw in the running pass, in the words of the event.

    Every deed has one, also if its event cannot be written or is held back.

    Args:
        facts: The event.
        of_interest: Whether anybody has to know; else it is shown only at level Debug.
    """
    level = logging.WARNING if facts.type == "Warning" else logging.INFO
    level = level if of_interest else logging.DEBUG
    event = {"reason": facts.reason, "action": facts.action}
    _DEEDS.log(level, "%s: %s", facts.reason, facts.note, extra={_EVENT: event})


def object_of(record: logging.LogRecord) -> dict[str, str] | None:
    """The object that a line is about: that of the running pass, or the one that kopf names."""
    current = CURRENT_PASS.get()
    if current is not None:
        return {"kind": current.ref.kind.kind, "namespace": current.ref.namespace, "name": current.ref.name}
    named: dict[str, Any] | None = getattr(record, "k8s_ref", None)
    if named is None:
        return None
    return {key: str(named.get(key) or "") for key in ("kind", "namespace", "name")}


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "logger": record.name,
        }
        if (subject := object_of(record)) is not None:
            line["object"] = subject
        if (current := CURRENT_PASS.get()) is not None:
            line["reconcileId"] = current.reconcile_id
        if (event := getattr(record, _EVENT, None)) is not None:
            line["event"] = event
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """Time, level, object, message."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        about = object_of(record)
        subject = f"{about['namespace']}/{about['name']}: ".removeprefix("/") if about else ""
        text = f"{moment} {record.levelname:<7} {subject}{record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text
