"""Checks of the limit of monthly active users: P5 (attested), P5b (house: attested again), P6 (grant), P7 (exempt).

The limit is users, not revenue: strictly more than 700 million monthly active users of all products of the licensee and
its affiliates, in the one calendar month that the license version fixes. Growing later does not trip it.
"""

from collections.abc import Iterator
from datetime import date, timedelta

from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.licenseacceptance import (
    AcceptanceState,
    LicenseAcceptance,
    MetaGrant,
    MonthlyActiveUsers,
    Receipt,
)
from llama_operator.catalog.licenses import LicenseFamily
from llama_operator.decide.license.check import Check, Refusal, in_a_house, under
from llama_operator.decide.license.facts import LicenseInput, day
from llama_operator.decide.license.rules.acceptance import acceptance_by_family
from llama_operator.decide.license.rules.house import governing


def gated(case: LicenseInput) -> Iterator[tuple[LicenseFamily, LicenseAcceptance]]:
    """Families with a limit and the acceptances that count for them, unless P7 exempts the licensee."""
    for family, acceptance in acceptance_by_family(case):
        exempt = acceptance.spec.received_as is Receipt.INTEGRATED_END_USER_PRODUCT
        if family.active_users_threshold is not None and not exempt:
            yield family, acceptance


def above_limit(family: LicenseFamily, acceptance: LicenseAcceptance) -> bool:
    """Whether the attested number is strictly greater than the limit."""
    users, limit = acceptance.spec.monthly_active_users, family.active_users_threshold
    return users is not None and limit is not None and users.count > limit


def _largest(case: LicenseInput, family: LicenseFamily, acceptance: LicenseAcceptance) -> LicenseAcceptance:
    """Of the records of the same entity about the same month the one with the most users: the stricter one counts.

    What was attested about a month stays true when a record is withdrawn or terminated; only a correction supersedes it.
    """
    users = acceptance.spec.monthly_active_users
    month = users.month if users else family.active_users_month
    is_licensee = case.licensee_of(acceptance)
    about = [
        other
        for other in case.acceptances or ()
        if other.spec.state is not AcceptanceState.SUPERSEDED
        and other.spec.monthly_active_users is not None
        and other.spec.monthly_active_users.month == month
        and is_licensee(other.spec.legal_entity)
    ]
    return max(
        (acceptance, *about),
        key=lambda other: other.spec.monthly_active_users.count if other.spec.monthly_active_users else -1,
    )


def lapsed(grant: MetaGrant, today: date | None) -> bool:
    """Whether the grant has ended; a day that no calendar has ends nothing."""
    last = day(grant.expires_on)
    return today is not None and last is not None and today > last


def ran_out(case: LicenseInput) -> bool:
    """Whether the last day of a grant is over everywhere: until then what runs goes on, although nothing starts."""
    grants = (acceptance.spec.meta_grant for _, acceptance in gated(case))
    return any(grant is not None and lapsed(grant, case.first_today) for grant in grants)


def _extended(case: LicenseInput, family: LicenseFamily) -> bool:
    """Whether another record of the licensee has a grant that holds: a grant that Meta extended did not end."""
    return any(
        acceptance.spec.state is AcceptanceState.ACCEPTED
        and (grant := acceptance.spec.meta_grant) is not None
        and (day(grant.granted_on) or date.max) <= case.last_today
        and not lapsed(grant, case.today)
        for acceptance in case.candidates(family)
        if case.namespace in acceptance.spec.namespaces
    )


def _attested(case: LicenseInput) -> Refusal | None:
    for family, acceptance in gated(case):
        users = acceptance.spec.monthly_active_users
        if users is None:
            return Refusal(
                f"LicenseAcceptance {acceptance.metadata.name} does not say how many monthly active users the licensee and "
                f"its affiliates had in {family.active_users_month}",
                f"attest the number in spec.monthlyActiveUsers, for month {family.active_users_month} "
                f"({family.title}); above {family.active_users_threshold:,}, Meta has to grant a license",
            )
        if users.month != family.active_users_month:
            return Refusal(
                f"LicenseAcceptance {acceptance.metadata.name} attests the users of {users.month}; {family.title} counts those "
                f"of {family.active_users_month}, not those of another month",
                f"attest the number of {family.active_users_month}",
                reason=Reason.ACTIVE_USERS_MONTH_WRONG,
            )
        if _too_early(users) or _in_future(users, case.last_today):
            return Refusal(
                f"LicenseAcceptance {acceptance.metadata.name} attests the users of {users.month} on {users.attested_on}, "
                "when that number could not be known",
                "attest the number on a day after that month",
                reason=Reason.ACTIVE_USERS_MONTH_WRONG,
            )
    return None


