"""The workers of a Ray cluster, which hold the replicas: their GPUs and their nodes. Called by `desired.rayservice`.

One worker pod holds one replica if that fits a node, so STRICT_PACK always finds it whole; a replica over several
nodes takes whole nodes, so that tensor groups stay inside them.
"""

import json
from typing import Any

from llama_operator.decide.placement.cards import nodes_with, tolerations_for
from llama_operator.decide.placement.shape import Requirement
from llama_operator.decide.plan.candidate import Candidate
from llama_operator.desired.pods.parts import RESTRICTED, PodParts, steady_resources

_CONTAINER = "ray-worker"
_CPUS_PER_GPU = 4
"""One per rank's own process, and room for tokenizing, the API and Ray's own processes beside it."""
_MEMORY_GIB_BASE = 16
_MEMORY_GIB_PER_GPU = 16
"""Host memory for loading (weights are read in shards), pinned buffers, and /dev/shm, which counts as memory."""
_CPU_WORKER_MEMORY_GIB = 8
"""An engine of the tiny model and its server take 1.4 GiB; the rest is for the weights and the KV cache of a larger one."""


def template(chosen: Candidate, image: str, parts: PodParts) -> dict[str, Any]:
    """Build the template of a worker pod.

    Args:
        chosen: The plan that the pods hold.
        image: Image of the container.
        parts: What is added to the GPUs: what all pods of the cluster have in common, and the weights.
    """
    container = {
        "name": _CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "env": [],
        "securityContext": {},
        "resources": _resources(chosen),
    }
    return (RESTRICTED + _on_gpus(chosen) + parts).template(container, {"automountServiceAccountToken": False})


def start_params(chosen: Candidate) -> dict[str, str]:
    """`ray start` parameters of the workers.

    The accelerator type must be declared: KubeRay's autoscaler derives only CPU, GPU and memory from a pod, and a
    bundle that asks for `accelerator_type:X` would otherwise never make a group grow from zero.
    """
    if chosen.accelerator.device == "CPU":
        return {"num-cpus": str(_devices(chosen))}
    kind = chosen.accelerator.ray_accelerator_type
    if kind is None:
        return {}
    # KubeRay hands the value to a shell unquoted: it has to bring its own quotes.
    return {"resources": json.dumps(json.dumps({f"accelerator_type:{kind}": 1}))}


def _devices(chosen: Candidate) -> int:
    """Accelerators of one pod: the replica, or the whole node if the replica spans several."""
    return chosen.sharding.ranks if chosen.nodes == 1 else chosen.gpus_per_node


def _resources(chosen: Candidate) -> dict[str, Any]:
    devices = _devices(chosen)
    if chosen.accelerator.device == "CPU":
        return steady_resources(cpu=devices, memory_gib=_CPU_WORKER_MEMORY_GIB * devices)
    memory = _MEMORY_GIB_BASE + _MEMORY_GIB_PER_GPU * devices
    return steady_resources(
        cpu=_CPUS_PER_GPU * devices, memory_gib=memory, **{chosen.accelerator.resource_name: devices}
    )


def _on_gpus(chosen: Candidate) -> PodParts:
    accelerator = chosen.accelerator
    if accelerator.device == "CPU":
        return PodParts()
    return PodParts(
        node_alternatives=tuple(tuple(map(_expression, one)) for one in nodes_with(accelerator)),
        tolerations=tuple(
            {"key": one.key, "operator": one.operator, "effect": one.effect} for one in tolerations_for(accelerator)
        ),
    )


def _expression(requirement: Requirement) -> dict[str, Any]:
    expression = {"key": requirement.key, "operator": requirement.operator}
    return expression | ({"values": list(requirement.values)} if requirement.values else {})
