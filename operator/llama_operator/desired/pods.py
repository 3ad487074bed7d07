"""Shape of the Ray pods of one replica: resources, security, environment. Called by `desired.rayservice`.

One worker pod holds one replica when that fits a node, so STRICT_PACK always finds it whole; a replica over several
nodes takes whole nodes, so that tensor groups stay inside them.
"""

import json
from typing import Any

from llama_operator.api.v1alpha1.llamadeployment import SecretKey
from llama_operator.decide.plan.candidate import Candidate

CONTAINER_HEAD = "ray-head"
CONTAINER_WORKER = "ray-worker"

_CPUS_PER_GPU = 4
"""One per rank's own process, and room for tokenizing, the API and Ray's own processes beside it."""
_MEMORY_GIB_BASE = 16
_MEMORY_GIB_PER_GPU = 16
"""Host memory for loading (weights are read in shards), pinned buffers, and /dev/shm, which counts as memory."""
_CPU_WORKER_MEMORY_GIB = 8
"""An engine of the tiny model and its server take 1.4 GiB; the rest is for the weights and the KV cache of a larger one."""
_HEAD_MEMORY_GIB = 8
"""Generous: an out-of-memory kill of the head takes the whole cluster down, and an ingress may run there."""

_PORTS = (("gcs-server", 6379), ("dashboard", 8265), ("client", 10001), ("metrics", 8080), ("serve", 8000))


def gpus_per_pod(chosen: Candidate) -> int:
    """Accelerators of one worker pod: the replica, or the whole node where it spans several."""
    return chosen.sharding.ranks if chosen.nodes == 1 else chosen.gpus_per_node


def head_template(
    *, image: str, labels: dict[str, str], environment: dict[str, str], token: SecretKey | None = None
) -> dict[str, Any]:
    """Pod template of the head: no GPU, no replicas; it runs Ray's and Serve's controllers.

    `token` names the Secret key with the Hub token: the head may hold an ingress, which reads the model's settings.
    """
    container = _container(CONTAINER_HEAD, image, environment)
    container["ports"] = [{"name": name, "containerPort": port} for name, port in _PORTS]
    container["resources"] = _resources(cpu=2, memory_gib=_HEAD_MEMORY_GIB)
    # The autoscaler beside the head needs its service account, so the token stays mounted here and only here.
    spec: dict[str, Any] = {"securityContext": _POD_SECURITY, "containers": [container]}
    return {"metadata": {"labels": labels}, "spec": _with_token(spec, container, token)}


def worker_template(
    chosen: Candidate,
    *,
    image: str,
    labels: dict[str, str],
    environment: dict[str, str],
    token: SecretKey | None = None,
    claim: str | None = None,
) -> dict[str, Any]:
    """Pod template of the workers; `token` names the Secret key with the Hub token, `claim` the volume of the weights."""
    container = _container(CONTAINER_WORKER, image, environment)
    spec: dict[str, Any] = {"automountServiceAccountToken": False, "securityContext": _POD_SECURITY}
    accelerator, devices = chosen.accelerator, gpus_per_pod(chosen)
    if accelerator.device == "CPU":
        container["resources"] = _resources(cpu=devices, memory_gib=_CPU_WORKER_MEMORY_GIB * devices)
    else:
        container["resources"] = _resources(
            cpu=_CPUS_PER_GPU * devices,
            memory_gib=_MEMORY_GIB_BASE + _MEMORY_GIB_PER_GPU * devices,
            gpus=(accelerator.resource_name, devices),
        )
        spec["affinity"] = _product_affinity(accelerator.node_label, accelerator.node_label_values)
        spec["tolerations"] = [{"key": accelerator.resource_name, "operator": "Exists", "effect": "NoSchedule"}]
        if chosen.nodes > 1:
            # NCCL over InfiniBand pins memory; nothing else that restricted pod security forbids is asked for.
            container["securityContext"] = _CONTAINER_SECURITY | {
                "capabilities": {"drop": ["ALL"], "add": ["IPC_LOCK"]}
            }
    spec = _with_token(spec | {"containers": [container]}, container, token)
    return {"metadata": {"labels": labels}, "spec": _with_claim(spec, container, claim)}


