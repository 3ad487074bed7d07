"""Checks of the acceptance: P1 (recorded), P2 (right version), P21 (policy reviewed), P23 (right entity).

An acceptance is about one license version. A model under several versions needs one of each. The acceptance that the spec
names leads; others of the same entity for the same namespace count beside it.
"""

from collections.abc import Callable, Iterator
from datetime import date

from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.licenseacceptance import AcceptanceState, LicenseAcceptance
from llama_operator.catalog.licenses import LicenseFamily
from llama_operator.decide.license.accepted import text_is_named, unknown_texts, version_fits
from llama_operator.decide.license.check import Check, Origin, Refusal, under_acceptance
from llama_operator.decide.license.facts import LicenseInput, day


def acceptance_by_family(case: LicenseInput) -> Iterator[tuple[LicenseFamily, LicenseAcceptance]]:
    """Each family that must be accepted, with the acceptance that counts for it, if there is one."""
    for family in case.model.needing_acceptance:
        candidates = case.candidates(family)
        if candidates:
            yield family, max(candidates, key=lambda acceptance: _rank(case, family, acceptance))


def _rank(
    case: LicenseInput, family: LicenseFamily, acceptance: LicenseAcceptance
) -> tuple[bool, bool, bool, bool, str, str]:
    """What counts first: the right version, then the acceptance that the spec names; a newer one does not shadow it."""
    leading = case.acceptance
    return (
        version_fits(acceptance.spec, family),
        leading is not None and acceptance.metadata.name == leading.metadata.name,
        case.namespace in acceptance.spec.namespaces,
        acceptance.spec.state is AcceptanceState.ACCEPTED,
        acceptance.spec.accepted_on,
        acceptance.metadata.name,
    )


def acceptances_used(case: LicenseInput) -> Iterator[LicenseAcceptance]:
    """The acceptance that the spec names, and those that count beside it."""
    acceptances = [] if case.acceptance is None else [case.acceptance]
    for _, acceptance in acceptance_by_family(case):
        if acceptance not in acceptances:
            acceptances.append(acceptance)
    yield from acceptances


def _named(case: LicenseInput) -> Refusal | None:
    if case.license.acceptance is not None:
        return None
    titles = " and ".join(family.title for family in case.model.needing_acceptance)
    return Refusal(
        f"{case.model.name} is under {titles}, which must be accepted before use",
        f"create a LicenseAcceptance for {_ids(case)} and name it in spec.license.acceptance",
    )


def _exists(case: LicenseInput) -> Refusal | None:
    named = case.license.acceptance
    if named is None or case.acceptance is not None:
        return None
    superseded = case.named(named)
    if superseded is not None:
        return Refusal(
            f"LicenseAcceptance {named} is superseded by one that does not exist ({superseded.spec.superseded_by})",
            "create the successor, or name another acceptance in spec.license.acceptance",
        )
    return Refusal(
        f"LicenseAcceptance {named} does not exist",
        f"create it (cluster-scoped, families: {_ids(case)}), or correct spec.license.acceptance",
    )


def _covers_namespace(case: LicenseInput) -> Refusal | None:
    for acceptance in acceptances_used(case):
        if case.namespace not in acceptance.spec.namespaces:
            return Refusal(
                f"LicenseAcceptance {acceptance.metadata.name} covers {', '.join(acceptance.spec.namespaces)}, "
                f"not {case.namespace}",
                "have the namespace added to the acceptance if it is of the same legal entity, or deploy to one that "
                "it covers",
            )
    return None


def _one_licensee(case: LicenseInput) -> Refusal | None:
    """A namespace belongs to one entity: a deployment cannot pick the licensee that suits it best."""
    leading = case.acceptance
    # One that does not cover the namespace is refused for that; it makes no second licensee there.
    if leading is None or case.namespace not in leading.spec.namespaces:
        return None
    is_licensee = case.licensee_of(leading)
    for other in case.acceptances or ():
        if (
            other.spec.state is AcceptanceState.ACCEPTED
            and case.namespace in other.spec.namespaces
            and not is_licensee(other.spec.legal_entity)
        ):
            return Refusal(
                f"namespace {case.namespace} is covered by acceptances of two entities: {leading.metadata.name} of "
                f"{leading.spec.legal_entity} and {other.metadata.name} of {other.spec.legal_entity}",
                f"take {case.namespace} out of spec.namespaces of the one that is not the licensee there",
            )
    return None


def _covers_families(case: LicenseInput) -> Refusal | None:
    leading = case.acceptance
    if leading is None:
        return None
    covered = {family.id for family, _ in acceptance_by_family(case)}
    missing = [family.id for family in case.model.needing_acceptance if family.id not in covered]
    if not missing:
        return None
    return Refusal(
        f"LicenseAcceptance {leading.metadata.name} is for {', '.join(leading.spec.families)}; "
        f"{case.model.name} needs {', '.join(missing)}"
        + (f" ({'; '.join(case.model.signals)})" if case.model.signals else ""),
        f"record the acceptance of {', '.join(missing)} by {leading.spec.legal_entity} for {case.namespace}",
    )


def _right_version(case: LicenseInput) -> Refusal | None:
    for family, acceptance in acceptance_by_family(case):
        if not version_fits(acceptance.spec, family):
            return Refusal(
                f"LicenseAcceptance {acceptance.metadata.name} is for version {acceptance.spec.version_date or '(none)'} of "
                f"{family.title}; the license of {case.model.name} is version {family.version_date}",
                f"record an acceptance with spec.versionDate {family.version_date} for {family.id} only",
            )
    return None


