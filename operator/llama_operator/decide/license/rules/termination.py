"""Checks of whether an acceptance still holds (P20), and whether what runs has lost its right.

An acceptance that was terminated ends the license: no older or parallel record of the same entity revives it, and naming
another one that does not hold is no way out.
"""

from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.licenseacceptance import AcceptanceState, LicenseAcceptance
from llama_operator.decide.license.check import Check, Found, under_acceptance
from llama_operator.decide.license.facts import LicenseInput, day, same_party
from llama_operator.decide.license.rules.acceptance import relied_on, relied_on_with_leading


def _holds(given: LicenseInput) -> Found | None:
    for record in relied_on_with_leading(given):
        if record.spec.state is AcceptanceState.WITHDRAWN:
            return Found(
                f"LicenseAcceptance {record.metadata.name} is withdrawn",
                "name an acceptance that holds; what runs goes on",
                reason=Reason.ACCEPTANCE_WITHDRAWN,
            )
        if record.spec.state is AcceptanceState.SUPERSEDED:
            return Found(
                f"the successors of LicenseAcceptance {record.metadata.name} lead in a circle",
                "name an acceptance that holds; what runs goes on",
                reason=Reason.ACCEPTANCE_WITHDRAWN,
            )
        if record.spec.state is AcceptanceState.TERMINATED:
            return Found(
                f"LicenseAcceptance {record.metadata.name} is terminated",
                "stop using the model, or record a new acceptance",
            )
    return None


def _not_revived(given: LicenseInput) -> Found | None:
    """An acceptance of the same license by the same entity that ended does not live on in an older or parallel record."""
    for family, record in relied_on(given):
        for ended in given.records or ():
            if (
                ended.spec.state is AcceptanceState.TERMINATED
                and family.id in ended.spec.families
                and same_party(ended.spec.legal_entity, record.spec.legal_entity)
                and record.spec.state is AcceptanceState.ACCEPTED
                and not _not_before(record, ended)
            ):
                return Found(
                    f"LicenseAcceptance {ended.metadata.name} of {family.id} by {ended.spec.legal_entity} is terminated, "
                    f"and {record.metadata.name} was accepted before that",
                    "record a new acceptance, dated on the day on which the old one ended (terminatedOn) or later",
                )
    return None


def _after_the_end(given: LicenseInput) -> Found | None:
    """An end that a revision remembers holds also when the terminated record is gone."""
    for family, record in relied_on(given):
        accepted = day(record.spec.accepted_on)
        for end in given.ends:
            if family.id not in end.families or not same_party(end.entity, record.spec.legal_entity):
                continue
            if accepted is None or accepted < (day(end.on) or accepted):
                return Found(
                    f"the license {family.id} of {end.entity} ended on {end.on} (LicenseAcceptance {end.acceptance}), and "
                    f"{record.metadata.name} was accepted before that",
                    f"record a new acceptance, dated {end.on} or later",
                )
    return None


def ended_here(given: LicenseInput) -> bool:
    """Whether an acceptance of the model's license for this namespace was terminated, and none came after it."""
    needed = {family.id for family in given.model.needing_acceptance}
    records = given.records or ()
    return any(
        ended.spec.state is AcceptanceState.TERMINATED
        and given.namespace in ended.spec.namespaces
        and bool(needed & set(ended.spec.families))
        and not any(_replaces(record, ended, given.namespace) for record in records)
        for ended in records
    )


def _replaces(record: LicenseAcceptance, ended: LicenseAcceptance, namespace: str) -> bool:
    return (
        record.spec.state is AcceptanceState.ACCEPTED
        and namespace in record.spec.namespaces
        and set(ended.spec.families) <= set(record.spec.families)
        and same_party(record.spec.legal_entity, ended.spec.legal_entity)
        and _not_before(record, ended)
    )


def _not_before(record: LicenseAcceptance, ended: LicenseAcceptance) -> bool:
    end, accepted = day(ended.spec.terminated_on), day(record.spec.accepted_on)
    return end is not None and accepted is not None and accepted >= end


CHECKS: tuple[Check, ...] = (
    Check(
        "acceptance-not-terminated",
        "P20",
        "§6 (LLaMA 1: §7), termination",
        Reason.ACCEPTANCE_TERMINATED,
        _holds,
        under_acceptance,
        needs_records=True,
    ),
    Check(
        "acceptance-not-revived",
        "P20",
        "§6 (LLaMA 1: §7), termination",
        Reason.ACCEPTANCE_TERMINATED,
        _not_revived,
        under_acceptance,
        needs_records=True,
    ),
    Check(
        "acceptance-after-the-end",
        "P20",
        "§6 (LLaMA 1: §7), termination",
        Reason.ACCEPTANCE_TERMINATED,
        _after_the_end,
        lambda given: bool(given.ends) and under_acceptance(given),
        needs_records=True,
    ),
)
"""The checks of this module, in the order in which they are reported."""
