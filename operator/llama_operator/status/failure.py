"""A pass that failed, in words, and what its status still says. Called by `status.summary` and by the passes.

The words name the stage, so that two failures differ; and they stay the same from pass to pass, so that a pass that fails as
the one before did writes nothing.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Any, Final

from llama_operator.api.meta import Condition
from llama_operator.api.reasons import Reason
from llama_operator.api.said import said
from llama_operator.errors import WriteRefusedError

_WORDS = 512
"""Characters of an error. Messages of a server may hold a whole object."""
_VARYING = re.compile(r"(?<![\w+/=-])[\w+/=-]*[0-9][\w+/=-]*")
"""Words with a digit: addresses, uids, numbers and ids of a request. From one pass to the next they say nothing new."""
PATIENCE: Final = timedelta(minutes=1)
"""How long requests may fail until a status says so. A pass is tried again after half a second, then after twice as long each
time: a minute is some seven passes in a row."""


class Nature(Enum):
    """What kind of failure it was."""

    DEFECT = auto()
    """A fault of the operator."""
    TRANSIENT = auto()
    """Kubernetes did not answer, or somebody else was faster: the same request may help a moment later."""
    KUBERNETES = auto()
    """Kubernetes refused a request that is no write of an object, for lack of a right say."""
    OWN = auto()
    """Something that the operator itself needs, and says in its own words."""


_OF_KUBERNETES: Final = frozenset({Nature.TRANSIENT, Nature.KUBERNETES})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a pass failed, as its status tells it."""

    reason: Reason
    """INTERNAL_ERROR, KUBERNETES_ERROR, or WRITE_REFUSED: then a person has to change something."""
    text: str
    brief: bool = False
    """Whether it may be over a moment later: until it has lasted, no condition says anything new because of it."""

    @property
    def refused(self) -> bool:
        """Whether the API server refused an object, and will until somebody changes something."""
        return self.reason is Reason.WRITE_REFUSED


def of(
    error: Exception,
    stage: str,
    *,
    nature: Nature,
    live: Mapping[str, Any],
    previous: Iterable[Condition],
    lasted: timedelta = PATIENCE,
) -> Failure:
    """Say what went wrong, and what happens next; as the pass before said it, if that means the same.

    Args:
        error: What was raised.
        stage: Part of the pass: observe, decide, apply or report.
        nature: What kind of failure it is.
        live: The object as it stands.
        previous: Conditions that the pass before wrote; where there are none, none can be kept.
        lasted: For how long passes have failed in a row.
    """
    known = tuple(previous)
    if isinstance(error, WriteRefusedError):
        text = f"{_said(error)}; what is there goes on, and it is tried again"
        return Failure(Reason.WRITE_REFUSED, _steady(text, Reason.WRITE_REFUSED, known, live))
    text = _words(error, stage, defect=nature is Nature.DEFECT)
    reason = Reason.KUBERNETES_ERROR if nature in _OF_KUBERNETES else Reason.INTERNAL_ERROR
    brief = nature is Nature.TRANSIENT and lasted < PATIENCE and bool(known)
    return Failure(reason, _steady(text, reason, known, live), brief)


def _words(error: Exception, stage: str, *, defect: bool) -> str:
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
