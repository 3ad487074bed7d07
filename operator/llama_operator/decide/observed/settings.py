"""Settings of the operator, as far as decisions and objects depend on them. Part of `decide.observed`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from llama_operator.decide.placement.platform_pods import PlatformPods
from llama_serving.contract.hub import HUB_ENDPOINT


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the operator that decisions and objects depend on."""

    image: str = "llama-operator/llama-serving:0.1.0"
    """Container image of Ray pods: Ray, vLLM and llama_serving."""
    card_images: Mapping[str, str] = field(default_factory=dict)
    """Images for cards that need another one, by what they are built for, as `rocm`."""
    ray_version: str = "2.60.0"
    """Ray in that image; KubeRay chooses probes and flags by it."""
    kuberay_namespace: str = "kuberay-system"
    """Namespace of KubeRay's operator, the only one that may reach the Ray dashboards."""
    monitoring_namespaces: tuple[str, ...] = ()
    """Namespaces whose pods may read the metrics of Ray and HAProxy; none but the deployment's own pods if it is empty."""
    gateway_namespaces: tuple[str, ...] = ()
    """Namespaces of Gateways and Ingress controllers. Empty: they are not known, so whoever comes from anywhere reaches an endpoint
    that is exposed."""
    operator_namespace: str = ""
    """Namespace of the operator, which asks the endpoints for their status; empty where it runs in no pod."""
    bounds_egress: bool = True
    """Whether Ray pods reach only what they were told of."""
    api_server_ports: tuple[int, ...] = (443, 6443, 8443, 16443)
    """Ports on which the API server may listen; Ray's autoscaler beside the head needs it."""
    serving_poll_seconds: float = 15.0
    """How often the status endpoint of a deployment that serves is asked: it sends no events."""
    hub_endpoint: str = HUB_ENDPOINT
    """Address of the Hugging Face Hub, or of a mirror of it."""
    checks_access: bool = True
    """Whether access to gated weights is checked before a revision starts."""
    pods: PlatformPods = field(default_factory=PlatformPods)
    """What the platform owner says about pods."""
    local: bool = False
    """Whether processes of this machine stand for pods: then nothing is mounted into them."""
    keys_path: str = ""
    """Folder with API keys; in local mode only an endpoint that has one asks for keys."""
    weights_path: str = ""
    """Folder with the weights on every pod; overrides the model's own source. Used by the local mode."""
