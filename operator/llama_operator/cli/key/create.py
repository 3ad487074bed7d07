"""`kubectl llama key create`: makes a key, keeps its hash, and shows the key once."""

import difflib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from llama_operator.cli.key import endpoint as endpoints
from llama_operator.cli.key import new_key, terms
from llama_operator.cli.key.endpoint import Endpoint
from llama_operator.cli.key.entries import KeyObject
from llama_operator.cli.key.new_key import NewKey
from llama_operator.cli.key.store import Store, check_room
from llama_operator.cli.key.terms import COMMAND_LINE
from llama_operator.cli.shared.connection import Connection, Unknown, runner
from llama_operator.cli.shared.exit_codes import EXIT_OK
from llama_operator.errors import FieldProblem, InvalidManifestError
from llama_operator.kube.port import JsonPatch
from llama_serving.contract.keys import RANDOM_BYTES, ApiKey, KeyEntry, TenantName, make

_MOST_MODELS = 64
_MOST_NOTE = 256


@dataclass(frozen=True, slots=True)
class CreateOptions:
    """What the user asked for on the command line."""

    name: str
    tenant: str
    models: str | None = None
    expires: str = terms.NEVER
    note: str = ""
    output: str = "table"


async def command(
    connection: Connection, options: CreateOptions, random_bytes: Callable[[int], bytes] = secrets.token_bytes
) -> int:
    """Make a key and show it; returns the exit code.

    Args:
        connection: The cluster.
        options: The command line.
        random_bytes: Gives bytes that nobody can guess.

    Raises:
        ClusterError: If there is no such deployment, or the object takes no more keys.
        InvalidManifestError: If an option is wrong.
    """
    now = connection.now().replace(microsecond=0)
    models = _names(options.models)
    expires = terms.end(options.expires, "--expires", now)
    check_options(options.tenant, models, options.note)
    endpoint = await endpoints.read(connection, options.name)
    unknown = _check_served(models, endpoint, await endpoints.served_names(connection, endpoint))
    key = make(random_bytes(RANDOM_BYTES))
    entry = entry_of(key, options.tenant, models, now, expires, options.note)
    if not KeyObject.fits(entry):
        problem = f"{len(models)} names are longer than one key can hold"
        raise InvalidManifestError.of(
            COMMAND_LINE, "--models", problem, "name fewer; without the option the key opens all"
        )
    store = Store(connection, endpoint.kept_in, endpoint.ref.name)
    await store.made()
    await store.change(lambda found: added(found, key, entry))
    warnings = (unknown, endpoints.unlimited(endpoint, options.tenant), endpoints.advice(endpoint))
    new_key.show(NewKey(key, entry, endpoint, warning="; ".join(filter(None, warnings))), options.output)
    return EXIT_OK


def added(found: KeyObject, key: ApiKey, entry: KeyEntry) -> Sequence[JsonPatch]:
    """The patch that adds a key; raises ClusterError if there is no room for it."""
    check_room(found, [entry])
    return found.adding({key.id: entry})


def entry_of(
    key: ApiKey, tenant: str, models: Sequence[str], now: datetime, expires: datetime | None, note: str
) -> KeyEntry:
    """What is kept of a new key."""
    return KeyEntry(tenant=tenant, sha256=key.sha256, models=tuple(models), expires=expires, created=now, note=note)


def check_options(tenant: str, models: Sequence[str], note: str) -> None:
    """Refuse what no entry can hold.

    Raises:
        InvalidManifestError: With all options that are wrong.
    """
    problems = [] if is_tenant(tenant) else [_not_a_tenant(tenant)]
    if len(models) > _MOST_MODELS:
        allowed = f"at most {_MOST_MODELS}; without the option the key opens all"
        problems.append(FieldProblem("--models", f"has {len(models)} names", allowed))
    if len(note) > _MOST_NOTE:
        problems.append(FieldProblem("--note", f"has {len(note)} characters", f"at most {_MOST_NOTE}"))
    if problems:
        raise InvalidManifestError(COMMAND_LINE, problems)


def is_tenant(name: str) -> bool:
    """Whether a tenant can have that name."""
    try:
        TypeAdapter(TenantName).validate_python(name)
    except ValidationError:
        return False
    return True


def _not_a_tenant(name: str) -> FieldProblem:
    allowed = "use 1 to 63 small letters, digits and -, with a letter or digit at both ends"
    return FieldProblem("--tenant", f"{name!r} is no name of a tenant", allowed)


def _names(models: str | None) -> tuple[str, ...]:
    if models is None:
        return ()
    names = tuple(dict.fromkeys(name.strip() for name in models.split(",")))
    if not all(names):
        raise InvalidManifestError.of(COMMAND_LINE, "--models", f"is {models!r}", "names with commas between them")
    return names


def _check_served(models: Sequence[str], endpoint: Endpoint, served: tuple[str, ...] | Unknown) -> str:
    """Refuse names that the endpoint does not serve; returns why that is not known, or nothing."""
    if not models:
        return ""
    if isinstance(served, Unknown):
        return f"whether {endpoint.ref} serves {', '.join(models)} is not known: {served.why}"
    strange = [name for name in models if name not in served]
    if strange:
        near = difflib.get_close_matches(strange[0], served, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        problem = f"{endpoint.ref} serves no {', '.join(strange)}"
        raise InvalidManifestError.of(COMMAND_LINE, "--models", problem, f"{hint}it serves {', '.join(served)}")
    return ""


run = runner(command, CreateOptions)
