"""The license chain: ordered, named, pure checks. The first denial gives the reason; `explain` shows all of them.

Called by `decide.decision`. The terms are data (`catalog`). The ids of the rules are those of docs/licenses.md. The chain
enforces rules and records evidence; it gives no legal advice.
"""

from collections.abc import Sequence
from dataclasses import replace

from llama_operator.api.reasons import Reason
from llama_operator.decide.license.check import Check, Refusal
from llama_operator.decide.license.duties import duties_of, evidence_of
from llama_operator.decide.license.facts import LicenseInput
from llama_operator.decide.license.rules import (
    acceptance,
    adapters,
    house,
    naming,
    output_use,
    termination,
    territory,
    use,
    users,
)
from llama_operator.decide.license.verdict import Denial, LicenseVerdict, Outcome
from llama_operator.decide.observed import UnreadRecord

_OF_GUARDS: tuple[Check, ...] = (
    *use.CHECKS_FIRST,
    *acceptance.CHECKS_FIRST,
    *termination.CHECKS,
    *acceptance.CHECKS,
    *users.CHECKS,
    *territory.CHECKS,
)
"""Checks that a guard has to pass too; no others, because no user sees its answers."""


def _guard_allowed(case: LicenseInput) -> Refusal | None:
    guard = case.guard
    if guard is None:
        return None
    case_of_guard = replace(case, model=guard, guard=None, trained=())
    for check in _OF_GUARDS:
        refusal = _run(check, case_of_guard)[1]
        if refusal is not None:
            message = f"the guard {guard.name} is a model with a license of its own: {refusal.message}"
            return Refusal(message, refusal.unblock, clause=refusal.clause or check.clause)
    return None


_GUARD = Check(
    "guard-allowed",
    "P17",
    "the clauses of the guard's own license",
    Reason.GUARD_NOT_ALLOWED,
    _guard_allowed,
    lambda case: case.guard is not None,
)

CHAIN: tuple[Check, ...] = (
    *use.CHECKS_FIRST,
    *acceptance.CHECKS_FIRST,
    *termination.CHECKS,
    *acceptance.CHECKS,
    *users.CHECKS,
    *territory.CHECKS,
    *naming.CHECKS,
    *adapters.CHECKS,
    *output_use.CHECKS,
    *use.CHECKS,
    _GUARD,
    *house.CHECKS,
)
"""The checks in the order in which they are reported."""


def judge(case: LicenseInput, chain: Sequence[Check] = CHAIN) -> LicenseVerdict:
    """Run the whole chain; the first denial gives reason and message.

    Args:
        case: A model, who uses it for what, and the acceptances and policies that exist.
        chain: Checks to run; tests pass others than `CHAIN` to prove that each check is needed.

    Returns:
        The verdict with all denials, the duties, and the evidence that it rests on.
    """
    ran = [(check, *_run(check, case)) for check in chain]
    denials = tuple(_denial(check, refusal) for check, _, refusal in ran if refusal is not None)
    outcomes = tuple(outcome for _, outcome, _ in ran)
    unclear = _unclear(case, denials)
    reason, message = not_understood(unclear) if unclear else _headline(case, denials)
    return LicenseVerdict(
        allowed=not denials,
        tier=case.model.tier,
        families=tuple(family.id for family in case.model.families),
        reason=reason,
        message=message,
        denials=denials,
        duties=duties_of(case),
        evidence=evidence_of(case, outcomes),
        # A record that is not understood may well hold. No license ends by it.
        drain=not any(record.kind == "LicenseAcceptance" for record in unclear) and _drains(case, denials),
    )


def _unclear(case: LicenseInput, denials: Sequence[Denial]) -> tuple[UnreadRecord, ...]:
    """Records by which alone the chain may refuse: house policy comes last, and a refusal before it stands."""
    by_house = bool(denials) and all(denial.origin == "HousePolicy" for denial in denials)
    return tuple(record for record in case.not_understood if denials and (by_house or record.kind != "LicensePolicy"))


def not_understood(records: Sequence[UnreadRecord]) -> tuple[Reason, str]:
    """Reason and message of a verdict that rests on records which this version cannot read."""
    which = "; ".join(f"{record.kind} {record.name}: {record.why}" for record in records)
    text = f"this version of the operator does not understand {which}; upgrade it; until then nothing new starts"
    return Reason.NOT_UNDERSTOOD, text


def _run(check: Check, case: LicenseInput) -> tuple[Outcome, Refusal | None]:
    if not check.applies(case):
        return Outcome(check.id, check.rule, "NotApplicable"), None
    if check.needs_acceptances and case.acceptances is None:
        return Outcome(check.id, check.rule, "NotChecked"), None
    refusal = check.refuses(case)
    return Outcome(check.id, check.rule, "Allowed" if refusal is None else "Denied"), refusal


def _denial(check: Check, refusal: Refusal) -> Denial:
    return Denial(
        reason=refusal.reason or check.reason,
        rule=check.rule,
        message=refusal.message,
        unblock=refusal.unblock,
        clause=refusal.clause or check.clause,
        check=check.id,
        origin=check.origin,
    )


def _headline(case: LicenseInput, denials: tuple[Denial, ...]) -> tuple[Reason, str]:
    """The one reason and message of the verdict."""
    if denials:
        first = denials[0]
        rests_on = "house policy" if first.origin == "HousePolicy" else f"rule {first.rule}, {first.clause}"
        return first.reason, f"{first.message} ({rests_on}); to unblock: {first.unblock}"
    if not case.model.needing_acceptance:
        return Reason.LICENSE_NOT_NEEDED, f"{case.model.name} needs no acceptance"
    if case.acceptances is None:
        unread = f"LicenseAcceptance {case.license.acceptance} was not looked up"
        return Reason.ACCEPTANCE_NOT_CHECKED, f"{unread}: add its manifest to the files, or ask the cluster"
    names = dict.fromkeys(used.metadata.name for used in acceptance.acceptances_used(case))
    return (
        Reason.LICENSE_ALLOWED,
        f"LicenseAcceptance {' and '.join(names)} {'covers' if len(names) == 1 else 'cover'} it",
    )


_OF_ACCEPTANCE = frozenset(
    check.id for check in (*acceptance.CHECKS_FIRST, *acceptance.CHECKS) if check.origin == "License"
)
"""Checks that an acceptance has to pass to replace one that ended."""


def _drains(case: LicenseInput, denials: tuple[Denial, ...]) -> bool:
    """Whether a right that existed has ended: a grant of Meta expired, or an acceptance was terminated.

    Naming another acceptance that does not hold does not undo a termination.
    """
    reasons = {denial.reason for denial in denials}
    if Reason.ACCEPTANCE_TERMINATED in reasons or (Reason.META_GRANT_EXPIRED in reasons and users.ran_out(case)):
        return True
    unaccepted = any(
        denial.check in _OF_ACCEPTANCE or denial.reason is Reason.ACCEPTANCE_WITHDRAWN for denial in denials
    )
    return unaccepted and termination.ended_here(case)
