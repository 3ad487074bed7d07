"""Checks of LoRA adapters: each is an AI model of its own, under the licenses of its model and its own (P12, P1, P22)."""

from llama_operator.api.reasons import Reason
from llama_operator.decide.license.check import Check, Refusal
from llama_operator.decide.license.facts import AdapterFacts, LicenseInput
from llama_operator.decide.license.rules.naming import MARKS, begins_with


def _named(case: LicenseInput) -> Refusal | None:
    for adapter in case.adapters:
        for prefix in dict.fromkeys(family.name_prefix for family in adapter.families if family.name_prefix):
            if not begins_with(adapter.name, prefix):
                return Refusal(
                    f"the adapter {adapter.name!r} is a model that was made with {_made_with(adapter, prefix)}: its name has to begin "
                    f'with "{prefix}"',
                    f'give it a name in spec.adapters that begins with "{prefix}", for example '
                    f"{prefix.replace(' ', '-')}-{adapter.name}",
                )
    return None


def _made_with(adapter: AdapterFacts, prefix: str) -> str:
    return " and ".join(family.title for family in adapter.families if family.name_prefix == prefix)


def _known(case: LicenseInput) -> Refusal | None:
    for adapter in case.adapters:
        if adapter.unknown:
            return Refusal(
                f"the adapter {adapter.name!r} names the license family {adapter.unknown[0]!r}, which the catalog does not have",
                "correct licenseFamilies of the adapter; docs/licenses.md lists the families",
            )
    return None


def _accepted(case: LicenseInput) -> Refusal | None:
    """Families that the model itself is under are judged with the model."""
    own = {family.id for family in case.model.families}
    for adapter in case.adapters:
        for family in adapter.families:
            if family.id not in own and family.acceptance_required and not case.candidates(family):
                return Refusal(
                    f"the adapter {adapter.name!r} is under {family.title}, which the acceptance of this deployment does not cover",
                    f"accept {family.id} in a LicenseAcceptance of the same entity for this namespace, or leave the adapter out",
                )
    return None


def _no_marks(case: LicenseInput) -> Refusal | None:
    for adapter in case.adapters:
        if MARKS.search(adapter.name):
            return Refusal(
                f"the adapter {adapter.name!r} is no model of Meta, and its name looks as if it were",
                "give it a name in spec.adapters without the marks of Meta; Llama at its beginning stays if a license asks for it",
            )
    return None


def _has_adapters(case: LicenseInput) -> bool:
    return bool(case.adapters)


CHECKS: tuple[Check, ...] = (
    Check(
        "adapter-families",
        "P2",
        "the license of the adapter",
        Reason.LINEAGE_UNRESOLVED,
        _known,
        _has_adapters,
        origin="Record",
    ),
    Check(
        "adapter-accepted",
        "P1",
        "acceptance of the adapter's license",
        Reason.ACCEPTANCE_FAMILY_NOT_COVERED,
        _accepted,
        _has_adapters,
        needs_acceptances=True,
    ),
    Check(
        "adapter-name-prefix",
        "P12",
        "§1.b.i, last sentence: name of the AI model",
        Reason.NAME_PREFIX_MISSING,
        _named,
        _has_adapters,
    ),
    Check(
        "adapter-no-marks-of-meta", "P22", "§5.a (LLaMA 1: §9), trademarks", Reason.TRADEMARK, _no_marks, _has_adapters
    ),
)
"""The checks of this module, in the order in which they are reported."""
