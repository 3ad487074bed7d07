"""The license chain: ordered, named, pure checks. The first denial decides, all of them are kept for `explain`.

Called by `decide.decision`. The terms are data (`catalog`), the rule ids are those of docs/licenses.md. The chain
enforces rules and records evidence; it gives no legal advice.
"""

from collections.abc import Sequence
from dataclasses import replace

from llama_operator.api.reasons import Reason
from llama_operator.decide.license.check import Check, Found
from llama_operator.decide.license.duties import duties_of, evidence_of
from llama_operator.decide.license.facts import LicenseInput
from llama_operator.decide.license.rules import (
    acceptance,
    house,
    naming,
    output_use,
    termination,
    territory,
    use,
    users,
)
from llama_operator.decide.license.verdict import Denial, LicenseVerdict, Outcome

_OF_GUARDS: tuple[Check, ...] = (
    *use.CHECKS_FIRST,
    *acceptance.CHECKS_FIRST,
    *termination.CHECKS,
    *acceptance.CHECKS,
    *users.CHECKS,
    *territory.CHECKS,
)
"""Checks that a guard has to pass too: its answers are shown to nobody."""


def _guard_allowed(given: LicenseInput) -> Found | None:
    guard = given.guard
    if guard is None:
        return None
    alone = replace(given, model=guard, guard=None, trained=())
    for check in _OF_GUARDS:
        found = _run(check, alone)[1]
        if found is not None:
            return Found(
                f"the guard {guard.name} is a model with a license of its own: {found.message}",
                found.unblock,
                clause=found.clause or check.clause,
            )
    return None


_GUARD = Check(
    "guard-allowed",
    "P17",
    "the clauses of the guard's own license",
    Reason.GUARD_NOT_ALLOWED,
    _guard_allowed,
    lambda given: given.guard is not None,
)

CHAIN: tuple[Check, ...] = (
    *use.CHECKS_FIRST,
    *acceptance.CHECKS_FIRST,
    *termination.CHECKS,
    *acceptance.CHECKS,
    *users.CHECKS,
    *territory.CHECKS,
    *naming.CHECKS,
    *output_use.CHECKS,
    *use.CHECKS,
    _GUARD,
    *house.CHECKS,
)
"""The checks in the order in which they are reported."""


def judge(given: LicenseInput, chain: Sequence[Check] = CHAIN) -> LicenseVerdict:
    """Run the whole chain; the first denial gives reason and message.

    Args:
        given: What is judged.
        chain: Checks to run; others than `CHAIN` only to prove what a check is for.
    """
    ran = [(check, *_run(check, given)) for check in chain]
    denials = tuple(_denial(check, found) for check, _, found in ran if found is not None)
    outcomes = tuple(outcome for _, outcome, _ in ran)
    reason, message = _told(given, denials)
    return LicenseVerdict(
        allowed=not denials,
        tier=given.model.tier,
        families=tuple(family.id for family in given.model.families),
        reason=reason,
        message=message,
        denials=denials,
        duties=duties_of(given),
        evidence=evidence_of(given, outcomes),
        drain=_drains(given, denials),
    )


def _run(check: Check, given: LicenseInput) -> tuple[Outcome, Found | None]:
    if not check.applies(given):
        return Outcome(check.id, check.rule, "NotApplicable"), None
    if check.needs_records and given.records is None:
        return Outcome(check.id, check.rule, "NotChecked"), None
    found = check.finds(given)
    return Outcome(check.id, check.rule, "Allowed" if found is None else "Denied"), found


def _denial(check: Check, found: Found) -> Denial:
    return Denial(
        reason=found.reason or check.reason,
        rule=check.rule,
        message=found.message,
        unblock=found.unblock,
        clause=found.clause or check.clause,
        check=check.id,
        origin=check.origin,
    )


def _told(given: LicenseInput, denials: tuple[Denial, ...]) -> tuple[Reason, str]:
    if denials:
        first = denials[0]
        rests_on = "house policy" if first.origin == "HousePolicy" else f"rule {first.rule}, {first.clause}"
        return first.reason, f"{first.message} ({rests_on}); to unblock: {first.unblock}"
    if not given.model.needing_acceptance:
        return Reason.LICENSE_NOT_NEEDED, f"{given.model.name} needs no acceptance"
    if given.records is None:
        named = f"LicenseAcceptance {given.license.acceptance}"
        not_seen = f"{named} was not looked up: add its manifest to the files, or ask the cluster"
        return Reason.ACCEPTANCE_NOT_CHECKED, not_seen
    names = dict.fromkeys(record.metadata.name for record in acceptance.relied_on_with_leading(given))
    return (
        Reason.LICENSE_ALLOWED,
        f"LicenseAcceptance {' and '.join(names)} {'covers' if len(names) == 1 else 'cover'} it",
    )


_ENDED = frozenset({Reason.ACCEPTANCE_TERMINATED, Reason.META_GRANT_EXPIRED})
_OF_ACCEPTANCE = frozenset(
    check.id for check in (*acceptance.CHECKS_FIRST, *acceptance.CHECKS) if check.origin == "License"
)
"""Checks without which there is no acceptance that could stand in for one that ended."""


def _drains(given: LicenseInput, denials: tuple[Denial, ...]) -> bool:
    """Whether a right that existed has ended: a grant of Meta that ran out, or an acceptance that was terminated.

    Naming another acceptance that does not hold is no way out of a termination.
    """
    if any(denial.reason in _ENDED for denial in denials):
        return True
    unaccepted = any(denial.check in _OF_ACCEPTANCE for denial in denials)
    return unaccepted and termination.ended_here(given)
