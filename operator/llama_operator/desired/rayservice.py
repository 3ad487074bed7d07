"""The RayService of a revision. Called by `desired.objects`.

KubeRay realizes it and restores it while our operator is down, but never upgrades it (`upgradeStrategy.type: None`):
that is our part. See docs/designs/0001-shape.md.
"""

from typing import Any

from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.decide.observed import Settings
from llama_operator.decide.planner import Candidate
from llama_operator.desired import naming, pods, serve_config
from llama_serving.config import LiveSettings, ServingConfig, pod_environment

API_VERSION = "ray.io/v1"
KIND = "RayService"

_IDLE_TIMEOUT_SECONDS = 60
"""How long a worker without replicas keeps its node."""


def build(
    deployment: LlamaDeployment,
    chosen: Candidate,
    config: ServingConfig,
    live: LiveSettings,
    *,
    settings: Settings,
) -> dict[str, Any]:
    """Build the RayService that runs `config` for `deployment`."""
    revision = config.identity.revision
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": naming.metadata(deployment, revision, revision),
        "spec": {
            "upgradeStrategy": {"type": "None"},
            "serveConfigV2": serve_config.to_yaml(serve_config.serve_config(config, live)),
            "rayClusterConfig": _cluster(deployment, chosen, config, live, settings),
        },
    }


def _cluster(
    deployment: LlamaDeployment, chosen: Candidate, config: ServingConfig, live: LiveSettings, settings: Settings
) -> dict[str, Any]:
    image = deployment.spec.image or settings.image
    labels = naming.labels(deployment, config.identity.revision)
    environment = pod_environment(config)
    nodes = chosen.nodes
    return {
        "rayVersion": settings.ray_version,
        "enableInTreeAutoscaling": True,
        # Written out: with the version left to Ray, KubeRay makes pods whose idle termination does not work.
        "autoscalerOptions": {"version": "v2", "idleTimeoutSeconds": _IDLE_TIMEOUT_SECONDS},
        # Written out: an empty authOptions makes a Secret and leaves the dashboard open.
        "authOptions": {"mode": "token"},
        "headGroupSpec": {
            "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},  # noqa: S104 - KubeRay reaches it by the pod's address; token and NetworkPolicy guard it
            "template": pods.head_template(image=image, labels=labels, environment=environment),
        },
        "workerGroupSpecs": [
            {
                "groupName": chosen.accelerator.name.lower(),
                "replicas": live.min_replicas * nodes,
                "minReplicas": live.min_replicas * nodes,
                "maxReplicas": live.max_replicas * nodes,
                "rayStartParams": pods.worker_start_params(chosen),
                "template": pods.worker_template(chosen, image=image, labels=labels, environment=environment),
            }
        ],
    }
