"""Status of the license records: LlamaModel, LicenseAcceptance, LicensePolicy. Called by `reconcile.license_records`.

It comments on what an administrator wrote. The conditions of a deployment say whether that may run.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from llama_operator.api import readings
from llama_operator.api.manifest import readable
from llama_operator.api.meta import Condition, ConditionStatus, rfc3339
from llama_operator.api.record_reasons import RecordCondition, RecordReason
from llama_operator.api.v1alpha1.common import ConditionedStatus
from llama_operator.api.v1alpha1.licenseacceptance import (
    AcceptanceState,
    LicenseAcceptance,
    LicenseAcceptanceSpec,
    LicenseAcceptanceStatus,
)
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicy, LicensePolicyStatus
from llama_operator.api.v1alpha1.llamamodel import LlamaModel, LlamaModelStatus
from llama_operator.catalog import Catalog, UnknownLicenseError
from llama_operator.catalog.additions import Unusable, additions
from llama_operator.catalog.licenses import LicenseFamily
from llama_operator.catalog.models import Model
from llama_operator.decide.license.accepted import text_is_named, unknown_texts, version_fits
from llama_operator.decide.license.facts import RETIRED, ModelFacts, day, leading, same_party
from llama_operator.decide.license.lineage import lineages
from llama_operator.errors import InvalidManifestError, NotUnderstoodError
from llama_operator.status import failure
from llama_operator.status.finding import Finding, conditions

_GRANT_WARNING = timedelta(days=30)
_MOST_MODELS = 1024
_MOST_USERS = 64
_MOST_ACCEPTANCES = 4096
_MESSAGE_LIMIT = 32768
AnyStatus = LlamaModelStatus | LicenseAcceptanceStatus | LicensePolicyStatus
_FIRST: Mapping[type[AnyStatus], RecordCondition] = {
    LlamaModelStatus: RecordCondition.RESOLVED,
    LicenseAcceptanceStatus: RecordCondition.VALID,
    LicensePolicyStatus: RecordCondition.IN_FORCE,
}
"""The condition of each kind of record that says whether it counts."""


@dataclass(frozen=True, slots=True)
class CopyInUse:
    """A copy of weights of a deployment, as its status tells of it.

    Attributes:
        claim: Claim that it is in.
        erased: Whether a Job has erased it.
        message: What became of it.
    """

    claim: str
    erased: bool
    message: str


@dataclass(frozen=True, slots=True)
class Use:
    """A LlamaDeployment that names an acceptance.

    Attributes:
        acceptance: Name of the acceptance.
        deployment: `namespace/name`.
        weights: What it was planned with: repository or model; empty before the first plan.
        models: Names of its model and of its guard.
        copies: Copies of weights in claims that its status tells of.
    """

    acceptance: str
    deployment: str
    weights: str = ""
    models: tuple[str, ...] = ()
    copies: tuple[CopyInUse, ...] = ()

    @property
    def namespace(self) -> str:
        """Namespace of the deployment."""
        return self.deployment.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Records:
    """All license records, and what they are compared with.

    Attributes:
        catalog: Models and license families.
        models: LlamaModels.
        acceptances: Names of the LicenseAcceptances.
        uses: LlamaDeployments that name an acceptance.
        now: Time of the pass, in UTC.
        related: LicenseAcceptances of the entity of the one that is looked at, itself included, and all that are superseded.
    """

    catalog: Catalog
    models: tuple[LlamaModel, ...]
    acceptances: tuple[str, ...]
    uses: tuple[Use, ...]
    now: datetime
    related: tuple[LicenseAcceptance, ...] = ()


def of_model(model: LlamaModel, records: Records) -> LlamaModelStatus:
    """Status of a LlamaModel."""
    facts = lineages(records.catalog, records.models).resolve(model.metadata.name)
    entry = additions(records.catalog, records.models).added(model.metadata.name)
    required = "Required" if facts.needing_acceptance else "NotRequired"
    return LlamaModelStatus(
        observed_generation=model.metadata.generation,
        conditions=_conditions(model, records, (_resolved(facts), _plannable(entry))),
        tier=facts.tier,
        license_families=tuple(family.id for family in facts.families),
        acceptance_required="" if facts.unresolved else required,
        ancestors=facts.ancestors,
    )


def _resolved(facts: ModelFacts) -> Finding:
    kind = RecordCondition.RESOLVED
    if facts.unresolved:
        text = "; ".join(facts.unresolved)
        return Finding(kind, ConditionStatus.FALSE, RecordReason.LINEAGE_UNRESOLVED, text)
    text = "; ".join((f"under {', '.join(family.id for family in facts.families)}", *facts.signals))
    return Finding(kind, ConditionStatus.TRUE, RecordReason.LINEAGE_RESOLVED, text)


def _plannable(entry: object) -> Finding:
    kind = RecordCondition.PLANNABLE
    if isinstance(entry, Unusable):
        return Finding(kind, ConditionStatus.FALSE, RecordReason.SHAPE_UNKNOWN, entry.message)
    if isinstance(entry, Model) and entry.not_served:
        return Finding(kind, ConditionStatus.FALSE, RecordReason.NOT_SERVED, entry.not_served)
    return Finding(kind, ConditionStatus.TRUE, RecordReason.SHAPE_KNOWN, "deployments may name it in spec.model.name")


def of_acceptance(record: LicenseAcceptance, records: Records) -> LicenseAcceptanceStatus:
    """Status of a LicenseAcceptance."""
    uses = tuple(use for use in records.uses if _rests_on(use, record, records))
    findings = [_valid(record.spec, records.catalog), _review(record.spec, records.now)]
    if (ending := _grant_ending(record.spec, uses, records.now)) is not None:
        findings.append(ending)
    contradictions = tuple(_contradictions(record, records.related))
    if contradictions:
        text = (
            "; ".join(contradictions)
            + "; set the state of a record that is wrong to Superseded, with the true one as successor"
        )
        findings.append(Finding(RecordCondition.CONTRADICTED, ConditionStatus.TRUE, RecordReason.STRICTER_COUNTS, text))
    if record.spec.state is AcceptanceState.TERMINATED:
        findings.append(_weights_deleted(record, uses))
    return LicenseAcceptanceStatus(
        observed_generation=record.metadata.generation,
        conditions=_conditions(record, records, findings),
        models=_covered(record, records),
        deployments=len(uses),
        used_by=tuple(sorted(use.deployment for use in uses)[:_MOST_USERS]),
        first_named_on=_first_named(record, uses, records.now),
    )


def _rests_on(use: Use, record: LicenseAcceptance, records: Records) -> bool:
    """Whether a deployment needs the record: by name, as a successor, or beside the one that it names."""
    name = record.metadata.name
    if use.acceptance == name:
        return True
    lead = leading(records.related, use.acceptance)
    if lead is None or not same_party(lead.spec.legal_entity, record.spec.legal_entity):
        return False
    if lead.metadata.name == name:
        return True
    if use.namespace not in record.spec.namespaces or record.spec.state in RETIRED:
        return False
    known, families = lineages(records.catalog, records.models), set(record.spec.families)
    needed = (family.id for model in use.models for family in known.resolve(model).needing_acceptance)
    return not families.isdisjoint(needed)


def _contradictions(record: LicenseAcceptance, related: Iterable[LicenseAcceptance]) -> Iterator[str]:
    """What other records of the entity say differently about facts of which there can be only one."""
    spec, users = record.spec, record.spec.monthly_active_users
    for other in related:
        same = same_party(other.spec.legal_entity, spec.legal_entity)
        if other.metadata.name == record.metadata.name or not same:
            continue
        theirs, superseded = other.spec.monthly_active_users, AcceptanceState.SUPERSEDED
        corrected = superseded in {spec.state, other.spec.state}
        if users and theirs and users.month == theirs.month and users.count != theirs.count and not corrected:
            yield (
                f"spec.monthlyActiveUsers: {other.metadata.name} says {theirs.count:,} for {users.month}, this record "
                f"{users.count:,}: {max(users.count, theirs.count):,} counts for both"
            )
        hold = spec.state is other.spec.state is AcceptanceState.ACCEPTED
        if hold and spec.domicile and other.spec.domicile and spec.domicile != other.spec.domicile:
            yield (
                f"spec.domicile: {other.metadata.name} says {other.spec.domicile}, this record {spec.domicile}: what is not "
                "granted in either is refused"
            )


def _first_named(record: LicenseAcceptance, uses: tuple[Use, ...], now: datetime) -> str | None:
    before = record.status.first_named_on if record.status else None
    return before or (rfc3339(now)[:10] if uses else None)


def _covered(record: LicenseAcceptance, records: Records) -> tuple[str, ...]:
    """LlamaModels under a license that it accepts; other records of the entity may have to cover the rest."""
    known, families = lineages(records.catalog, records.models), frozenset(record.spec.families)
    resolved = (known.resolve(model.metadata.name) for model in records.models)
    names = (facts.name for facts in resolved if families & {family.id for family in facts.needing_acceptance})
    return tuple(sorted(names)[:_MOST_MODELS])


def _valid(spec: LicenseAcceptanceSpec, catalog: Catalog) -> Finding:
    kind, wrong = RecordCondition.VALID, ConditionStatus.FALSE
    if spec.state is AcceptanceState.SUPERSEDED:
        text = f"superseded by {spec.superseded_by}, which counts in its place"
        return Finding(kind, wrong, RecordReason.SUPERSEDED, text)
    if spec.state is AcceptanceState.WITHDRAWN:
        return Finding(kind, wrong, RecordReason.WITHDRAWN, "withdrawn: nothing starts on it, and what runs goes on")
    if spec.state is AcceptanceState.TERMINATED:
        since = f" since {spec.terminated_on}" if spec.terminated_on else ""
        return Finding(kind, wrong, RecordReason.TERMINATED, f"terminated{since}: nothing may rest on it")
    families = []
    for name in spec.families:
        try:
            families.append(catalog.license_family(name))
        except UnknownLicenseError as error:
            return Finding(kind, wrong, RecordReason.FAMILY_UNKNOWN, f"spec.families: {error}")
    if (reason := _wrong_version(spec, families)) is not None:
        return Finding(kind, wrong, *reason)
    if (reason := _wrong_text(spec, families)) is not None:
        return Finding(kind, wrong, *reason)
    text = (
        f"{spec.legal_entity} accepted {', '.join(spec.families)} on {spec.accepted_on}, recorded by {spec.accepted_by}"
    )
    return Finding(kind, ConditionStatus.TRUE, RecordReason.RECORDED, text)


def _wrong_version(spec: LicenseAcceptanceSpec, families: Sequence[LicenseFamily]) -> tuple[RecordReason, str] | None:
    needing = [family for family in families if family.acceptance_required]
    unfit = [family for family in needing if not version_fits(spec, family)]
    known = ", ".join(f"{family.id} {family.version_date}" for family in needing)
    again = "it cannot be added later: record a new acceptance"
    if unfit and spec.version_date is None:
        return RecordReason.VERSION_MISSING, f"spec.versionDate is not set, versions: {known}; {again}"
    if unfit and len(unfit) == len(needing):
        return RecordReason.VERSION_MISMATCH, f"spec.versionDate is {spec.version_date}, versions: {known}; {again}"
    return None


def _wrong_text(spec: LicenseAcceptanceSpec, families: Sequence[LicenseFamily]) -> tuple[RecordReason, str] | None:
    for family in families:
        if not text_is_named(spec, family):
            again = "record a new acceptance with the hash of the text that was accepted"
            return RecordReason.TEXT_MISSING, f"spec.textHashes has no text of {family.id}; {again}"
    if unknown := unknown_texts(spec, families):
        text = f"spec.textHashes: {min(unknown)} is no known text of {', '.join(spec.families)}"
        return RecordReason.TEXT_UNKNOWN, text
    return None


def _review(spec: LicenseAcceptanceSpec, now: datetime) -> Finding:
    kind, due = RecordCondition.REVIEW_DUE, spec.review_due_on
    if due is None:
        text = "spec.reviewDueOn is not set; the acceptable use policy changes under its URL"
        return Finding(kind, ConditionStatus.FALSE, RecordReason.REVIEW_NOT_PLANNED, text)
    # Both are dates as ISO 8601 writes them, which sort as text.
    if due <= rfc3339(now)[:10]:
        text = f"read the acceptable use policy of {', '.join(spec.families)} again, then set spec.reviewDueOn anew"
        return Finding(kind, ConditionStatus.TRUE, RecordReason.REVIEW_OVERDUE, text)
    return Finding(kind, ConditionStatus.FALSE, RecordReason.REVIEW_PLANNED, f"due on {due}")


def _grant_ending(spec: LicenseAcceptanceSpec, uses: Iterable[Use], now: datetime) -> Finding | None:
    """A warning before deployments stop, and after; None while there is none, or for a record that has no effect."""
    grant, kind, true = spec.meta_grant, RecordCondition.GRANT_ENDING, ConditionStatus.TRUE
    last = day(grant.expires_on) if grant else None
    if grant is None or last is None or spec.state is not AcceptanceState.ACCEPTED:
        return None
    named = ", ".join(sorted(use.deployment for use in uses)) or "no deployment"
    if last < now.date():
        text = f"the grant {grant.reference} ended on {last}: nothing starts on it, and {named} stops unless it was extended"
        return Finding(kind, true, RecordReason.GRANT_ENDED, text)
    if last - now.date() > _GRANT_WARNING:
        return None
    text = (
        f"the grant {grant.reference} ends on {last}; at noon UTC of the day after, {named} stops: have Meta extend it, and "
        "record the extension in another acceptance of the entity before"
    )
    return Finding(kind, true, RecordReason.GRANT_ENDS_SOON, text)


def _weights_deleted(record: LicenseAcceptance, uses: Iterable[Use]) -> Finding:
    confirmed = record.spec.deletion_confirmed
    if confirmed is not None:
        text = f"{confirmed.confirmed_by} confirmed on {confirmed.confirmed_on}: {confirmed.what}"
        return Finding(RecordCondition.WEIGHTS_DELETED, ConditionStatus.TRUE, RecordReason.DELETION_CONFIRMED, text)
    named = tuple(uses)
    copies = [(use, copy) for use in named for copy in use.copies]
    told = "; ".join(sorted(f"{use.namespace}: {copy.message}" for use, copy in copies if copy.message))
    if named and all(use.copies and all(copy.erased for copy in use.copies) for use in named):
        # Pods of such deployments read the copies, and downloaded nothing.
        return Finding(RecordCondition.WEIGHTS_DELETED, ConditionStatus.TRUE, RecordReason.COPIES_ERASED, told)
    used = ", ".join(sorted(f"{use.weights} by {use.deployment}" for use in named if use.weights))
    text = (
        f"used: {used or 'nothing that still names it'}; the operator stops the deployments that name this record; what their pods had downloaded goes with the pods. It "
        "erases the copies that it made in claims and cannot see others: PersistentVolumeClaims and object stores have to be emptied by "
        f"the owners of {', '.join(record.spec.namespaces)}, node caches, images and mirrors by the platform owner. Record "
        "in spec.deletionConfirmed who confirmed it"
    )
    text = f"{text}. Copies in claims: {told}" if told else text
    return Finding(RecordCondition.WEIGHTS_DELETED, ConditionStatus.UNKNOWN, RecordReason.NOT_RECORDED, text)


def of_policy(policy: LicensePolicy, records: Records) -> LicensePolicyStatus:
    """Status of a LicensePolicy."""
    existing = set(records.acceptances)
    named = {name for entry in policy.spec.tiers for name in entry.acceptances}
    missing = sorted(named - existing)
    text = "house policy, not license text; every LicensePolicy that exists applies"
    reason = RecordReason.HOUSE_POLICY
    if missing:
        reason, text = RecordReason.ACCEPTANCES_MISSING, f"{text}; not found: {', '.join(missing)}"
    return LicensePolicyStatus(
        observed_generation=policy.metadata.generation,
        conditions=_conditions(
            policy, records, (Finding(RecordCondition.IN_FORCE, ConditionStatus.TRUE, reason, text),)
        ),
        tiers=tuple(entry.tier for entry in policy.spec.tiers),
        # More than fit leave the list out: admission then does not look, rather than refuse what exists.
        acceptances=tuple(sorted(existing)) if len(existing) <= _MOST_ACCEPTANCES else None,
    )


_ABOUT = {
    "LlamaModel": (RecordCondition.RESOLVED, RecordCondition.PLANNABLE),
    "LicenseAcceptance": (RecordCondition.VALID,),
    "LicensePolicy": (RecordCondition.IN_FORCE,),
}
"""Conditions that a record has in any case."""


def not_understood(live: Mapping[str, Any], error: NotUnderstoodError, now: datetime) -> dict[str, Any]:
    """Status of a record that only a newer version understands: all that it said before, with conditions that say so.

    Args:
        live: The record as it stands.
        error: What is not understood.
        now: Time of the pass, in UTC.
    """
    what = "; ".join(f"{problem.path}: {problem.problem}" for problem in error.problems)
    text = (
        f"this version of the operator does not understand {what}; upgrade it, or change the value if the definitions are older "
        "than the operator; until then nothing new starts on this record"
    )
    findings = [
        Finding(kind, ConditionStatus.UNKNOWN, RecordReason.NOT_UNDERSTOOD, text) for kind in _ABOUT[live["kind"]]
    ]
    before = readable(ConditionedStatus, live.get("status")) or {}
    generation = int(live["metadata"].get("generation", 0))
    told = ConditionedStatus(
        observed_generation=generation,
        conditions=conditions(
            findings,
            ConditionedStatus.model_validate(before).conditions,
            generation=generation,
            now=now,
            limit=_MESSAGE_LIMIT,
        ),
    )
    return (live.get("status") or {}) | told.to_api()


def invalid(
    model: type[AnyStatus], live: Mapping[str, Any], error: InvalidManifestError, *, now: datetime
) -> AnyStatus:
    """Status of a record that the API server accepted and that breaks one of our rules: under an older CRD, for example.

    Args:
        model: Type of its status.
        live: The record as it stands.
        error: What is wrong with it.
        now: Time of the pass, in UTC.
    """
    text = "; ".join(map(str, error.problems))
    return _unread(model, live, ConditionStatus.FALSE, RecordReason.INVALID_SPEC, text, now)


def failed(model: type[AnyStatus], live: Mapping[str, Any], error: Exception, *, now: datetime) -> AnyStatus:
    """Status of a record over which a pass failed; what was known before stands.

    Args:
        model: Type of its status.
        live: The record as it stands.
        error: What was raised.
        now: Time of the pass, in UTC.
    """
    before = readings.status(model, live.get("status"))
    text = failure.of(
        error, "judge this record", nature=failure.Nature.DEFECT, live=live, previous=before.conditions
    ).text
    return _unread(model, live, ConditionStatus.UNKNOWN, RecordReason.INTERNAL_ERROR, text, now)


def _unread(
    model: type[AnyStatus],
    live: Mapping[str, Any],
    status: ConditionStatus,
    reason: RecordReason,
    text: str,
    now: datetime,
) -> AnyStatus:
    before = readings.status(model, live.get("status"))
    generation = readings.whole(live["metadata"].get("generation")) or 0
    finding = Finding(_FIRST[model], status, reason, text)
    told = conditions((finding,), before.conditions, generation=generation, now=now, limit=_MESSAGE_LIMIT)
    others = tuple(each for each in before.conditions if each.type != finding.type)
    return before.model_copy(update={"observed_generation": generation, "conditions": (*told, *others)})


def _conditions(
    record: LlamaModel | LicenseAcceptance | LicensePolicy, records: Records, findings: Iterable[Finding]
) -> tuple[Condition, ...]:
    previous = record.status.conditions if record.status else ()
    generation = record.metadata.generation
    return conditions(findings, previous, generation=generation, now=records.now, limit=_MESSAGE_LIMIT)
