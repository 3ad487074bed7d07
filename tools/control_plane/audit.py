"""Reads a control plane's audit log: who wrote what. Used by tests and benchmarks that count writes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Write:
    """A request that changes something, answered.

    Attributes:
        user: Who asked.
        verb: create, update, patch, delete or deletecollection.
        resource: Plural, with the subresource after a slash.
        namespace: Empty for what has none.
        name: Empty where the server chose it.
        status: HTTP status of the answer.
    """

    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    status: int


def writes(log: Path, user: str | None = None) -> Iterator[Write]:
    """Writes in the order in which they were answered, of `user` or of all.

    Args:
        log: `ControlPlane.audit_log`.
        user: Name of a user; None means everybody.
    """
    for line in log.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        target = event.get("objectRef", {})
        found = Write(
            user=event["user"]["username"],
            verb=event["verb"],
            resource="/".join(part for part in (target.get("resource", ""), target.get("subresource", "")) if part),
            namespace=target.get("namespace", ""),
            name=target.get("name", ""),
            status=event.get("responseStatus", {}).get("code", 0),
        )
        if user in {None, found.user}:
            yield found
