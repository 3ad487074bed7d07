"""Checks of the acceptance: P1 (recorded), P2 (right version), P21 (policy reviewed), P23 (right entity).

One record is about one license version. A model under several versions needs one of each; the record that the spec names
leads, and others of the same entity for the same namespace count beside it.
"""

from collections.abc import Iterator
from datetime import date

from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.licenseacceptance import AcceptanceState, LicenseAcceptance
from llama_operator.catalog.licenses import LicenseFamily
from llama_operator.decide.license.check import Check, Found, under_acceptance
from llama_operator.decide.license.facts import LicenseInput, day, same_party


def version_fits(record: LicenseAcceptance, family: LicenseFamily) -> bool:
    """Whether the record is about this version of the license. LLaMA 1 has a year alone, which need not be recorded."""
    known, accepted = family.version_date or "", record.spec.version_date
    if accepted is None:
        return len(known) < len("YYYY-MM-DD")
    return accepted.startswith(known)


def relied_on(given: LicenseInput) -> Iterator[tuple[LicenseFamily, LicenseAcceptance]]:
    """For every family that must be accepted the record that counts for it, where there is one."""
    for family in given.model.needing_acceptance:
        found = given.candidates(family)
        if found:
            yield family, max(found, key=lambda record: _rank(given, family, record))


def _rank(
    given: LicenseInput, family: LicenseFamily, record: LicenseAcceptance
) -> tuple[bool, bool, bool, bool, str, str]:
    """What counts first: the right version, then the record that the spec names; a newer one does not shadow it."""
    leading = given.record
    return (
        version_fits(record, family),
        leading is not None and record.metadata.name == leading.metadata.name,
        given.namespace in record.spec.namespaces,
        record.spec.state is AcceptanceState.ACCEPTED,
        record.spec.accepted_on,
        record.metadata.name,
    )


def relied_on_with_leading(given: LicenseInput) -> Iterator[LicenseAcceptance]:
    """The record that the spec names, and those that count beside it."""
    records = [] if given.record is None else [given.record]
    for _, record in relied_on(given):
        if record not in records:
            records.append(record)
    yield from records


def _named(given: LicenseInput) -> Found | None:
    if given.license.acceptance is not None:
        return None
    titles = " and ".join(family.title for family in given.model.needing_acceptance)
    return Found(
        f"{given.model.name} is under {titles}, which must be accepted before use",
        f"create a LicenseAcceptance for {_ids(given)} and name it in spec.license.acceptance",
    )


def _exists(given: LicenseInput) -> Found | None:
    named = given.license.acceptance
    if named is None or given.record is not None:
        return None
    superseded = given.named(named)
    if superseded is not None:
        return Found(
            f"LicenseAcceptance {named} is superseded by one that does not exist ({superseded.spec.superseded_by})",
            "create the successor, or name another acceptance in spec.license.acceptance",
        )
    return Found(
        f"LicenseAcceptance {named} does not exist",
        f"create it (cluster-scoped, families: {_ids(given)}), or correct spec.license.acceptance",
    )


def _covers_namespace(given: LicenseInput) -> Found | None:
    for record in relied_on_with_leading(given):
        if given.namespace not in record.spec.namespaces:
            return Found(
                f"LicenseAcceptance {record.metadata.name} covers {', '.join(record.spec.namespaces)}, "
                f"not {given.namespace}",
                "have the namespace added to the acceptance if it is of the same legal entity, or deploy to one that "
                "it covers",
            )
    return None


def _one_licensee(given: LicenseInput) -> Found | None:
    """A namespace belongs to one entity: nobody picks the licensee that suits best."""
    leading = given.record
    if leading is None:
        return None
    for other in given.records or ():
        if (
            other.spec.state is AcceptanceState.ACCEPTED
            and given.namespace in other.spec.namespaces
            and not same_party(other.spec.legal_entity, leading.spec.legal_entity)
        ):
            return Found(
                f"namespace {given.namespace} is covered by acceptances of two entities: {leading.metadata.name} of "
                f"{leading.spec.legal_entity} and {other.metadata.name} of {other.spec.legal_entity}",
                f"take {given.namespace} out of spec.namespaces of the one that is not the licensee there",
            )
    return None


def _covers_families(given: LicenseInput) -> Found | None:
    leading = given.record
    if leading is None:
        return None
    covered = {family.id for family, _ in relied_on(given)}
    missing = [family.id for family in given.model.needing_acceptance if family.id not in covered]
    if not missing:
        return None
    return Found(
        f"LicenseAcceptance {leading.metadata.name} is for {', '.join(leading.spec.families)}; "
        f"{given.model.name} needs {', '.join(missing)}"
        + (f" ({'; '.join(given.model.signals)})" if given.model.signals else ""),
        f"record the acceptance of {', '.join(missing)} by {leading.spec.legal_entity} for {given.namespace}",
    )


def _right_version(given: LicenseInput) -> Found | None:
    for family, record in relied_on(given):
        if not version_fits(record, family):
            return Found(
                f"LicenseAcceptance {record.metadata.name} is for version {record.spec.version_date or '(none)'} of "
                f"{family.title}; the license of {given.model.name} is version {family.version_date}",
                f"record an acceptance with spec.versionDate {family.version_date} for {family.id} alone",
            )
    return None


