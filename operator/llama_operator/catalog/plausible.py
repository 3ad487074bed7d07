"""Which shapes and sizes no model can have. Called by `catalog.additions`: what a person declared is judged before it is planned.

The API server judges what one field says by itself (`api.rules`). Here a shape is whole: what is declared, over what its base
has.
"""

from collections.abc import Iterable

from pydantic import ValidationError

from llama_operator.api.meta import api_name
from llama_operator.catalog import formulas
from llama_operator.catalog.models import Architecture, Precision

_FIELD = "spec.architectureFingerprint"
_LEAST_SHARE = 4
"""Weights take at least this part of what the formula says: the strongest quantizations halve INT4."""


def wrong_shape(shape: Architecture, base: str) -> str:
    """Say which field of a shape contradicts the others; empty if none does.

    Args:
        shape: What is declared, over what the base has.
        base: Name of the base; empty without one.
    """
    heads, kv_heads, layers = shape.num_attention_heads, shape.num_key_value_heads, shape.num_hidden_layers
    if heads % kv_heads:
        return f"{_FIELD}.numKeyValueHeads is {kv_heads}, which does not divide the {heads} attention heads"
    if shape.cross_attention is not None and layers <= shape.cross_attention.layers:
        cross = shape.cross_attention.layers
        return (
            f"{_FIELD}.numHiddenLayers is {layers}, and {cross} layers of {base} attend to images only: it must be more than "
            f"{cross}, or the lineage is another one"
        )
    if shape.moe is not None and layers != shape.moe.moe_layers + shape.moe.dense_layers:
        wanted = shape.moe.moe_layers + shape.moe.dense_layers
        return (
            f"{_FIELD}.numHiddenLayers is {layers}, and {base} has {wanted} layers with and without experts: leave it out, or "
            "name another lineage"
        )
    return ""


def wrong_size(shape: Architecture, precision: Precision, size_bytes: int) -> str:
    """Say why weights of this shape cannot have this size; empty if they can.

    Args:
        shape: Shape of the model.
        precision: Number format of its linear layers.
        size_bytes: Declared bytes of all weight files together.
    """
    usual = formulas.weight_bytes(shape, precision)
    if size_bytes * _LEAST_SHARE >= usual:
        return ""
    return (
        f"spec.weights.sizeBytes is {size_bytes:,}, and weights of this shape take about {usual:,} bytes in {precision}: give "
        "the size in bytes, or leave it out"
    )


def explained(error: ValidationError, declared: Iterable[str]) -> str:
    """Say which fields make a shape that no entry of the catalog can have.

    Args:
        error: What the entry was refused for.
        declared: Fields of the shape that were declared.
    """
    wrong = {str(part) for detail in error.errors() for part in detail["loc"]}
    named = ", ".join(api_name(name) for name in declared if name in wrong) or ", ".join(map(api_name, declared))
    details = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:2])
    return f"{_FIELD}: no model has such a shape ({details}); correct {named or 'the lineage'}"
