"""What an incident is, and what a view has to say about it. The incidents are written with these, `judge` reads them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gameday.stage import Stage

WITHIN_SECONDS: Final = 10.0
"""How soon a view has to say it, counted from when Kubernetes knows it."""


class View(StrEnum):
    """Where somebody on call looks."""

    CONDITION = "condition"
    EVENT = "event"
    EXPLAIN = "explain"
    DOCTOR = "doctor"
    COLUMN = "get"
    LOG = "log"
    ANSWER = "answer"
    """What a command said that was part of the play: kubectl's refusal, `plan -f`, `rollback`."""


class When(StrEnum):
    """When it has to be so."""

    AT_LAST = "at last"
    """It comes, and it is still so in the end."""
    ONCE = "once"
    """It comes; it may pass."""
    NEVER = "never"
    """It is at no time so, from the cause to the end."""


@dataclass(frozen=True, slots=True)
class Says:
    """What one view has to say; empty attributes allow anything."""

    view: View
    of: str = ""
    """Type of a condition, reason of an event, name of a check, name of a column."""
    state: str = ""
    """Status of a condition, type of an event, state of a check."""
    reason: str = ""
    has: tuple[str, ...] = ()
    """Words that are in the text, whatever their case."""
    lacks: tuple[str, ...] = ()
    """Words that are not."""
    single: str = ""
    """Words that stand in it exactly once."""
    when: When = When.AT_LAST
    within: float = WITHIN_SECONDS
    """Seconds."""

    def __str__(self) -> str:
        what = " ".join(part for part in (self.of, self.state, self.reason) if part)
        words = [f"with {', '.join(map(repr, self.has))}"] if self.has else []
        words += [f"without {', '.join(map(repr, self.lacks))}"] if self.lacks else []
        words += [f"once {self.single!r}"] if self.single else []
        never = "never " if self.when is When.NEVER else ""
        return " ".join((f"{never}{self.view}", what, *words)).strip()


Play = Callable[["Stage"], None]


def nothing(_: "Stage") -> None:
    """Nothing has to be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Something that goes wrong, and what has to be said about it."""

    name: str
    """Short, of letters, digits and hyphens: the namespace is called after it."""
    title: str
    """What happened, for people."""
    cause: Play
    """Lets it happen."""
    says: tuple[Says, ...]
    before: Play = nothing
    """What stands before it happens."""
    after: Play = nothing
    """Takes back what other incidents would see; what is in the namespace goes by itself."""
    reasons: tuple[str, ...] = ()
    """Reasons of conditions whose runbook this incident belongs to."""
    takes: frozenset[str] = frozenset()
    """Kinds of nodes that no other incident may use meanwhile."""
    alone: bool = False
    """Whether it disturbs all others: it stops the operator, KubeRay or the API server."""
    flags: tuple[str, ...] = ()
    """Further flags of the operator; an incident with flags, or one that stops the operator, has an operator of its own."""
    own: bool = False
    """One of ours, beside those that somebody on call has played."""
    real: bool = False
    """Whether it needs a node that runs pods, with a real kubelet."""
    sampled: bool = False
    """Whether `make test` plays it."""


def condition(
    of: str, state: str = "", reason: str = "", *, has: tuple[str, ...] = (), lacks: tuple[str, ...] = ()
) -> Says:
    """A condition of the LlamaDeployment, about its current generation."""
    return Says(View.CONDITION, of, state, reason, has, lacks)


def event(of: str, state: str = "Warning", *, has: tuple[str, ...] = (), lacks: tuple[str, ...] = ()) -> Says:
    """An event about the LlamaDeployment."""
    return Says(View.EVENT, of, state, "", has, lacks, when=When.ONCE)


def explain(of: str, state: str = "", *, has: tuple[str, ...] = (), lacks: tuple[str, ...] = ()) -> Says:
    """A check of `kubectl llama explain`, its hint included."""
    return Says(View.EXPLAIN, of, state, "", has, lacks)


def doctor(of: str, state: str = "", *, has: tuple[str, ...] = (), lacks: tuple[str, ...] = ()) -> Says:
    """A check of `kubectl llama doctor`, its hint included."""
    return Says(View.DOCTOR, of, state, "", has, lacks)


def column(of: str, *, has: tuple[str, ...] = (), lacks: tuple[str, ...] = ()) -> Says:
    """A column of `kubectl get lld`, by its heading."""
    return Says(View.COLUMN, of, "", "", has, lacks)


def logged(*, has: tuple[str, ...], state: str = "") -> Says:
    """A line of the operator's log about the namespace; its level is `state`."""
    return Says(View.LOG, "", state, "", has, when=When.ONCE)


def answered(*, has: tuple[str, ...] = (), lacks: tuple[str, ...] = ()) -> Says:
    """What the commands of the play said."""
    return Says(View.ANSWER, "", "", "", has, lacks)


def single(words: str, says: Says) -> Says:
    """The same, and the words stand once in it."""
    return replace(says, single=words)


def once(says: Says) -> Says:
    """The same; it may pass."""
    return replace(says, when=When.ONCE)


def never(says: Says) -> Says:
    """The opposite, all the time."""
    return replace(says, when=When.NEVER)


def within(seconds: float, says: Says) -> Says:
    """The same, in another time: Kubernetes itself needs some."""
    return replace(says, within=seconds)
