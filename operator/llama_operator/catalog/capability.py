"""What follows from a card's compute capability and memory: precisions, image and the engine's default step.

Called by `catalog.devices` for cards that only their labels describe, and by `catalog.additions` for declared ones. The rules are
those of vLLM 0.32, from which `data/accelerators.json` has them too: BF16 from 8.0 (`platforms/cuda.py`); FP8 kept as weights from
7.5 and computed from 8.9, INT8 from 7.5 and below 10.0, INT4 from 7.5 (`model_executor/layers/quantization`).
"""

from dataclasses import dataclass
from typing import Literal

from llama_operator.catalog.accelerators import Accelerator, ImageKind, Mark, Vendor
from llama_operator.catalog.models import Precision

_MIB = 1 << 20
_GIB = 1 << 30
_LEAST = (7, 0)
_TURING, _AMPERE, _ADA, _BLACKWELL = (7, 5), (8, 0), (8, 9), (10, 0)
_DRIVER_MIB = 512
"""Between the memory that the driver says and what a process can use: 430 to 440 MiB on the T4 and the A10G ..."""
_DRIVER_PERCENT = 1
"""... and up to 1 % on large cards."""


@dataclass(frozen=True, slots=True)
class Capability:
    """What vLLM can do on a card.

    Attributes:
        number: Compute capability; None for a card that is not of NVIDIA.
        vendor: Who makes it.
        fp8: How FP8 weights are used.
        unsupported: Precisions without kernels.
        image: For what the serving image has to be built.
    """

    number: str | None
    vendor: Vendor
    fp8: Literal["Native", "WeightOnly", "None"]
    unsupported: tuple[Precision, ...]
    image: ImageKind


def of_nvidia(number: tuple[int, int]) -> Capability | str:
    """Return what vLLM can do at a compute capability; or why it cannot run there, for people."""
    written = f"{number[0]}.{number[1]}"
    if number < _LEAST:
        return (
            f"its compute capability {written} is below 7.0, the least that vLLM runs on: take nodes with newer cards"
        )
    unsupported: list[Precision] = []
    if number < _AMPERE:
        unsupported.append("BF16")
    if number < _TURING:
        unsupported += ["INT8", "INT4"]
    if number >= _BLACKWELL:
        unsupported.append("INT8")
    fp8: Literal["Native", "WeightOnly", "None"] = (
        "None" if number < _TURING else "WeightOnly" if number < _ADA else "Native"
    )
    return Capability(written, "NVIDIA", fp8, tuple(unsupported), "cuda" if number >= _TURING else "cuda-volta")


AMD = Capability(None, "AMD", "None", (), "rocm")
"""A card of AMD of which nothing else is known."""


def card(
    name: str,
    known: Capability,
    *,
    mebibytes: int,
    resource: str,
    known_by: tuple[Mark, ...],
    image: ImageKind | None = None,
    alone: bool = False,
    gpus_per_node: int = 1,
    interconnect: Literal["NVLink", "InfinityFabric", "PCIe", "None"] = "PCIe",
    ray_accelerator_type: str | None = None,
) -> Accelerator:
    """Make the entry of a card.

    Args:
        name: As users write it.
        known: What vLLM can do on it.
        mebibytes: Memory in MiB as the driver says it.
        resource: Kubernetes resource that pods request.
        known_by: Labels by which a node says that it has the card.
        image: For what the serving image has to be built, if not for what its capability says.
        alone: Whether a replica has to fit one of them.
        gpus_per_node: Cards of a node.
        interconnect: Between the cards of a node.
        ray_accelerator_type: What Ray detects on such a node, if it has a name for it.
    """
    usable = (mebibytes - max(_DRIVER_MIB, mebibytes * _DRIVER_PERCENT // 100)) * _MIB
    return Accelerator(
        name=name,
        device="GPU",
        vendor=known.vendor,
        usable_memory_bytes=max(usable, _MIB),
        memory_basis="Declared",
        gpus_per_node=gpus_per_node,
        interconnect="None" if alone else interconnect,
        alone=alone,
        compute_capability=known.number,
        fp8=known.fp8,
        unsupported_precisions=known.unsupported,
        engine_batched_tokens=batched_tokens(usable, name),
        image=image or known.image,
        resource_name=resource,
        ray_accelerator_type=ray_accelerator_type,
        known_by=known_by,
    )


def batched_tokens(usable_memory_bytes: int, name: str) -> int:
    """Tokens of one step of the engine on a card, by its own rule (`vllm/engine/arg_utils.py`)."""
    if usable_memory_bytes >= 160 * _GIB:
        return 16384
    return 8192 if usable_memory_bytes >= 70 * _GIB and "a100" not in name.casefold() else 2048
