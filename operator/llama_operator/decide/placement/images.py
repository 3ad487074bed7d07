"""Which serving image runs on a card: the default one is built for NVIDIA's CUDA 13 on amd64, and other cards need another.

Read by `decide.plan.accelerators`, which plans on no card without an image, and by `desired.rayservice`.
"""

from collections.abc import Mapping
from typing import Final

from llama_operator.catalog.accelerators import Accelerator, ImageKind

USUAL: Final[ImageKind] = "cuda"
_BUILT_FOR: Final[Mapping[ImageKind, str]] = {
    "cuda": "CUDA 13 on amd64",
    "cuda-arm64": "CUDA on arm64",
    "cuda-volta": "CUDA 12 (CUDA 13 has nothing for compute capability 7.0)",
    "rocm": "ROCm",
}


ARCHITECTURES: Final[Mapping[ImageKind, str]] = {
    "cuda-arm64": "arm64",
    "cuda-volta": "amd64",
    "rocm": "amd64",
}
"""Architecture of the nodes that an image for other cards runs on; that of the usual one is a setting."""


def image_for(card: Accelerator, *, asked: str | None, usual: str, others: Mapping[str, str]) -> str:
    """Return the serving image of the pods of a plan.

    Args:
        card: What is planned on.
        asked: `spec.image` of the deployment.
        usual: The operator's serving image.
        others: The operator's images for cards that need another one, by what they are built for.
    """
    return asked or others.get(card.image, usual)


def lacks_image(card: Accelerator, *, asked: str | None, others: Mapping[str, str]) -> str:
    """Say which image `card` lacks, and what to do; empty if it has one. Arguments as of `image_for`."""
    if card.image == USUAL or asked or card.image in others:
        return ""
    return (
        f"{card.name} needs a serving image built for {_BUILT_FOR[card.image]}, and the operator's own is built for "
        f"{_BUILT_FOR[USUAL]}: name one in spec.image, or give the operator one with --card-image {card.image}=IMAGE"
    )
