"""Facts about accelerators, and how nodes are recognized by their labels."""

import itertools
import re

import pytest

from llama_operator.catalog import UnknownAcceleratorError, capability, load
from llama_operator.catalog.accelerators import Accelerator, identify

CATALOG = load()
GPUS = [accelerator for accelerator in CATALOG.accelerators if accelerator.device == "GPU"]
GIB = 1 << 30

RAY_NAMES = {
    "T4", "V100", "A10G", "L4", "L40S", "A100", "H100", "H200", "B200", "B300", "GB200", "RTX-PRO-6000",
    "AMD-Instinct-MI300X-OAM", "AMD-Instinct-MI325X-OAM",
}  # fmt: skip
"""Of `ray.util.accelerators`, what Ray 2.60 makes of the NVML names of these cards."""


def product(name: str) -> dict[str, str]:
    return {"kubernetes.io/arch": "amd64", "nvidia.com/gpu.product": name}


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("NVIDIA-H100-80GB-HBM3", "H100-80GB"),
        ("NVIDIA-H100-PCIe", "H100-80GB"),
        ("NVIDIA-H200", "H200-141GB"),
        ("NVIDIA-B200", "B200-180GB"),
        ("NVIDIA-A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA-A100-80GB-PCIe", "A100-80GB"),
        ("NVIDIA-A100-SXM4-40GB", "A100-40GB"),
        ("NVIDIA-A100-PCIE-40GB", "A100-40GB"),
        ("NVIDIA-L40S", "L40S-48GB"),
        ("NVIDIA-RTX-A6000", "A6000-48GB"),
        ("NVIDIA-L4", "L4-24GB"),
        ("NVIDIA-A10G", "A10G-24GB"),
        ("NVIDIA-GeForce-RTX-3090", "RTX3090-24GB"),
        ("NVIDIA-GeForce-RTX-4090", "RTX4090-24GB"),
        ("NVIDIA-GH200-480GB", "GH200-96GB"),
        ("Tesla-T4", "T4-16GB"),
        ("Tesla-V100-SXM2-16GB", "V100-16GB"),
        ("Tesla-V100-SXM2-32GB", "V100-32GB"),
        ("NVIDIA-A10", "A10-24GB"),
        ("NVIDIA-A16", "A16-16GB"),
        ("NVIDIA-A40", "A40-48GB"),
        ("NVIDIA-L40", "L40-48GB"),
        ("NVIDIA-RTX-6000-Ada-Generation", "RTX6000Ada-48GB"),
        ("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", "RTXPRO6000-96GB"),
        ("NVIDIA-H100-NVL", "H100NVL-94GB"),
        ("NVIDIA-GB200", "GB200-186GB"),
        ("NVIDIA-B300-SXM6-AC", "B300-288GB"),
    ],
)
def test_a_node_is_identified_by_its_gpu_product(label: str, name: str) -> None:
    found = identify(product(label), CATALOG.accelerators)
    assert found is CATALOG.accelerator(name)


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"kubernetes.io/arch": "amd64"},
        product("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb"),
        product("NVIDIA-L4-SHARED"),
        product("NVIDIA-L4") | {"nvidia.com/gpu.sharing-strategy": "mps"},
        product("NVIDIA-H900"),
    ],
)
def test_unknown_sliced_and_shared_cards_are_not_identified(labels: dict[str, str]) -> None:
    assert identify(labels, CATALOG.accelerators) is None


def test_a_card_that_is_said_not_to_be_shared_is_identified() -> None:
    found = identify(product("NVIDIA-L4") | {"nvidia.com/gpu.sharing-strategy": "none"}, CATALOG.accelerators)
    assert found is CATALOG.accelerator("L4-24GB")


def test_no_labels_mean_two_cards() -> None:
    said = [
        (card.name, dict(zip([label.key for label in mark], values, strict=True)))
        for card in GPUS
        for mark in card.known_by
        for values in itertools.product(*(label.values for label in mark))
    ]
    for name, labels in said:
        assert {card.name for card in GPUS if identify(labels, [card])} == {name}, labels


