"""Facts about accelerators, and how a node says which one it has.

The data is in `data/accelerators.json`; `catalog.additions` adds what Accelerators of the cluster declare, `catalog.devices` what
a node's own labels tell. `decide` sizes replicas, `desired` asks Kubernetes and Ray for the card. Real memory differs by a few
hundred MiB between drivers; the planner's reserve covers that.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import Field

from llama_operator.catalog.models import Count, Fact, Precision

Vendor = Literal["NVIDIA", "AMD", "None"]
ImageKind = Literal["cuda", "cuda-arm64", "cuda-volta", "rocm"]
"""For what a serving image is built. The default image of the operator is `cuda`: CUDA 13 on amd64."""

PRODUCT = "nvidia.com/gpu.product"
"""Label of NVIDIA's feature discovery: what it says goes before what a provider's label says."""
AMD_PRODUCT = "amd.com/gpu.product-name"
SHARED_SUFFIX = "-SHARED"
"""End of a product that feature discovery writes where several pods share a card."""
PARTS: Mapping[str, tuple[str, ...]] = {
    "nvidia.com/gpu.sharing-strategy": ("none",),
    "cloud.google.com/gke-gpu-sharing-strategy": (),
    "cloud.google.com/gke-max-shared-clients-per-gpu": (),
    "cloud.google.com/gke-gpu-partition-size": (),
    "amd.com/compute-memory-partition": ("spx_nps1",),
}
"""Labels that say that a pod gets a part of a card, with the values that say that it gets a whole one."""


class NodeLabel(Fact):
    """A label and the values that it may have."""

    key: str
    values: Annotated[tuple[str, ...], Field(min_length=1)]


Mark = Annotated[tuple[NodeLabel, ...], Field(min_length=1)]
"""Labels that together say which card a node has."""


class Accelerator(Fact):
    """One kind of card, or the CPU as a development target."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    """As users write it in `spec.hardware.accelerator`."""
    device: Literal["GPU", "CPU"]
    vendor: Vendor = "NVIDIA"
    usable_memory_bytes: Count
    """What a CUDA process sees as total memory: less than on the box. 1 GiB = 2**30 bytes."""
    memory_basis: Literal["Observed", "Assumed", "Declared"]
    """Whether public logs that name the card show the figure (it is rounded down), it is taken for likely, or a label of the
    node or an Accelerator of the cluster says it."""
    gpus_per_node: Count
    """Cards of the node as it is commonly rented; for the CPU, ranks that share a node."""
    interconnect: Literal["NVLink", "InfinityFabric", "PCIe", "None"]
    """Between the cards of a node."""
    alone: bool = False
    """Whether a replica has to fit one of them: slices of a card cannot reach each other."""
    memory_bandwidth_gb_per_second: Count | None = None
    """Datasheet, 1 GB = 1e9 bytes."""
    bf16_tflops: Count | None = None
    """Dense tensor throughput with 32-bit accumulation, datasheet; without sparsity. In FP16 where the card has no BF16."""
    fp8_tflops: Count | None = None
    """The same in FP8; None where the card has no FP8 units."""
    compute_capability: str | None = None
    fp8: Literal["Native", "WeightOnly", "None"]
    """`WeightOnly`: vLLM keeps FP8 weights and computes in 16 bits; it saves memory, not time."""
    unsupported_precisions: tuple[Precision, ...] = ()
    """Precisions that vLLM has no kernels for on this card, beside what `fp8` says."""
    engine_batched_tokens: Count
    """Tokens of one engine step if they are not set: vLLM's default for this card (`vllm/engine/arg_utils.py`)."""
    image: ImageKind = "cuda"
    """For what the serving image has to be built."""
    resource_name: str
    """Kubernetes resource that pods request."""
    ray_accelerator_type: str | None = None
    """What Ray detects on such a node and accepts as `accelerator_type`; None where Ray has no name for it."""
    known_by: tuple[Mark, ...] = ()
    """Labels by which a node says that it has this card: one of them is enough. Empty for the CPU."""
    sources: tuple[str, ...] = ()
    """Where the figures and labels come from."""
    notes: str = ""

    @property
    def tensor_friendly(self) -> bool:
        """Whether the cards of a node are linked fast enough to share every layer."""
        return self.interconnect in {"NVLink", "InfinityFabric"}

    @property
    def architecture(self) -> Literal["amd64", "arm64"]:
        """Processor of the nodes that have it."""
        return "arm64" if self.image == "cuda-arm64" else "amd64"

    @property
    def taints(self) -> tuple[str, ...]:
        """Keys of taints that are usual on such nodes; pods for this card put up with them."""
        if self.device == "CPU":
            return ()
        domain = self.resource_name.partition("/")[0]
        arm = ("kubernetes.io/arch",) if self.architecture == "arm64" else ()
        return tuple(dict.fromkeys((self.resource_name, f"{domain}/gpu", *arm)))


def identify(labels: Mapping[str, str], accelerators: Iterable[Accelerator]) -> Accelerator | None:
    """Return the accelerator that a node's labels name; None for a node without a known card.

    A provider's label does not count where feature discovery says a product: it names the card of which a product may be a
    slice. A part of a card (time slicing, MPS, MIG, partitions) is only identified by a mark that says so itself: a pod on it
    has less memory than the card.

    Args:
        labels: Labels of the Node.
        accelerators: Accelerators to choose from; the first one counts.
    """
    part = part_of_a_card(labels)
    return next((card for card in accelerators if any(_tells(mark, labels, part) for mark in card.known_by)), None)


def part_of_a_card(labels: Mapping[str, str]) -> str:
    """Return the label, as `key=value`, that says that pods get a part of a card of this node; empty if none does."""
    for key, whole in PARTS.items():
        if key in labels and labels[key] not in whole:
            return f"{key}={labels[key]}"
    product = labels.get(PRODUCT, "")
    return f"{PRODUCT}={product}" if product.endswith(SHARED_SUFFIX) else ""


def says_part(mark: Mark) -> bool:
    """Whether a mark itself is about a part of a card."""
    return any(label.key in PARTS or any(value.endswith(SHARED_SUFFIX) for value in label.values) for label in mark)


def from_provider(mark: Mark) -> bool:
    """Whether a mark has nothing of the vendor's own feature discovery in it."""
    return not any(label.key.removeprefix("beta.").startswith(("nvidia.com/", "amd.com/")) for label in mark)


def _tells(mark: Mark, labels: Mapping[str, str], part: str) -> bool:
    if not all(labels.get(label.key) in label.values for label in mark):
        return False
    if part and not says_part(mark):
        return False
    return not (from_provider(mark) and (PRODUCT in labels or AMD_PRODUCT in labels))
