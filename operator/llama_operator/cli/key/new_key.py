"""A key that was just made, for people, programs and scripts. Called by `key create` and `key rotate`.

This is the only place that prints a key.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llama_operator.api.meta import rfc3339
from llama_operator.cli.key.endpoint import Endpoint
from llama_operator.cli.key.entries import Kept
from llama_operator.cli.key.store import DELAY
from llama_operator.cli.shared import output
from llama_serving.contract.keys import ApiKey, KeyEntry


@dataclass(frozen=True, slots=True)
class NewKey:
    """The key, and what is kept of it."""

    key: ApiKey
    entry: KeyEntry
    endpoint: Endpoint
    replaces: Kept | None = None
    """The older key in whose place it comes."""
    old_end: datetime | None = None
    """When that one ends."""
    warning: str = ""


def show(new: NewKey, form: str) -> None:
    """Print the key once: as `table`, `json`, or `key` alone."""
    if form == "key":
        print(new.key.text)
    elif form == "json":
        output.print_json(document(new))
    else:
        _show(new)


def document(new: NewKey) -> dict[str, Any]:
    """The key as JSON; a stable interface, documented in docs/cli.md."""
    entry, kept_in = new.entry, new.endpoint.kept_in
    written: dict[str, Any] = {
        "key": new.key.text,
        "id": new.key.id,
        "tenant": entry.tenant,
        "models": list(entry.models),
        "created": rfc3339(entry.created) if entry.created else None,
        "expires": rfc3339(entry.expires) if entry.expires else None,
        "note": entry.note,
        "keptIn": {"kind": kept_in.kind.kind, "name": kept_in.name},
        "warning": new.warning,
    }
    if new.replaces is not None:
        written["replaces"] = {"id": new.replaces.id, "expires": rfc3339(new.old_end) if new.old_end else None}
    return written


def _show(new: NewKey) -> None:
    console, entry, endpoint = output.console(), new.entry, new.endpoint
    rows = {
        "key": new.key.text,
        "id": new.key.id,
        "tenant": entry.tenant,
        "models": ", ".join(entry.models) or "all",
        "expires": rfc3339(entry.expires) if entry.expires else "never",
    } | ({"note": entry.note} if entry.note else {})
    for name, value in rows.items():
        console.print(f"{name:<8}  {value}", markup=False, soft_wrap=True)
    lines = [f"The key is shown this once: {endpoint.kept_in} has only a hash of it. Pods serve it {DELAY}."]
    if new.replaces is not None and new.old_end is not None:
        lines.append(f"The older key {new.replaces.id} ends at {rfc3339(new.old_end)}.")
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
    url = endpoint.url or "http://.../v1"
    console.print(f'→ try it:   curl -H "Authorization: Bearer $KEY" {url}/models', markup=False, soft_wrap=True)
    where = f"{endpoint.ref.name} {new.key.id} -n {endpoint.ref.namespace}"
    console.print(f"→ end it:   kubectl llama key revoke {where}", markup=False, soft_wrap=True)
    if new.warning:
        console.print(f"! {new.warning}", markup=False, soft_wrap=True)
