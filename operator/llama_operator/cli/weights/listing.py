"""`kubectl llama weights list`: which copies there are, how large, who uses them, since when, and what their Jobs said."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from llama_operator.api.meta import rfc3339
from llama_operator.cli.shared import output
from llama_operator.cli.shared.connection import Connection, runner
from llama_operator.cli.shared.exit_codes import EXIT_OK
from llama_operator.decide.copies.facts import ClaimFacts, CopyJobFacts, WeightsFacts
from llama_operator.decide.weights.copying import gigabytes
from llama_operator.desired.naming import MANAGER
from llama_operator.kube import kinds
from llama_operator.observe.jobs.weights import weights_facts
from llama_operator.observe.unreadable import Unreadable

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class ListOptions:
    """What the user asked for on the command line."""

    all_namespaces: bool = False
    as_json: bool = False


async def command(connection: Connection, options: ListOptions) -> int:
    """Print the copies in the operator's claims."""
    names = await _namespaces(connection) if options.all_namespaces else (connection.namespace,)
    found = [(name, await weights_facts(connection.cluster, name, Unreadable())) for name in names]
    rows = [(name, facts, claim) for name, facts in found for claim in facts.claims]
    if options.as_json:
        output.print_json({"copies": [document(name, facts, claim) for name, facts, claim in rows]})
    elif rows:
        output.console(wide=True).print(_table(rows, connection.now()))
    else:
        where = "any namespace" if options.all_namespaces else f"namespace {connection.namespace}"
        output.console().print(f"The operator keeps no copies of weights in {where}.", markup=False)
    return EXIT_OK


async def _namespaces(connection: Connection) -> tuple[str, ...]:
    """Namespaces that have claims of the operator."""
    ours = {"app.kubernetes.io/managed-by": MANAGER}
    items = (await connection.cluster.list(kinds.PERSISTENT_VOLUME_CLAIM, labels=ours)).items
    return tuple(sorted({item["metadata"]["namespace"] for item in items}))


def document(namespace: str, facts: WeightsFacts, claim: ClaimFacts) -> dict[str, Any]:
    """One copy as JSON; a stable interface, documented in docs/cli.md."""
    copied, erased = claim.copied, claim.erased
    return {
        "namespace": namespace,
        "claim": claim.name,
        "id": claim.id,
        "source": None if claim.copy is None else claim.copy.source.words,
        "storageClass": claim.storage_class,
        "phase": claim.phase,
        "capacity": claim.capacity or claim.requested,
        "bytes": None if copied is None else copied.bytes,
        "files": None if copied is None else copied.files,
        "digest": None if copied is None else copied.digest,
        "verifiedAt": None if copied is None else rfc3339(copied.at),
        "erasedAt": None if erased is None else rfc3339(erased.at),
        "created": None if claim.created is None else rfc3339(claim.created),
        "users": sorted(claim.users),
        "owners": sorted(claim.owners),
        "retained": claim.retained,
        "verdict": verdict(facts.jobs, claim),
    }


def verdict(jobs: Iterable[CopyJobFacts], claim: ClaimFacts) -> str:
    """What is known of a copy, in a word or two: what its claim remembers, or what the last Job said."""
    newest = max((job for job in jobs if job.id == claim.id), key=lambda job: job.attempt, default=None)
    if newest is not None and newest.finished is None:
        doing = "Erasing" if newest.erases else "Copying"
        return f"{doing}: {newest.detail}" if newest.detail else doing
    if claim.copied is not None:
        return "Verified"
    if claim.erased is not None:
        return "Erased"
    if newest is None:
        return "Empty"
    if newest.verdict is None:
        return f"Failed: {newest.detail}" if newest.detail else "Failed"
    return ": ".join(filter(None, (newest.verdict.verdict.value, newest.verdict.file, newest.verdict.message)))


def _table(rows: Iterable[tuple[str, WeightsFacts, ClaimFacts]], now: datetime) -> "Table":
    whole = ("NAMESPACE", "ID", "AGE", "SIZE", "CLAIM")
    table = output.table(*whole, "SOURCE", "USERS", "VERDICT", right=("SIZE",), whole=whole)
    for namespace, facts, claim in rows:
        size = claim.capacity or claim.requested if claim.copied is None else gigabytes(claim.copied.bytes)
        users = ", ".join(sorted(claim.users)) or ("nobody, kept" if claim.retained else "nobody")
        table.add_row(
            namespace,
            claim.id,
            output.age(claim.created, now),
            size,
            claim.phase or "Pending",
            "" if claim.copy is None else claim.copy.source.words,
            users,
            verdict(facts.jobs, claim),
        )
    return table


run = runner(command, ListOptions)
