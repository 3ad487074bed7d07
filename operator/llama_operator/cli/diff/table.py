"""The table form of `kubectl llama diff`, for people. Called by `cli.diff.command`."""

import json
from collections.abc import Iterable
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from llama_operator.cli.diff.difference import Difference
from llama_operator.cli.shared import world
from llama_operator.cli.shared.changes import Change
from llama_operator.cli.shared.output import plan_label
from llama_operator.decide.rollout.fields import FieldClass

_COLORS = {FieldClass.LIVE: "green", FieldClass.RESTART: "yellow"}


def show(console: Console, difference: Difference) -> None:
    """Print the changed fields, the revisions, the plans, what would happen, and what was not read."""
    metadata = difference.after.metadata
    known = "" if difference.before else "  (does not exist yet)"
    console.print(Text.assemble((f"{metadata.namespace}/{metadata.name}", "bold"), known))
    if difference.changed:
        console.print(fields(difference.changed))
    if difference.changed or difference.before is None:
        _revision(console, difference)
    mark = ("✗ ", "bold red") if difference.decision.problem else ("→ ", "bold cyan")
    console.print(Text.assemble(mark, difference.effect))
    for why in world.whys(difference.observed.unknown):
        console.print(Text.assemble(("? ", "yellow"), why))


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


def _revision(console: Console, difference: Difference) -> None:
    decision = difference.decision
    pinned = difference.observed.pinned(decision.revision.name)
    if difference.unseen:
        history = "whether it is new is not known"
    elif pinned is not None:
        history = f"known as revision {pinned.number}: its plan is used again"
    else:
        history = "new"
    console.print(f"revision  {decision.revision.name} ({history})", markup=False)
    if decision.chosen is None:
        return
    before, after = plan_label(difference.running), plan_label(decision.chosen)
    console.print(f"plan      {after if before in {'', after} else f'{before} → {after}'}", markup=False)


def _value(value: Any) -> Text:
    if value is None:
        return Text("-", style="dim")
    return Text(value if isinstance(value, str) else json.dumps(value))
