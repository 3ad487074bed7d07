"""Findings, which are conditions before they have a time, and how they get it. Called by all of `status`.

The time of a condition moves only when its status does.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from llama_operator.api.meta import Condition, ConditionStatus
from llama_operator.api.said import shortened


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition before it has a time and a generation."""

    type: StrEnum
    status: ConditionStatus
    reason: StrEnum
    message: str = ""


def conditions(
    findings: Iterable[Finding], previous: Iterable[Condition], *, generation: int, now: datetime, limit: int
) -> tuple[Condition, ...]:
    """Give findings their time.

    Args:
        findings: What is so now.
        previous: The conditions of the status before.
        generation: Generation of the object that the findings are about.
        now: Time of the pass, in UTC.
        limit: Most bytes of a message.
    """
    before = {condition.type: condition for condition in previous}
    result = []
    for finding in findings:
        old = before.get(finding.type)
        since = old.last_transition_time if old is not None and old.status is finding.status else now
        result.append(
            Condition(
                type=finding.type,
                status=finding.status,
                observed_generation=generation,
                last_transition_time=since.replace(microsecond=0),
                reason=finding.reason,
                message=shortened(finding.message, limit),
            )
        )
    return tuple(result)
