"""Checks of where the licensee is: P8 and P9 (European Union and multimodal models), P19 (trade control).

The clause is about the licensee's domicile or principal place of business. Where nodes or end users are does not matter,
and neither does how the model is served: without images it is the same model.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.licenseacceptance import AcceptanceState, LicenseAcceptance
from llama_operator.catalog import lineage
from llama_operator.decide.license.check import Check, Refusal, under_acceptance_in_a_house
from llama_operator.decide.license.facts import LicenseInput, day
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
    bound = [acceptance for family, acceptance in acceptance_by_family(case) if family.eu_multimodal_denied]
    for acceptance in bound:
        yield f"LicenseAcceptance {acceptance.metadata.name}", acceptance.spec.domicile
    for other in _others_of_licensee(case, bound):
        if other.spec.domicile is not None:
            yield f"LicenseAcceptance {other.metadata.name}", other.spec.domicile
    for policy in case.policies:
        if policy.spec.licensee is not None and policy.spec.licensee.domicile is not None:
            yield f"LicensePolicy {policy.metadata.name}", policy.spec.licensee.domicile


def _not_refused_country(case: LicenseInput) -> Refusal | None:
    facts = lineage.load()
    for policy in case.policies:
        refused = {facts.country(code) for code in policy.spec.trade_list.refused_countries}
        if not refused:
            continue
        used = tuple(acceptances_used(case))
        for acceptance in (*used, *_others_of_licensee(case, used)):
            code = acceptance.spec.domicile
            unknown = code is None or not facts.known_country(code)
            if unknown and acceptance not in used:
                continue
            if unknown or facts.country(code or "") in refused:
                said = f"{code or 'no domicile'}, so it cannot be checked" if unknown else code
                return Refusal(
                    f"LicensePolicy {policy.metadata.name} refuses licensees in {', '.join(sorted(refused))}; "
                    f"LicenseAcceptance {acceptance.metadata.name} has {said}",
                    "record the domicile in spec.domicile of a new acceptance (ISO 3166 alpha-2)"
                    if unknown
                    else "ask the person who is responsible for trade control",
                )
    return None


def _others_of_licensee(case: LicenseInput, known: Sequence[LicenseAcceptance]) -> Iterator[LicenseAcceptance]:
    """Every other acceptance of the licensees of `known` that holds: what it says about them counts, too."""
    licensees, names = (
        [case.licensee_of(acceptance) for acceptance in known],
        {acceptance.metadata.name for acceptance in known},
    )
    for other in case.acceptances or ():
        holds = other.spec.state is AcceptanceState.ACCEPTED and other.metadata.name not in names
        if holds and any(is_licensee(other.spec.legal_entity) for is_licensee in licensees):
            yield other


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
