"""The settings as users write them: flags and environment variables. `main` loads them; tools write the reference.

A flag wins over its environment variable, which wins over the default.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from llama_operator import __version__
from llama_operator.errors import LlamaOperatorError
from llama_operator.settings.operator import PROGRAM, Group, OperatorSettings

ENVIRONMENT_PREFIX: Final = "LLAMA_OPERATOR_"


class SettingsError(LlamaOperatorError):
    """A setting has a value that is not allowed; the message names the flag, the variable and what is allowed."""


@dataclass(frozen=True, slots=True)
class Option:
    """One setting as users write it."""

    field: str
    group: str
    description: str
    default: str
    choices: tuple[str, ...] = ()
    repeatable: bool = False

    @property
    def flag(self) -> str:
        """Flag of the command line; that of a list is singular: it takes one value at a time."""
        name = self.field.removesuffix("s") if self.repeatable else self.field
        return "--" + name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Environment variable."""
        return ENVIRONMENT_PREFIX + self.field.upper()


def options() -> Iterator[Option]:
    """All settings, in the order of the help."""
    for name, info in OperatorSettings.model_fields.items():
        group = next(part for part in info.metadata if isinstance(part, Group))
        default = info.default
        yield Option(
            field=name,
            group=group.title,
            description=info.description or "",
            default=_shown(default),
            choices=_choices(info),
            repeatable=isinstance(default, tuple),
        )


def _shown(default: Any) -> str:
    """The default as users would write it; empty where there is none, or none that fits a line."""
    if default is None or isinstance(default, BaseModel):
        return ""
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _choices(info: FieldInfo) -> tuple[str, ...]:
    kind = info.annotation
    return tuple(str(member) for member in kind) if isinstance(kind, type) and issubclass(kind, StrEnum) else ()


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser of `llama-operator`, with one flag for each option."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Manages LlamaDeployments: turns each into a Ray cluster that serves its model, through KubeRay.",
        epilog=(
            "Every flag has an environment variable, shown beside it; the flag wins. Traces and metrics go to an "
            "OpenTelemetry collector when OTEL_EXPORTER_OTLP_ENDPOINT is set; the other OTEL_* variables apply as well."
        ),
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    groups: dict[str, Any] = {}
    for option in options():
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        default = f"default: {option.default}; " if option.default else ""
        groups[option.group].add_argument(
            option.flag,
            dest=option.field,
            action="append" if option.repeatable else "store",
            default=argparse.SUPPRESS,
            metavar="|".join(option.choices) or option.flag.rsplit("-", 1)[-1].upper(),
            help=f"{option.description} ({default}{option.variable})".replace("%", "%%"),
        )
    return parser


def load(argv: Sequence[str], environment: Mapping[str, str]) -> OperatorSettings:
    """Read the settings.

    Args:
        argv: Arguments of the command line, without the program's name.
        environment: The environment; an empty variable counts as absent.

    Raises:
        SettingsError: If a value is not allowed; all wrong values are named at once.
        SystemExit: For `--help`, `--version` and flags that do not exist, as argparse does.
    """
    flags = vars(build_parser().parse_args(argv))
    variables = {option.field: value for option in options() if (value := environment.get(option.variable))}
    try:
        return OperatorSettings.model_validate(variables | flags)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(error))) from None


def _explain(error: ValidationError) -> Iterator[str]:
    known = {option.field: option for option in options()}
    for problem in error.errors(include_url=False):
        message = problem["msg"].removeprefix("Value error, ")
        if not problem["loc"]:
            yield message
            continue
        option = known[str(problem["loc"][0])]
        within = "".join(f".{part}" for part in problem["loc"][1:])
        allowed = f"one of {', '.join(option.choices)}" if option.choices else message[:1].lower() + message[1:]
        yield f"{option.flag} (or {option.variable}){within}: {problem['input']!r} is not allowed; {allowed}"
