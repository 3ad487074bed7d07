"""Shows what was played: a table for people, JSON for programs. Called by `__main__` and by the tests."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from gameday.judge import Judged, Verdict
from gameday.runner import Played

_WIDTH = 160
"""Of a table that goes to no terminal."""
_CHARACTERS = 300
"""Of what was said instead."""


def table(played: Sequence[Played]) -> None:
    """Print one row for each incident, then what is missing."""
    console = Console(highlight=False, emoji=False)
    console.width = console.width if console.is_terminal else _WIDTH
    shown = Table("INCIDENT", "WHAT HAPPENED", "VIEWS", "SLOWEST", "RESULT", box=box.SIMPLE_HEAD, pad_edge=False)
    for one in played:
        slowest = max(
            (each.seconds or 0.0 for each in one.judged if each.verdict is not Verdict.FORBIDDEN), default=0.0
        )
        right = sum(each.verdict is Verdict.SAID for each in one.judged)
        shown.add_row(
            one.incident.name, one.incident.title, f"{right} of {len(one.judged)}", f"{slowest:.1f} s", _result(one)
        )
    console.print(shown)
    for one in played:
        if not one.good:
            console.print(f"[bold]{one.incident.name}[/bold]")
            for line in wrong(one):
                console.print(f"  {line}", markup=False, soft_wrap=True)
    good = sum(one.good for one in played)
    console.print(f"{good} of {len(played)} incidents are told as they have to be")


def wrong(played: Played) -> Iterable[str]:
    """What is not as it has to be, one line each."""
    if played.failure:
        yield f"not played: {played.failure}"
    for one in played.judged:
        if one.verdict is not Verdict.SAID:
            yield f"{one.verdict}: {one.says}{_told(one)}"


def document(played: Sequence[Played]) -> dict[str, Any]:
    """All of it, for programs."""
    return {
        "good": sum(one.good for one in played),
        "played": len(played),
        "incidents": [
            {
                "name": one.incident.name,
                "title": one.incident.title,
                "own": one.incident.own,
                "good": one.good,
                "failure": one.failure,
                "seconds": round(one.seconds, 1),
                "says": [_judged(each) for each in one.judged],
                "lines": [f"{line.seconds:.1f} {line.view} {line}" for line in one.lines],
            }
            for one in played
        ],
    }


def _judged(one: Judged) -> dict[str, Any]:
    return {
        "expected": str(one.says),
        "within": one.says.within,
        "verdict": str(one.verdict),
        "seconds": None if one.seconds is None else round(one.seconds, 1),
        "instead": one.instead,
    }


def _told(one: Judged) -> str:
    if one.verdict is Verdict.LATE:
        return f" (after {one.seconds:.1f} s, not {one.says.within:.0f})"
    return f"; said: {one.instead[:_CHARACTERS]}"


def _result(one: Played) -> str:
    if one.failure:
        return "not played"
    return (
        "good"
        if one.good
        else ", ".join(sorted({each.verdict for each in one.judged if each.verdict is not Verdict.SAID}))
    )
