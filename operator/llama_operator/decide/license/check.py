"""What a check of the license chain is, and what it answers. Used by every module of checks and by `chain`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from llama_operator.api.reasons import Reason
from llama_operator.decide.license.facts import LicenseInput

Origin = Literal["License", "Record", "HousePolicy"]
"""Where a rule comes from: the text of a license, the evidence that this operator wants, or what this house decided."""


@dataclass(frozen=True, slots=True)
class Found:
    """Why a check refuses."""

    message: str
    unblock: str
    clause: str = ""
    """Clause in the words of the license at hand; empty for the check's own."""
    reason: Reason | None = None
    """Where it differs from the check's own."""


@dataclass(frozen=True, slots=True)
class Check:
    """One rule as a named pure function.

    Attributes:
        id: Name of the check, unique.
        rule: Id of the rule in docs/licenses.md, for example `P5`.
        clause: Clause that it rests on.
        reason: One word for programs, when it refuses.
        finds: Returns why it refuses, or None.
        applies: Whether the rule has anything to say about the input.
        needs_records: Whether it can be judged only when acceptances were looked up.
        origin: Where the rule comes from.
    """

    id: str
    rule: str
    clause: str
    reason: Reason
    finds: Callable[[LicenseInput], Found | None]
    applies: Callable[[LicenseInput], bool]
    needs_records: bool = False
    origin: Origin = "License"


def always(given: LicenseInput) -> bool:
    """Applies to every model."""
    del given
    return True


def under(rule: str) -> Callable[[LicenseInput], bool]:
    """Applies to models under a family that has the rule."""

    def applies(given: LicenseInput) -> bool:
        return bool(given.model.under(rule))

    return applies


def in_a_house(given: LicenseInput) -> bool:
    """Applies where there is a LicensePolicy."""
    return bool(given.policies)


def under_acceptance_in_a_house(given: LicenseInput) -> bool:
    """Applies to models with a family that must be accepted, where there is a LicensePolicy."""
    return in_a_house(given) and under_acceptance(given)


def under_acceptance(given: LicenseInput) -> bool:
    """Applies to models with a family that must be accepted."""
    return bool(given.model.needing_acceptance)
