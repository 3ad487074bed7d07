"""What hardware there is, and how much of it no pod holds. Called by `observe.gather`, the CLI and the handlers."""

from collections.abc import Iterable, Mapping
from typing import Any

from llama_operator.catalog import Catalog
from llama_operator.catalog.accelerators import Accelerator
from llama_operator.decide.observed import NodeFacts
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, Object

_REPEL = frozenset({"NoSchedule", "NoExecute"})
_ENDED = frozenset({"Succeeded", "Failed"})


def node_facts(node: Object, catalog: Catalog) -> NodeFacts | None:
    """What a Node offers; None when it takes no new pods."""
    spec, status = node.get("spec") or {}, node.get("status") or {}
    if spec.get("unschedulable") or not _ready(status):
        return None
    metadata = node["metadata"]
    allocatable: Mapping[str, str] = status.get("allocatable") or {}
    accelerator = catalog.identify(metadata.get("labels") or {})
    if _repels(spec.get("taints") or (), "" if accelerator is None else accelerator.resource_name):
        return None
    if accelerator is None:
        cpu = catalog.accelerator("CPU")
        return NodeFacts(metadata["name"], cpu.name, int(_cpus(allocatable.get("cpu", "0"))))
    return NodeFacts(metadata["name"], accelerator.name, int(allocatable.get(accelerator.resource_name, "0")))


def _ready(status: Mapping[str, Any]) -> bool:
    """Whether the kubelet says that the node is ready; also where no condition says anything about it."""
    told = (one.get("status") for one in status.get("conditions") or () if one.get("type") == "Ready")
    return next(told, None) in {None, "True"}


def _repels(taints: Iterable[Mapping[str, Any]], resource: str) -> bool:
    """Whether a taint keeps our pods off: those for an accelerator tolerate the taint of its own resource."""
    return any(one.get("effect") in _REPEL and one.get("key") != resource for one in taints)


async def free_accelerators(
    cluster: Cluster, nodes: Iterable[Object], catalog: Catalog
) -> Mapping[str, tuple[int, ...]]:
    """Count the accelerators that no pod holds on each node that takes new pods, by accelerator.

    Asked only when a rollout has to choose between a second copy and downtime; pods are not watched for it.
    """
    usable: dict[str, tuple[Accelerator, int]] = {}
    for node in nodes:
        accelerator, facts = catalog.identify(node["metadata"].get("labels") or {}), node_facts(node, catalog)
        if accelerator is not None and facts is not None:
            usable[facts.name] = accelerator, facts.gpus
    free: dict[str, tuple[int, ...]] = {}
    # Node by node: a cluster has many more pods than those on GPU nodes, which need not all be in memory.
    for name, (accelerator, gpus) in usable.items():
        pods = (await cluster.list(kinds.POD, fields={"spec.nodeName": name})).items
        left = max(0, gpus - sum(held(pod, accelerator.resource_name) for pod in pods))
        free[accelerator.name] = (*free.get(accelerator.name, ()), left)
    return free


def held(pod: Object, resource: str) -> int:
    """How many of an extended resource a pod holds; none if it has ended.

    Extended resources cannot be overcommitted: the API server copies limits into requests, and refuses other requests.
    """
    if (pod.get("status") or {}).get("phase") in _ENDED:
        return 0
    containers = (pod.get("spec") or {}).get("containers") or ()
    asked = [container.get("resources") or {} for container in containers]
    return sum(int(((one.get("limits") or {}) | (one.get("requests") or {})).get(resource, 0)) for one in asked)


def _cpus(quantity: str) -> float:
    return int(quantity.removesuffix("m")) / 1000 if quantity.endswith("m") else float(quantity)