@pytest.mark.parametrize("accelerator", GPUS, ids=lambda accelerator: accelerator.name)
def test_every_card_is_known_by_labels_that_kubernetes_allows_and_has_sources(accelerator: Accelerator) -> None:
    assert accelerator.known_by
    assert accelerator.sources
    for label in itertools.chain.from_iterable(accelerator.known_by):
        assert all(re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", value) for value in label.values)


@pytest.mark.parametrize(
    "accelerator", [a for a in GPUS if a.vendor == "NVIDIA"], ids=lambda accelerator: accelerator.name
)
def test_precisions_and_image_follow_from_the_compute_capability(accelerator: Accelerator) -> None:
    assert accelerator.compute_capability is not None
    major, minor = (int(part) for part in accelerator.compute_capability.split("."))
    known = capability.of_nvidia((major, minor))
    assert isinstance(known, capability.Capability)
    assert (accelerator.fp8, set(accelerator.unsupported_precisions)) == (known.fp8, set(known.unsupported))
    assert accelerator.image == ("cuda-arm64" if accelerator.name.startswith("G") else known.image)


@pytest.mark.parametrize("accelerator", GPUS, ids=lambda accelerator: accelerator.name)
def test_a_card_has_a_little_less_memory_than_its_name_says(accelerator: Accelerator) -> None:
    on_the_box = int(accelerator.name.rpartition("-")[2].removesuffix("GB"))
    assert 0.9 * on_the_box * GIB < accelerator.usable_memory_bytes < on_the_box * GIB


@pytest.mark.parametrize("accelerator", GPUS, ids=lambda accelerator: accelerator.name)
def test_fp8_throughput_is_there_exactly_where_the_card_has_fp8_units(accelerator: Accelerator) -> None:
    assert (accelerator.fp8_tflops is not None) == (accelerator.fp8 == "Native")


@pytest.mark.parametrize(
    "accelerator", [a for a in GPUS if a.resource_name == "nvidia.com/gpu"], ids=lambda accelerator: accelerator.name
)
def test_nvidia_cards_have_fp8_units_from_compute_capability_8_9(accelerator: Accelerator) -> None:
    assert accelerator.compute_capability is not None
    native = tuple(int(part) for part in accelerator.compute_capability.split(".")) >= (8, 9)
    assert (accelerator.fp8 == "Native") == native


@pytest.mark.parametrize("accelerator", GPUS, ids=lambda accelerator: accelerator.name)
def test_the_default_step_of_the_engine_follows_its_own_rule(accelerator: Accelerator) -> None:
    # vllm/engine/arg_utils.py: by memory, the A100 being treated like the small cards.
    memory = accelerator.usable_memory_bytes / GIB
    large = 16384 if memory >= 160 else 8192
    small = memory < 70 or accelerator.name.startswith("A100")
    assert accelerator.engine_batched_tokens == (2048 if small else large)


@pytest.mark.parametrize("accelerator", GPUS, ids=lambda accelerator: accelerator.name)
def test_ray_knows_the_accelerator_type_or_none_is_given(accelerator: Accelerator) -> None:
    assert accelerator.ray_accelerator_type is None or accelerator.ray_accelerator_type in RAY_NAMES


def test_the_cpu_is_an_accelerator_without_ray_type_and_label() -> None:
    cpu = CATALOG.accelerator("CPU")
    assert cpu.device == "CPU"
    assert cpu.usable_memory_bytes == 4 * GIB
    assert cpu.gpus_per_node == 2
    assert cpu.ray_accelerator_type is None
    assert cpu.known_by == ()
    assert cpu.memory_basis == "Assumed"


def test_an_unknown_accelerator_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(UnknownAcceleratorError, match="did you mean A100-40GB or A100-80GB") as caught:
        CATALOG.accelerator("A100")
    assert caught.value.nearest == ("A100-40GB", "A100-80GB")


def test_without_a_near_name_all_are_listed() -> None:
    with pytest.raises(UnknownAcceleratorError, match="known are A10-24GB"):
        CATALOG.accelerator("???")
    assert "CPU" in CATALOG.accelerator_names
