"""Checks of the model and its use: P2 (lineage known), P4 (research alone), P16 (field), P18 (safety removed)."""

from collections.abc import Iterator

from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.llamadeployment import Purpose, UseCase
from llama_operator.catalog import lineage
from llama_operator.decide.license.check import Check, Found, always, under
from llama_operator.decide.license.facts import LicenseInput, ModelFacts
from llama_operator.decide.license.signals import word_in

_RULED_OUT = frozenset({UseCase.MILITARY, UseCase.WEAPONS, UseCase.CRITICAL_INFRASTRUCTURE})
"""Fields that every acceptable use policy rules out."""

_RULED_OUT_IN_RESEARCH = frozenset(
    {UseCase.MILITARY, UseCase.WEAPONS, UseCase.SURVEILLANCE, UseCase.BIOMETRIC_PROCESSING}
)
"""Fields that the license of LLaMA 1 rules out."""


def _resolved(given: LicenseInput) -> Found | None:
    model = given.model
    if not model.unresolved and model.families:
        return None
    why = "; ".join(model.unresolved) or f"the license of {model.name} is not resolved"
    return Found(
        why,
        "ask the platform owner to declare the true lineage in a LlamaModel (spec.lineage.derivedFrom, "
        "spec.licenseFamilies, spec.architectureFingerprint), or take a model of the catalog",
    )


def _research(given: LicenseInput) -> Found | None:
    if given.license.purpose is Purpose.NON_COMMERCIAL_RESEARCH:
        return None
    title = given.model.under("P4")[0].title
    return Found(
        f"{title} allows non-commercial research alone; spec.license.purpose is {given.license.purpose}",
        "set spec.license.purpose to NonCommercialResearch if that is true, or choose another model",
    )


def _field_allowed(given: LicenseInput) -> Found | None:
    used = given.license.use_case
    for family in given.model.families:
        ruled_out = _RULED_OUT_IN_RESEARCH if family.research_only else _RULED_OUT
        if family.acceptance_required and used in ruled_out:
            return Found(
                f"spec.license.useCase is {used}, which {family.title} rules out",
                "choose a model whose license allows it; a separate permission of Meta is not modeled here",
                clause="§2.a, restrictions" if family.research_only else "",
            )
    return None


def _llama(given: LicenseInput) -> bool:
    return bool(given.model.needing_acceptance)


def _safety_kept(given: LicenseInput) -> Found | None:
    found = word_in(_all_names(given.model), lineage.load().circumvention_words)
    if found is None:
        return None
    return Found(
        f"{found[0]!r} says that safety measures were removed ({found[1]}), which "
        f"{given.model.under('P18')[0].title} forbids",
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
        "research-only",
        "P4",
        "§1.a and §2.a, non-commercial research",
        Reason.RESEARCH_ONLY,
        _research,
        under("P4"),
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
