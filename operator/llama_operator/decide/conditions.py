"""What objects of other controllers say about themselves. Part of `Observed` and of its parts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConditionFacts:
    """A condition of an object, in the words of its controller."""

    type: str
    status: str
    reason: str
    message: str
