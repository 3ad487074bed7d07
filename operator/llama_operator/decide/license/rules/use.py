"""Checks of the model and its use: P2 (lineage known), P4 (research only), P16 (field), P18 (safety removed)."""

from collections.abc import Iterator
from datetime import date

from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.llamadeployment import Purpose, UseCase
from llama_operator.catalog import lineage
from llama_operator.decide.license.check import Check, Refusal, always, under
from llama_operator.decide.license.facts import LicenseInput, ModelFacts, day
from llama_operator.decide.license.signals import word_in

_RULED_OUT = frozenset({UseCase.MILITARY, UseCase.WEAPONS, UseCase.CRITICAL_INFRASTRUCTURE})
"""Fields that every acceptable use policy rules out."""

_RULED_OUT_IN_RESEARCH = frozenset(
    {UseCase.MILITARY, UseCase.WEAPONS, UseCase.SURVEILLANCE, UseCase.BIOMETRIC_PROCESSING}
)
"""Fields that the license of LLaMA 1 rules out."""


def _resolved(case: LicenseInput) -> Refusal | None:
    model = case.model
    for attested in model.attested:
        if (day(attested.attested_on) or date.max) > case.last_today:
            return Refusal(
                f"spec.independence of the LlamaModel behind {model.name} is dated {attested.attested_on}, which is in the "
                "future or no date",
                "record the day on which it was attested",
            )
    if not model.unresolved and model.families:
        return None
    why = "; ".join(model.unresolved) or f"the license of {model.name} is not resolved"
    return Refusal(
        why,
        "ask the platform owner to declare the true lineage in a LlamaModel (spec.lineage.derivedFrom, "
        "spec.licenseFamilies, spec.architectureFingerprint), or take a model of the catalog; that a model comes from no Llama "
        "is attested in spec.independence, which does not stand against a version in its name or the shape of a Llama 3",
    )


def _research(case: LicenseInput) -> Refusal | None:
    if case.license.purpose is Purpose.NON_COMMERCIAL_RESEARCH:
        return None
    title = case.model.under("P4")[0].title
    return Refusal(
        f"{title} allows only non-commercial research; spec.license.purpose is {case.license.purpose}",
        "set spec.license.purpose to NonCommercialResearch if that is true, or choose another model",
    )


def _field_allowed(case: LicenseInput) -> Refusal | None:
    use_case = case.license.use_case
    for family in case.model.families:
        ruled_out = _RULED_OUT_IN_RESEARCH if family.research_only else _RULED_OUT
        if family.acceptance_required and use_case in ruled_out:
            return Refusal(
                f"spec.license.useCase is {use_case}, which {family.title} rules out",
                "choose a model whose license allows it; the operator does not model a separate permission of Meta",
                clause="§2.a, restrictions" if family.research_only else "",
            )
    return None


def _llama(case: LicenseInput) -> bool:
    return bool(case.model.needing_acceptance)


def _safety_kept(case: LicenseInput) -> Refusal | None:
    match = word_in(_all_names(case.model), lineage.load().circumvention_words)
    if match is None:
        return None
    name, word = match
    return Refusal(
        f"{name!r} says that safety measures were removed ({word}), which {case.model.under('P18')[0].title} forbids",
        "choose another model",
    )


def _all_names(model: ModelFacts) -> Iterator[str]:
    yield model.served_name
    yield from model.names


CHECKS_FIRST: tuple[Check, ...] = (
    Check(
        "lineage-resolved",
        "P2",
        "preamble: the license follows from what the model was made of",
        Reason.LINEAGE_UNRESOLVED,
        _resolved,
        always,
    ),
    Check(
        "research-only", "P4", "§1.a and §2.a, non-commercial research", Reason.RESEARCH_ONLY, _research, under("P4")
    ),
)
"""What is reported before the acceptance is looked at."""

CHECKS: tuple[Check, ...] = (
    Check(
        "use-case-allowed",
        "P16",
        "§1.b.iv, acceptable use policy: military, weapons, critical infrastructure",
        Reason.USE_CASE_NOT_ALLOWED,
        _field_allowed,
        _llama,
    ),
    Check(
        "safety-not-removed",
        "P18",
        "acceptable use policy, item on circumventing usage restrictions or safety measures",
        Reason.SAFETY_REMOVED,
        _safety_kept,
        under("P18"),
    ),
)
"""The other checks of this module, in the order in which they are reported."""
