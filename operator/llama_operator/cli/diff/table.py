"""The table form of `kubectl llama diff`, for people. Called by `cli.diff.command`."""

import json
from collections.abc import Iterable
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from llama_operator.cli.diff.difference import Difference
from llama_operator.cli.shared.changes import Change
from llama_operator.cli.shared.output import plan_label
from llama_operator.decide.rollout.fields import FieldClass

_COLORS = {FieldClass.LIVE: "green", FieldClass.RESTART: "yellow"}


def show(console: Console, found: Difference) -> None:
    """Print the changed fields, the revisions, the plans, and what would happen."""
    metadata = found.after.metadata
    known = "" if found.before else "  (does not exist yet)"
    console.print(Text.assemble((f"{metadata.namespace}/{metadata.name}", "bold"), known))
    if found.changed:
        console.print(fields(found.changed))
    if found.changed or found.before is None:
        _revision(console, found)
    mark = ("✗ ", "bold red") if found.decision.problem else ("→ ", "bold cyan")
    console.print(Text.assemble(mark, found.effect))


def fields(changed: Iterable[Change]) -> Table:
    """Build the table of changed fields; also used by `cli.rollback.command`."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("FIELD", no_wrap=True)
    table.add_column("FROM", overflow="fold")
    table.add_column("TO", overflow="fold")
    table.add_column("CLASS", no_wrap=True)
    for change in changed:
        color = _COLORS[change.kind]
        table.add_row(change.field, _value(change.before), _value(change.after), Text(change.kind, style=color))
    return table


def _revision(console: Console, found: Difference) -> None:
    decision = found.decision
    record = found.observed.record(decision.revision.name)
    pinned = f"known as revision {record.number}: its plan is used again" if record else "new"
    if found.unknown:
        pinned = f"whether it is new is not known: {'; '.join(found.unknown)}"
    console.print(f"revision  {decision.revision.name} ({pinned})", markup=False)
    if decision.chosen is None:
        return
    before, after = plan_label(found.running), plan_label(decision.chosen)
    console.print(f"plan      {after if before in {'', after} else f'{before} → {after}'}", markup=False)


def _value(value: Any) -> Text:
    if value is None:
        return Text("-", style="dim")
    return Text(value if isinstance(value, str) else json.dumps(value))
