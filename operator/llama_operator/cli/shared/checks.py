"""A check: a step that passed or not, with its evidence and what would unblock it. Used by `explain` and `doctor`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


class State(StrEnum):
    """Outcome of a check."""

    PASSED = "Passed"
    """It is as it has to be."""
    WAITING = "Waiting"
    """It takes time; there is nothing to do yet."""
    WARNING = "Warning"
    """It works without, but less well."""
    UNKNOWN = "Unknown"
    """It could not be read."""
    SKIPPED = "Skipped"
    """An earlier step has to pass before it means anything."""
    ABSENT = "Absent"
    """It is not there, and nothing needs it."""
    FAILED = "Failed"
    """A person has to change something."""
    MISSING = "Missing"
    """Something that is needed is not there."""


@dataclass(frozen=True, slots=True)
class Check:
    """One step, and what is known about it."""

    name: str
    state: State
    evidence: str
    """One line: what was seen."""
    unblock: str = ""
    """What to do, as a command or a field to change; empty when there is nothing to do."""

    def to_json(self) -> dict[str, str]:
        """Render for programs; the same fields for every check."""
        return {
            "name": self.name,
            "state": str(self.state),
            "evidence": self.evidence,
            "unblock": self.unblock,
        }


_MARKS: Mapping[State, tuple[str, str]] = {
    State.PASSED: ("✓", "green"),
    State.WAITING: ("…", "yellow"),
    State.WARNING: ("!", "yellow"),
    State.UNKNOWN: ("?", "yellow"),
    State.SKIPPED: ("-", "dim"),
    State.ABSENT: ("-", "dim"),
    State.FAILED: ("✗", "bold red"),
    State.MISSING: ("✗", "bold red"),
}

_EVIDENCE_LINES = 3
_EVIDENCE_CHARACTERS = 480
"""What an engine says may be a whole traceback; the end says most. `-o json` has all of it."""


def show(console: "Console", checks: Sequence[Check]) -> None:
    """Print the checks in order, with what would unblock those that need it."""
    from rich.text import Text

    width = max(len(check.name) for check in checks)
    for check in checks:
        mark, color = _MARKS[check.state]
        dim = "dim" if check.state in {State.SKIPPED, State.ABSENT} else ""
        head = Text.assemble((f"{mark} ", color), (f"{check.name:<{width}}  ", dim or "bold"))
        console.print(_beside(head, Text(_shortened(check.evidence), style=dim), width + 4))
        if check.unblock:
            console.print(_beside(Text("→ ".rjust(width + 4), style="bold cyan"), Text(check.unblock), width + 4))


def _beside(head: Any, body: Any, width: int) -> Any:
    from rich.table import Table

    grid = Table.grid(padding=0)
    grid.add_column(width=width, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(head, body)
    return grid


def _shortened(text: str) -> str:
    lines = text.strip().splitlines()
    last = "\n".join(lines[-_EVIDENCE_LINES:])
    return last if len(last) <= _EVIDENCE_CHARACTERS else "…" + last[-_EVIDENCE_CHARACTERS:]