def _right_text(given: LicenseInput) -> Found | None:
    for family, record in relied_on(given):
        accepted, known = record.spec.text_hashes, family.license_text_hashes
        strange = [each for each in accepted if each not in known + family.policy_text_hashes]
        if strange:
            return Found(
                f"LicenseAcceptance {record.metadata.name} has a text ({strange[0][:12]}…) that is not one of "
                f"{family.title}: another license, or an edited copy",
                f"accept the published text; spec.textHashes then has {_short(known)} (docs/licenses.md)",
            )
        if not accepted and not family.license_text_sha256:
            # Its licensor publishes no copy whose hash could be asked for.
            continue
        if not set(accepted) & set(known):
            return Found(
                f"LicenseAcceptance {record.metadata.name} does not say which text of {family.title} was accepted",
                f"put the hash of the text into spec.textHashes: {_short(known)} (docs/licenses.md)",
                reason=Reason.ACCEPTANCE_TEXT_MISSING,
            )
    return None


def _dated(given: LicenseInput) -> Found | None:
    """Nobody accepts a license before it is published, or tomorrow."""
    for family, record in relied_on(given):
        accepted = day(record.spec.accepted_on)
        if accepted is None or record.spec.accepted_on < (family.version_date or ""):
            why = "which is no day" if accepted is None else f"before its version {family.version_date} was published"
        elif given.today is not None and accepted > given.today:
            why = "which has not come yet"
        else:
            continue
        return Found(
            f"LicenseAcceptance {record.metadata.name} says that {family.title} was accepted on "
            f"{record.spec.accepted_on}, {why}",
            "record the day on which it was accepted",
        )
    return None


def _covers_purpose(given: LicenseInput) -> Found | None:
    for record in relied_on_with_leading(given):
        if record.spec.purposes and given.license.purpose not in record.spec.purposes:
            return Found(
                f"LicenseAcceptance {record.metadata.name} is for {', '.join(record.spec.purposes)}, and "
                f"spec.license.purpose is {given.license.purpose}",
                "record an acceptance for this purpose, or set the purpose that is true",
            )
    return None


def _reviewed(given: LicenseInput) -> Found | None:
    for record in relied_on_with_leading(given):
        due = record.spec.review_due_on
        if due is not None and given.today is not None and _over(due, given.today):
            return Found(
                f"the acceptable use policy behind LicenseAcceptance {record.metadata.name} was to be read again by {due}",
                "read the policy at its URL; then set spec.reviewDueOn to the next date",
            )
    return None


def _over(text: str, today: date) -> bool:
    found = day(text)
    return found is None or today > found


def _ids(given: LicenseInput) -> str:
    return ", ".join(family.id for family in given.model.needing_acceptance)


def _short(hashes: tuple[str, ...]) -> str:
    return " or ".join(hashes) or "the SHA-256 of the normalized text"


CHECKS_FIRST: tuple[Check, ...] = (
    Check(
        "acceptance-named",
        "P1",
        "preamble: use is acceptance",
        Reason.ACCEPTANCE_MISSING,
        _named,
        under_acceptance,
    ),
    Check(
        "acceptance-exists",
        "P1",
        "preamble: use is acceptance",
        Reason.ACCEPTANCE_NOT_FOUND,
        _exists,
        under_acceptance,
        needs_records=True,
    ),
)
"""Whether there is an acceptance at all."""

CHECKS: tuple[Check, ...] = (
    Check(
        "acceptance-covers-namespace",
        "P23",
        "§1.a: the grant is to the licensee, non-transferable",
        Reason.ACCEPTANCE_NAMESPACE_NOT_COVERED,
        _covers_namespace,
        under_acceptance,
        needs_records=True,
    ),
    Check(
        "one-licensee-in-namespace",
        "P23",
        "§1.a: the grant is to the licensee, non-transferable",
        Reason.LICENSEE_AMBIGUOUS,
        _one_licensee,
        under_acceptance,
        needs_records=True,
        origin="Record",
    ),
    Check(
        "acceptance-covers-families",
        "P2",
        "preamble: each version is an agreement of its own",
        Reason.ACCEPTANCE_FAMILY_NOT_COVERED,
        _covers_families,
        under_acceptance,
        needs_records=True,
    ),
    Check(
        "acceptance-of-right-version",
        "P2",
        "version date at the head of the license",
        Reason.ACCEPTANCE_VERSION_WRONG,
        _right_version,
        under_acceptance,
        needs_records=True,
    ),
    Check(
        "acceptance-of-right-text",
        "P1",
        "preamble: what is accepted is this text",
        Reason.ACCEPTANCE_TEXT_UNKNOWN,
        _right_text,
        under_acceptance,
        needs_records=True,
    ),
    Check(
        "acceptance-dated",
        "P1",
        "preamble: use is acceptance",
        Reason.ACCEPTANCE_DATE_WRONG,
        _dated,
        under_acceptance,
        needs_records=True,
    ),
    Check(
        "acceptance-covers-purpose",
        "P1",
        "what the record itself says",
        Reason.ACCEPTANCE_PURPOSE_NOT_COVERED,
        _covers_purpose,
        under_acceptance,
        needs_records=True,
        origin="Record",
    ),
    Check(
        "policy-reviewed",
        "P21",
        "§1.b.iv: the acceptable use policy may change at its URL",
        Reason.POLICY_REVIEW_DUE,
        _reviewed,
        under_acceptance,
        needs_records=True,
        origin="Record",
    ),
)
"""Whether it is the right one: the other checks of this module, in the order in which they are reported."""
