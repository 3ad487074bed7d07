"""The workers of a Ray cluster, which hold the replicas: their GPUs and their nodes. Called by `desired.rayservice`.

One worker pod holds one replica if that fits a node, so STRICT_PACK always finds it whole; a replica over several
nodes takes whole nodes, so that tensor groups stay inside them.
"""

import json
from collections.abc import Mapping
from typing import Any

from llama_operator.decide.placement.shape import PodShape
from llama_operator.decide.plan.candidate import Candidate
from llama_operator.desired.pods.parts import RESTRICTED, PodParts
from llama_operator.desired.pods.placed import placed, steady_resources

_CONTAINER = "ray-worker"


def template(shape: PodShape, image: str, parts: PodParts) -> dict[str, Any]:
    """Build the template of a worker pod.

    Args:
        shape: What it asks of its node.
        image: Image of the container.
        parts: What is added to the GPUs: what all pods of the cluster have in common, and the weights.
    """
    container = {
        "name": _CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "env": [],
        "securityContext": {},
        "resources": steady_resources(shape.amounts),
    }
    return (RESTRICTED + placed(shape) + parts).template(container, {"automountServiceAccountToken": False})


def with_more_ranks(params: Mapping[str, str], guard: Candidate) -> dict[str, str]:
    """`ray start` parameters of workers that have the ranks of a guard too. On cards KubeRay counts the CPUs of the pod by itself."""
    ranks = guard.devices_per_pod
    return {**params, **({"num-cpus": str(int(params["num-cpus"]) + ranks)} if "num-cpus" in params else {})}


def start_params(chosen: Candidate) -> dict[str, str]:
    """`ray start` parameters of the workers.

    The accelerator type must be declared: KubeRay's autoscaler derives only CPU, GPU and memory from a pod, and a
    bundle that asks for `accelerator_type:X` would otherwise never make a group grow from zero.
    """
    if chosen.accelerator.device == "CPU":
        return {"num-cpus": str(chosen.devices_per_pod)}
    kind = chosen.accelerator.ray_accelerator_type
    if kind is None:
        return {}
    # KubeRay hands the value to a shell unquoted: it has to bring its own quotes.
    return {"resources": json.dumps(json.dumps({f"accelerator_type:{kind}": 1}))}
