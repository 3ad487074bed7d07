"""What one reconcile knows: the input of every decision. Gathered by `observe`, built by hand in tests and by `plan`."""

from dataclasses import dataclass

from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_serving.config import ServingStatus


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A node that can take pods."""

    name: str
    accelerator: str
    """Name in the catalog; `CPU` for a node without a known GPU."""
    gpus: int
    """Allocatable accelerators; for CPU, ranks that the node can hold."""


@dataclass(frozen=True, slots=True)
class ServeDeploymentFacts:
    """One Serve deployment as the RayService reports it."""

    name: str
    status: str
    message: str


@dataclass(frozen=True, slots=True)
class RayServiceFacts:
    """A RayService of ours, with what KubeRay reports about it."""

    name: str
    revision: str
    endpoints: int
    """Ready endpoints of its serve Service."""
    application_status: str
    """Serve's own word: NOT_STARTED, DEPLOYING, RUNNING, DEPLOY_FAILED, UNHEALTHY, DELETING, or empty if unknown."""
    application_message: str
    deployments: tuple[ServeDeploymentFacts, ...]
    message: str = ""
    """Message of KubeRay's own Ready condition, when it is not True."""

    @property
    def serves(self) -> bool:
        """Whether requests can be answered: KubeRay's Ready alone does not say so."""
        return self.endpoints > 0 and self.application_status == "RUNNING"


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything a decision may rest on."""

    deployment: LlamaDeployment
    acceptances: tuple[LicenseAcceptance, ...] | None = ()
    """LicenseAcceptances that exist; None when nobody looked (a plan without a cluster)."""
    nodes: tuple[NodeFacts, ...] | None = None
    """Nodes; None when nobody looked."""
    ray_services: tuple[RayServiceFacts, ...] = ()
    """RayServices that belong to the deployment."""
    address: str = ""
    """`host:port` at which the Service can be reached from outside, where there is such an address."""
    serving: ServingStatus | None = None
    """What the serving pods say about themselves; None when they could not be asked."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the operator that decisions and objects depend on."""

    image: str = "llama-operator/llama-serving:0.1.0"
    """Container image of Ray pods: Ray, vLLM and llama_serving."""
    ray_version: str = "2.60.0"
    """Ray in that image; KubeRay chooses probes and flags by it."""
    kuberay_namespace: str = "kuberay-system"
    """Namespace of KubeRay's operator, which alone may reach the Ray dashboards."""
    weights_path: str = ""
    """Folder with the weights on every pod; overrides the model's own source. Used by the local mode."""
