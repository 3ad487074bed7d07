"""What platform and team want of pods, merged for one role. Read by what makes shapes and by `desired.pods`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from llama_operator.api.v1alpha1.pods import SharedPods
from llama_operator.decide.placement.shape import Requirement, Toleration


@dataclass(frozen=True, slots=True)
class PodSettings:
    """Settings of the pods of one role. The default changes nothing."""

    tolerations: tuple[Toleration, ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    requirements: tuple[Requirement, ...] = ()
    """Of the node affinity: all must hold."""
    cpu_millicores: int | None = None
    """In place of what the model and the plan ask for; None: as planned. So are the next two."""
    memory_bytes: int | None = None
    ephemeral_storage_bytes: int | None = None
    devices: Mapping[str, int] = field(default_factory=dict)
    """Extended resources beside the accelerators, as `rdma/hca`."""
    needs_other_pods: bool = False
    """Whether the scheduler looks at other pods too (pod affinity that is required, a spread that must hold): what fits then
    depends on the order of pods."""
    fields: SharedPods = field(default_factory=SharedPods)
    """All of it as a pod of Kubernetes has it; what is above stands in it too. Only `desired.pods` reads it."""
    service_account: str = ""
    """Name of the ServiceAccount; empty for that of the namespace."""
    lock_memory: bool = False
    """Whether workers of a replica over several nodes keep the capability IPC_LOCK."""


@dataclass(frozen=True, slots=True)
class PodSettingsByRole:
    """Settings of all pods of a deployment."""

    head: PodSettings = field(default_factory=PodSettings)
    workers: PodSettings = field(default_factory=PodSettings)
    jobs: PodSettings = field(default_factory=PodSettings)
