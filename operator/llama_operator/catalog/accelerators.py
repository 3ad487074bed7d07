"""Facts about accelerators, and how a node says which one it has.

The data is in `data/accelerators.json`. `observe` identifies nodes, `decide` sizes replicas, `desired` asks Kubernetes
and Ray for the card. Real memory differs by a few hundred MiB between drivers; the planner's reserve covers that.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import Field

from llama_operator.catalog.models import Count, Fact, Precision

_SHARING_LABEL = "nvidia.com/gpu.sharing-strategy"
_NOT_SHARED = "none"


class Accelerator(Fact):
    """One kind of card, or the CPU as a development target."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    """As users write it in `spec.hardware.accelerator`."""
    device: Literal["GPU", "CPU"]
    usable_memory_bytes: Count
    """What a CUDA process sees as total memory: less than on the box. 1 GiB = 2**30 bytes."""
    memory_basis: Literal["Observed", "Assumed"]
    """Whether public logs that name the card show the figure (it is rounded down), or it is taken for likely."""
    gpus_per_node: Count
    """Cards of the node as it is commonly rented; for the CPU, ranks that share a node."""
    interconnect: Literal["NVLink", "InfinityFabric", "PCIe", "None"]
    """Between the cards of a node."""
    memory_bandwidth_gb_per_second: Count | None
    """Datasheet, 1 GB = 1e9 bytes."""
    bf16_tflops: Count | None
    """Dense tensor throughput with 32-bit accumulation, datasheet; without sparsity."""
    fp8_tflops: Count | None
    """The same in FP8; None where the card has no FP8 units."""
    compute_capability: str | None
    fp8: Literal["Native", "WeightOnly", "None"]
    """`WeightOnly`: vLLM keeps FP8 weights and computes in 16 bits; it saves memory, not time."""
    unsupported_precisions: tuple[Precision, ...] = ()
    """Precisions that vLLM has no kernels for on this card, beside what `fp8` says."""
    engine_batched_tokens: Count
    """Tokens of one engine step if they are not set: vLLM's default for this card (`vllm/engine/arg_utils.py`)."""
    resource_name: str
    """Kubernetes resource that pods request."""
    ray_accelerator_type: str | None
    """What Ray detects on such a node and accepts as `accelerator_type`; None where Ray has no name for it."""
    node_label: str
    """Node label that names the card (NVIDIA GPU feature discovery); empty if none does."""
    node_label_values: tuple[str, ...]
    """Values of the label that mean this card."""
    notes: str = ""

    @property
    def tensor_friendly(self) -> bool:
        """Whether the cards of a node are linked fast enough to share every layer."""
        return self.interconnect in {"NVLink", "InfinityFabric"}


def identify(labels: Mapping[str, str], accelerators: Iterable[Accelerator]) -> Accelerator | None:
    """Return the accelerator that a node's labels name; None for a node without a known card.

    A shared card is never identified: time slicing and MPS (`...-SHARED`, or the sharing strategy label) and MIG
    slices (`...-MIG-1g.5gb`) leave a pod less memory than the card has.

    Args:
        labels: Labels of the Node.
        accelerators: Accelerators to choose from.
    """
    if labels.get(_SHARING_LABEL, _NOT_SHARED) != _NOT_SHARED:
        return None
    return next((card for card in accelerators if labels.get(card.node_label) in card.node_label_values), None)
