"""What came of the stages: counts and failures from pytest's own reports, a table, and a last line with the sums.

Pure but for reading. The failures come after the table: where only the end of an output is kept, they are in it.

The last line reads `N passed, N failed`, with `, N skipped` if any were: people and programs look for it.
"""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stages.usage import GIB

_WORDS: Final = 400
_LINES: Final = 6


@dataclass(frozen=True, slots=True)
class Counts:
    """Tests of a stage by what came of them; an error of a fixture counts as a failure."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """A stage that has ended, or was never started.

    Attributes:
        name: Name of the stage.
        status: Exit status of its process; None if it was not started.
        counts: Its tests; None if it has none.
        seconds: How long it ran.
        peak: Most bytes of memory that it used.
        failures: Its failed tests, each with what was wrong.
    """

    name: str
    status: int | None
    counts: Counts | None
    seconds: float
    peak: int
    failures: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether it ran and nothing failed."""
        return self.status == 0


def counts(path: Path, *, good: bool) -> Counts:
    """Read what pytest wrote to `path`.

    Args:
        path: Report in JUnit's format; a stage that broke down may have written none.
        good: Whether the stage ended well. One that did not has at least one failure, whatever it reports.
    """
    if not path.exists():
        return Counts(failed=0 if good else 1)
    suites = list(ET.parse(path).getroot().iter("testsuite"))  # noqa: S314 - our own file
    total, failures, errors, skipped = (
        sum(int(suite.get(key, "0")) for suite in suites) for key in ("tests", "failures", "errors", "skipped")
    )
    failed = max(failures + errors, 0 if good else 1)
    return Counts(max(0, total - failures - errors - skipped), failed, skipped)


def failures(path: Path) -> tuple[str, ...]:
    """Read which tests failed, each with the end of what pytest wrote about it.

    Args:
        path: Report in JUnit's format, which need not be there.
    """
    if not path.exists():
        return ()
    cases = ET.parse(path).getroot().iter("testcase")  # noqa: S314 - our own file
    return tuple(
        f"{case.get('classname')}::{case.get('name')}\n{_end(part)}"
        for case in cases
        for part in (*case.findall("failure"), *case.findall("error"))
    )


def _end(part: ET.Element) -> str:
    """What was wrong, and where: the first words and the last lines."""
    head = (part.get("message") or "").strip()[:_WORDS]
    lines = [line for line in (part.text or "").splitlines() if line.strip()]
    return "\n".join(f"    {line[:_WORDS]}" for line in (*head.splitlines()[:_LINES], *lines[-_LINES:]))


def table(results: Sequence[Result]) -> str:
    """Render a line a stage, aligned."""
    rows = [("stage", "", "passed", "failed", "skipped", "seconds", "peak memory")]
    rows += [_row(result) for result in results]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    left = 2
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def closing_line(results: Sequence[Result]) -> str:
    """Sum up. A failed check without tests, say of style, counts as one failure."""
    passed = sum(result.counts.passed for result in results if result.counts)
    failed = sum(result.counts.failed if result.counts else int(result.status not in {0, None}) for result in results)
    skipped = sum(result.counts.skipped for result in results if result.counts)
    return f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else "")


def _row(result: Result) -> tuple[str, ...]:
    if result.status is None:
        return (result.name, "not started", "", "", "", "", "")
    numbers = ("", "", "")
    if result.counts is not None:
        numbers = (str(result.counts.passed), str(result.counts.failed), str(result.counts.skipped))
    word = "ok" if result.good else "FAILED"
    return (result.name, word, *numbers, f"{result.seconds:.0f}", f"{result.peak / GIB:.1f} GiB")
