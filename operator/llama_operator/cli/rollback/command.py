"""`kubectl llama rollback`: writes the inputs of an older revision back into the spec, as `kubectl rollout undo` does.

The operator does the rest: to it, a rollback is a spec like any other, whose plan happens to be pinned already.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llama_operator import catalog
from llama_operator.api import paths
from llama_operator.api.manifest import parse_live
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.cli.diff import effect as diff_effect
from llama_operator.cli.rollback import gitops
from llama_operator.cli.shared import changes, output, revisions, world
from llama_operator.cli.shared.changes import Change
from llama_operator.cli.shared.connection import ClusterError, Connection, get_or_explain, runner
from llama_operator.cli.shared.exit_codes import EXIT_OK
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import RevisionFacts
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
    as_json: bool = False


@dataclass(frozen=True, slots=True)
class Rollback:
    """What would be written, and what follows from it."""

    target: RevisionFacts
    operations: tuple[JsonPatch, ...]
    changed: tuple[Change, ...]
    effect: str
    advice: str
    unknown: tuple[str, ...]
    """What of the world the user may not read."""


async def command(connection: Connection, options: RollbackOptions) -> int:
    """Roll the deployment back, or say what that would do."""
    ref = Ref(kinds.LLAMA_DEPLOYMENT, connection.namespace, options.name)
    rollback = await _prepare(connection, ref, options)
    if not options.dry_run:
        await _write(connection, ref, rollback)
    if options.as_json:
        output.print_json(document(rollback, ref, written=not options.dry_run))
    else:
        _show(rollback, ref, written=not options.dry_run)
    return EXIT_OK


def document(rollback: Rollback, ref: Ref, *, written: bool) -> dict[str, Any]:
    """The rollback as JSON; a stable interface, documented in docs/cli.md."""
    return {
        "namespace": ref.namespace,
        "name": ref.name,
        "written": written,
        "toRevision": {"number": rollback.target.number, "name": rollback.target.name},
        "changes": [change.to_json() for change in rollback.changed],
        "effect": rollback.effect,
        "advice": rollback.advice,
        "unknown": list(rollback.unknown),
    }


def choose(history: tuple[RevisionFacts, ...], wanted: str, number: int | None) -> RevisionFacts:
    """The revision to go back to: the one of that number, else the newest that has served and is not `wanted`.

    Args:
        history: All revisions of the deployment.
        wanted: Name of the revision that the spec asks for now.
        number: Number in the history; None for the one that served before.

    Raises:
        ClusterError: If there is none, or the spec asks for it already.
    """
    # A second copy on other nodes pins the same: to go back to that changes nothing.
    here = next((entry.inputs for entry in history if entry.name == wanted), None)
    if number is None:
        served = [entry for entry in history if entry.name != wanted and entry.served_at and entry.inputs != here]
        if not served:
            raise ClusterError(
                "there is no older revision that ever served; `kubectl llama history NAME` lists all, --to-revision "
                "takes any of them"
            )
        return max(served, key=lambda entry: entry.number)
    target = next((entry for entry in history if entry.number == number), None)
    if target is None:
        known = ", ".join(str(entry.number) for entry in history) or "none"
        raise ClusterError(f"there is no revision {number}; there are: {known}")
    if target.name == wanted or target.inputs == here:
        raise ClusterError(
            f"the spec asks for revision {number} ({target.name}) already: there is nothing to roll back"
        )
    return target


def operations(live: Object, spec: Mapping[str, Any]) -> tuple[JsonPatch, ...]:
    """The patch that gives `live` another spec; the server records as ours only what differs.

    It holds only for the object as it was read: an edit in between makes it fail instead of getting lost.
    """
    version = live["metadata"]["resourceVersion"]
    return JsonPatch("test", "/metadata/resourceVersion", version), JsonPatch("replace", "/spec", spec)


async def _prepare(connection: Connection, ref: Ref, options: RollbackOptions) -> Rollback:
    live = await get_or_explain(connection.cluster, ref)
    before = parse_live(LlamaDeployment, live)
    if before.metadata.deletion_timestamp is not None:
        raise ClusterError(
            f"{ref} is being deleted, so nothing is started for it any more: apply its manifest again when it is gone; "
            f"`kubectl llama explain {ref.name} -n {ref.namespace}` says what keeps it"
        )
    history = await revisions.read(connection.cluster, ref.namespace, ref.name)
    target = choose(history, revision_of(before, history).name, options.to_revision)
    # Fields that this version does not know stay, unless the older revision has them otherwise.
    spec = paths.merged(before.beyond, FIELDS.rolled_back(live["spec"], target.inputs))
    after = parse_live(LlamaDeployment, live | {"spec": spec})
    observed = await world.observed_with(connection, after)
    decision = decide(observed, catalog.load())
    changed = changes.between(before.spec, after.spec)
    return Rollback(
        target=target,
        operations=operations(live, spec),
        changed=changed,
        effect=diff_effect.effect(before, changed, observed, decision, seen=not world.unseen(observed)),
        advice=gitops.advice(live),
        unknown=world.whys(observed.unknown),
    )


async def _write(connection: Connection, ref: Ref, rollback: Rollback) -> None:
    try:
        await connection.cluster.patch(ref, rollback.operations)
    except ConflictError as error:
        raise ClusterError(
            f"{ref} was changed in the meantime, so nothing was written: see `kubectl llama history {ref.name}`, then try again"
        ) from error


def _show(rollback: Rollback, ref: Ref, *, written: bool) -> None:
    from rich.text import Text

    from llama_operator.cli.diff import table as diff_table

    console = output.console()
    target = f"revision {rollback.target.number} ({rollback.target.name})"
    head = "rolled back to" if written else "would be rolled back to"
    console.print(Text.assemble((f"{ref.namespace}/{ref.name}", "bold"), f" {head} {target}"), soft_wrap=True)
    console.print(diff_table.fields(rollback.changed))
    console.print(Text.assemble(("→ ", "bold cyan"), rollback.effect), soft_wrap=True)
    console.print(Text.assemble(("! ", "yellow"), rollback.advice), soft_wrap=True)
    if written:
        console.print(f"  follow it: kubectl llama get {ref.name} -n {ref.namespace} --watch", markup=False)


run = runner(command, RollbackOptions)
