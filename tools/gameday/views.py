"""Reads what each view says, as lines for `judge`. Called by `runner`."""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from gameday.incident import View
from gameday.judge import Line
from gameday.trail import DEPLOYMENTS, EVENTS, Version


def conditions(versions: Iterable[Version], since: float, name: str) -> Iterator[Line]:
    """Conditions of the deployment, each as often as it changed."""
    before: dict[str, tuple[str, str, str]] = {}
    for version in versions:
        if version.kind != DEPLOYMENTS or version.content["metadata"]["name"] != name:
            continue
        for one in (version.content.get("status") or {}).get("conditions", ()):
            told = (one["status"], one["reason"], one.get("message", ""))
            if before.get(one["type"]) != told:
                before[one["type"]] = told
                yield Line(View.CONDITION, version.moment - since, one["type"], *told)


def events(versions: Iterable[Version], since: float, name: str) -> Iterator[Line]:
    """Events about the deployment."""
    for version in versions:
        content = version.content
        regarding = content.get("regarding", {})
        if version.kind == EVENTS and regarding.get("kind") == "LlamaDeployment" and regarding.get("name") == name:
            note = content.get("note", "")
            yield Line(View.EVENT, version.moment - since, content["reason"], content["type"], "", note)


def checks(view: View, seconds: float, document: Mapping[str, Any]) -> Iterator[Line]:
    """The checks of `explain` or `doctor`, from their JSON; what would unblock one is part of its text."""
    for check in document.get("checks", ()):
        text = f"{check['evidence']} → {check['unblock']}" if check["unblock"] else check["evidence"]
        yield Line(view, seconds, check["name"], check["state"], "", text)


def columns(seconds: float, rows: Iterable[Mapping[str, str]], name: str) -> Iterator[Line]:
    """The columns of `kubectl get lld` in the row of the deployment."""
    for row in rows:
        if row.get("Name") == name:
            yield from (Line(View.COLUMN, seconds, heading, "", "", cell) for heading, cell in row.items())


def log_lines(log: Path, start: int, since: float, namespace: str) -> Iterator[Line]:
    """Lines of the operator's log that are about the namespace, or about the operator itself.

    Args:
        log: The file, one JSON object a line.
        start: The first byte that counts.
        since: When Kubernetes knew of it, in seconds of the clock that the log has.
        namespace: Of the incident.
    """
    with log.open("rb") as stream:
        stream.seek(start)
        for raw in stream.read().decode(errors="replace").splitlines():
            if (found := _logged(raw, since, namespace)) is not None:
                yield found


def _logged(raw: str, since: float, namespace: str) -> Line | None:
    try:
        content = json.loads(raw)
    except ValueError:
        # A trace, or what a library prints.
        return Line(View.LOG, 0.0, "", "", "", raw) if namespace in raw else None
    if not isinstance(content, dict) or "level" not in content:
        # A record of a license decision is no line of the log.
        return None
    about = content.get("object") or {}
    place = about.get("namespace", "")
    if place in {"", namespace}:
        words = " ".join(str(value) for key, value in content.items() if key not in {"time", "level", "object"})
        seconds = datetime.fromisoformat(content["time"]).timestamp() - since
        return Line(View.LOG, seconds, "", content["level"], "", f"{place}/{about.get('name', '')}: {words}")
    return None
