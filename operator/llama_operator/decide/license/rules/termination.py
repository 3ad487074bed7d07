"""Checks of whether an acceptance still holds (P20), and whether what runs has lost its right.

A terminated acceptance ends the license. No older or parallel acceptance of the same entity revives it, and naming another
one that does not hold is no way out.
"""

from datetime import date, timedelta

from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.licenseacceptance import AcceptanceState, LicenseAcceptance
from llama_operator.catalog.licenses import LicenseFamily
from llama_operator.decide.license.check import Check, Refusal, under_acceptance
from llama_operator.decide.license.facts import RETIRED, LicenseInput, day, ended_on
from llama_operator.decide.license.rules.acceptance import acceptance_by_family, acceptances_used
from llama_operator.decide.observed import LicenseEnd


def _holds(case: LicenseInput) -> Refusal | None:
    for acceptance in acceptances_used(case):
        if acceptance.spec.state in RETIRED:
            name = acceptance.metadata.name
            # A superseded one counts only if its successors lead nowhere.
            withdrawn = acceptance.spec.state is AcceptanceState.WITHDRAWN
            return Refusal(
                f"LicenseAcceptance {name} is withdrawn"
                if withdrawn
                else f"the successors of LicenseAcceptance {name} lead in a circle",
                "record a new acceptance: the license was terminated, and no acceptance came after that; what runs stops"
                if ended_here(case)
                else "name an acceptance that holds; what runs goes on",
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
        is_licensee = case.licensee_of(acceptance)
        for ended in case.acceptances or ():
            if (
                ended.spec.state is AcceptanceState.TERMINATED
                and family.id in ended.spec.families
                and is_licensee(ended.spec.legal_entity)
                # What runs under a record that is withdrawn, or leads in a circle, goes on only while the license does.
                and acceptance.spec.state is not AcceptanceState.TERMINATED
                and not _not_before(acceptance, ended)
            ):
                return _ended_before(acceptance, ended, family)
    return None


def _ended_before(acceptance: LicenseAcceptance, ended: LicenseAcceptance, family: LicenseFamily) -> Refusal:
    name, on = ended.metadata.name, ended_on(ended)
    terminated = f"LicenseAcceptance {name} of {family.id} by {ended.spec.legal_entity} is terminated"
    if on is None:
        return Refusal(
            f"{terminated} and does not say on which day (spec.terminatedOn), so no acceptance is known to be newer than that",
            f"set spec.terminatedOn of {name}; then an acceptance of that day or a later one counts",
        )
    return Refusal(
        f"{terminated} since {on}, and {acceptance.metadata.name} was accepted on {acceptance.spec.accepted_on}, before that",
        "record a new acceptance, dated on the day on which the old one ended (terminatedOn) or later",
    )


def _after_the_end(case: LicenseInput) -> Refusal | None:
    """An end that a revision remembers holds also when the terminated acceptance is gone, or the lineage has changed."""
    needed = {family.id for family in case.model.needing_acceptance}
    for end in case.own_ends:
        if needed.isdisjoint(end.families) and not _accepted_after(case, end):
            return Refusal(
                f"the license {', '.join(end.families)} of {end.entity}, under which {case.model.name} ran, ended on {end.on} "
                f"(LicenseAcceptance {end.acceptance}); that its lineage says something else now does not bring it back",
                f"record a new acceptance of {', '.join(end.families)}, dated {end.on} or later, or serve other files",
            )
    for family, acceptance in acceptance_by_family(case):
        accepted, is_licensee = day(acceptance.spec.accepted_on), case.licensee_of(acceptance)
        for end in case.ends:
            if family.id not in end.families or not is_licensee(end.entity):
                continue
            # Whether the new grant holds is a question of its own (P6): Meta may extend one that ran out.
            if end.grant and acceptance.spec.meta_grant is not None:
                continue
            last = _end(end.on)
            if accepted is None or last is None or accepted < last:
                return Refusal(
                    f"the license {family.id} of {end.entity} ended on {end.on} (LicenseAcceptance {end.acceptance}), and "
                    f"{acceptance.metadata.name} was accepted before that",
                    f"record a new acceptance, dated {last or end.on} or later",
                )
    return None


def _accepted_after(case: LicenseInput, end: LicenseEnd) -> bool:
    """Whether the entity whose license ended has accepted it again since."""
    return any(
        acceptance.spec.state is AcceptanceState.ACCEPTED
        and case.namespace in acceptance.spec.namespaces
        and not set(end.families).isdisjoint(acceptance.spec.families)
        and case.licensee_of(acceptance)(end.entity)
        and (day(acceptance.spec.accepted_on) or date.min) >= (_end(end.on) or date.max)
        for acceptance in case.acceptances or ()
    )


def ended_here(case: LicenseInput) -> bool:
    """Whether an acceptance of the model's license for this namespace was terminated, and none came after it."""
    needed = {family.id for family in case.model.needing_acceptance}
    acceptances = case.acceptances or ()
    return any(
        ended.spec.state is AcceptanceState.TERMINATED
        and case.namespace in ended.spec.namespaces
        and bool(needed & set(ended.spec.families))
        and not any(_replaces(case, acceptance, ended) for acceptance in acceptances)
        for ended in acceptances
    )


def _replaces(case: LicenseInput, acceptance: LicenseAcceptance, ended: LicenseAcceptance) -> bool:
    """Whether the license came back to life with it. To retire it later ends nothing."""
    return (
        acceptance.spec.state is not AcceptanceState.TERMINATED
        and case.namespace in acceptance.spec.namespaces
        and set(ended.spec.families) <= set(acceptance.spec.families)
        and case.licensee_of(acceptance)(ended.spec.legal_entity)
        and _not_before(acceptance, ended)
    )


def _not_before(acceptance: LicenseAcceptance, ended: LicenseAcceptance) -> bool:
    end, accepted = _end(ended_on(ended)), day(acceptance.spec.accepted_on)
    return end is not None and accepted is not None and accepted >= end


def _end(text: str | None) -> date | None:
    """The day of an end. One that its month does not have is the first of the next: what is recorded cannot be corrected."""
    known = day(text)
    first = day(f"{text[: len('YYYY-MM')]}-01") if text else None
    return known or (first and (first + timedelta(days=31)).replace(day=1))


CHECKS: tuple[Check, ...] = (
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
        "acceptance-not-terminated",
        "P20",
        "§6 (LLaMA 1: §7), termination",
        Reason.ACCEPTANCE_TERMINATED,
        _holds,
        under_acceptance,
        needs_acceptances=True,
    ),
    Check(
        "acceptance-after-the-end",
        "P20",
        "§6 (LLaMA 1: §7), termination",
        Reason.ACCEPTANCE_TERMINATED,
        _after_the_end,
        lambda case: bool(case.own_ends) or (bool(case.ends) and under_acceptance(case)),
        needs_acceptances=True,
    ),
)
"""The checks of this module, in the order in which they are reported."""
