"""`kubectl llama history`: the revisions of a deployment, what each changed, and what became of it."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from llama_operator.api.meta import rfc3339
from llama_operator.cli.get.rows import row_of
from llama_operator.cli.shared import changes, output, revisions
from llama_operator.cli.shared.changes import Change
from llama_operator.cli.shared.connection import Connection, get_or_explain, runner
from llama_operator.cli.shared.exit_codes import EXIT_OK
from llama_operator.cli.shared.options import NamedOptions
from llama_operator.decide.observed import RevisionFacts
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref

if TYPE_CHECKING:
    from rich.table import Table

_MOST_SHOWN = 4
"""Changed fields in a cell; `-o json` has all."""


async def command(connection: Connection, options: NamedOptions) -> int:
    """Print the revisions of a deployment, newest first."""
    ref = Ref(kinds.LLAMA_DEPLOYMENT, connection.namespace, options.name)
    status = row_of(await get_or_explain(connection.cluster, ref)).status
    history = await revisions.read(connection.cluster, ref.namespace, ref.name)
    states = [revisions.state_of(entry, status) for entry in history]
    if options.as_json:
        documents = [document(entry, state, history) for entry, state in zip(history, states, strict=True)]
        output.print_json({"namespace": ref.namespace, "name": ref.name, "revisions": documents})
    elif history:
        output.console(wide=True).print(_table(history, states, connection.now()))
    else:
        output.console().print(f"{ref} has no revision yet: `kubectl llama explain {ref.name}` says why.", markup=False)
    return EXIT_OK


def document(entry: RevisionFacts, state: str, history: Sequence[RevisionFacts]) -> dict[str, Any]:
    """One revision as JSON; a stable interface, documented in docs/cli.md."""
    return {
        "number": entry.number,
        "name": entry.name,
        "state": state,
        "created": rfc3339(entry.created) if entry.created else None,
        "servedAt": entry.served_at or None,
        "failedAt": entry.failed_at or None,
        "failure": entry.failure,
        "strategy": str(entry.strategy) if entry.strategy else None,
        "strategyReason": entry.strategy_reason,
        "plan": entry.plan.chosen.to_api() if entry.plan.chosen else None,
        "inputs": dict(entry.inputs),
        "changes": [change.to_json() for change in _changed(entry, history)],
    }


def _changed(entry: RevisionFacts, history: Sequence[RevisionFacts]) -> tuple[Change, ...]:
    """What the revision changed against the one before it; nothing for the oldest that is known."""
    older = [other for other in history if other.number < entry.number]
    if not older:
        return ()
    before = max(older, key=lambda other: other.number)
    return changes.of_inputs(before.inputs, entry.inputs)


def _table(history: Sequence[RevisionFacts], states: Sequence[str], now: datetime) -> "Table":
    from rich.text import Text

    colors = {"active": "green", "pending": "yellow", "failed": "red"}
    whole = ("NUMBER", "NAME", "STATE", "AGE", "SERVED", "PLAN")
    table = output.table(*whole, "CHANGED", whole=whole)
    for entry, state in zip(history, states, strict=True):
        served = output.moment(entry.served_at)
        table.add_row(
            str(entry.number),
            entry.name,
            Text(state, style=colors.get(state, "")),
            output.age(entry.created, now),
            f"{output.age(served, now)} ago" if served else "never",
            output.plan_label(entry.plan.chosen),
            Text(_what(entry, history)),
        )
    return table


def _what(entry: RevisionFacts, history: Sequence[RevisionFacts]) -> str:
    changed = _changed(entry, history)
    shown = [
        f"{change.field.removeprefix('spec.')}: {_short(change.before)} → {_short(change.after)}"
        for change in changed[:_MOST_SHOWN]
    ]
    shown += [f"and {len(changed) - _MOST_SHOWN} more"] if len(changed) > _MOST_SHOWN else []
    if entry.failed_at:
        shown.append(f"given up: {entry.failure or 'it did not serve in time'}")
    elif entry.failure:
        shown.append(f"removed before it served: {entry.failure}")
    return "\n".join(shown)


def _short(value: Any) -> str:
    return "-" if value is None else str(value)


run = runner(command, NamedOptions)
