"""`kubectl llama rollback`: writes the inputs of an older revision back into the spec, as `kubectl rollout undo` does.

The operator does the rest: to it, a rollback is a spec like any other, whose plan happens to be pinned already.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llama_operator import catalog
from llama_operator.api.manifest import parse_as
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.cli.diff import effect as diff_effect
from llama_operator.cli.rollback import gitops
from llama_operator.cli.shared import changes, output, revisions, world
from llama_operator.cli.shared.changes import Change
from llama_operator.cli.shared.connection import ClusterError, Connection, get_or_explain
from llama_operator.cli.shared.exit_codes import EXIT_OK
from llama_operator.cli.shared.revisions import Record
from llama_operator.decide.decision import decide
from llama_operator.decide.rollout.fields import FIELDS
from llama_operator.decide.rollout.revision import revision_of
from llama_operator.kube import kinds
from llama_operator.kube.port import ConflictError, JsonPatch, Object, Ref


@dataclass(frozen=True, slots=True)
class RollbackOptions:
    """What the user asked for on the command line."""

    name: str
    to_revision: int | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Rollback:
    """What would be written, and what follows from it."""

    live: Object
    target: Record
    operations: tuple[JsonPatch, ...]
    changed: tuple[Change, ...]
    effect: str
    advice: str


async def command(connection: Connection, options: RollbackOptions, *, as_json: bool) -> int:
    """Roll the deployment back, or say what that would be."""
    ref = Ref(kinds.LLAMA_DEPLOYMENT, connection.namespace, options.name)
    found = await _prepare(connection, ref, options)
    if not options.dry_run:
        await _write(connection, ref, found)
    if as_json:
        output.print_json(document(found, ref, written=not options.dry_run))
    else:
        _show(found, ref, written=not options.dry_run)
    return EXIT_OK


def document(found: Rollback, ref: Ref, *, written: bool) -> dict[str, Any]:
    """The rollback as JSON; a stable interface, documented in docs/cli.md."""
    return {
        "namespace": ref.namespace,
        "name": ref.name,
        "written": written,
        "toRevision": {"number": found.target.number, "name": found.target.name},
        "changes": [change.to_json() for change in found.changed],
        "effect": found.effect,
        "advice": found.advice,
    }


def choose(records: tuple[Record, ...], wanted: str, number: int | None) -> Record:
    """The revision to go back to: the one of that number, else the newest that has served and is not `wanted`.

    Args:
        records: The history.
        wanted: Name of the revision that the spec asks for now.
        number: Number in the history; None for the one that served before.

    Raises:
        ClusterError: If there is none, or the spec asks for it already.
    """
    if number is None:
        served = [record for record in records if record.name != wanted and record.facts.served_at]
        if not served:
            raise ClusterError(
                "there is no older revision that ever served; `kubectl llama history NAME` lists all, --to-revision "
                "takes any of them"
            )
        return max(served, key=lambda record: record.number)
    found = next((record for record in records if record.number == number), None)
    if found is None:
        known = ", ".join(str(record.number) for record in records) or "none"
        raise ClusterError(f"there is no revision {number}; there are: {known}")
    if found.name == wanted:
        raise ClusterError(f"the spec asks for revision {number} ({found.name}) already: there is nothing to roll back")
    return found


def operations(live: Object, spec: Mapping[str, Any]) -> tuple[JsonPatch, ...]:
    """The patch that gives `live` another spec; the server records as ours only what differs.

    It holds only for the object as it was read: an edit in between makes it fail instead of getting lost.
    """
    version = live["metadata"]["resourceVersion"]
    return JsonPatch("test", "/metadata/resourceVersion", version), JsonPatch("replace", "/spec", spec)


async def _prepare(connection: Connection, ref: Ref, options: RollbackOptions) -> Rollback:
    live = await get_or_explain(connection.cluster, ref)
    before = parse_as(LlamaDeployment, live)
    records = await revisions.read(connection.cluster, ref.namespace, ref.name)
    target = choose(records, revision_of(before).name, options.to_revision)
    spec = FIELDS.rolled_back(live["spec"], target.facts.inputs)
    after = parse_as(LlamaDeployment, live | {"spec": spec})
    observed, unknown = await world.world_with(connection, after, None)
    decision = decide(observed, catalog.load())
    changed = changes.between(before.spec, after.spec)
    return Rollback(
        live=live,
        target=target,
        operations=operations(live, spec),
        changed=changed,
        effect=diff_effect.effect(before, changed, observed, decision, seen=not unknown),
        advice=gitops.advice(live),
    )


async def _write(connection: Connection, ref: Ref, found: Rollback) -> None:
    try:
        await connection.cluster.patch(ref, found.operations)
    except ConflictError as error:
        raise ClusterError(
            f"{ref} was changed meanwhile, nothing was written: see `kubectl llama history {ref.name}`, then try again"
        ) from error


def _show(found: Rollback, ref: Ref, *, written: bool) -> None:
    from rich.text import Text

    from llama_operator.cli.diff import table as diff_table

    console = output.console()
    target = f"revision {found.target.number} ({found.target.name})"
    head = "rolled back to" if written else "would be rolled back to"
    console.print(Text.assemble((f"{ref.namespace}/{ref.name}", "bold"), f" {head} {target}"), soft_wrap=True)
    console.print(diff_table.fields(found.changed))
    console.print(Text.assemble(("→ ", "bold cyan"), found.effect), soft_wrap=True)
    console.print(Text.assemble(("! ", "yellow"), found.advice), soft_wrap=True)
    if written:
        console.print(f"  follow it: kubectl llama get {ref.name} -n {ref.namespace} --watch", markup=False)
