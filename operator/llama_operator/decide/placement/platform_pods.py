"""What the platform owner says about pods: its defaults, and what a team may set. Part of the operator's settings.

Read by `resolve` and `allowed`. The chart has the same lists, and refuses at admission what `allowed` refuses here.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from llama_operator.api.meta import ApiModel, api_name
from llama_operator.api.v1alpha1.pods import ObjectName, PodsSpec, SharedPods

Pattern = Annotated[str, Field(min_length=1, max_length=317, pattern=r"^[A-Za-z0-9_./-]+[*]?$")]
"""A name, or how names begin, with a star at the end."""


class MemoryLock(StrEnum):
    """Whether workers may lock memory."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


class PodDefaults(PodsSpec):
    """Settings of the pods of every deployment; what a team sets goes before."""

    memory_lock: MemoryLock = MemoryLock.DISABLED
    """Whether workers of a replica over several nodes keep the capability IPC_LOCK, for RDMA. Pod security `baseline` does
    not admit it, and it works only in an image that runs as root."""


_FIELDS: Final = tuple(
    api_name(name)
    for name in (*SharedPods.model_fields, "service_account_name", "resources")
    if name != "scheduler_name"
)
"""All but the scheduler: whether pods fit is counted as the cluster's own scheduler counts."""


class PodRules(ApiModel):
    """What a team may set in `spec.pods`."""

    fields: Annotated[tuple[Annotated[str, Field(pattern=r"^[a-zA-Z]+$")], ...], Field(max_length=32)] = _FIELDS
    """Fields of spec.pods that a team may set, with all that is below them; each also below `head` and `workers`."""
    metadata_keys: Annotated[tuple[Pattern, ...], Field(max_length=64)] = ()
    """Keys of labels and annotations in the domains kubernetes.io, k8s.io, ray.io and llama-operator.io that a team may set."""
    env: Annotated[tuple[Pattern, ...], Field(max_length=64)] = ()
    """Names of environment variables that a team may set beside the usual ones."""
    service_accounts: Annotated[tuple[ObjectName, ...], Field(max_length=64)] = ()
    """ServiceAccounts that a team may name."""
    extended_resources: Annotated[tuple[Pattern, ...], Field(max_length=64)] = ()
    """Extended resources that a team may ask for, for example `rdma/hca`."""


@dataclass(frozen=True, slots=True)
class PlatformPods:
    """All that the platform says about pods."""

    defaults: PodDefaults = field(default_factory=PodDefaults)
    rules: PodRules = field(default_factory=PodRules)
    architectures: tuple[str, ...] = ("amd64",)
    """Architectures that the operator's serving image is built for; empty if they are not known."""


BUILT_IN: Final = SharedPods(
    # A proxy of a mesh in between breaks Ray's own ports, and a Job with one never ends.
    labels={"sidecar.istio.io/inject": "false"},
    annotations={
        "linkerd.io/inject": "disabled",
        # A model takes minutes to load: nodes are not tidied up under it. Repairs and reclaims go on.
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        "karpenter.sh/do-not-disrupt": "true",
    },
)
"""Where neither platform nor team says anything."""

USUAL_VARIABLES: Final = (
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "FI_*",
    "GLOO_*",
    "GOOGLE_CLOUD_PROJECT",
    "LANG",
    "LC_ALL",
    "NCCL_*",
    "OTEL_*",
    "TZ",
    "UCX_*",
)
"""Variables that a team may set on every platform."""
NEVER_BY_A_TEAM: Final = (
    "RAY*",
    "VLLM_*",
    "HF_*",
    "HUGGING*",
    "TRANSFORMERS_*",
    "PYTHON*",
    "LD_*",
    "*_PLUGIN",
    "*_PATH",
    "*_DIR",
)
"""Variables that no list of the platform gives to a team: with them a team would run code, or take the operator's place."""
RESERVED_DOMAINS: Final = ("kubernetes.io", "k8s.io", "ray.io", "llama-operator.io")
"""Domains whose labels and annotations mean something to those who run the cluster."""
