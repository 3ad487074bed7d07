"""Settings of pods, as a team writes them in `spec.pods` and a platform owner in `podDefaults`: one shape for both.

Fields have the names and the form that they have in a pod of Kubernetes, so what people have can be copied. Read by
`decide.placement`, which merges both, by `desired.pods`, and by the settings of the operator.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llama_operator.api.meta import ApiModel

_MOST = 32
LABEL_KEY = r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$"
"""Key of a label, an annotation or an extended resource. A schema cannot ask it of the keys of a map: `decide.placement` does."""
_DNS = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"

ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=_DNS)]
"""Name of an object of Kubernetes."""
Key = Annotated[str, Field(min_length=1, max_length=317, pattern=LABEL_KEY)]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$")]
AnnotationValue = Annotated[str, Field(max_length=4096)]
Labels = Annotated[dict[str, LabelValue], Field(max_length=_MOST)]
Annotations = Annotated[dict[str, AnnotationValue], Field(max_length=_MOST)]
Cores = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^([1-9][0-9]*m?|[0-9]+[.][0-9]{1,3})$")]
"""Amount of CPU as Kubernetes writes it: `2`, `2.5` or `2500m`."""
Bytes = Annotated[
    str, Field(min_length=1, max_length=16, pattern=r"^[1-9][0-9]*([.][0-9]+)?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$")
]
"""Amount of memory or disk as Kubernetes writes it: `12Gi`."""


class SelectorOperator(StrEnum):
    """How an expression compares the label of a node."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GREATER = "Gt"
    LESS = "Lt"


class LabelOperator(StrEnum):
    """How an expression compares the label of a pod."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class TolerationOperator(StrEnum):
    """How a toleration compares a taint."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """What a taint does to pods."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class WhenUnsatisfiable(StrEnum):
    """What happens to a pod that spreads badly."""

    SCHEDULE_ANYWAY = "ScheduleAnyway"
    DO_NOT_SCHEDULE = "DoNotSchedule"


class TolerationSpec(ApiModel):
    """A taint of nodes that pods put up with."""

    key: Key | None = None
    """Key of the taint. Default, with `Exists`: every taint."""
    operator: TolerationOperator = TolerationOperator.EQUAL
    """`Exists` asks for the key only, `Equal` for the value too."""
    value: LabelValue | None = None
    """Value of the taint, for `Equal`."""
    effect: TaintEffect | None = None
    """Effect of the taint. Default: every effect."""
    toleration_seconds: Annotated[int, Field(ge=0, le=2_147_483_647)] | None = None
    """Only for `NoExecute`: seconds that pods stay after the taint was set. Default: for ever."""


class NodeExpression(ApiModel):
    """An expression over a label of nodes."""

    key: Key
    """Key of the label."""
    operator: SelectorOperator
    """How the label compares with the values."""
    values: Annotated[tuple[LabelValue, ...], Field(max_length=64)] = Field(default_factory=tuple)
    """Values of the label."""


class NodeSelectorTerm(ApiModel):
    """Expressions that must all hold."""

    match_expressions: Annotated[tuple[NodeExpression, ...], Field(min_length=1, max_length=_MOST)]
    """Expressions over labels of the node; all of them must hold."""


class NodeSelector(ApiModel):
    """Which nodes may take the pod."""

    node_selector_terms: Annotated[tuple[NodeSelectorTerm, ...], Field(min_length=1, max_length=1)]
    """One term. What Kubernetes writes as several terms, of which one must hold, write as several values of `In`."""


class PreferredNodes(ApiModel):
    """Nodes that are better than others."""

    weight: Annotated[int, Field(ge=1, le=100)]
    """How much better, from 1 to 100."""
    preference: NodeSelectorTerm
    """Expressions over labels of these nodes."""


