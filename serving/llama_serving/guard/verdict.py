"""The grammar of a guard's answer, and what a check can come to. Pure; `judge` uses it.

A guard is a language model, so it can be talked into saying anything. Only two forms are a verdict.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_ANSWER: Final = re.compile(
    r"(?:[ \t]*\n)*(?:(?P<safe>safe)|unsafe\n(?P<categories>S[1-9][0-9]{0,2}(?:,S[1-9][0-9]{0,2})*))\n?"
)
"""Blank lines may come first: some guards write them."""


class Why(StrEnum):
    """Why something is not classified."""

    TIMEOUT = "timeout"
    """The guard took longer than the deadline."""
    UNAVAILABLE = "unavailable"
    """The guard does not run, or failed."""
    NO_VERDICT = "no-verdict"
    """The guard said something else than a verdict."""
    TOO_LONG = "too-long"
    """The text is longer than the guard can read."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a check came to.

    Attributes:
        safe: Whether the text may pass; None if it is not classified.
        categories: Why it may not.
        why: Why it is not classified.
    """

    safe: bool | None
    categories: tuple[str, ...] = ()
    why: Why | None = None

    @property
    def word(self) -> str:
        """One word for metrics."""
        if self.safe is None:
            return "not_classified"
        return "safe" if self.safe else "unsafe"

    @property
    def text(self) -> str:
        """The value of the response header."""
        if self.safe is None:
            return f"not-classified; reason={self.why}"
        if self.safe:
            return "safe"
        return f"unsafe; categories={','.join(self.categories)}"


SAFE: Final = Judgement(safe=True)


def failed(why: Why) -> Judgement:
    """A check without a verdict."""
    return Judgement(safe=None, why=why)


def judgement_of(answer: str, counted: frozenset[str]) -> Judgement:
    """Read the answer of a guard.

    Args:
        answer: Its whole answer.
        counted: Categories that count; empty for all. Unsafe by others alone is safe.
    """
    match = _ANSWER.fullmatch(answer)
    if match is None:
        return failed(Why.NO_VERDICT)
    if match["safe"]:
        return SAFE
    named = tuple(dict.fromkeys(match["categories"].split(",")))
    counts = tuple(name for name in named if not counted or name in counted)
    return Judgement(safe=False, categories=counts) if counts else SAFE


def worst(judgements: list[Judgement]) -> Judgement:
    """What several checks come to together: unsafe before not classified before safe."""
    unsafe = [one for one in judgements if one.safe is False]
    if unsafe:
        return Judgement(safe=False, categories=tuple(dict.fromkeys(name for one in unsafe for name in one.categories)))
    return next((one for one in judgements if one.safe is None), SAFE)
