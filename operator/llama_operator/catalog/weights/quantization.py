"""Quantization methods of the engine: what each stores, and on which cards it runs. The data is in `data/quantization.json`.

`catalog.additions` judges with it what a LlamaModel declares, `decide.plan.checks` whether a card can compute it. A test compares
it with the table of the installed engine.
"""

import re
from functools import cache
from typing import Annotated, Literal

from pydantic import Field

from llama_operator.catalog.models import Fact, Precision
from llama_operator.catalog.packaged import packaged

Platform = Literal["CUDA", "ROCm"]
Capability = Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]$")]
"""Compute capability of a CUDA card, `8.0`."""

_WIDE = frozenset({"BF16", "FP16"})


class Method(Fact):
    """A method that the engine has, by the name of its `quantization` argument."""

    name: str
    precisions: dict[Precision, Capability]
    """What its weights are once loaded, each with the least compute capability for which the engine has kernels."""
    platforms: tuple[Platform, ...] = Field(strict=False)
    deprecated: bool = False
    """Whether the engine refuses it without `allow_deprecated_quantization`."""
    stored_in_16_bit: bool = False
    """Whether the engine quantizes 16-bit weights while it loads them; all others are stored as they are computed."""
    not_planned: str = ""
    """Why nothing is planned with it although the engine has it, and what to do."""


class Elsewhere(Fact):
    """A method that the engine does not have, and that people have files of."""

    name: str
    called: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Words in the names of repositories and folders with such files."""
    reason: str
    """Why it is not served, and what to do."""
    size_unknown: bool = False
    """Whether the engine reads such files by some of its methods, and only their size cannot be told from the precision."""


class Methods(Fact):
    """The table of the engine."""

    engine: str
    source: Annotated[tuple[str, ...], Field(strict=False)]
    methods: Annotated[tuple[Method, ...], Field(strict=False)]
    elsewhere: Annotated[tuple[Elsewhere, ...], Field(strict=False)]


load = packaged("quantization.json", Methods)
"""Reads the table that comes with the package."""


@cache
def _by_name() -> dict[str, Method]:
    return {method.name: method for method in load().methods}


def method(name: str | None) -> Method | None:
    """Return the method that the engine has under this name; None for none, and for one that it does not have."""
    return _by_name().get(name or "")


def refusal(name: str, precision: Precision) -> str:
    """Say why the engine cannot load weights that are declared like this; empty if it can.

    Args:
        name: Method that is declared; empty for none.
        precision: Number format in which they are stored.
    """
    if not name:
        return ""
    known = method(name)
    if known is None:
        foreign = next((other for other in load().elsewhere if other.name == name), None)
        offered = ", ".join(other.name for other in load().methods if not other.not_planned)
        why = foreign.reason if foreign else f"{load().engine} has no such method; it has {offered}"
        return f"spec.weights.quantization is {name}: {why}"
    if known.not_planned:
        return f"spec.weights.quantization is {name}: {known.not_planned}"
    if precision in known.precisions or (known.stored_in_16_bit and precision in _WIDE):
        return ""
    stored = " or ".join(known.precisions)
    default = " (the default, if it is left out)" if precision == "BF16" else ""
    return f"spec.weights.precision is {precision}{default}, and {name} has {stored}: correct one of the two"


def refused_place(place: str, *, method_named: bool, size_named: bool) -> str:
    """Say why files that are in a place of this name cannot be loaded; empty if the name does not tell.

    Args:
        place: Repository, address or folder.
        method_named: Whether a method is declared, which tells more than a name.
        size_named: Whether the size of the files is declared.
    """
    words = set(re.split(r"[^a-z0-9]+", place.casefold()))
    for other in load().elsewhere:
        if words & set(other.called) and not (size_named if other.size_unknown else method_named):
            return f"its files are in {place}: {other.reason}"
    return ""
