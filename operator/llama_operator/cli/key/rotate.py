"""`kubectl llama key rotate`: makes a key in place of an older one, which is still served for a while."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from llama_operator.cli.key import endpoint as endpoints
from llama_operator.cli.key import new_key, terms
from llama_operator.cli.key.create import entry_of
from llama_operator.cli.key.entries import Kept, KeyObject
from llama_operator.cli.key.new_key import NewKey
from llama_operator.cli.key.store import Store, check_room, id_of, one_of
from llama_operator.cli.shared.connection import ClusterError, Connection, runner
from llama_operator.cli.shared.exit_codes import EXIT_OK
from llama_operator.errors import InvalidManifestError
from llama_operator.kube.port import JsonPatch
from llama_serving.contract.keys import RANDOM_BYTES, ApiKey, KeyEntry, make


@dataclass(frozen=True, slots=True)
class RotateOptions:
    """What the user asked for on the command line."""

    name: str
    id: str
    overlap: str = "24h"
    expires: str | None = None
    output: str = "table"


@dataclass(frozen=True, slots=True)
class Rotation:
    """The old key, and the one in its place."""

    old: Kept
    ended: KeyEntry
    """What is kept of the old key from now on."""
    key: ApiKey
    entry: KeyEntry


async def command(
    connection: Connection, options: RotateOptions, random_bytes: Callable[[int], bytes] = secrets.token_bytes
) -> int:
    """Make a key in place of an older one and show it; returns the exit code.

    Args:
        connection: The cluster.
        options: The command line.
        random_bytes: Gives bytes that nobody can guess.

    Raises:
        ClusterError: If there is no such deployment or key, or the object takes no more keys.
        InvalidManifestError: If an option is wrong.
    """
    now = connection.now().replace(microsecond=0)
    overlap = terms.span(options.overlap, "--overlap")
    asked = None if options.expires is None else terms.end(options.expires, "--expires", now)
    endpoint, key_id = await endpoints.read(connection, options.name), id_of(options.id, "ID")
    key = make(random_bytes(RANDOM_BYTES))
    rotations: list[Rotation] = []

    def change(found: KeyObject) -> Sequence[JsonPatch]:
        old = one_of(found, key_id)
        entry = _readable(old)
        expires = terms.renewed(entry, now) if options.expires is None else asked
        rotation = rotated(old, entry, key, now, overlap, expires)
        rotations.append(rotation)
        check_room(found, [rotation.entry])
        return *found.replacing(old, rotation.ended), *found.adding({key.id: rotation.entry})

    await Store(connection, endpoint.kept_in, endpoint.ref.name).change(change)
    done = rotations[-1]
    new_key.show(
        NewKey(key, done.entry, endpoint, done.old, done.ended.expires, endpoints.advice(endpoint)), options.output
    )
    return EXIT_OK


def rotated(
    old: Kept, entry: KeyEntry, key: ApiKey, now: datetime, overlap: timedelta, expires: datetime | None
) -> Rotation:
    """What becomes of a key that gets another one in its place: it ends after `overlap`, and never later than before.

    Args:
        old: The key.
        entry: What is kept of it.
        key: The one in its place.
        now: The time now, in UTC.
        overlap: How long both are served.
        expires: When the new key ends; None for never.

    Raises:
        InvalidManifestError: If the new key would have ended already.
    """
    if expires is not None and expires <= now:
        problem = f"is missing: {old.id} has ended, and nobody knows how long it was made for"
        raise InvalidManifestError.of(terms.COMMAND_LINE, "--expires", problem, "say when the new key ends, or never")
    end = min(filter(None, (entry.expires, now + overlap)))
    ended = entry.model_copy(update={"expires": end})
    return Rotation(old, ended, key, entry_of(key, entry.tenant, entry.models, now, expires, entry.note))


def _readable(old: Kept) -> KeyEntry:
    if old.entry is None:
        raise ClusterError(
            f"key {old.id} cannot be read ({old.problem}), so nobody knows whose it is: revoke it, and create another"
        )
    return old.entry


run = runner(command, RotateOptions)
