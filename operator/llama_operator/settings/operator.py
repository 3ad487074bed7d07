"""Settings of the operator process, from flags and the environment. Read once, by `main`; `llama-operator --help` shows them.

A flag wins over its environment variable, which wins over the default. One table (the fields of `OperatorSettings`) is the
source of the parser, of the environment's names, of the messages and of docs/reference/operator-settings.md.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo

from llama_operator import __version__
from llama_operator.decide.observed import Settings
from llama_operator.errors import LlamaOperatorError

PROGRAM: Final = "llama-operator"
ENVIRONMENT_PREFIX: Final = "LLAMA_OPERATOR_"
_LABEL: Final = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_DECISIONS: Final = Settings()
"""Defaults of what decisions depend on have one home."""


class SettingsError(LlamaOperatorError):
    """A setting has a value that is not allowed; the message names the flag, the variable and what is allowed."""


class Switch(StrEnum):
    """Whether something is done."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


class LogFormat(StrEnum):
    """How log lines look."""

    AUTO = "Auto"
    JSON = "Json"
    TEXT = "Text"


class LogLevel(StrEnum):
    """The least important lines that are shown."""

    DEBUG = "Debug"
    INFO = "Info"
    WARNING = "Warning"
    ERROR = "Error"


class ServingStatusSource(StrEnum):
    """Where queue depth and replicas come from."""

    SERVICE = "Service"
    OFF = "Off"


@dataclass(frozen=True, slots=True)
class Group:
    """Heading under which `--help` and the reference show a setting."""

    title: str


_SCOPE: Final = Group("What it manages")
_CONNECTION: Final = Group("Connection to Kubernetes")
_LEADER: Final = Group("Leader election")
_SERVING: Final = Group("Ray clusters it creates")
_EVIDENCE: Final = Group("Evidence of license decisions")
_TELEMETRY: Final = Group("Probes, metrics and logs")


