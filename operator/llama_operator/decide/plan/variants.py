"""Finds the weights that a spec allows: precision, repository, and what the engine can load. Called by `decide.plan.request`."""

from collections.abc import Container, Iterable

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec, Precision
from llama_operator.catalog.accelerators import Accelerator
from llama_operator.catalog.models import Model, Variant
from llama_operator.catalog.weights.repositories import why_left_out
from llama_operator.decide.problem import Problem

SUPPORTED_ENGINE_ARGUMENTS = frozenset({"allow_deprecated_quantization"})
"""Engine arguments that some variants need to load; `desired.serve_config` passes them."""

_DEFAULT_PRECISIONS = frozenset({"BF16", "FP16", "FP8"})
"""What Auto may choose unless `model.precisions` says otherwise: never below FP8."""

_OTHER_16_BIT = {"BF16": "FP16", "FP16": "BF16"}


def allowed_variants(spec: LlamaDeploymentSpec, model: Model) -> Problem | tuple[Variant, ...]:
    """Return the variants that the planner may choose from, best quality first; a Problem if there is none.

    The first variant of a precision in the catalog is its default; a spec chooses others by repository.
    """
    repository = spec.model.variant
    wanted = _wanted(spec)
    named = [
        variant
        for variant in (*model.variants, *_cast(model, wanted))
        if (repository is None or variant.repository == repository)
        and (variant.precision in wanted or (repository is not None and spec.model.precision is Precision.AUTO))
        and not (spec.model.precisions and variant.precision not in wanted)
    ]
    if not named and _open(spec) and len(model.precisions) == 1:
        # Auto never chooses a low precision where there is another; with one only there is nothing to choose.
        named = list(model.variants)
    if not named:
        return _unknown(spec, model)
    loadable = [variant for variant in named if _reason_not_to_load(variant) is None]
    if not loadable:
        return Problem(
            ConditionType.MODEL_RESOLVED,
            Reason.ENGINE_CONSTRAINT,
            f"{model.id} {named[0].precision} ({named[0].repository}): {_reason_not_to_load(named[0])}",
            _field(spec),
        )
    first = {variant.precision: variant for variant in reversed(loadable)}
    return tuple(variant for variant in loadable if first[variant.precision] is variant)


def with_casts(
    spec: LlamaDeploymentSpec, variants: tuple[Variant, ...], accelerators: Iterable[Accelerator]
) -> tuple[Variant, ...]:
    """Offer the other 16-bit format where a card cannot compute in that of the weights, and the spec leaves the choice.

    Args:
        spec: What the user wrote.
        variants: What the spec allows.
        accelerators: What is planned with.
    """
    refused = [frozenset(card.unsupported_precisions) for card in accelerators]
    offered, wanted = {variant.precision for variant in variants}, _wanted(spec)
    allowed: list[Variant] = []
    for variant in variants:
        other = _OTHER_16_BIT.get(variant.precision)
        cast = other in wanted and other not in offered and any(variant.precision in each for each in refused)
        if not (cast and all(variant.precision in each for each in refused)):
            allowed.append(variant)
        if cast:
            # Right after its like: they are equally good.
            allowed.append(variant.model_copy(update={"precision": other}))
    return tuple(allowed)


def loadable_variants(model: Model) -> tuple[Variant, ...]:
    """Return the default variant of every precision that the engine can load, best quality first."""
    first = {v.precision: v for v in reversed(model.variants) if _reason_not_to_load(v) is None}
    loadable = (variant for variant in model.variants if first.get(variant.precision) is variant)
    return tuple(one for variant in loadable for one in (variant, *_cast_of(variant, first)))


def _cast_of(variant: Variant, known: Container[str]) -> list[Variant]:
    """16-bit weights in the other 16-bit format, if no others have it."""
    other = _OTHER_16_BIT.get(variant.precision)
    return [] if other is None or other in known else [variant.model_copy(update={"precision": other})]


def _open(spec: LlamaDeploymentSpec) -> bool:
    """Whether the spec says nothing about the weights."""
    return spec.model.precision is Precision.AUTO and not spec.model.precisions and spec.model.variant is None


def _wanted(spec: LlamaDeploymentSpec) -> frozenset[str]:
    if spec.model.precision is not Precision.AUTO:
        return frozenset({spec.model.precision.value})
    return frozenset(precision.value for precision in spec.model.precisions) or _DEFAULT_PRECISIONS


def _cast(model: Model, wanted: frozenset[str]) -> list[Variant]:
    """The 16-bit weights in the other 16-bit format, to which the engine casts them while loading; the same bytes.

    Only if that format is wanted and the native one is not: a cast is no further choice.
    """
    return [
        variant.model_copy(update={"precision": other})
        for variant in model.variants
        if (other := _OTHER_16_BIT.get(variant.precision)) in wanted and variant.precision not in wanted
    ]


def _reason_not_to_load(variant: Variant) -> str | None:
    limits = (limit for limit in variant.engine_limits if limit.argument not in SUPPORTED_ENGINE_ARGUMENTS)
    return next((limit.sentence for limit in limits), None)


def _unknown(spec: LlamaDeploymentSpec, model: Model) -> Problem:
    offered = ", ".join(
        sorted({f"{v.precision} ({v.repository})" if v.repository else v.precision for v in model.variants})
    )
    precisions = ", ".join(spec.model.precisions) or spec.model.precision
    repository = spec.model.variant
    asked = (
        f"variant {repository}" if repository and spec.model.precision is Precision.AUTO else f"precision {precisions}"
    )
    asked += f" in {repository}" if repository and not asked.startswith("variant") else ""
    if _open(spec):
        return Problem(
            ConditionType.MODEL_RESOLVED,
            Reason.VARIANT_UNKNOWN,
            f"{model.id} has neither 16-bit nor FP8 weights, and Auto takes no others unasked; it has {offered}: name one",
            _field(spec),
        )
    left_out = why_left_out(repository, model) if repository else ""
    return Problem(
        ConditionType.MODEL_RESOLVED,
        Reason.VARIANT_UNKNOWN,
        f"{model.id} has no {asked}{f': {left_out}' if left_out else ''}; it has {offered}",
        _field(spec),
    )


def _field(spec: LlamaDeploymentSpec) -> str:
    if spec.model.variant:
        return "spec.model.variant"
    return "spec.model.precisions" if spec.model.precisions else "spec.model.precision"
