"""Which duties follow from the license families, and what a verdict rests on. Pure; called by `chain`."""

from collections.abc import Iterable

from llama_operator.api.v1alpha1.licensepolicy import Requirement
from llama_operator.catalog.licenses import LicenseFamily
from llama_operator.decide.license.facts import LicenseInput
from llama_operator.decide.license.rules.acceptance import relied_on, relied_on_with_leading
from llama_operator.decide.license.rules.naming import prefixes
from llama_operator.decide.license.verdict import Attestation, Duties, Evidence, Outcome, RecordUsed
from llama_serving.config import OutputTerms


def duties_of(given: LicenseInput) -> Duties:
    """The union of the duties of every family that applies."""
    families = tuple(sorted(given.model.families, key=lambda family: -family.strictness))
    required = any(policy.spec.served_license_files is Requirement.REQUIRED for policy in given.policies)
    return Duties(
        families=families,
        attributions=_each_once(family.attribution for family in families),
        notices=_each_once(family.notice for family in families),
        name_prefixes=prefixes(given.model),
        output_terms=_output_terms(families),
        license_files="Required" if required and given.model.needing_acceptance else "NotRequired",
        rules=tuple(sorted({rule for family in families for rule in family.rules}, key=lambda rule: int(rule[1:]))),
    )


def _each_once(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))


def _output_terms(families: tuple[LicenseFamily, ...]) -> tuple[OutputTerms, ...]:
    terms = {family.output_use for family in families} - {OutputTerms.UNRESTRICTED}
    return tuple(sorted(terms, key=lambda term: term.strictness))


def evidence_of(given: LicenseInput, outcomes: tuple[Outcome, ...]) -> Evidence:
    """Everything that the verdict rests on, and who attested what."""
    model = given.model
    return Evidence(
        checks=outcomes,
        records=tuple(
            RecordUsed(
                name=record.metadata.name,
                uid=record.metadata.uid,
                family=family.id,
                version_date=record.spec.version_date or "",
                text_hashes=record.spec.text_hashes,
                legal_entity=record.spec.legal_entity,
                state=record.spec.state,
            )
            for family, record in sorted(relied_on(given), key=lambda pair: pair[1] is not given.record)
        ),
        attestations=_attestations(given),
        policies=tuple(policy.metadata.name for policy in given.policies),
        lineage=(
            *(f"{step.model} is a {step.kind} of {step.ancestor}" for step in model.derivations),
            *model.signals,
            *model.unresolved,
        ),
        text_hashes=tuple(
            sorted(
                {each for family in model.families for each in family.license_text_hashes + family.policy_text_hashes}
            )
        ),
        model_digest=model.digest,
        source=model.source,
    )


def _attestations(given: LicenseInput) -> tuple[Attestation, ...]:
    found = []
    for record in relied_on_with_leading(given):
        spec, name = record.spec, record.metadata.name
        by, on = spec.accepted_by, spec.accepted_on
        found.append(Attestation("P1", f"accepted for {spec.legal_entity}; evidence {spec.evidence}", by, on, name))
        found.append(Attestation("P8", f"domiciled in {spec.domicile or '(not said)'}", by, on, name))
        found.append(Attestation("P7", f"received as {spec.received_as}", by, on, name))
        found.append(Attestation("P16", f"used for {given.license.use_case}, {given.license.purpose}", by, on, name))
        if (users := spec.monthly_active_users) is not None:
            text = f"{users.count} monthly active users in {users.month}"
            found.append(Attestation("P5", text, users.attested_by, users.attested_on, name))
        if (grant := spec.meta_grant) is not None:
            found.append(
                Attestation(
                    "P6", f"grant {grant.reference} until {grant.expires_on or 'revoked'}", by, grant.granted_on, name
                )
            )
        if spec.trade_list_checked_on is not None:
            found.append(
                Attestation("P19", "checked against trade control lists", by, spec.trade_list_checked_on, name)
            )
    return tuple(found)
