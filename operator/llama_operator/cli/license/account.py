"""What an auditor is told of one deployment: the license records that it rests on, and what was served by revision. Pure.

Called by `cli.license.report`. The names are those of the JSON, which docs/cli.md documents.
"""

from collections.abc import Iterator
from typing import Any

from llama_operator import catalog
from llama_operator.api.meta import rfc3339
from llama_operator.api.record_reasons import RecordCondition
from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance
from llama_operator.cli.license.judged import Judged
from llama_operator.decide.observed import LicenseEnd, RevisionFacts
from llama_operator.evidence.weights import what_is_pinned

RECORD_FIELDS = (
    "name",
    "state",
    "families",
    "versionDate",
    "legalEntity",
    "domicile",
    "receivedAs",
    "acceptedBy",
    "acceptedOn",
    "document",
    "namespaces",
    "usersMonth",
    "usersCount",
    "usersAttestedBy",
    "usersAttestedOn",
    "grantReference",
    "grantedOn",
    "grantExpiresOn",
    "acceptedTextHashes",
    "catalogTextHashes",
    "tradeListCheckedOn",
    "reviewDueOn",
    "supersededBy",
    "terminatedOn",
    "deletionConfirmedBy",
    "deletionConfirmedOn",
    "deleted",
    "deletionEvidence",
    "weightsDeleted",
    "contradicted",
)
"""Facts of one record, in the order of the CSV."""
REVISION_FIELDS = (
    "revision",
    "model",
    "created",
    "servedFrom",
    "servedUntil",
    "traffic",
    "trafficSince",
    "acceptance",
    "verdict",
    "reason",
    "licenseEnd",
    "source",
    "commit",
    "image",
)
"""Facts of one revision, in the order of the CSV."""


def records(judged: Judged) -> list[dict[str, Any]]:
    """Every LicenseAcceptance that the deployment rests on or rested on, the one that leads first."""
    live = {record.metadata.name: record for record in judged.observed.acceptances or ()}
    return [_record(live[name]) for name in dict.fromkeys(_names(judged)) if name in live]


def revisions(judged: Judged) -> list[dict[str, Any]]:
    """Every revision that is remembered, the newest first."""
    ordered = sorted(judged.observed.revisions, key=lambda pinned: -pinned.number)
    return [_revision(judged, pinned) for pinned in ordered]


def attested(judged: Judged) -> list[dict[str, str]]:
    """Statements that no machine can check: what, who said it, when, and in which record; also used by `explain`."""
    said = judged.verdict.evidence.attestations if judged.verdict else ()
    return [
        {"rule": one.rule, "statement": one.statement, "by": one.by, "on": one.on, "acceptance": one.acceptance}
        for one in said
    ]


def _names(judged: Judged) -> Iterator[str]:
    yield from (used.name for used in (judged.verdict.evidence.acceptances if judged.verdict else ()))
    yield judged.deployment.spec.license.acceptance or ""
    for pinned in judged.observed.revisions:
        yield (pinned.license and pinned.license.acceptance) or ""
        yield pinned.license_end.acceptance if pinned.license_end else ""


def _record(record: LicenseAcceptance) -> dict[str, Any]:
    spec, users, grant = record.spec, record.spec.monthly_active_users, record.spec.meta_grant
    confirmed = spec.deletion_confirmed
    return {
        "name": record.metadata.name,
        "state": str(spec.state),
        "families": list(spec.families),
        "versionDate": spec.version_date or "",
        "legalEntity": spec.legal_entity,
        "domicile": spec.domicile or "",
        "receivedAs": str(spec.received_as),
        "acceptedBy": spec.accepted_by,
        "acceptedOn": spec.accepted_on,
        "document": spec.evidence,
        "namespaces": list(spec.namespaces),
        "usersMonth": users.month if users else "",
        "usersCount": users.count if users else None,
        "usersAttestedBy": users.attested_by if users else "",
        "usersAttestedOn": users.attested_on if users else "",
        "grantReference": grant.reference if grant else "",
        "grantedOn": grant.granted_on if grant else "",
        "grantExpiresOn": (grant.expires_on or "") if grant else "",
        "acceptedTextHashes": list(spec.text_hashes),
        "catalogTextHashes": _known_texts(spec.families),
        "tradeListCheckedOn": spec.trade_list_checked_on or "",
        "reviewDueOn": spec.review_due_on or "",
        "supersededBy": spec.superseded_by or "",
        "terminatedOn": spec.terminated_on or "",
        "deletionConfirmedBy": confirmed.confirmed_by if confirmed else "",
        "deletionConfirmedOn": confirmed.confirmed_on if confirmed else "",
        "deleted": confirmed.what if confirmed else "",
        "deletionEvidence": confirmed.evidence if confirmed else "",
        "weightsDeleted": _told(record, RecordCondition.WEIGHTS_DELETED),
        "contradicted": _told(record, RecordCondition.CONTRADICTED),
    }


def _known_texts(families: tuple[str, ...]) -> list[str]:
    known = {family.id: family for family in catalog.load().families}
    texts = (known[name] for name in families if name in known)
    return [text for family in texts for text in (*family.license_text_hashes, *family.policy_text_hashes)]


def _told(record: LicenseAcceptance, kind: RecordCondition) -> str:
    """What the status of a record says in a condition that not every record has; empty for those without."""
    conditions = record.status.conditions if record.status else ()
    told = next((condition for condition in conditions if condition.type == kind), None)
    if told is None:
        return ""
    return f"{told.status} since {rfc3339(told.last_transition_time)}, {told.reason}: {told.message}"


def _revision(judged: Judged, pinned: RevisionFacts) -> dict[str, Any]:
    traffic, end, own = judged.observed.traffic, pinned.license_end, judged.decision.verdict_of(pinned.name)
    has_traffic = traffic is not None and traffic.revision == pinned.name
    runs = what_is_pinned(pinned)
    return {
        "revision": pinned.name,
        "model": pinned.model,
        "created": rfc3339(pinned.created) if pinned.created else "",
        "servedFrom": pinned.served_at,
        "servedUntil": _until(end, serves=has_traffic and bool(pinned.served_at)),
        "traffic": has_traffic,
        "trafficSince": rfc3339(traffic.since) if traffic and has_traffic and traffic.since else "",
        "acceptance": (pinned.license and pinned.license.acceptance) or "",
        "verdict": "NotJudged" if own is None else "Allow" if own.verdict.allowed else "Deny",
        "reason": own.verdict.reason.value if own else "",
        "licenseEnd": _end(end),
        "source": runs.get("modelSource", ""),
        "commit": runs["modelCommit"],
        "image": runs["image"],
    }


def _until(end: LicenseEnd | None, *, serves: bool) -> str:
    """When it served last, where that is known: now, or until its license ended."""
    if serves:
        return "now"
    return rfc3339(end.at) if end is not None and end.at is not None else ""


def _end(end: LicenseEnd | None) -> str:
    if end is None:
        return ""
    over = f", engines end since {rfc3339(end.at)}" if end.at else ", a newer acceptance took over"
    return f"{end.acceptance} of {end.entity} ended on {end.on} for {', '.join(end.families)}{over}"