def _too_early(users: MonthlyActiveUsers) -> bool:
    attested = day(users.attested_on)
    return attested is None or users.attested_on[: len("YYYY-MM")] <= users.month


def _in_future(users: MonthlyActiveUsers, last_today: date) -> bool:
    attested = day(users.attested_on)
    return attested is not None and attested > last_today


def _granted(case: LicenseInput) -> Refusal | None:
    for family, acceptance in gated(case):
        counted = _largest(case, family, acceptance)
        # The grant is the entity's: the record with its true number may be the one that has it.
        grant = acceptance.spec.meta_grant or counted.spec.meta_grant
        users = counted.spec.monthly_active_users
        if users is None or not above_limit(family, counted):
            continue
        said = "" if counted is acceptance else f" as LicenseAcceptance {counted.metadata.name} says,"
        over = (
            f"{acceptance.spec.legal_entity} had {users.count:,} monthly active users in {users.month},{said} more than "
            f"{family.active_users_threshold:,}: {family.title} gives it no right"
        )
        if grant is None:
            request = "request a license from Meta, and record it in spec.metaGrant of a new acceptance"
            true = (
                f"; if the number in {counted.metadata.name} is wrong, supersede that by the record with the true one"
            )
            return Refusal(over, request if counted is acceptance else request + true)
        begins = day(grant.granted_on)
        wrong = next((text for text in (grant.granted_on, grant.expires_on) if text and day(text) is None), None)
        if wrong is not None or begins is None:
            return Refusal(
                f"{over}, and the grant {grant.reference} has {wrong}, which is no date",
                "record a new acceptance with the days that the document of the grant has",
            )
        if begins > case.last_today:
            return Refusal(f"{over}, and the grant {grant.reference} begins on {grant.granted_on}", "wait for that day")
        if lapsed(grant, case.today) and not _extended(case, family):
            return Refusal(
                f"{over}, and the grant {grant.reference} ended on {grant.expires_on}",
                "have Meta extend the grant, and record that in a new acceptance",
                reason=Reason.META_GRANT_EXPIRED,
            )
    return None


def _attested_again(case: LicenseInput) -> Refusal | None:
    days = [entry.reattestation_days for _, entry in governing(case) if entry.reattestation_days is not None]
    if not days or case.today is None:
        return None
    for _, acceptance in gated(case):
        users = acceptance.spec.monthly_active_users
        attested = day(users.attested_on) if users else None
        if attested is not None and case.today > attested + timedelta(days=min(days)):
            return Refusal(
                f"house policy wants the number of monthly active users attested every {min(days)} days; LicenseAcceptance "
                f"{acceptance.metadata.name} has it of {attested}. The license itself asks once",
                "record a new acceptance with a new attestation of the same month",
            )
    return None


CHECKS: tuple[Check, ...] = (
    Check(
        "active-users-attested",
        "P5",
        "§2, additional commercial terms",
        Reason.ACTIVE_USERS_NOT_ATTESTED,
        _attested,
        under("P5"),
        needs_acceptances=True,
    ),
    Check(
        "active-users-granted",
        "P6",
        "§2, additional commercial terms",
        Reason.META_GRANT_MISSING,
        _granted,
        under("P6"),
        needs_acceptances=True,
    ),
    Check(
        "active-users-attested-anew",
        "P5b",
        "house policy, no license term",
        Reason.REATTESTATION_DUE,
        _attested_again,
        lambda case: in_a_house(case) and bool(case.model.under("P5")),
        needs_acceptances=True,
        origin="HousePolicy",
    ),
)
"""The checks of this module, in the order in which they are reported."""