class OperatorSettings(BaseModel):
    """All settings. The text under each field is what users read."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    namespaces: Annotated[tuple[Annotated[str, Field(pattern=_LABEL)], ...], _SCOPE] = ()
    """Namespaces whose LlamaDeployments it manages; repeat the flag or separate by commas. Empty: all namespaces."""
    workers: Annotated[int, Field(ge=1, le=256), _SCOPE] = 8
    """Reconciles that run at the same time, each for another LlamaDeployment; half are kept for new ones."""
    resync_seconds: Annotated[int, Field(ge=10, le=86400), _SCOPE] = 600
    """Seconds between two full comparisons of the cache with the API server, each followed by a look at everything."""
    grace_seconds: Annotated[int, Field(ge=1, le=600), _SCOPE] = 20
    """Seconds that running reconciles get to finish on SIGTERM; keep it below terminationGracePeriodSeconds."""

    kubeconfig: Annotated[Path | None, _CONNECTION] = None
    """Kubeconfig file. Absent: the pod's service account, outside of a pod KUBECONFIG or ~/.kube/config."""
    context: Annotated[str, _CONNECTION] = ""
    """Context of the kubeconfig. Empty: its current one."""

    leader_election: Annotated[Switch, _LEADER] = Switch.ENABLED
    """Whether replicas agree by a Lease on the one that writes. Disable it only where there is one process, ever."""
    lease_name: Annotated[str, Field(pattern=_LABEL), _LEADER] = PROGRAM
    """Name of the Lease."""
    lease_namespace: Annotated[str, Field(pattern=rf"{_LABEL}|^$"), _LEADER] = ""
    """Namespace of the Lease. Empty: the namespace of the pod, or of the kubeconfig's context."""
    lease_duration_seconds: Annotated[int, Field(ge=1, le=3600), _LEADER] = 15
    """Seconds after the last renewal when another replica may take over."""
    lease_renew_seconds: Annotated[int, Field(ge=1, le=3600), _LEADER] = 10
    """Seconds after the last renewal when the leader stops writing; less than the duration."""
    lease_retry_seconds: Annotated[int, Field(ge=1, le=600), _LEADER] = 2
    """Seconds between two tries to renew or to take the Lease; less than the renew seconds."""
    identity: Annotated[str, Field(max_length=253), _LEADER] = ""
    """Name of this replica in the Lease. Empty: host name and a random suffix."""

    serving_image: Annotated[str, Field(min_length=1, max_length=512), _SERVING] = _DECISIONS.image
    """Image of the Ray pods, for deployments that name none: Ray, vLLM and llama_serving."""
    ray_version: Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$"), _SERVING] = _DECISIONS.ray_version
    """Version of Ray in that image."""
    kuberay_namespace: Annotated[str, Field(pattern=_LABEL), _SERVING] = _DECISIONS.kuberay_namespace
    """Namespace of KubeRay's operator, which alone may reach the Ray dashboards."""
    hub_endpoint: Annotated[
        str, Field(pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._/-]*)?$"), _SERVING
    ] = _DECISIONS.hub_endpoint
    """Address of the Hugging Face Hub, or of a mirror; pods download weights from it. No LlamaDeployment can change it."""
    weights_preflight: Annotated[Switch, _SERVING] = Switch.ENABLED
    """Whether a Job asks the Hub for access to gated weights before a revision starts."""
    cluster_domain: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"), _SERVING] = "cluster.local"
    """DNS domain of the cluster."""
    serving_status: Annotated[ServingStatusSource, _SERVING] = ServingStatusSource.SERVICE
    """Where queue depth and replicas come from: each deployment's Service, or nowhere (Off: pods cannot be reached)."""

    serving_poll_seconds: Annotated[int, Field(ge=1, le=3600), _SERVING] = int(_DECISIONS.serving_poll_seconds)
    """Seconds between two questions to the status endpoint of a deployment that serves: it sends no events."""

    evidence_file: Annotated[Path | None, _EVIDENCE] = None
    """File that records of license decisions are appended to. Absent: standard output, apart from the log on standard error."""
    evidence_signing_key: Annotated[Path | None, _EVIDENCE] = None
    """File with the Ed25519 key (PEM, PKCS8) that signs these records; read at the start. Absent: they are not signed."""

    probe_host: Annotated[str, Field(min_length=1, max_length=253), _TELEMETRY] = "0.0.0.0"  # noqa: S104 - the kubelet asks from outside the pod
    """Address that /healthz, /readyz and /metrics listen on."""
    probe_port: Annotated[int, Field(ge=0, le=65535), _TELEMETRY] = 8080
    """Port of /healthz, /readyz and /metrics; 0: none of them."""
    metrics: Annotated[Switch, _TELEMETRY] = Switch.ENABLED
    """Whether /metrics answers. Export by OTLP is switched on by OTEL_EXPORTER_OTLP_ENDPOINT alone."""
    log_format: Annotated[LogFormat, _TELEMETRY] = LogFormat.AUTO
    """Json: one object a line. Text: for people. Auto: Text on a terminal, else Json."""
    log_level: Annotated[LogLevel, _TELEMETRY] = LogLevel.INFO
    """The least important lines that are shown."""

    @field_validator("namespaces", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        parts = [value] if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            return value
        # Once each: a namespace that is watched twice would be handled twice.
        return tuple(dict.fromkeys(name.strip() for part in parts for name in str(part).split(",") if name.strip()))

    @model_validator(mode="after")
    def _lease_times_leave_a_margin(self) -> Self:
        if not self.lease_retry_seconds < self.lease_renew_seconds < self.lease_duration_seconds:
            raise ValueError(
                "--lease-retry-seconds < --lease-renew-seconds < --lease-duration-seconds must hold, found "
                f"{self.lease_retry_seconds}, {self.lease_renew_seconds}, {self.lease_duration_seconds}"
            )
        return self

    def decisions(self) -> Settings:
        """The part that decisions and objects depend on."""
        return Settings(
            image=self.serving_image,
            ray_version=self.ray_version,
            kuberay_namespace=self.kuberay_namespace,
            hub_endpoint=self.hub_endpoint,
            checks_access=self.weights_preflight is Switch.ENABLED,
            serving_poll_seconds=self.serving_poll_seconds,
        )


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
            default="" if default is None or default == () else str(default),
            choices=_choices(info),
            repeatable=default == (),
        )


def _choices(info: FieldInfo) -> tuple[str, ...]:
    kind = info.annotation
    return tuple(str(member) for member in kind) if isinstance(kind, type) and issubclass(kind, StrEnum) else ()


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of `llama-operator`."""
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
    given = vars(build_parser().parse_args(argv))
    found = {option.field: value for option in options() if (value := environment.get(option.variable))}
    try:
        return OperatorSettings.model_validate(found | given)
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
        allowed = f"one of {', '.join(option.choices)}" if option.choices else message[:1].lower() + message[1:]
        yield f"{option.flag} (or {option.variable}): {problem['input']!r} is not allowed; {allowed}"
