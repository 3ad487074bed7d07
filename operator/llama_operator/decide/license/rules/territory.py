"""Checks of where the licensee is: P8 and P9 (European Union and multimodal models), P19 (trade control).

The clause is about the licensee's domicile or principal place of business. Where nodes or end users are does not matter,
and neither does how the model is served: without images it is the same model.
"""

from collections.abc import Iterator
from datetime import timedelta

from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.licenseacceptance import AcceptanceState
from llama_operator.catalog import lineage
from llama_operator.decide.license.check import Check, Found, under_acceptance_in_a_house
from llama_operator.decide.license.facts import LicenseInput, day, same_party
from llama_operator.decide.license.rules.acceptance import relied_on, relied_on_with_leading


def _multimodal_under_clause(given: LicenseInput) -> bool:
    return given.model.multimodal and any(family.eu_multimodal_denied for family in given.model.families)


def _not_in_european_union(given: LicenseInput) -> Found | None:
    facts = lineage.load()
    for where, code in _domiciles(given):
        if code is None or not facts.known_country(code):
            return Found(
                f"{given.model.name} is multimodal, and {where} does not say in which country the licensee is domiciled",
                "record the domicile or principal place of business of the licensee (spec.domicile, ISO 3166 alpha-2)",
                reason=Reason.DOMICILE_MISSING,
            )
    for where, code in _domiciles(given):
        if code is not None and facts.in_european_union(code):
            return Found(
                f"{where} has the licensee in {code}, in the European Union: multimodal models such as "
                f"{given.model.name} are not granted to it, text-only or not. Nodes and end users may be anywhere",
                "choose a model that takes text alone (as a guard: llama-guard-3-8b or llama-guard-3-1b)",
            )
    return None


def _domiciles(given: LicenseInput) -> Iterator[tuple[str, str | None]]:
    """Everything that says where the licensee is: contradicting records count together."""
    entities = []
    for family, record in relied_on(given):
        if family.eu_multimodal_denied:
            entities.append(record.spec.legal_entity)
            yield f"LicenseAcceptance {record.metadata.name}", record.spec.domicile
    for record in given.records or ():
        if (
            record.spec.domicile is not None
            and record.spec.state is AcceptanceState.ACCEPTED
            and any(same_party(record.spec.legal_entity, entity) for entity in entities)
        ):
            yield f"LicenseAcceptance {record.metadata.name}", record.spec.domicile
    for policy in given.policies:
        if policy.spec.licensee is not None and policy.spec.licensee.domicile is not None:
            yield f"LicensePolicy {policy.metadata.name}", policy.spec.licensee.domicile


def _not_refused_country(given: LicenseInput) -> Found | None:
    for policy in given.policies:
        refused = policy.spec.trade_list.refused_countries
        for record in relied_on_with_leading(given):
            if record.spec.domicile in refused or (refused and record.spec.domicile is None):
                return Found(
                    f"LicensePolicy {policy.metadata.name} refuses licensees in {', '.join(refused)}; "
                    f"LicenseAcceptance {record.metadata.name} has "
                    f"{record.spec.domicile or 'no domicile, so that nobody can tell'}",
                    "ask whoever is responsible for trade control",
                )
    return None


def _trade_list_checked(given: LicenseInput) -> Found | None:
    for policy in given.policies:
        days = policy.spec.trade_list.max_check_age_days
        if days is None:
            continue
        for record in relied_on_with_leading(given):
            checked = day(record.spec.trade_list_checked_on)
            too_old = checked is not None and given.today is not None and given.today > checked + timedelta(days=days)
            if checked is None or too_old or (given.today is not None and checked > given.today):
                return Found(
                    f"LicensePolicy {policy.metadata.name} wants the licensee checked against trade control lists every "
                    f"{days} days; LicenseAcceptance {record.metadata.name} has "
                    f"{record.spec.trade_list_checked_on or 'no such check'}",
                    "check the licensee, and record an acceptance with spec.tradeListCheckedOn",
                )
    return None


CHECKS: tuple[Check, ...] = (
    Check(
        "licensee-not-in-european-union",
        "P8",
        "acceptable use policy, paragraph on multimodal models and the European Union",
        Reason.EUROPEAN_UNION_NOT_GRANTED,
        _not_in_european_union,
        _multimodal_under_clause,
        needs_records=True,
    ),
    Check(
        "country-not-refused",
        "P19",
        "§1.b.iv (LLaMA 1: §2.e), trade compliance; the list is the house's",
        Reason.TRADE_CONTROL,
        _not_refused_country,
        under_acceptance_in_a_house,
        needs_records=True,
        origin="HousePolicy",
    ),
    Check(
        "trade-list-checked",
        "P19",
        "§1.b.iv (LLaMA 1: §2.e), trade compliance; how often is the house's",
        Reason.TRADE_CONTROL,
        _trade_list_checked,
        under_acceptance_in_a_house,
        needs_records=True,
        origin="HousePolicy",
    ),
)
"""The checks of this module, in the order in which they are reported."""
