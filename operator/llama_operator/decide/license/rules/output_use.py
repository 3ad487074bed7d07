"""Checks of what answers may be used for: P14 (own family only) and P15 (under a name).

Llama 2 and 3 forbid the use of their answers to improve other language models. LLaMA 1 passes its restriction on to its
answers. Newer ones allow that use for models whose name begins with `Llama`.
"""

from collections.abc import Iterator

from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.llamadeployment import OutputUse
from llama_operator.api.v1alpha1.llamamodel import DerivationKind
from llama_operator.catalog import lineage
from llama_operator.catalog.licenses import LicenseFamily
from llama_operator.decide.license.check import Check, Refusal, under
from llama_operator.decide.license.facts import LicenseInput
from llama_operator.decide.license.rules.naming import begins_with
from llama_operator.decide.license.signals import token_in
from llama_serving.config import OutputTerms

_NO = frozenset({"false", "no", "none", "never", "off", "0"})
"""Values of a label that deny what its key says."""


def _only_own_family(case: LicenseInput) -> Refusal | None:
    for family in case.model.under("P14"):
        for target, families in _improved(case):
            others = [other.id for other in families if other.id != family.id]
            if others or not families:
                return Refusal(
                    f"answers of {case.model.name} may improve only models of {family.title}, and {target} is under "
                    f"{', '.join(others) or 'no known Llama license'}",
                    "train with the answers of a Llama 3.1 or newer, or correct spec.license.trainedModels",
                    clause=_clause(family),
                )
    if case.license.output_use is OutputUse.TRAINS_MODELS and not case.license.trained_models:
        family = case.model.under("P14")[0]
        return Refusal(
            f"answers of {case.model.name} may improve only models of {family.title}, and spec.license.trainedModels "
            "names none",
            "name them in spec.license.trainedModels, or set spec.license.outputUse to NotForTraining if that is true",
            clause=_clause(family),
        )
    return None


def _improved(case: LicenseInput) -> Iterator[tuple[str, tuple[LicenseFamily, ...]]]:
    """Models that answers of the model improve, with the license families of their weights."""
    for target in case.trained:
        # Being trained on the answers puts the families of the model on the target; they say nothing about its weights.
        yield target.name, tuple(family for family in target.weights if family.acceptance_required)


def _not_made_in_breach(case: LicenseInput) -> Refusal | None:
    for step in case.model.derivations:
        if step.kind is not DerivationKind.TRAINING_OUTPUT:
            continue
        for family in step.ancestor_families:
            others = [other.id for other in step.weights_families if other.id != family.id]
            if family.output_use is OutputTerms.NO_OTHER_MODELS and (others or not step.weights_families):
                return Refusal(
                    f"{step.model} was trained on answers of {step.ancestor}, which {family.title} allows only for its "
                    f"own models; its weights are under {', '.join(others) or 'no Llama license'}",
                    "choose another model",
                    clause=_clause(family),
                )
    return None


def _not_labeled(case: LicenseInput) -> Refusal | None:
    said = [text for key, value in case.labels.items() if value.casefold() not in _NO for text in (key, value)]
    label = token_in(said, lineage.load().distillation_words)
    if label is None:
        return None
    family = case.model.under("P14")[0]
    return Refusal(
        f"a label of the deployment says {label!r}: answers of {case.model.name} may improve only models "
        f"of {family.title}",
        "take a Llama 3.1 or newer for that work, or correct the label",
        clause=_clause(family),
    )


def _clause(family: LicenseFamily) -> str:
    return "§2.a, data produced by the software" if family.research_only else "§1.b.v, output use"


def _trained_under_name(case: LicenseInput) -> Refusal | None:
    if case.license.output_use is not OutputUse.TRAINS_MODELS and not case.license.trained_models:
        return None
    prefixes = [family.name_prefix for family in case.model.under("P15") if family.name_prefix]
    if not case.license.trained_models:
        return Refusal(
            f"answers of {case.model.name} may improve models whose name begins with Llama, and "
            "spec.license.trainedModels names none",
            "name them in spec.license.trainedModels",
        )
    served = dict(zip(case.license.trained_models, (facts.served_name for facts in case.trained), strict=False))
    for target in case.license.trained_models:
        name = served.get(target, target)
        wrong = next((prefix for prefix in prefixes if not begins_with(name, prefix)), None)
        if wrong is not None:
            return Refusal(
                f"{target} is improved with answers of {case.model.name}: its name {name!r} has to begin with "
                f'"{wrong}"',
                f'name it with "{wrong}" at the beginning',
            )
    return None


CHECKS: tuple[Check, ...] = (
    Check(
        "answers-improve-own-family-alone",
        "P14",
        "§1.b.v, output use",
        Reason.OUTPUT_USE_NOT_ALLOWED,
        _only_own_family,
        under("P14"),
    ),
    Check(
        "not-made-from-forbidden-answers",
        "P14",
        "§1.b.v, output use",
        Reason.OUTPUT_USE_NOT_ALLOWED,
        _not_made_in_breach,
        under("P14"),
    ),
    Check(
        "no-distillation-label", "P14", "§1.b.v, output use", Reason.OUTPUT_USE_NOT_ALLOWED, _not_labeled, under("P14")
    ),
    Check(
        "trained-models-named",
        "P15",
        "§1.b.i, last sentence: outputs and results",
        Reason.OUTPUT_USE_NOT_ALLOWED,
        _trained_under_name,
        under("P15"),
    ),
)
"""The checks of this module, in the order in which they are reported."""
