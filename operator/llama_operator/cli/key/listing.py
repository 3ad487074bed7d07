"""`kubectl llama key list`: the keys of a deployment, and whether it asks for any. Never shows a hash."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from llama_operator.api.meta import rfc3339
from llama_operator.cli.key import endpoint as endpoints
from llama_operator.cli.key import table as key_table
from llama_operator.cli.key.endpoint import Endpoint
from llama_operator.cli.key.entries import Kept, KeyObject
from llama_operator.cli.key.store import Store
from llama_operator.cli.key.terms import state_of
from llama_operator.cli.shared import output
from llama_operator.cli.shared.connection import Connection, Unknown, read_if_permitted, runner
from llama_operator.cli.shared.exit_codes import EXIT_FAILED, EXIT_OK

_LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ListOptions:
    """What the user asked for on the command line."""

    name: str
    tenant: str | None = None
    as_json: bool = False


async def command(connection: Connection, options: ListOptions) -> int:
    """Print the keys; returns the exit code: 1 if the user may not read them, which is not the same as none.

    Raises:
        ClusterError: If there is no such deployment.
    """
    endpoint, now = await endpoints.read(connection, options.name), connection.now()
    found = await read_if_permitted(Store(connection, endpoint.kept_in, endpoint.ref.name).read())
    keys = found if isinstance(found, Unknown) else in_order(found, options.tenant)
    if options.as_json:
        output.print_json(document(endpoint, keys, now))
    else:
        key_table.show(endpoint, keys, now, filtered=options.tenant is not None)
    return EXIT_FAILED if isinstance(keys, Unknown) else EXIT_OK


def in_order(found: KeyObject, tenant: str | None) -> tuple[Kept, ...]:
    """The keys, of one tenant if it is named: those that end first at the top, then by tenant, then those that cannot be read."""
    chosen = (kept for kept in found.kept if tenant is None or (kept.entry is not None and kept.entry.tenant == tenant))

    def place(kept: Kept) -> tuple[bool, datetime, str, str]:
        if kept.entry is None:
            return True, _LAST, "", kept.id
        return False, kept.entry.expires or _LAST, kept.entry.tenant, kept.id

    return tuple(sorted(chosen, key=place))


def document(endpoint: Endpoint, keys: tuple[Kept, ...] | Unknown, now: datetime) -> dict[str, Any]:
    """The keys as JSON; a stable interface, documented in docs/cli.md."""
    return {
        "namespace": endpoint.ref.namespace,
        "name": endpoint.ref.name,
        "access": {
            "asksForKeys": endpoint.asks,
            "nextRevisionAsksForKeys": endpoint.will_ask,
            "reason": endpoint.reason,
            "warning": endpoints.advice(endpoint),
        },
        "keptIn": {"kind": endpoint.kept_in.kind.kind, "name": endpoint.kept_in.name},
        "keys": None if isinstance(keys, Unknown) else [_row(kept, now) for kept in keys],
        "unknown": [keys.why] if isinstance(keys, Unknown) else [],
    }


def _row(kept: Kept, now: datetime) -> dict[str, Any]:
    entry = kept.entry
    return {
        "id": kept.id,
        "tenant": entry.tenant if entry else None,
        "models": list(entry.models) if entry else [],
        "created": rfc3339(entry.created) if entry and entry.created else None,
        "expires": rfc3339(entry.expires) if entry and entry.expires else None,
        "state": str(state_of(entry, now)),
        "note": entry.note if entry else "",
        "problem": kept.problem,
    }


run = runner(command, ListOptions)
