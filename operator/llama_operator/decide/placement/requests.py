"""What the pods of a plan ask for: the shapes of head and workers. Called by `decide.decision`, rendered by `desired.pods`.

Amounts follow the model and the plan. A worker with one GPU and a model of 1 to 8 billion parameters fits the usual node with
four cores and 16 GB. docs/designs/0018-placement.md has the grounds of each number.
"""

from dataclasses import dataclass, replace

from llama_operator.catalog.accelerators import Accelerator
from llama_operator.catalog.models import Model, Variant
from llama_operator.decide.placement.cards import nodes_with, tolerations_for
from llama_operator.decide.placement.pod_settings import PodSettings, PodSettingsByRole
from llama_operator.decide.placement.shape import Amounts, PodShape, PodShapes, Room

GIB = 1 << 30
CORE = 1000
"""Millicores."""

_HEAD = Amounts(cpu_millicores=2 * CORE, memory_bytes=8 * GIB)
"""Generous: a head that is killed for memory takes the whole cluster down, and an ingress may run there."""
AUTOSCALER = Amounts(cpu_millicores=500, memory_bytes=GIB // 2)
"""The container that KubeRay puts into the head, if nothing else is said."""

_CORES_OF_ONE_GPU = 3
"""The server, the engine's core and the process of the rank: vLLM asks for two cores beside one a GPU."""
_CORES_PER_GPU = 4
"""Of several GPUs: room for tokenizing, the API and Ray's own processes beside each rank's process."""
_MEMORY_BASE = 4 * GIB
"""Ray's processes of a node, the server and the engine's core."""
_MEMORY_PER_GPU = 4 * GIB
"""A process with CUDA, its pinned buffers, and its part of /dev/shm, which counts as memory."""
_LOADED_SHARE = 4
"""A quarter of the weights that the pod holds: files are mapped and read in shards, and pages that are read again stay in
memory."""
_IMAGES = 8 * GIB
"""Preprocessed images, which vLLM keeps in the server and in the engine's core, 4 GiB each."""
_STREAMED_PER_GPU = 16 * GIB
"""Buffers of a process that streams weights instead of mapping files."""
_CPU_MEMORY = 8 * GIB
"""An engine of the tiny model and its server take 1.4 GiB; the rest is for the weights and the KV cache of a larger one."""
_ENOUGH = 1 << 60
"""More than any node has."""
_USUAL_LABELS = {"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"}
_DISK_PERCENT = 110
"""Of the bytes that are downloaded: files beside the weights, and what is written while one is fetched."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a replica of a plan holds, and on how many nodes.

    Attributes:
        model: The model.
        variant: Its weights.
        accelerator: The card, or the CPU.
        devices: Cards of one worker, or ranks on a CPU.
        workers: Workers that make one replica.
        streamed: Whether the engine streams its weights through buffers of its own.
        buffers: Bytes of those buffers in each process, where the plan bounds them; 0 where it does not.
        adapters: Memory for LoRA adapters on one node, in bytes.
        copied: Whether its weights are in a claim, so that no node downloads them.
    """

    model: Model
    variant: Variant
    accelerator: Accelerator
    devices: int
    workers: int = 1
    streamed: bool = False
    buffers: int = 0
    adapters: int = 0
    copied: bool = False


def shapes(held: Held, settings: PodSettingsByRole, guard: Held | None = None) -> PodShapes:
    """Shapes of the pods of a plan.

    Args:
        held: What a replica holds.
        settings: What platform and team want of the pods.
        guard: What a guard on the same cards holds; None without one. Each worker has room for it, because each may get it.
    """
    amounts = _of_worker(held)
    if guard is not None:
        amounts += replace(_of_worker(guard), devices={})
    worker = _on_accelerator(PodShape("worker", amounts), held.accelerator)
    return PodShapes(head_shape(settings.head), _with_settings(worker, settings.workers), held.workers)


def head_shape(settings: PodSettings) -> PodShape:
    """Shape of a head; it holds no model."""
    return _with_settings(PodShape("head", _HEAD, beside=AUTOSCALER), settings)


def _of_worker(held: Held) -> Amounts:
    devices, variant = held.devices, held.variant
    disk = 0 if held.copied else downloaded(held.model, variant)
    if held.accelerator.device == "CPU":
        return Amounts(devices * CORE, devices * _CPU_MEMORY + _whole(held.adapters), disk)
    cores = _CORES_OF_ONE_GPU if devices == 1 else _CORES_PER_GPU * devices
    loading = (
        (held.buffers or _STREAMED_PER_GPU) * devices
        if held.streamed
        else variant.weight_bytes // held.workers // _LOADED_SHARE
    )
    images = _IMAGES if held.model.modality == "TextAndImage" else 0
    memory = _MEMORY_BASE + _MEMORY_PER_GPU * devices + loading + images + held.adapters
    return Amounts(cores * CORE, _whole(memory), disk, {held.accelerator.resource_name: devices})


def described_room(name: str, accelerator: Accelerator, devices: int) -> Room:
    """What a node has of which only the accelerators are known: as many as are said, and of all else enough.

    Args:
        name: Name of the node.
        accelerator: Its card; for the CPU, cores are what is counted.
        devices: How many.
    """
    if accelerator.device == "CPU":
        return Room(name, Amounts(devices * CORE, _ENOUGH, _ENOUGH), _ENOUGH, _USUAL_LABELS)
    own = {label.key: label.values[0] for label in accelerator.known_by[0]}
    labels = {**_USUAL_LABELS, "kubernetes.io/arch": accelerator.architecture, **own}
    return Room(name, Amounts(_ENOUGH, _ENOUGH, _ENOUGH, {accelerator.resource_name: devices}), _ENOUGH, labels)


def downloaded(model: Model, variant: Variant) -> int:
    """Bytes of the node's disk that the files of a pod take; every node of a replica fetches all of them."""
    if model.generated or variant.volume_claim is not None:
        return 0
    return _whole(variant.bytes_to_read * _DISK_PERCENT // 100)


def _with_settings(shape: PodShape, settings: PodSettings) -> PodShape:
    """The shape with what platform and team want of it."""
    amounts = shape.amounts
    wanted = Amounts(
        amounts.cpu_millicores if settings.cpu_millicores is None else settings.cpu_millicores,
        amounts.memory_bytes if settings.memory_bytes is None else settings.memory_bytes,
        amounts.ephemeral_storage_bytes
        if settings.ephemeral_storage_bytes is None
        else settings.ephemeral_storage_bytes,
        {**amounts.devices, **settings.devices},
    )
    return replace(
        shape,
        amounts=wanted,
        tolerations=(*shape.tolerations, *(one for one in settings.tolerations if one not in shape.tolerations)),
        needs_other_pods=settings.needs_other_pods,
        node_selector={**shape.node_selector, **settings.node_selector},
        requirements=(*shape.requirements, *(one for one in settings.requirements if one not in shape.requirements)),
    )


def _on_accelerator(shape: PodShape, accelerator: Accelerator) -> PodShape:
    return replace(shape, alternatives=nodes_with(accelerator), tolerations=tolerations_for(accelerator))


def _whole(size: int) -> int:
    """Bytes, rounded up to whole GiB."""
    return -(-size // GIB) * GIB
