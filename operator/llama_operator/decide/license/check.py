"""What a check of the license chain is, and what it returns. Used by every module of `rules` and by `chain`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from llama_operator.api.reasons import Reason
from llama_operator.decide.license.facts import LicenseInput

Origin = Literal["License", "Record", "HousePolicy"]
"""Source of a rule: the text of a license, the evidence that the operator requires, or a decision of this house."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a check refuses."""

    message: str
    unblock: str
    clause: str = ""
    """Clause in the words of the license at hand; empty for the check's own."""
    reason: Reason | None = None
    """None for the check's own."""


@dataclass(frozen=True, slots=True)
class Check:
    """One rule as a named pure function.

    Attributes:
        id: Name of the check, unique.
        rule: Id of the rule in docs/licenses.md, for example `P5`.
        clause: Clause of the license that says so.
        reason: One word for programs if it refuses.
        refuses: Returns why it refuses, or None.
        applies: Whether the rule is about this case at all.
        needs_acceptances: Whether it can be judged only if the acceptances were read.
        origin: Source of the rule.
    """

    id: str
    rule: str
    clause: str
    reason: Reason
    refuses: Callable[[LicenseInput], Refusal | None]
    applies: Callable[[LicenseInput], bool]
    needs_acceptances: bool = False
    origin: Origin = "License"


def always(case: LicenseInput) -> bool:
    """Applies to every model."""
    del case
    return True


def under(rule: str) -> Callable[[LicenseInput], bool]:
    """Applies to models under a family that has the rule."""

    def applies(case: LicenseInput) -> bool:
        return bool(case.model.under(rule))

    return applies


def in_a_house(case: LicenseInput) -> bool:
    """Applies if there is a LicensePolicy."""
    return bool(case.policies)


def under_acceptance_in_a_house(case: LicenseInput) -> bool:
    """Applies to models with a family that must be accepted, if there is a LicensePolicy."""
    return in_a_house(case) and under_acceptance(case)


def under_acceptance(case: LicenseInput) -> bool:
    """Applies to models with a family that must be accepted."""
    return bool(case.model.needing_acceptance)
