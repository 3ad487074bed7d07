"""Finds the causes. Called by `status`, `decide.rollout` and `cli.explain`."""

from llama_operator.decide.diagnosis.cause import Cause
from llama_operator.decide.observed import Observed


def causes(observed: Observed, revision: str) -> tuple[Cause, ...]:  # noqa: ARG001 - filled next
    """Why the revision does not answer, or answers with fewer replicas than are wanted.

    Args:
        observed: What is known.
        revision: Name of the revision.

    Returns:
        The nearest cause first; empty when nothing is known to be wrong.
    """
    return ()
