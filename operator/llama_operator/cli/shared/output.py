"""What the commands on a cluster print in common: JSON, ages, plans, marks. Called by these commands."""

import json
import sys
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from llama_operator.api.v1alpha1.llamadeployment_status import ChosenPlan
from llama_operator.cli.shared import terminal

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table

_WIDE = 240
"""Characters that hold every table; lines are as long as what stands in them."""
_WIDEST = 10_000
"""More characters than a cell of a table ever has."""
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def print_json(content: Any) -> None:
    """Print one JSON document."""
    json.dump(content, sys.stdout, indent=2)
    print()


def picked(part: object, *names: str) -> dict[str, Any]:
    """Take the attributes of `part` that stand under their own names in a JSON document."""
    return {name: getattr(part, name) for name in names}


def print_json_line(content: Any) -> None:
    """Print one JSON document in one line, at once: for a stream of them."""
    print(json.dumps(content), flush=True)


def console(*, wide: bool = False, errors: bool = False) -> "Console":
    """Make the console of a command: colors where the terminal has them.

    Args:
        wide: For tables of facts: keep every column whole and let a small terminal wrap the lines, as kubectl does.
            Without a terminal there is no width to keep in any case.
        errors: For standard error.
    """
    from rich.console import Console
    from rich.segment import Segment

    class Piped(Console):
        """Leaves a pipe that its reader closed to `cli.main`, which ends without an error."""

        @override
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

        @override
        def render(self, renderable: "RenderableType", options: "ConsoleOptions | None" = None) -> Iterable[Segment]:
            """Render; of control sequences only those of rich itself are left."""
            for part in super().render(renderable, options):
                yield part if part.control else Segment(terminal.plain(part.text), part.style)

    made = Piped(highlight=False, emoji=False, file=terminal.raw(sys.stderr if errors else sys.stdout))
    if wide or not made.is_terminal:
        made.width = max(made.width, _WIDE)
    return made


def table(*headings: str, right: Collection[str] = (), whole: Collection[str] = ()) -> "Table":
    """Make an empty table.

    Args:
        headings: The columns.
        right: Which of them are numbers.
        whole: Which of them are never broken into lines.
    """
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        made.add_column(
            heading, justify="right" if heading in right else "left", no_wrap=heading in whole, overflow="fold"
        )
    return made


def show_table(console: "Console", rows: "Table") -> None:
    """Print a table without cutting a word; if the terminal is too narrow for that, it wraps the lines, as for kubectl."""
    width = console.width
    console.width = max(width, _whole_width(console, rows))
    console.print(rows)
    console.width = width


def fitted(console: "Console", rows: "Table", spare: Iterable[str]) -> "tuple[Table, tuple[str, ...]]":
    """Make a table fit into a terminal that is drawn again and again, where no line may wrap; returns also which columns it left out.

    A cell that is cut shows another number than there is. So columns go, and what does not fit even then is broken into lines.

    Args:
        console: The terminal.
        rows: The table.
        spare: Columns that may be left out, the first one first.
    """
    left_out: tuple[str, ...] = ()
    for heading in spare:
        if _whole_width(console, rows) <= console.width:
            return rows, left_out
        if heading in (column.header for column in rows.columns):
            rows, left_out = _without(rows, heading), (*left_out, heading)
    if _whole_width(console, rows) > console.width:
        for column in rows.columns:
            column.no_wrap, column.min_width = False, None
    return rows, left_out


def _without(rows: "Table", heading: str) -> "Table":
    kept = [column for column in rows.columns if column.header != heading]
    right = [str(column.header) for column in kept if column.justify == "right"]
    whole = [str(column.header) for column in kept if column.no_wrap]
    made = table(*(str(column.header) for column in kept), right=right, whole=whole)
    for cells in zip(*(column.cells for column in kept), strict=True):
        made.add_row(*cells)
    return made


def narrow_note(left_out: Iterable[str]) -> list[str]:
    """Say which columns a narrow terminal does not show; nothing if it shows all."""
    names = ", ".join(left_out)
    return [f"not shown, because the terminal is too narrow: {names}"] if names else []


def _whole_width(console: "Console", rows: "Table") -> int:
    """Set the widths that cut no word, and return that of the table."""
    from rich.measure import Measurement

    needed = len(rows.columns) + 1  # what the box draws
    for column in rows.columns:
        texts = (column.header, *column.cells)
        cells = [Measurement.get(console, console.options.update(width=_WIDEST), text) for text in texts]
        column.min_width = max(cell.maximum if column.no_wrap else cell.minimum for cell in cells)
        needed += column.min_width + sum(rows.padding[1::2])
    return needed


def moment(text: str | None) -> datetime | None:
    """Parse a time as Kubernetes writes it; None for none."""
    return None if not text else datetime.fromisoformat(text)


def age(since: datetime | None, now: datetime) -> str:
    """How long ago, in the two largest figures that matter: `45s`, `12m`, `5h`, `4d`; empty for unknown."""
    if since is None:
        return ""
    seconds = max(0, int((now - since) / timedelta(seconds=1)))
    if seconds < 2 * _MINUTE:
        return f"{seconds}s"
    if seconds < 2 * _HOUR:
        return f"{seconds // _MINUTE}m"
    return f"{seconds // _HOUR}h" if seconds < 2 * _DAY else f"{seconds // _DAY}d"


def plan_label(chosen: ChosenPlan | None) -> str:
    """A plan in one short cell: `FP8 8×H100-80GB`, and the nodes where it takes several."""
    if chosen is None:
        return ""
    nodes = f" on {chosen.nodes_per_replica} nodes" if chosen.nodes_per_replica > 1 else ""
    return f"{chosen.precision} {chosen.gpus_per_replica}×{chosen.accelerator}{nodes}"
