"""The options of a verb, filled by name from the parsed command line. Called by the verbs and by `cli.shared.connection`."""

import argparse
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Options = TypeVar("Options", bound="DataclassInstance")


@dataclass(frozen=True, slots=True)
class NamedOptions:
    """What the command line of a verb about one deployment says."""

    name: str
    as_json: bool = False


def filled(kind: type[Options], arguments: argparse.Namespace) -> Options:
    """Take each field of the dataclass `kind` from the argument of that name; `as_json` is `-o json`."""
    values = vars(arguments) | {"as_json": vars(arguments).get("output") == "json"}
    return kind(**{field.name: values[field.name] for field in fields(kind)})
