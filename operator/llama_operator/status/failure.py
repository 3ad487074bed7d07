"""A pass that failed, in words, and what its status still says. Called by `status.summary` and by the passes.

The words name the stage, so that two failures differ; and they stay the same from pass to pass, so that a pass that fails as
the one before did writes nothing.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from llama_operator.api.meta import Condition
from llama_operator.api.reasons import Reason
from llama_operator.api.said import said
from llama_operator.errors import WriteRefusedError

_WORDS = 512
"""Characters of an error. Messages of a server may hold a whole object."""
_VARYING = re.compile(r"(?<![\w+/=-])[\w+/=-]*[0-9][\w+/=-]*")
"""Words with a digit: addresses, uids, numbers and ids of a request. From one pass to the next they say nothing new."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a pass failed, as its status tells it."""

    reason: Reason
    """INTERNAL_ERROR, or WRITE_REFUSED: then a person has to change something."""
    text: str

    @property
    def refused(self) -> bool:
        """Whether the API server refused an object, and will until somebody changes something."""
        return self.reason is Reason.WRITE_REFUSED


def of(
    error: Exception, stage: str, *, defect: bool, live: Mapping[str, Any], previous: Iterable[Condition]
) -> Failure:
    """Say what went wrong, and what happens next; as the pass before said it, if that means the same.

    Args:
        error: What was raised.
        stage: Part of the pass: observe, decide, apply or report.
        defect: Whether it is a fault of the operator, and none of Kubernetes or of what was written.
        live: The object as it stands.
        previous: Conditions that the pass before wrote.
    """
    if isinstance(error, WriteRefusedError):
        reason, text = Reason.WRITE_REFUSED, f"{_said(error)}; what is there goes on, and it is tried again"
    else:
        reason, text = Reason.INTERNAL_ERROR, _words(error, stage, defect=defect)
    return Failure(reason, _steady(text, reason, previous, live))


def _words(error: Exception, stage: str, *, defect: bool) -> str:
    """Say what went wrong, and what happens next.

    Args:
        error: What was raised.
        stage: Part of the pass: observe, decide, apply or report.
        defect: Whether it is a fault of the operator, and none of Kubernetes or of what was written.
    """
    said = f"{type(error).__name__}: {_said(error)}"[:_WORDS].removesuffix(": ")
    if not defect:
        return f"{said}; the operator could not {stage}, and tries again"
    return (
        f"{said}; a defect of the operator stopped it when it had to {stage}. What runs goes on, and it tries again. Report it "
        "with the trace in the operator's log"
    )


def means_the_same(text: str, before: str) -> bool:
    """Whether two texts differ at most in what varies from one pass to the next."""
    return _VARYING.sub("#", before) == _VARYING.sub("#", text)


def _said(error: Exception) -> str:
    return " ".join(said(str(error)).split())[:_WORDS]


def _steady(text: str, reason: Reason, previous: Iterable[Condition], live: Mapping[str, Any]) -> str:
    """The words of the pass before, if they say the same as `text`: then its status need not be written again.

    Those about another generation of `live` do not count: they may name a revision that is no longer asked for.
    """
    known = (each for each in previous if each.observed_generation == live["metadata"].get("generation"))
    before = next((each.message for each in known if each.reason == reason), "")
    return before if means_the_same(text, before) else text
