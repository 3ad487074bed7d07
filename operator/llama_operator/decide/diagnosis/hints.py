"""What to do about a cause, by the words of the one who told it: the only hints that there are.

Called by `decide.diagnosis.causes` and, for what a reason means at large, by `cli.explain.cures`. `docs/incidents.md` is made
from them too.
"""

import re
from typing import Final

from llama_operator.api.reasons import Reason
from llama_operator.decide.diagnosis.hint import Hint
from llama_operator.decide.diagnosis.hints_of_engines import ENGINES
from llama_operator.decide.diagnosis.hints_of_pods import PODS
from llama_operator.decide.diagnosis.hints_of_routes import ROUTES

HINTS: Final[tuple[Hint, ...]] = (*PODS, *ENGINES, *ROUTES)
"""Of a reason, the first that fits; its last one fits all."""


def hint(reason: str, message: str) -> Hint | None:
    """The hint for a message; None for a reason without hints.

    Args:
        reason: Reason of a cause or of a condition.
        message: What was said.
    """
    lowered = message.lower()
    fitting = (one for one in HINTS if one.reason == reason)
    return next(
        (one for one in fitting if not one.words or any(_says(lowered, word.lower()) for word in one.words)), None
    )


def general(reason: Reason) -> str:
    """What to do about a reason, whatever the message says, with its fields still to be filled in."""
    return next((one.do for one in HINTS if one.reason is reason and not one.words), "")


def reasons() -> frozenset[Reason]:
    """Reasons that have hints."""
    return frozenset(one.reason for one in HINTS)


def _says(text: str, word: str) -> bool:
    """Whether a text has a word; a number counts only by itself: `401` is no part of a port or an amount."""
    if not word.isdigit():
        return word in text
    return re.search(rf"(?<![\w.]){word}(?![\w.]*\w)", text) is not None
