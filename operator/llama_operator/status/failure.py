"""A pass that failed, in words, and what its status still says. Called by `status.summary` and by the passes.

The words name the stage, so that two failures differ; and they stay the same from pass to pass, so that a pass that fails as
the one before did writes nothing.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from llama_operator.api.meta import Condition
from llama_operator.api.reasons import Reason

_WORDS = 512
"""Characters of an error. Messages of a server may hold a whole object."""
_VARYING = re.compile(r"(?<![\w+/=-])[\w+/=-]*[0-9][\w+/=-]*")
"""Words with a digit: addresses, uids, numbers and ids of a request. From one pass to the next they say nothing new."""


def words(error: Exception, stage: str, *, defect: bool) -> str:
    """Say what went wrong, and what happens next.

    Args:
        error: What was raised.
        stage: Part of the pass: observe, decide, apply or report.
        defect: Whether it is a fault of the operator, and none of Kubernetes or of what was written.
    """
    said = f"{type(error).__name__}: {' '.join(str(error).split())}"[:_WORDS].removesuffix(": ")
    if not defect:
        return f"{said}; the operator could not {stage}, and tries again"
    return (
        f"{said}; a defect of the operator stopped it when it had to {stage}. What runs goes on, and it tries again. Report it "
        "with the trace in the operator's log"
    )


def steady(text: str, previous: Iterable[Condition], live: Mapping[str, Any]) -> str:
    """The words of the pass before, if they say the same as `text`: then its status need not be written again.

    Those about another generation of `live` do not count: they may name a revision that is no longer asked for.
    """
    known = (each for each in previous if each.observed_generation == live["metadata"].get("generation"))
    before = next((each.message for each in known if each.reason == Reason.INTERNAL_ERROR), "")
    return before if _VARYING.sub("#", before) == _VARYING.sub("#", text) else text
