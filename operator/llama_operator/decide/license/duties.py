"""Derives the duties from the license families, and collects the evidence of a verdict. Pure; called by `chain`."""

from collections.abc import Iterable

from llama_operator.api.v1alpha1.licensepolicy import Requirement
from llama_operator.catalog.licenses import LicenseFamily
from llama_operator.decide.license.facts import LicenseInput
from llama_operator.decide.license.rules.acceptance import acceptance_by_family, acceptances_used
from llama_operator.decide.license.rules.house import house_limits, requires_keys
from llama_operator.decide.license.rules.naming import prefixes
from llama_operator.decide.license.verdict import AcceptanceUsed, Attestation, Duties, Evidence, Outcome
from llama_serving.config import OutputTerms


def duties_of(case: LicenseInput) -> Duties:
    """The union of the duties of every family that applies."""
    families = tuple(sorted(case.model.families, key=lambda family: -family.strictness))
    required = any(policy.spec.served_license_files is Requirement.REQUIRED for policy in case.policies)
    return Duties(
        families=families,
        attributions=_distinct(family.attribution for family in families),
        notices=_distinct(family.notice for family in families),
        name_prefixes=prefixes(case.model),
        output_terms=_output_terms(families),
        license_files="Required" if required and case.model.needing_acceptance else "NotRequired",
        keys="Required" if requires_keys(case) else "NotRequired",
        guard=tuple(sorted(case.guard.families, key=lambda family: -family.strictness)) if case.guard else (),
        house_limits=house_limits(case),
        rules=tuple(sorted({rule for family in families for rule in family.rules}, key=lambda rule: int(rule[1:]))),
    )


def _distinct(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))


def _output_terms(families: tuple[LicenseFamily, ...]) -> tuple[OutputTerms, ...]:
    terms = {family.output_use for family in families} - {OutputTerms.UNRESTRICTED}
    return tuple(sorted(terms, key=lambda term: term.strictness))


def evidence_of(case: LicenseInput, outcomes: tuple[Outcome, ...]) -> Evidence:
    """Everything that the verdict rests on, and who attested it."""
    model = case.model
    return Evidence(
        checks=outcomes,
        acceptances=tuple(
            AcceptanceUsed(
                name=acceptance.metadata.name,
                uid=acceptance.metadata.uid,
                family=family.id,
                version_date=acceptance.spec.version_date or "",
                text_hashes=acceptance.spec.text_hashes,
                legal_entity=acceptance.spec.legal_entity,
                state=acceptance.spec.state,
            )
            for family, acceptance in sorted(
                acceptance_by_family(case), key=lambda pair: pair[1] is not case.acceptance
            )
        ),
        attestations=_attestations(case),
        policies=tuple(policy.metadata.name for policy in case.policies),
        lineage=(
            *(f"{step.model} is a {step.kind} of {step.ancestor}" for step in model.derivations),
            *model.signals,
            *model.unresolved,
        ),
        text_hashes=tuple(
            sorted(
                {text for family in model.families for text in family.license_text_hashes + family.policy_text_hashes}
            )
        ),
        model_digest=model.digest,
        source=model.source,
    )


def _attestations(case: LicenseInput) -> tuple[Attestation, ...]:
    attestations = [
        Attestation(
            "P2", f"comes from no Llama; evidence {made.evidence}", made.attested_by, made.attested_on, case.model.name
        )
        for made in case.model.attested
    ]
    for acceptance in acceptances_used(case):
        spec, name = acceptance.spec, acceptance.metadata.name
        by, on = spec.accepted_by, spec.accepted_on
        attestations.append(
            Attestation("P1", f"accepted for {spec.legal_entity}; evidence {spec.evidence}", by, on, name)
        )
        attestations.append(Attestation("P8", f"domiciled in {spec.domicile or '(not said)'}", by, on, name))
        attestations.append(Attestation("P7", f"received as {spec.received_as}", by, on, name))
        attestations.append(
            Attestation("P16", f"used for {case.license.use_case}, {case.license.purpose}", by, on, name)
        )
        if (users := spec.monthly_active_users) is not None:
            text = f"{users.count} monthly active users in {users.month}"
            attestations.append(Attestation("P5", text, users.attested_by, users.attested_on, name))
        if (grant := spec.meta_grant) is not None:
            attestations.append(
                Attestation(
                    "P6", f"grant {grant.reference} until {grant.expires_on or 'revoked'}", by, grant.granted_on, name
                )
            )
        if spec.trade_list_checked_on is not None:
            attestations.append(
                Attestation("P19", "checked against trade control lists", by, spec.trade_list_checked_on, name)
            )
    return tuple(attestations)
