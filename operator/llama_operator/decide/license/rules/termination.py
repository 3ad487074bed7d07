"""Checks of whether an acceptance still holds (P20), and whether what runs has lost its right.

A terminated acceptance ends the license. No older or parallel acceptance of the same entity revives it, and naming another
one that does not hold is no way out.
"""

from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.licenseacceptance import AcceptanceState, LicenseAcceptance
from llama_operator.decide.license.check import Check, Refusal, under_acceptance
from llama_operator.decide.license.facts import LicenseInput, day, same_party
from llama_operator.decide.license.rules.acceptance import acceptance_by_family, acceptances_used


def _holds(case: LicenseInput) -> Refusal | None:
    for acceptance in acceptances_used(case):
        if acceptance.spec.state is AcceptanceState.WITHDRAWN:
            return Refusal(
                f"LicenseAcceptance {acceptance.metadata.name} is withdrawn",
                "name an acceptance that holds; what runs goes on",
                reason=Reason.ACCEPTANCE_WITHDRAWN,
            )
        if acceptance.spec.state is AcceptanceState.SUPERSEDED:
            return Refusal(
                f"the successors of LicenseAcceptance {acceptance.metadata.name} lead in a circle",
                "name an acceptance that holds; what runs goes on",
                reason=Reason.ACCEPTANCE_WITHDRAWN,
            )
        if acceptance.spec.state is AcceptanceState.TERMINATED:
            return Refusal(
                f"LicenseAcceptance {acceptance.metadata.name} is terminated",
                "stop using the model, or record a new acceptance",
            )
    return None


def _not_revived(case: LicenseInput) -> Refusal | None:
    """An acceptance of the same license by the same entity that ended does not live on in an older or parallel one."""
    for family, acceptance in acceptance_by_family(case):
        for ended in case.acceptances or ():
            if (
                ended.spec.state is AcceptanceState.TERMINATED
                and family.id in ended.spec.families
                and same_party(ended.spec.legal_entity, acceptance.spec.legal_entity)
                and acceptance.spec.state is AcceptanceState.ACCEPTED
                and not _not_before(acceptance, ended)
            ):
                return Refusal(
                    f"LicenseAcceptance {ended.metadata.name} of {family.id} by {ended.spec.legal_entity} is terminated, "
                    f"and {acceptance.metadata.name} was accepted before that",
                    "record a new acceptance, dated on the day on which the old one ended (terminatedOn) or later",
                )
    return None


def _after_the_end(case: LicenseInput) -> Refusal | None:
    """An end that a revision remembers holds also when the terminated acceptance is gone."""
    for family, acceptance in acceptance_by_family(case):
        accepted = day(acceptance.spec.accepted_on)
        for end in case.ends:
            if family.id not in end.families or not same_party(end.entity, acceptance.spec.legal_entity):
                continue
            if accepted is None or accepted < (day(end.on) or accepted):
                return Refusal(
                    f"the license {family.id} of {end.entity} ended on {end.on} (LicenseAcceptance {end.acceptance}), and "
                    f"{acceptance.metadata.name} was accepted before that",
                    f"record a new acceptance, dated {end.on} or later",
                )
    return None


def ended_here(case: LicenseInput) -> bool:
    """Whether an acceptance of the model's license for this namespace was terminated, and none came after it."""
    needed = {family.id for family in case.model.needing_acceptance}
    acceptances = case.acceptances or ()
    return any(
        ended.spec.state is AcceptanceState.TERMINATED
        and case.namespace in ended.spec.namespaces
        and bool(needed & set(ended.spec.families))
        and not any(_replaces(acceptance, ended, case.namespace) for acceptance in acceptances)
        for ended in acceptances
    )


def _replaces(acceptance: LicenseAcceptance, ended: LicenseAcceptance, namespace: str) -> bool:
    return (
        acceptance.spec.state is AcceptanceState.ACCEPTED
        and namespace in acceptance.spec.namespaces
        and set(ended.spec.families) <= set(acceptance.spec.families)
        and same_party(acceptance.spec.legal_entity, ended.spec.legal_entity)
        and _not_before(acceptance, ended)
    )


def _not_before(acceptance: LicenseAcceptance, ended: LicenseAcceptance) -> bool:
    end, accepted = day(ended.spec.terminated_on), day(acceptance.spec.accepted_on)
    return end is not None and accepted is not None and accepted >= end


CHECKS: tuple[Check, ...] = (
    Check(
        "acceptance-not-terminated",
        "P20",
        "§6 (LLaMA 1: §7), termination",
        Reason.ACCEPTANCE_TERMINATED,
        _holds,
        under_acceptance,
        needs_acceptances=True,
    ),
    Check(
        "acceptance-not-revived",
        "P20",
        "§6 (LLaMA 1: §7), termination",
        Reason.ACCEPTANCE_TERMINATED,
        _not_revived,
        under_acceptance,
        needs_acceptances=True,
    ),
    Check(
        "acceptance-after-the-end",
        "P20",
        "§6 (LLaMA 1: §7), termination",
        Reason.ACCEPTANCE_TERMINATED,
        _after_the_end,
        lambda case: bool(case.ends) and under_acceptance(case),
        needs_acceptances=True,
    ),
)
"""The checks of this module, in the order in which they are reported."""
