"""The last error in a log of a Go operator, KubeRay's say, whichever way it writes its lines. Pure; called by `cli.doctor.facts`."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from llama_operator.api.readings import mapping, moment, text
from llama_operator.api.said import said, shortened

_LEVELS: Final = frozenset({"error", "dpanic", "panic", "fatal"})
_CONSOLE: Final = re.compile(r"^(?P<time>\S+)\t(?P<level>ERROR|DPANIC|PANIC|FATAL)\t(?P<rest>.*)$")
"""zap's other form: fields between tabs, the last of them JSON, and a trace in the lines after it."""
_PLAIN: Final = re.compile(r"^(?:[EF][0-9]{4} [0-9:.]+ +[0-9]+ [^\]]*\] |(?=panic: |fatal error: ))(?P<rest>.*)$")
"""klog, which parts of Kubernetes' own libraries write with; and what Go itself says when it ends a process."""
_LONGEST: Final = 400
"""Bytes that are shown."""


@dataclass(frozen=True, slots=True)
class LogError:
    """An error in a log."""

    words: str
    """What it says, without credentials and characters for terminals."""
    at: datetime | None = None
    """When; None if the line does not tell."""


def last_error(log: str) -> LogError | None:
    """Return the last error of a log; None if there is none in it."""
    # Not `splitlines`: a line may have other characters in it that end one.
    return next((found for line in reversed(log.split("\n")) if (found := _error(line.rstrip("\r"))) is not None), None)


def latest(errors: Iterable[LogError]) -> LogError | None:
    """Return the newest of several errors; None of none."""
    return max(errors, key=lambda error: error.at.timestamp() if error.at is not None else 0.0, default=None)


def _error(line: str) -> LogError | None:
    if line.startswith("{"):
        fields = _fields(line)
        if text(fields.get("level")).lower() not in _LEVELS:
            return None
        return _told(text(fields.get("msg")), fields, fields.get("ts"))
    if (match := _CONSOLE.match(line)) is not None:
        *words, last = match["rest"].split("\t")
        fields = _fields(last)
        return _told((words[-1] if words else "") if fields else last, fields, match["time"])
    match = _PLAIN.match(line)
    return None if match is None else _told(match["rest"], {}, None)


def _told(message: str, fields: Mapping[str, Any], time: object) -> LogError:
    regarding = next((f" ({kind} {_address(value)})" for kind, value in fields.items() if _address(value)), "")
    why = text(fields.get("error"))
    words = f"{message}{regarding}: {why}" if why else f"{message}{regarding}"
    return LogError(shortened(" ".join(said(words).split()), _LONGEST), moment(time))


def _address(value: object) -> str:
    """Namespace and name of the object that a field names; empty if it names none."""
    named = mapping(value)
    return "/".join(part for part in (text(named.get("namespace")), text(named.get("name"))) if part)


def _fields(written: str) -> Mapping[str, Any]:
    try:
        return mapping(json.loads(written))
    except (ValueError, RecursionError):
        return {}