class NodeAffinity(ApiModel):
    """Which nodes may take the pod, and which ones are better."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    """Nodes that may take the pod. What the accelerator and the image ask for is added."""
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[PreferredNodes, ...], Field(max_length=_MOST)
    ] = Field(default_factory=tuple)
    """Nodes that are better than others."""


class LabelExpression(ApiModel):
    """An expression over a label of pods."""

    key: Key
    """Key of the label."""
    operator: LabelOperator
    """How the label compares with the values."""
    values: Annotated[tuple[LabelValue, ...], Field(max_length=64)] = Field(default_factory=tuple)
    """Values of the label."""


class LabelSelector(ApiModel):
    """Which pods are meant."""

    match_labels: Labels = Field(default_factory=dict)
    """Labels that the pods have."""
    match_expressions: Annotated[tuple[LabelExpression, ...], Field(max_length=_MOST)] = Field(default_factory=tuple)
    """Expressions over labels of the pods."""


class PodAffinityTerm(ApiModel):
    """Pods near which, or away from which, a pod shall run."""

    topology_key: Key
    """Label of nodes: nodes with the same value are one place, for example `topology.kubernetes.io/zone`."""
    label_selector: LabelSelector | None = None
    """Which pods are meant. Default: those of the same revision and role."""
    namespaces: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=63)], ...], Field(max_length=_MOST)] = (
        Field(default_factory=tuple)
    )
    """Namespaces of these pods. Default: that of the deployment."""


class PreferredPods(ApiModel):
    """Pods near which, or away from which, a pod runs better."""

    weight: Annotated[int, Field(ge=1, le=100)]
    """How much better, from 1 to 100."""
    pod_affinity_term: PodAffinityTerm
    """Pods that are meant, and what a place is."""


class PodAffinity(ApiModel):
    """Which pods a pod shall be near to, or away from."""

    required_during_scheduling_ignored_during_execution: Annotated[tuple[PodAffinityTerm, ...], Field(max_length=8)] = (
        Field(default_factory=tuple)
    )
    """A pod that finds no such place waits."""
    preferred_during_scheduling_ignored_during_execution: Annotated[tuple[PreferredPods, ...], Field(max_length=8)] = (
        Field(default_factory=tuple)
    )
    """A pod that finds no such place runs in another one."""


class Affinity(ApiModel):
    """Where pods shall run, as in a pod of Kubernetes."""

    node_affinity: NodeAffinity | None = None
    """Nodes, by their labels."""
    pod_affinity: PodAffinity | None = None
    """Near which pods."""
    pod_anti_affinity: PodAffinity | None = None
    """Away from which pods."""


class TopologySpread(ApiModel):
    """How pods spread over places."""

    topology_key: Key
    """Label of nodes: nodes with the same value are one place, for example `topology.kubernetes.io/zone`."""
    max_skew: Annotated[int, Field(ge=1, le=1024)] = 1
    """How many pods more one place may have than another."""
    when_unsatisfiable: WhenUnsatisfiable = WhenUnsatisfiable.SCHEDULE_ANYWAY
    """What happens to a pod that does not find such a place."""
    label_selector: LabelSelector | None = None
    """Which pods are counted. Default: those of the same revision and role."""


class ConfigMapKey(ApiModel):
    """A key of a ConfigMap in the deployment's own namespace."""

    name: ObjectName
    """Name of the ConfigMap."""
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9._-]+$")]
    """Key in the ConfigMap."""


class EnvironmentSource(ApiModel):
    """Where the value of a variable comes from."""

    config_map_key_ref: ConfigMapKey
    """A key of a ConfigMap; pods do not start without it."""


class EnvironmentVariable(ApiModel):
    """An environment variable of the containers."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    """Name of the variable."""
    value: Annotated[str, Field(max_length=4096)] | None = None
    """Value; no secret: everybody who may read the deployment sees it."""
    value_from: EnvironmentSource | None = None
    """Where the value comes from, in place of `value`."""


class HostAlias(ApiModel):
    """Host names of one address, for pods that cannot ask a name server for it."""

    ip: Annotated[str, Field(min_length=2, max_length=45, pattern=r"^[0-9A-Fa-f:.]+$")]
    """The address."""
    hostnames: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=253, pattern=_DNS)], ...],
        Field(min_length=1, max_length=_MOST),
    ]
    """Its names."""


class SecretName(ApiModel):
    """A Secret of the deployment's own namespace."""

    name: ObjectName
    """Name of the Secret."""


class CABundle(ApiModel):
    """Certificates of the authorities that pods trust."""

    config_map: ObjectName
    """ConfigMap of the deployment's own namespace that holds them. It replaces the usual ones: also put those of the public
    authorities into it if pods reach public servers."""
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9._-]+$")] = "ca.crt"
    """Key in the ConfigMap, with certificates in PEM."""


