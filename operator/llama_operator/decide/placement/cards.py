"""Which nodes have a card, as a pod asks for it: by every label under which the catalog knows the card, and no part of one.

Read by what makes shapes and by `desired.pods.worker`: what is counted is what the scheduler sees.
"""

from collections.abc import Iterator
from typing import Final

from llama_operator.catalog.accelerators import AMD_PRODUCT, PARTS, PRODUCT, Accelerator, Mark, from_provider, says_part
from llama_operator.decide.placement.shape import Requirement, Toleration

_GKE: Final = "cloud.google.com/"
_AMD_PARTITION: Final = "amd.com/compute-memory-partition"
_AMD_PARTS: Final = tuple(f"{mode}_nps{banks}" for mode in ("cpx", "dpx", "qpx", "tpx") for banks in (1, 2, 4, 8))


def nodes_with(card: Accelerator) -> tuple[tuple[Requirement, ...], ...]:
    """Return what nodes with `card` have: each entry is one way to say it, all of which must hold; none for the CPU."""
    return tuple(tuple(_requirements(card, mark)) for mark in card.known_by)


def tolerations_for(card: Accelerator) -> tuple[Toleration, ...]:
    """Return the tolerations of a pod for `card`: of the taints that are usual on nodes with it."""
    return tuple(Toleration(key=key, operator="Exists", effect="NoSchedule") for key in card.taints)


def _requirements(card: Accelerator, mark: Mark) -> Iterator[Requirement]:
    for label in mark:
        yield Requirement(label.key, "In", label.values)
    if from_provider(mark):
        # Where feature discovery names a product, its word counts: it may be a slice of the provider's card.
        yield Requirement(AMD_PRODUCT if card.vendor == "AMD" else PRODUCT, "DoesNotExist")
    if says_part(mark):
        return
    if any(label.key.startswith(_GKE) for label in mark):
        yield from (Requirement(key, "DoesNotExist") for key in PARTS if key.startswith(_GKE))
    if card.vendor == "AMD":
        yield Requirement(_AMD_PARTITION, "NotIn", _AMD_PARTS)
