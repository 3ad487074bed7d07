"""Catalog entries from Accelerators: what an administrator declares becomes a card to plan with.

Called by `observe`, by `decide.plan.accelerators` and by the verbs. No speed is estimated for a declared card.
"""

from collections.abc import Iterable

from llama_operator.api.v1alpha1.accelerator import Accelerator as Declared
from llama_operator.api.v1alpha1.accelerator import AcceleratorSpec, CardVendor, Interconnect, ProcessorArchitecture
from llama_operator.catalog import capability
from llama_operator.catalog.accelerators import Accelerator, NodeLabel
from llama_operator.catalog.registry import Catalog

_RESOURCES = {CardVendor.NVIDIA: "nvidia.com/gpu", CardVendor.AMD: "amd.com/gpu"}


def with_declared(catalog: Catalog, declared: Iterable[Declared] | None) -> Catalog:
    """Return the catalog with the cards of `declared`, by which nodes are known first; None adds nothing."""
    cards = (_card(one.metadata.name, one.spec) for one in declared or ())
    return catalog.with_accelerators(card for card in cards if card is not None)


def _card(name: str, spec: AcceleratorSpec) -> Accelerator | None:
    known = _capability(spec)
    if isinstance(known, str):
        # Admission refuses it; one that got past is no card.
        return None
    made = capability.card(
        name,
        known,
        mebibytes=spec.memory_mebibytes,
        resource=spec.resource_name or _RESOURCES[spec.vendor],
        known_by=tuple(
            tuple(NodeLabel(key=label.key, values=label.values) for label in mark.labels) for mark in spec.nodes
        ),
        image="cuda-arm64" if spec.architecture is ProcessorArchitecture.ARM64 else None,
        alone=spec.interconnect is Interconnect.NONE,
        gpus_per_node=spec.gpus_per_node,
        interconnect=spec.interconnect.value,
        ray_accelerator_type=spec.ray_accelerator_type,
    )
    refused = dict.fromkeys((*made.unsupported_precisions, *(each.value for each in spec.unsupported_precisions)))
    return made.model_copy(update={"unsupported_precisions": tuple(refused)})


def _capability(spec: AcceleratorSpec) -> capability.Capability | str:
    if spec.vendor is CardVendor.AMD:
        return capability.AMD
    major, _, minor = (spec.compute_capability or "0.0").partition(".")
    return capability.of_nvidia((int(major), int(minor)))