def _right_text(case: LicenseInput) -> Refusal | None:
    for family, acceptance in acceptance_by_family(case):
        known = " or ".join(family.license_text_hashes) or "the SHA-256 of the normalized text"
        if unknown := unknown_texts(acceptance.spec, (family,)):
            return Refusal(
                f"LicenseAcceptance {acceptance.metadata.name} has a text ({unknown[0][:12]}…) that is not one of "
                f"{family.title}: another license, or an edited copy",
                f"accept the published text; spec.textHashes then has {known} (docs/licenses.md)",
            )
        if not text_is_named(acceptance.spec, family):
            return Refusal(
                f"LicenseAcceptance {acceptance.metadata.name} does not say which text of {family.title} was accepted",
                f"put the hash of the text into spec.textHashes: {known} (docs/licenses.md)",
                reason=Reason.ACCEPTANCE_TEXT_MISSING,
            )
    return None


def _dated(case: LicenseInput) -> Refusal | None:
    """An acceptance before the license was published, or in the future, cannot be true."""
    for family, acceptance in acceptance_by_family(case):
        accepted = day(acceptance.spec.accepted_on)
        if accepted is None or acceptance.spec.accepted_on < (family.version_date or ""):
            why = "which is no date" if accepted is None else f"before its version {family.version_date} was published"
        elif accepted > case.last_today:
            why = "which is in the future"
        else:
            continue
        return Refusal(
            f"LicenseAcceptance {acceptance.metadata.name} says that {family.title} was accepted on "
            f"{acceptance.spec.accepted_on}, {why}",
            "record the day on which it was accepted",
        )
    return None


def _covers_purpose(case: LicenseInput) -> Refusal | None:
    for acceptance in acceptances_used(case):
        if acceptance.spec.purposes and case.license.purpose not in acceptance.spec.purposes:
            return Refusal(
                f"LicenseAcceptance {acceptance.metadata.name} is for {', '.join(acceptance.spec.purposes)}, and "
                f"spec.license.purpose is {case.license.purpose}",
                "record an acceptance for this purpose, or set the purpose that is true",
            )
    return None


def _reviewed(case: LicenseInput) -> Refusal | None:
    for acceptance in acceptances_used(case):
        due = acceptance.spec.review_due_on
        if due is not None and case.today is not None and _over(due, case.today):
            return Refusal(
                f"the acceptable use policy behind LicenseAcceptance {acceptance.metadata.name} had to be read again by {due}",
                "read the policy at its URL; then set spec.reviewDueOn to the next date",
            )
    return None


def _over(due: str, today: date) -> bool:
    due_day = day(due)
    return due_day is None or today > due_day


def _ids(case: LicenseInput) -> str:
    return ", ".join(family.id for family in case.model.needing_acceptance)


def _check(
    name: str,
    rule: str,
    clause: str,
    reason: Reason,
    refuses: Callable[[LicenseInput], Refusal | None],
    origin: Origin = "License",
) -> Check:
    """A check of the acceptances, for models with a family that must be accepted."""
    return Check(name, rule, clause, reason, refuses, under_acceptance, needs_acceptances=True, origin=origin)


_USE = "preamble: use is acceptance"
_TEXT = "preamble: what is accepted is this text"
_VERSIONS = "preamble: each version is an agreement of its own"
_DATE = "version date at the head of the license"
_GRANT = "§1.a: the grant is to the licensee, non-transferable"
_POLICY = "§1.b.iv: the acceptable use policy may change at its URL"
_RECORD = "what the acceptance itself says"

CHECKS_FIRST: tuple[Check, ...] = (
    Check("acceptance-named", "P1", _USE, Reason.ACCEPTANCE_MISSING, _named, under_acceptance),
    _check("acceptance-exists", "P1", _USE, Reason.ACCEPTANCE_NOT_FOUND, _exists),
)
"""Whether there is an acceptance at all."""

CHECKS: tuple[Check, ...] = (
    _check("acceptance-covers-namespace", "P23", _GRANT, Reason.ACCEPTANCE_NAMESPACE_NOT_COVERED, _covers_namespace),
    _check("one-licensee-in-namespace", "P23", _GRANT, Reason.LICENSEE_AMBIGUOUS, _one_licensee, "Record"),
    _check("acceptance-covers-families", "P2", _VERSIONS, Reason.ACCEPTANCE_FAMILY_NOT_COVERED, _covers_families),
    _check("acceptance-of-right-version", "P2", _DATE, Reason.ACCEPTANCE_VERSION_WRONG, _right_version),
    _check("acceptance-of-right-text", "P1", _TEXT, Reason.ACCEPTANCE_TEXT_UNKNOWN, _right_text),
    _check("acceptance-dated", "P1", _USE, Reason.ACCEPTANCE_DATE_WRONG, _dated),
    _check(
        "acceptance-covers-purpose", "P1", _RECORD, Reason.ACCEPTANCE_PURPOSE_NOT_COVERED, _covers_purpose, "Record"
    ),
    _check("policy-reviewed", "P21", _POLICY, Reason.POLICY_REVIEW_DUE, _reviewed, "Record"),
)
"""Whether it is the right one: the other checks of this module, in the order in which they are reported."""