def worker_start_params(chosen: Candidate) -> dict[str, str]:
    """`ray start` parameters of the workers.

    The accelerator type must be declared: KubeRay's autoscaler derives only CPU, GPU and memory from a pod, and a
    bundle that asks for `accelerator_type:X` would otherwise never make a group grow from zero.
    """
    if chosen.accelerator.device == "CPU":
        return {"num-cpus": str(gpus_per_pod(chosen))}
    kind = chosen.accelerator.ray_accelerator_type
    if kind is None:
        return {}
    # KubeRay hands the value to a shell unquoted: it has to bring its own quotes.
    return {"resources": json.dumps(json.dumps({f"accelerator_type:{kind}": 1}))}


WEIGHTS_FOLDER = "/models"
"""Where the volume of a claim with weights is mounted in workers."""

_WEIGHTS_VOLUME = "weights"
_TOKEN_VOLUME = "hub-token"  # noqa: S105 - a name
_TOKEN_FOLDER = "/var/run/llama-operator/hub"  # noqa: S105 - a path
_TOKEN_FILE = "token"  # noqa: S105 - a name
_POD_SECURITY: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
_CONTAINER_SECURITY: dict[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def _container(name: str, image: str, environment: dict[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": key, "value": value} for key, value in sorted(environment.items())],
        "securityContext": _CONTAINER_SECURITY,
    }


def _with_token(spec: dict[str, Any], container: dict[str, Any], token: SecretKey | None) -> dict[str, Any]:
    """Put the Hub token into a pod, as a file that huggingface_hub finds by `HF_TOKEN_PATH`.

    A file and no variable: a new token in the Secret reaches pods that run, and Ray copies `HF_TOKEN` into the runtime
    environment of its actors, which everybody reads who may look at the cluster's state.
    """
    if token is None:
        return spec
    container["env"] = [*container["env"], {"name": "HF_TOKEN_PATH", "value": f"{_TOKEN_FOLDER}/{_TOKEN_FILE}"}]
    container["volumeMounts"] = [{"name": _TOKEN_VOLUME, "mountPath": _TOKEN_FOLDER, "readOnly": True}]
    source = {
        "secretName": token.name,
        # What is loaded already goes on serving without it.
        "optional": True,
        "items": [{"key": token.key, "path": _TOKEN_FILE}],
    }
    return spec | {"volumes": [{"name": _TOKEN_VOLUME, "secret": source}]}


def _with_claim(spec: dict[str, Any], container: dict[str, Any], claim: str | None) -> dict[str, Any]:
    """Mount the claim with the weights, read-only: many pods of several deployments may share it."""
    if claim is None:
        return spec
    mount = {"name": _WEIGHTS_VOLUME, "mountPath": WEIGHTS_FOLDER, "readOnly": True}
    container["volumeMounts"] = [*container.get("volumeMounts", ()), mount]
    volume = {"name": _WEIGHTS_VOLUME, "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
    return spec | {"volumes": [*spec.get("volumes", ()), volume]}


def _resources(*, cpu: int, memory_gib: int, gpus: tuple[str, int] | None = None) -> dict[str, Any]:
    # Requests equal limits: an engine that is evicted for memory costs minutes of loading.
    amounts = {"cpu": str(cpu), "memory": f"{memory_gib}Gi"}
    if gpus is not None:
        amounts[gpus[0]] = str(gpus[1])
    return {"requests": dict(amounts), "limits": dict(amounts)}


def _product_affinity(label: str, values: tuple[str, ...]) -> dict[str, Any]:
    expression = {"key": label, "operator": "In", "values": list(values)}
    return {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [expression]}]
            }
        }
    }
