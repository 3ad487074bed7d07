"""How long a revision may take until it serves. Called by `decide.rollout`, and by `status` for what it says about deadlines."""

from typing import Final

from llama_operator.decide.observed import Observed

_LEAST: Final = 3600
"""Seconds. The API server wrote this into specs that name no deadline, as the definition said before: it counts as unset."""
_STARTS: Final = 3
"""A start that is expected may take so many times as long before it counts as failed: a constant of a plan is no promise."""


def progress_deadline(observed: Observed, revision: str) -> int:
    """Return the seconds in which `revision` has to serve.

    Args:
        observed: Its spec may name them. If not, it is an hour, or three starts as the plan predicts or pods have told them.
        revision: Its plan is what starts.
    """
    said = observed.deployment.spec.rollout.progress_deadline_seconds
    if said is not None and said != _LEAST:
        return said
    record, status = observed.pinned(revision), observed.deployment.status
    chosen = None if record is None else record.plan.chosen
    predicted = 0 if chosen is None else chosen.cold_start_seconds or 0
    measured = None if status is None or status.cold_start is None else status.cold_start.measured_seconds
    return max(_LEAST, _STARTS * max(predicted, measured or 0))
