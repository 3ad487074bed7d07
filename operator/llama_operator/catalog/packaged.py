"""Reads the data files of the package: each is validated once per process. Used by the modules that say what is in a file."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

_DATA = Path(__file__).parent / "data"

_T = TypeVar("_T")


def packaged(name: str, kind: type[_T]) -> Callable[[], _T]:
    """Return a function that reads the file `name`, once per process; it raises a pydantic.ValidationError for a wrong file.

    Args:
        name: Name of the file in `data`.
        kind: What the file holds.
    """
    return cache(lambda: TypeAdapter(kind).validate_json((_DATA / name).read_bytes()))
