"""Values that other programs wrote, read with care: quantities, times, whole numbers, texts, parts of a status.

Nodes, pods, annotations and records hold whatever their writer put there. A reader of this module returns the value, or says
that there is none; it never raises. Used by `observe`, `status`, `process` and the command line.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, Final, TypeVar

from llama_operator.api.manifest import readable
from llama_operator.api.meta import StatusModel

EXACT: Final = 9_007_199_254_740_991
"""Largest whole number that JSON carries exactly."""
_LONGEST: Final = 64
"""Characters of a number; a longer one is no amount of anything."""
_YEARS: Final = range(1970, 3000)
"""Years in which something can have happened: to a later time no delay can be added, so that nothing would ever be due."""

_NUMBER: Final = re.compile(
    r"(?P<sign>[+-]?)(?P<digits>[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE](?P<exponent>[+-]?[0-9]{1,3})|(?P<suffix>[a-zA-Z]{0,2}))",
    re.ASCII,
)
_SUFFIXES: Final[Mapping[str, Fraction]] = {
    "": Fraction(1),
    **{name: Fraction(1, 1000**power) for power, name in enumerate("mun", start=1)},
    **{name: Fraction(1000**power) for power, name in enumerate("kMGTPE", start=1)},
    **{f"{name}i": Fraction(1024**power) for power, name in enumerate("KMGTPE", start=1)},
}
"""All suffixes of https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/."""

_S = TypeVar("_S", bound=StatusModel)


def quantity(written: object) -> Fraction | None:
    """Read an amount as Kubernetes writes it: `1k`, `1500m`, `2Gi`, `1e3`, or a plain number.

    Returns:
        The exact amount; None if there is none to be read.
    """
    text = _digits(written)
    match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None or (match["suffix"] or "") not in _SUFFIXES:
        return None
    factor = _SUFFIXES[match["suffix"] or ""] * Fraction(10) ** int(match["exponent"] or 0)
    amount = Fraction(match["digits"].removesuffix(".")) * factor
    return -amount if match["sign"] == "-" else amount


def units(written: object) -> int | None:
    """Read an amount of which only whole units count, as of accelerators: `2500m` are 2.

    Returns:
        The units, from 0 to `EXACT`; None if there are none to be read.
    """
    amount = quantity(written)
    return int(amount) if amount is not None and 0 <= amount <= EXACT else None


def _digits(written: object) -> str:
    # A boolean is an int to Python, and is no amount.
    if isinstance(written, bool) or not isinstance(written, str | int | float):
        return ""
    return str(written) if not isinstance(written, int) or abs(written) <= EXACT else ""


def moment(written: object) -> datetime | None:
    """Read an RFC 3339 time; without an offset it is UTC.

    Returns:
        The time in UTC; None if there is none, none that can be read, or one in which nothing can have happened.
    """
    if not isinstance(written, str):
        return None
    try:
        read = datetime.fromisoformat(written)
        read = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return read if read.year in _YEARS else None


def whole(written: object, *, least: int = 0, most: int = EXACT) -> int | None:
    """Read a whole number from `least` to `most`; None for anything else, also for `3.0`, `true` and `"3"`."""
    if isinstance(written, bool) or not isinstance(written, int):
        return None
    return written if least <= written <= most else None


def text(written: object) -> str:
    """Read a text; empty for anything else."""
    return written if isinstance(written, str) else ""


def mapping(written: object) -> Mapping[str, Any]:
    """Read an object of JSON; an empty one for anything else."""
    return written if isinstance(written, Mapping) else {}


def mappings(written: object) -> tuple[Mapping[str, Any], ...]:
    """Read a list of objects of JSON; what is no object in it is left out."""
    if not isinstance(written, Sequence) or isinstance(written, str):
        return ()
    return tuple(item for item in written if isinstance(item, Mapping))


def labels(obj: Mapping[str, Any]) -> Mapping[str, str]:
    """Read the labels of an object; those that are no texts are left out."""
    return _texts(mapping(obj.get("metadata")).get("labels"))


def annotations(obj: Mapping[str, Any]) -> Mapping[str, str]:
    """Read the annotations of an object; those that are no texts are left out."""
    return _texts(mapping(obj.get("metadata")).get("annotations"))


def _texts(written: object) -> Mapping[str, str]:
    return {name: value for name, value in mapping(written).items() if isinstance(value, str)}


def status(model: type[_S], written: object) -> _S:
    """Read a status as far as it can be read: of another version, or half written.

    Args:
        model: The type of the status; all its fields have defaults.
        written: The status in JSON.

    Returns:
        The status without the fields that cannot be read, and of conditions those that can.
    """
    return model.model_validate(readable(model, written) or {})
