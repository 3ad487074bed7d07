"""What a cross-field rule is: one statement as CEL and as Python. Used by `rules` and `pod_rules`, which have the rules."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class _Statement:
    """What both kinds of rules have.

    Attributes:
        model: The model whose instances it judges.
        field: API path of the field to blame, below that object.
        cel: The rule as CEL; `self` is the object.
        holds: The same rule in Python.
        message: What is allowed and what to do.
    """

    model: type[BaseModel]
    field: str
    cel: str
    holds: Callable[..., bool]
    message: str


class Rule(_Statement):
    """A rule over one object of a manifest: `holds` takes an instance of `model`."""

    @property
    def inputs(self) -> tuple[tuple[str, ...], ...]:
        """API paths of the fields that it reads, below that object."""
        return tuple(tuple(path[1:].split(".")) for path in _READ.findall(self.cel))


_READ = re.compile(r"self((?:\.[A-Za-z]+(?![A-Za-z_(]))+)")
"""A path that CEL reads; a name before a parenthesis is a function, no field."""


class Transition(_Statement):
    """A rule over a change of one object, which only the API server can judge.

    In its CEL, `oldSelf` is what the object was; `holds` takes two instances of `model`, old and new.
    """
