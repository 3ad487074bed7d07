"""Which accelerators a node offers, and under which resource. Called by `observe`, `doctor` and the handlers, through `Catalog`.

A node with accelerators is never only a CPU, whether the catalog knows them or not: what is not planned on is refused in words.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from llama_operator.catalog import capability
from llama_operator.catalog.accelerators import (
    PRODUCT,
    Accelerator,
    NodeLabel,
    identify,
    part_of_a_card,
    says_part,
)

_NVIDIA: Final = "nvidia.com/gpu"
_AMD: Final = "amd.com/gpu"
_SLICE: Final = "nvidia.com/mig-"
_SLICE_IN_PRODUCT: Final = "-MIG-"
_MEMORY: Final = "nvidia.com/gpu.memory"
_COUNT: Final = "nvidia.com/gpu.count"
_MAJOR: Final = "nvidia.com/gpu.compute.major"
_MINOR: Final = "nvidia.com/gpu.compute.minor"
_ACCELERATORS: Final = (
    _NVIDIA,
    _SLICE,
    "nvidia.com/pgpu",
    "nvidia.com/vgpu",
    "amd.com/",
    "gpu.intel.com/",
    "habana.ai/",
    "google.com/tpu",
    "aws.amazon.com/neuron",
    "huawei.com/Ascend",
    "cambricon.com/",
    "hygon.com/",
    "metax-tech.com/",
    "mthreads.com/",
    "iluvatar.com/",
    "aliyun.com/gpu-",
    "volcano.sh/gpu-",
    "volcano.sh/vgpu-",
    "tencent.com/vcuda-",
)
"""How the names of resources begin that are accelerators."""
_SIGNS: Final[Mapping[str, str]] = {
    PRODUCT: _NVIDIA,
    "nvidia.com/gpu.present": _NVIDIA,
    "feature.node.kubernetes.io/pci-10de.present": _NVIDIA,
    "feature.node.kubernetes.io/pci-0300_10de.present": _NVIDIA,
    "feature.node.kubernetes.io/pci-0302_10de.present": _NVIDIA,
    "cloud.google.com/gke-accelerator": _NVIDIA,
    "karpenter.k8s.aws/instance-gpu-name": _NVIDIA,
    "eks.amazonaws.com/instance-gpu-name": _NVIDIA,
    "k8s.amazonaws.com/accelerator": _NVIDIA,
    "karpenter.azure.com/sku-gpu-name": _NVIDIA,
    "kubernetes.azure.com/accelerator": _NVIDIA,
    "amd.com/gpu.product-name": _AMD,
    "amd.com/gpu.device-id": _AMD,
    "amd.com/gpu.family": _AMD,
    "beta.amd.com/gpu.family": _AMD,
    "feature.node.kubernetes.io/amd-gpu": _AMD,
}
"""Labels that a node has only with accelerators, and the resource under which these are usually offered."""
_NAMES: Final = (PRODUCT, *(key for key in _SIGNS if key.endswith(("accelerator", "-name", "device-id", "family"))))
"""Those that may name the card, the most exact first."""
_NO: Final = frozenset({"", "false", "none"})
_LONGEST_NAME: Final = 63
_DECLARE: Final = "declare it with an Accelerator (docs/catalog.md)"


@dataclass(frozen=True, slots=True)
class Devices:
    """Accelerators of a node.

    Attributes:
        accelerator: The card; None for accelerators that nothing is planned on.
        resource: Kubernetes resource that pods ask for.
        problem: Why nothing is planned on them, for people: the product, the resource and the label that is missing or not
            known; empty if they are planned on.
        beside: Resources of other accelerators of the same node, which nothing is planned on.
    """

    accelerator: Accelerator | None
    resource: str
    problem: str = ""
    beside: tuple[str, ...] = field(default=())


def devices_of(
    labels: Mapping[str, str], resources: Iterable[str] | Mapping[str, int], accelerators: Iterable[Accelerator]
) -> Devices | None:
    """Return the accelerators of a node; None for one that has none and is only a CPU.

    Args:
        labels: Labels of the Node.
        resources: Names of the resources that it has more than none of; with their amounts a node that shares its cards is
            known without a label that says so.
        accelerators: Accelerators to choose from.
    """
    cards = tuple(accelerators)
    declared = {card.resource_name for card in cards if card.device == "GPU"}
    offered = sorted(name for name in resources if name in declared or name.startswith(_ACCELERATORS))
    card = identify(labels, cards)
    if (shares := _shares(labels, resources)) and (card is None or not any(map(says_part, card.known_by))):
        return Devices(None, _NVIDIA, _a_part(shares))
    if card is not None and card.resource_name in offered:
        return Devices(card, card.resource_name, beside=_without(offered, card.resource_name))
    if slices := [name for name in offered if name.startswith(_SLICE)]:
        return _slice_of_mixed(labels, slices, offered)
    if offered:
        return _unknown(labels, offered)
    sign = next((key for key in _SIGNS if labels.get(key, "").casefold() not in _NO), None)
    if card is not None:
        return Devices(card, card.resource_name, _not_offered(f"are those of {card.name}", card.resource_name))
    if sign is None:
        return None
    return Devices(None, _SIGNS[sign], _not_offered(f"have {sign}={labels[sign]}", _SIGNS[sign]))


def _unknown(labels: Mapping[str, str], offered: list[str]) -> Devices:
    """What a node offers that is no card of the catalog: planned on as its labels say, or refused in words."""
    if _NVIDIA not in offered:
        name = offered[0]
        known = f" ({_said(labels)})" if _said(labels) else ""
        return Devices(None, name, f"offers {name}{known}, which the catalog does not know: {_DECLARE}")
    product, beside = labels.get(PRODUCT, ""), _without(offered, _NVIDIA)
    if part := part_of_a_card(labels):
        return Devices(None, _NVIDIA, _a_part(part))
    if not product:
        said = f"; its labels say {_said(labels)}, which the catalog does not know" if _said(labels) else ""
        cure = f"install NVIDIA's GPU feature discovery, or {_DECLARE}"
        return Devices(None, _NVIDIA, f"offers {_NVIDIA}, and its label {PRODUCT} is missing{said}: {cure}")
    made = _from_labels(labels, product, _NVIDIA, memory=_MEMORY, sliced=_SLICE_IN_PRODUCT in product)
    if isinstance(made, Accelerator):
        return Devices(made, _NVIDIA, beside=beside)
    return Devices(None, _NVIDIA, f"offers {_NVIDIA} of product {product}, which the catalog does not know, and {made}")


def _shares(labels: Mapping[str, str], resources: Iterable[str] | Mapping[str, int]) -> str:
    """That a node offers more GPUs than feature discovery counts, which is how sharing looks that no label tells; or empty."""
    there = _number(labels.get(_COUNT))
    offered = resources.get(_NVIDIA, 0) if isinstance(resources, Mapping) else 0
    if not there or offered <= there or _SLICE_IN_PRODUCT in labels.get(PRODUCT, ""):
        return ""
    return f"{offered} are offered and {_COUNT}={there}"


def _a_part(why: str) -> str:
    cure = (
        "switch sharing off there, or declare what a pod gets with an Accelerator whose labels say it (docs/catalog.md)"
    )
    return f"offers {_NVIDIA} that is a part of a card ({why}), which nothing is planned on: {cure}"


def _slice_of_mixed(labels: Mapping[str, str], slices: list[str], offered: list[str]) -> Devices:
    """The largest kind of slice of a node whose cards are cut in different ways."""
    sizes = {name: _number(labels.get(f"{name}.memory")) or 0 for name in slices}
    name = max(slices, key=lambda one: (sizes[one], one))
    # Another name than that of such slices of a node that has only them: pods ask for another resource.
    product = f"{labels.get(PRODUCT, 'GPU')}-mixed-{name.removeprefix(_SLICE)}"
    made = _from_labels(labels, product, name, memory=f"{name}.memory", sliced=True)
    if isinstance(made, Accelerator):
        return Devices(made, name, beside=_without(offered, name))
    return Devices(
        None, name, f"offers {name}, a slice of {labels.get(PRODUCT, 'a card without product label')}, and {made}"
    )


def _from_labels(
    labels: Mapping[str, str], product: str, resource: str, *, memory: str, sliced: bool
) -> Accelerator | str:
    """Make the card that feature discovery describes without the catalog; or say what it does not tell."""
    mebibytes = _number(labels.get(memory))
    if not mebibytes:
        return f"its label {memory} is missing: install NVIDIA's GPU feature discovery, or {_DECLARE}"
    major, minor = _number(labels.get(_MAJOR)), _number(labels.get(_MINOR))
    if major is None:
        return f"its label {_MAJOR} is missing: install a newer GPU feature discovery, or {_DECLARE}"
    known = capability.of_nvidia((major, minor or 0))
    if isinstance(known, str):
        return known
    name = re.sub(r"[^A-Za-z0-9-]+", "-", product).strip("-")[:_LONGEST_NAME].rstrip("-")
    base = labels.get(PRODUCT, product)
    arm = labels.get("kubernetes.io/arch") == "arm64"
    return capability.card(
        name,
        known,
        mebibytes=mebibytes,
        resource=resource,
        known_by=((NodeLabel(key=PRODUCT, values=(base,)),),),
        image="cuda-arm64" if arm else None,
        alone=sliced,
    )


def _not_offered(said: str, resource: str) -> str:
    return (
        f"offers no {resource}, although its labels {said}: its device plugin does not run (yet), or its GPUs are given out by "
        "DRA (ResourceSlices), on which nothing is planned: install the device plugin there"
    )


def _said(labels: Mapping[str, str]) -> str:
    """What the labels say about the card, as `key=value`; empty if they say nothing."""
    return next((f"{key}={labels[key]}" for key in _NAMES if labels.get(key)), "")


def _without(offered: Collection[str], resource: str) -> tuple[str, ...]:
    return tuple(name for name in offered if name != resource)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
