"""Compares what the views said with what they have to say. Pure; called by `runner`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gameday.incident import Says, View, When


@dataclass(frozen=True, slots=True)
class Line:
    """Something that a view said."""

    view: View
    seconds: float
    """Since the cause; less than 0 for what was said before."""
    of: str
    state: str
    reason: str
    text: str
    last: bool = True
    """Whether the view says it still."""

    def __str__(self) -> str:
        head = " ".join(part for part in (self.of, self.state, self.reason) if part)
        return f"{head}: {self.text}" if head else self.text


class Verdict(StrEnum):
    """How a view fared."""

    SAID = "said"
    LATE = "late"
    """Said, and not in time."""
    MISSING = "missing"
    """Not said; or said and taken back."""
    FORBIDDEN = "forbidden"
    """Said, and it must not be."""


@dataclass(frozen=True, slots=True)
class Judged:
    """An expectation, and what was said."""

    says: Says
    verdict: Verdict
    seconds: float | None
    """When it was said first; None if it was not."""
    instead: str = ""
    """What was said in its place, or what was said that must not be."""


def judge(says: Says, lines: Sequence[Line], began: float = 0.0) -> Judged:
    """Judge one expectation by all that was said, in the order in which it was.

    Args:
        says: What has to be said.
        lines: What was said.
        began: When the cause began, in seconds since Kubernetes knew of it: 0 or less. What was said before does not count.
    """
    about = [line for line in lines if line.view is says.view and says.of in {"", line.of}]
    if says.when is When.NEVER:
        found = next((line for line in about if line.seconds >= began and _matches(says, line)), None)
        if found is None:
            return Judged(says, Verdict.SAID, None)
        return Judged(says, Verdict.FORBIDDEN, found.seconds, str(found))
    matching = [line for line in about if line.seconds >= began and _matches(says, line)]
    if says.when is When.AT_LAST:
        matching = _unbroken(says, about)
    if not matching:
        return Judged(says, Verdict.MISSING, None, _instead(about, began))
    # What was so before the cause, and still is, needed no time.
    seconds = max(0.0, matching[0].seconds)
    return Judged(says, Verdict.SAID if seconds <= says.within else Verdict.LATE, seconds)


def said(judged: Iterable[Judged]) -> bool:
    """Whether all is as it has to be, in time or not."""
    return all(one.verdict in {Verdict.SAID, Verdict.LATE} for one in judged)


def _unbroken(says: Says, about: Sequence[Line]) -> list[Line]:
    """Lines that match, from the one since when it is so until now; empty if it is not so now."""
    run: list[Line] = []
    for line in reversed(about):
        if not _matches(says, line):
            break
        run.append(line)
    return run[::-1]


def _matches(says: Says, line: Line) -> bool:
    text = line.text.lower()
    return (
        says.state in {"", line.state}
        and says.reason in {"", line.reason}
        and all(words.lower() in text for words in says.has)
        and not any(words.lower() in text for words in says.lacks)
        and (not says.single or text.count(says.single.lower()) == 1)
    )


def _instead(about: Sequence[Line], began: float) -> str:
    told = [line for line in about if line.seconds >= began] or list(about)
    return str(told[-1]) if told else "nothing"
