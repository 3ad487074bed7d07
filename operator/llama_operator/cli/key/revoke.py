"""`kubectl llama key revoke`: removes keys, so that nobody is served by them any more."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llama_operator.cli.key import endpoint as endpoints
from llama_operator.cli.key.deny_list import deny
from llama_operator.cli.key.endpoint import Endpoint
from llama_operator.cli.key.entries import KeyObject
from llama_operator.cli.key.store import DELAY, DELAY_SECONDS, Store, id_of, one_of
from llama_operator.cli.key.terms import COMMAND_LINE
from llama_operator.cli.shared import output
from llama_operator.cli.shared.connection import ClusterError, Connection, runner
from llama_operator.cli.shared.exit_codes import EXIT_OK
from llama_operator.errors import InvalidManifestError
from llama_operator.kube.port import JsonPatch


@dataclass(frozen=True, slots=True)
class RevokeOptions:
    """What the user asked for on the command line."""

    name: str
    ids: tuple[str, ...] = ()
    tenant: str | None = None
    yes: bool = False
    as_json: bool = False


async def command(connection: Connection, options: RevokeOptions) -> int:
    """Remove keys, and say when the last pod knows it; returns the exit code.

    Raises:
        ClusterError: If there is no such deployment or key, or the user does not want it after all.
        InvalidManifestError: If it is not said which keys, or said in two ways.
    """
    if bool(options.ids) == (options.tenant is not None):
        problem = "and --tenant are both there" if options.ids else "is missing, and so is --tenant"
        raise InvalidManifestError.of(COMMAND_LINE, "ID", problem, "give ids of keys, or --tenant for all of a tenant")
    wanted = tuple(dict.fromkeys(id_of(text, "ID") for text in options.ids))
    endpoint = await endpoints.read(connection, options.name)
    store = Store(connection, endpoint.kept_in, endpoint.ref.name)
    found = await store.read()
    if options.tenant is not None:
        wanted = _of_tenant(found, options.tenant)
        _confirm(wanted, options)
    for key_id in wanted:
        one_of(found, key_id)

    def change(now: KeyObject) -> Sequence[JsonPatch]:
        # What somebody else removed in the meantime is revoked as well.
        left = {kept.id for kept in now.kept}
        return now.removing(key_id for key_id in wanted if key_id in left)

    await store.change(change)
    why_slow = await deny(connection, endpoint, wanted)
    if options.as_json:
        output.print_json(document(endpoint, wanted, denied=not why_slow))
    else:
        for key_id in wanted:
            print(f"revoked {key_id}")
        print(f"{_when(why_slow)} Requests that run are not cut off.")
    return EXIT_OK


def _when(why_slow: str) -> str:
    """From when on the keys are refused."""
    if why_slow:
        return f"Pods refuse new requests {DELAY}. It takes that long because {why_slow}."
    return (
        "Replicas refuse new requests within seconds, by spec.access.revokedKeys; a list of models is shown, and an engine "
        f"started from zero replicas, until {DELAY.removeprefix('within ')}."
    )


def document(endpoint: Endpoint, revoked: Sequence[str], *, denied: bool) -> dict[str, Any]:
    """What was revoked as JSON; a stable interface, documented in docs/cli.md."""
    return {
        "namespace": endpoint.ref.namespace,
        "name": endpoint.ref.name,
        "keptIn": {"kind": endpoint.kept_in.kind.kind, "name": endpoint.kept_in.name},
        "revoked": list(revoked),
        "deniedByReplicas": denied,
        "refusedWithinSeconds": DELAY_SECONDS,
    }


def _of_tenant(found: KeyObject, tenant: str) -> tuple[str, ...]:
    ids = tuple(kept.id for kept in found.kept if kept.entry is not None and kept.entry.tenant == tenant)
    if not ids:
        raise ClusterError(f"tenant {tenant} has no key in {found.ref}; `kubectl llama key list` has those that exist")
    return ids


def _confirm(ids: Sequence[str], options: RevokeOptions) -> None:
    if options.yes:
        return
    if not sys.stdin.isatty():
        problem = f"would revoke all {len(ids)} key(s) of {options.tenant}, and nobody is there to ask"
        raise InvalidManifestError.of(COMMAND_LINE, "--tenant", problem, "add --yes if that is what you want")
    print(f"Revoke all {len(ids)} key(s) of tenant {options.tenant}: {', '.join(ids)}? [y/N] ", end="", file=sys.stderr)
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise ClusterError("nothing was revoked")


run = runner(command, RevokeOptions)
