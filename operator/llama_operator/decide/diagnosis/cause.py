"""A cause: what keeps a revision from answering, as conditions, events, `explain` and the rollout tell it."""

from dataclasses import dataclass
from typing import Final

from llama_operator.api.reasons import ConditionType, Reason

BEFORE_HINT: Final = " → "
"""Stands between a cause and its hint where both are told in one text."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a revision does not answer, or why fewer replicas do than are wanted."""

    reason: Reason
    condition: ConditionType
    """The condition that it concerns: CapacityFound, ModelLoaded or EndpointReady."""
    message: str
    """What is wrong, in the words of the one who knows: scheduler, kubelet, KubeRay, engine. The same from pass to pass while
    nothing changes: no ages, no counters that move by themselves."""
    hint: str = ""
    """What a person can do about it; empty where only waiting helps."""
