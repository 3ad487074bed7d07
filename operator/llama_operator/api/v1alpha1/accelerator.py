"""The `Accelerator` resource: a card that an administrator declares, beside those of the built-in catalog.

Read by `catalog.additions`, which makes a catalog entry of it.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from llama_operator.api.meta import API_VERSION, ApiModel, ObjectMeta

LabelKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=317,
        pattern=r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$",
    ),
]
LabelValue = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$")]


class CardVendor(StrEnum):
    """Who makes a card."""

    NVIDIA = "NVIDIA"
    AMD = "AMD"


class Interconnect(StrEnum):
    """How the cards of a node reach each other."""

    NVLINK = "NVLink"
    INFINITY_FABRIC = "InfinityFabric"
    PCIE = "PCIe"
    NONE = "None"


class ProcessorArchitecture(StrEnum):
    """Processor of a node."""

    AMD64 = "AMD64"
    ARM64 = "ARM64"


class StoredWeights(StrEnum):
    """Number format of weights that a card may have no kernels for."""

    BF16 = "BF16"
    FP16 = "FP16"
    FP8 = "FP8"
    INT8 = "INT8"
    INT4 = "INT4"


class LabelIn(ApiModel):
    """A label of a node, and the values that it may have."""

    key: LabelKey
    """Key of the label, for example `nvidia.com/gpu.product`."""
    values: Annotated[tuple[LabelValue, ...], Field(min_length=1, max_length=64, strict=False)]
    """Values of which it has one."""


class NodeMark(ApiModel):
    """Labels that together say that a node has this card."""

    labels: Annotated[tuple[LabelIn, ...], Field(min_length=1, max_length=8, strict=False)]
    """All of them must hold."""


class AcceleratorSpec(ApiModel):
    """Which card, and by what labels its nodes are known."""

    vendor: CardVendor = CardVendor.NVIDIA
    """Who makes it."""
    memory_mebibytes: Annotated[int, Field(ge=1024, le=1_048_576)]
    """Memory of one of them in MiB, as `nvidia-smi` and the label `nvidia.com/gpu.memory` say it; of a slice, that of the
    slice. What the driver keeps is taken off."""
    compute_capability: Annotated[str, Field(pattern=r"^[0-9]{1,2}\.[0-9]$", max_length=4)] | None = None
    """Compute capability of a card of NVIDIA, for example `8.6`. The precisions that it can compute with follow from it."""
    nodes: Annotated[tuple[NodeMark, ...], Field(min_length=1, max_length=16, strict=False)]
    """How nodes with this card are known; one entry is enough. They go before what the catalog knows of the same labels."""
    resource_name: (
        Annotated[
            str,
            Field(
                min_length=3,
                max_length=253,
                pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$",
            ),
        ]
        | None
    ) = None
    """Kubernetes resource that pods ask for. Default: `nvidia.com/gpu` or `amd.com/gpu`."""
    gpus_per_node: Annotated[int, Field(ge=1, le=72)] = 1
    """Cards of a node, where no node is there to count."""
    interconnect: Interconnect = Interconnect.PCIE
    """How the cards of a node reach each other. `None` for slices and shares of a card: then a replica fits one of them."""
    architecture: ProcessorArchitecture = ProcessorArchitecture.AMD64
    """Processor of its nodes. The serving image has to be built for it."""
    unsupported_precisions: Annotated[tuple[StoredWeights, ...], Field(max_length=5, strict=False)] = ()
    """Precisions that the engine cannot use on it, beside those that follow from `computeCapability`."""
    ray_accelerator_type: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9_-]+$")] | None = None
    """What Ray calls the card (`ray.util.accelerators`), if it has a name for it."""


class Accelerator(ApiModel):
    """A card that an administrator declares: deployments name it in `spec.hardware.accelerator`, and `Auto` finds it."""

    api_version: Literal["llama-operator.io/v1alpha1"] = API_VERSION
    kind: Literal["Accelerator"] = "Accelerator"
    metadata: ObjectMeta
    spec: AcceleratorSpec
    """Which card."""
