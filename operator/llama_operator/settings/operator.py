"""Settings of the operator process, as one table: the fields of `OperatorSettings`. Used by `process` and `options`.

The table is the source of the flags, of the names in the environment, of the messages, of the chart's schema and of
docs/reference/operator-settings.md.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from llama_operator.api.manifest import broken_rules
from llama_operator.catalog.accelerators import ImageKind
from llama_operator.decide.observed import Settings
from llama_operator.decide.placement.allowed import wrong_keys
from llama_operator.decide.placement.images import ARCHITECTURES, USUAL
from llama_operator.decide.placement.platform_pods import PlatformPods, PodDefaults, PodRules

PROGRAM: Final = "llama-operator"
_LABEL: Final = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
_CARD_IMAGE: Final = rf"^({'|'.join(kind for kind in get_args(ImageKind) if kind != USUAL)})=[^\s,=]+$"
_ARM: Final = "cuda-arm64"
_DECISIONS: Final = Settings()
"""Defaults of what decisions depend on have one home."""


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


class ServingEgress(StrEnum):
    """What Ray pods reach."""

    BOUNDED = "Bounded"
    OPEN = "Open"


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
    pass_seconds: Annotated[int, Field(ge=10, le=600), _SCOPE] = 120
    """Seconds that one reconcile may take; then it is ended, and tried again later."""
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
    card_images: Annotated[tuple[Annotated[str, Field(pattern=_CARD_IMAGE, max_length=512)], ...], _SERVING] = ()
    """Serving images for cards on which that image does not run, as `rocm=IMAGE`: `rocm` for AMD, `cuda-arm64` for GH200 and
    GB200, `cuda-volta` for V100; repeat the flag or separate by commas. All need the same Ray."""
    ray_version: Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$"), _SERVING] = _DECISIONS.ray_version
    """Version of Ray in that image."""
    serving_architectures: Annotated[tuple[Annotated[str, Field(pattern=r"^[a-z0-9_]{1,16}$")], ...], _SERVING] = (
        _DECISIONS.pods.architectures
    )
    """Architectures of nodes that this image runs on; repeat the flag or separate by commas."""
    pod_defaults: Annotated[PodDefaults, _SERVING] = PodDefaults()
    """Settings of the pods of every deployment, as `spec.pods` has them: JSON. What a deployment sets itself goes before."""
    pod_rules: Annotated[PodRules, _SERVING] = PodRules()
    """What a deployment may set in `spec.pods`: JSON. The chart writes it, and refuses the same at admission."""
    kuberay_namespace: Annotated[str, Field(pattern=_LABEL), _SERVING] = _DECISIONS.kuberay_namespace
    """Namespace of KubeRay's operator; only it may reach the Ray dashboards."""
    monitoring_namespaces: Annotated[tuple[Annotated[str, Field(pattern=_LABEL)], ...], _SERVING] = (
        _DECISIONS.monitoring_namespaces
    )
    """Namespaces whose pods may read the metrics of Ray and HAProxy in the Ray pods. Empty: none; repeat the flag or separate by
    commas."""
    gateway_namespaces: Annotated[tuple[Annotated[str, Field(pattern=_LABEL)], ...], _SERVING] = (
        _DECISIONS.gateway_namespaces
    )
    """Namespaces of Gateways and Ingress controllers, whose pods may send requests to deployments with `spec.endpoint.expose`. Empty:
    port 8000 of such a deployment is open to all; repeat the flag or separate by commas."""
    operator_namespace: Annotated[str, Field(pattern=rf"{_LABEL}|^$"), _SERVING] = _DECISIONS.operator_namespace
    """Namespace of the operator's pods, which ask each deployment for its status. Empty: they run in no pod of the cluster."""
    serving_egress: Annotated[ServingEgress, _SERVING] = ServingEgress.BOUNDED
    """Bounded: a NetworkPolicy lets Ray pods reach their own pods, DNS, HTTPS, the ports of addresses that they were told of, and
    the head the API server. Open: they reach everything."""
    api_server_ports: Annotated[tuple[Annotated[int, Field(ge=1, le=65535)], ...], _SERVING] = (
        _DECISIONS.api_server_ports
    )
    """Ports of the API server, which Ray's autoscaler asks; repeat the flag or separate by commas."""
    hub_endpoint: Annotated[
        str, Field(pattern=r"^https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._/-]*)?$"), _SERVING
    ] = _DECISIONS.hub_endpoint
    """Address of the Hugging Face Hub, or of a mirror; pods download weights from it. No LlamaDeployment can change it."""
    # The flag and its chart value keep the old word: installations set them.
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
    """Whether /metrics answers. Only OTEL_EXPORTER_OTLP_ENDPOINT switches export by OTLP on."""
    log_format: Annotated[LogFormat, _TELEMETRY] = LogFormat.AUTO
    """Json: one object a line. Text: for people. Auto: Text on a terminal, else Json."""
    log_level: Annotated[LogLevel, _TELEMETRY] = LogLevel.INFO
    """The least important lines that are shown."""

    @field_validator("pod_defaults", "pod_rules", mode="before")
    @classmethod
    def _read(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        kind = cls.model_fields[str(info.field_name)].annotation
        return kind.model_validate_json(value) if kind is not None else value

    @field_validator("pod_defaults")
    @classmethod
    def _kubernetes_takes_them(cls, value: PodDefaults) -> PodDefaults:
        wrong = [str(problem) for problem in broken_rules(value)]
        wrong += [f"{path}: {message}" for path, message in wrong_keys(value, "podDefaults")]
        if wrong:
            raise ValueError("; ".join(wrong))
        return value

    @field_validator(
        "namespaces",
        "card_images",
        "serving_architectures",
        "monitoring_namespaces",
        "gateway_namespaces",
        "api_server_ports",
        mode="before",
    )
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

    def _card_images(self) -> dict[str, str]:
        # An image for several architectures runs on cards beside a processor of each.
        usual = {_ARM: self.serving_image} if ARCHITECTURES[_ARM] in self.serving_architectures else {}
        return usual | dict(pair.split("=", 1) for pair in self.card_images)

    def decisions(self) -> Settings:
        """The part that decisions and objects depend on."""
        return Settings(
            image=self.serving_image,
            card_images=self._card_images(),
            ray_version=self.ray_version,
            kuberay_namespace=self.kuberay_namespace,
            monitoring_namespaces=self.monitoring_namespaces,
            gateway_namespaces=self.gateway_namespaces,
            operator_namespace=self.operator_namespace,
            bounds_egress=self.serving_egress is ServingEgress.BOUNDED,
            api_server_ports=self.api_server_ports,
            hub_endpoint=self.hub_endpoint,
            pods=PlatformPods(self.pod_defaults, self.pod_rules, self.serving_architectures),
            checks_access=self.weights_preflight is Switch.ENABLED,
            serving_poll_seconds=self.serving_poll_seconds,
        )
