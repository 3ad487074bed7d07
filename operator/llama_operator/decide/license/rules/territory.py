"""Checks of where the licensee is: P8 and P9 (European Union and multimodal models), P19 (trade control).

The clause is about the licensee's domicile or principal place of business. Where nodes or end users are does not matter,
and neither does how the model is served: without images it is the same model.
"""

from collections.abc import Iterator
from datetime import timedelta

from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.licenseacceptance import AcceptanceState
from llama_operator.catalog import lineage
from llama_operator.decide.license.check import Check, Refusal, under_acceptance_in_a_house
from llama_operator.decide.license.facts import LicenseInput, day, same_party
from llama_operator.decide.license.rules.acceptance import acceptance_by_family, acceptances_used


def _multimodal_under_clause(case: LicenseInput) -> bool:
    return case.model.multimodal and any(family.eu_multimodal_denied for family in case.model.families)


def _not_in_european_union(case: LicenseInput) -> Refusal | None:
    facts = lineage.load()
    for where, code in _domiciles(case):
        if code is None or not facts.known_country(code):
            return Refusal(
                f"{case.model.name} is multimodal, and {where} does not say in which country the licensee is domiciled",
                "record the domicile or principal place of business of the licensee (spec.domicile, ISO 3166 alpha-2)",
                reason=Reason.DOMICILE_MISSING,
            )
    for where, code in _domiciles(case):
        if code is not None and facts.in_european_union(code):
            return Refusal(
                f"{where} has the licensee in {code}, in the European Union: multimodal models such as "
                f"{case.model.name} are not granted to it, text-only or not. Nodes and end users may be anywhere",
                "choose a model that takes only text (as a guard: llama-guard-3-8b or llama-guard-3-1b)",
            )
    return None


def _domiciles(case: LicenseInput) -> Iterator[tuple[str, str | None]]:
    """Every place that says where the licensee is: all count, also if they contradict each other."""
    entities = []
    for family, acceptance in acceptance_by_family(case):
        if family.eu_multimodal_denied:
            entities.append(acceptance.spec.legal_entity)
            yield f"LicenseAcceptance {acceptance.metadata.name}", acceptance.spec.domicile
    for acceptance in case.acceptances or ():
        if (
            acceptance.spec.domicile is not None
            and acceptance.spec.state is AcceptanceState.ACCEPTED
            and any(same_party(acceptance.spec.legal_entity, entity) for entity in entities)
        ):
            yield f"LicenseAcceptance {acceptance.metadata.name}", acceptance.spec.domicile
    for policy in case.policies:
        if policy.spec.licensee is not None and policy.spec.licensee.domicile is not None:
            yield f"LicensePolicy {policy.metadata.name}", policy.spec.licensee.domicile


def _not_refused_country(case: LicenseInput) -> Refusal | None:
    for policy in case.policies:
        refused = policy.spec.trade_list.refused_countries
        for acceptance in acceptances_used(case):
            if acceptance.spec.domicile in refused or (refused and acceptance.spec.domicile is None):
                return Refusal(
                    f"LicensePolicy {policy.metadata.name} refuses licensees in {', '.join(refused)}; "
                    f"LicenseAcceptance {acceptance.metadata.name} has "
                    f"{acceptance.spec.domicile or 'no domicile, so it cannot be checked'}",
                    "ask the person who is responsible for trade control",
                )
    return None


def _trade_list_checked(case: LicenseInput) -> Refusal | None:
    for policy in case.policies:
        days = policy.spec.trade_list.max_check_age_days
        if days is None:
            continue
        for acceptance in acceptances_used(case):
            checked = day(acceptance.spec.trade_list_checked_on)
            too_old = checked is not None and case.today is not None and case.today > checked + timedelta(days=days)
            if checked is None or too_old or checked > case.last_today:
                return Refusal(
                    f"LicensePolicy {policy.metadata.name} requires a check of the licensee against trade control lists every "
                    f"{days} days; LicenseAcceptance {acceptance.metadata.name} has "
                    f"{acceptance.spec.trade_list_checked_on or 'no such check'}",
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
        needs_acceptances=True,
    ),
    Check(
        "country-not-refused",
        "P19",
        "§1.b.iv (LLaMA 1: §2.e), trade compliance; the house makes the list",
        Reason.TRADE_CONTROL,
        _not_refused_country,
        under_acceptance_in_a_house,
        needs_acceptances=True,
        origin="HousePolicy",
    ),
    Check(
        "trade-list-checked",
        "P19",
        "§1.b.iv (LLaMA 1: §2.e), trade compliance; the house says how often",
        Reason.TRADE_CONTROL,
        _trade_list_checked,
        under_acceptance_in_a_house,
        needs_acceptances=True,
        origin="HousePolicy",
    ),
)
"""The checks of this module, in the order in which they are reported."""