class Proxy(ApiModel):
    """HTTP proxy through which pods reach the Hub and object stores."""

    url: Annotated[str, Field(min_length=8, max_length=512, pattern=r"^http://[A-Za-z0-9.:\[\]-]+/?$")]
    """Address of the proxy, for example `http://proxy.acme.example:3128`; without a password, which everybody could read."""
    no_proxy: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9.:/*_-]+$")], ...],
        Field(max_length=64, default_factory=tuple),
    ]
    """Hosts, domains and networks that pods reach without it. Addresses and names of the cluster are added."""


class PodResources(ApiModel):
    """What each pod asks of its node, in place of what the plan needs; requests and limits are equal."""

    cpu: Cores | None = None
    """Cores, for example `3` or `2500m`. Default: what the plan needs."""
    memory: Bytes | None = None
    """Memory, for example `12Gi`. Default: what the plan needs."""
    ephemeral_storage: Bytes | None = None
    """Disk of the node, for example `200Gi`. Default: what the weights need."""
    extended: Annotated[dict[str, Annotated[int, Field(ge=1, le=1024)]], Field(max_length=8)] = Field(
        default_factory=dict
    )
    """Extended resources beside the accelerators, for example `rdma/hca: 1`; those that the platform lists."""


class PodFields(ApiModel):
    """Settings that may differ between head and workers."""

    labels: Labels = Field(default_factory=dict)
    """Labels of the pods, for example for a mesh or for costs. Keys of kubernetes.io, k8s.io, ray.io and llama-operator.io:
    only those that the platform lists."""
    annotations: Annotations = Field(default_factory=dict)
    """Annotations of the pods. Keys as those of labels."""
    node_selector: Labels = Field(default_factory=dict)
    """Labels that a node must have to take the pods."""
    tolerations: Annotated[tuple[TolerationSpec, ...], Field(max_length=_MOST)] = Field(default_factory=tuple)
    """Taints of nodes that the pods put up with. Workers always tolerate the taint of their accelerator."""
    affinity: Affinity | None = None
    """Where pods shall run, where nodeSelector does not say enough."""
    topology_spread_constraints: Annotated[tuple[TopologySpread, ...], Field(max_length=8)] = Field(
        default_factory=tuple
    )
    """How pods spread over zones or hosts."""
    priority_class_name: ObjectName | None = None
    """PriorityClass of the pods."""
    runtime_class_name: ObjectName | None = None
    """RuntimeClass of the pods, for example `nvidia` on k3s and RKE2."""
    env: Annotated[tuple[EnvironmentVariable, ...], Field(max_length=64)] = Field(default_factory=tuple)
    """Environment variables: those that the platform lists, `NCCL_*` among them. Never `RAY_*`, `VLLM_*`, `HF_*`, `PYTHON*`,
    `LD_*`: the operator sets these."""


class SharedPods(PodFields):
    """Settings of all pods."""

    scheduler_name: ObjectName | None = None
    """Scheduler of the pods. Default: that of the cluster. Whether pods fit is counted as the default scheduler counts."""
    image_pull_secrets: Annotated[tuple[SecretName, ...], Field(max_length=8)] = Field(default_factory=tuple)
    """Secrets for the registry of the image."""
    host_aliases: Annotated[tuple[HostAlias, ...], Field(max_length=_MOST)] = Field(default_factory=tuple)
    """Lines for /etc/hosts of the pods."""
    ca_bundle: CABundle | None = None
    """Certificates of the authorities that pods trust, for a mirror of the Hub or an object store with certificates of its
    own."""
    proxy: Proxy | None = None
    """HTTP proxy through which pods reach the Hub and object stores."""


class HeadPods(PodFields):
    """Settings of the head of the Ray cluster, beside those of all pods. The head needs no GPU."""

    resources: PodResources = PodResources()
    """What the head asks of its node."""


class WorkerPods(PodFields):
    """Settings of the workers, which hold the replicas, beside those of all pods."""

    resources: PodResources = PodResources()
    """What each worker asks of its node, beside its accelerators."""


class PodsSpec(SharedPods):
    """Settings of all pods, and those of the head and of the workers."""

    service_account_name: ObjectName | None = None
    """ServiceAccount of workers and Jobs, for example one with the right to read an object store; one that the platform lists.
    The head has an account of its own. Default: that of the namespace, without its token."""
    head: HeadPods = HeadPods()
    """Settings of the head, beside those above."""
    workers: WorkerPods = WorkerPods()
    """Settings of the workers, beside those above."""
