"""Facts about accelerators, and how nodes are recognized by their labels."""

import pytest

from llama_operator.catalog import UnknownAcceleratorError, load
from llama_operator.catalog.accelerators import Accelerator

CATALOG = load()
GPUS = [accelerator for accelerator in CATALOG.accelerators if accelerator.device == "GPU"]
GIB = 1 << 30

RAY_NAMES = {"A10G", "L4", "L40S", "A100", "H100", "H200", "B200", "AMD-Instinct-MI300X-OAM"}
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
    ],
)
def test_a_node_is_identified_by_its_gpu_product(label: str, name: str) -> None:
    found = CATALOG.identify(product(label))
    assert found is CATALOG.accelerator(name)


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"kubernetes.io/arch": "amd64"},
        product("NVIDIA-H100-NVL"),
        product("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb"),
        product("NVIDIA-L4-SHARED"),
        product("NVIDIA-L4") | {"nvidia.com/gpu.sharing-strategy": "mps"},
        product("Tesla-T4"),
    ],
)
def test_unknown_sliced_and_shared_cards_are_not_identified(labels: dict[str, str]) -> None:
    assert CATALOG.identify(labels) is None


def test_a_card_that_is_said_not_to_be_shared_is_identified() -> None:
    found = CATALOG.identify(product("NVIDIA-L4") | {"nvidia.com/gpu.sharing-strategy": "none"})
    assert found is CATALOG.accelerator("L4-24GB")


def test_no_label_value_means_two_cards() -> None:
    values = [value for accelerator in GPUS for value in accelerator.node_label_values]
    assert len(values) == len(set(values))


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
    assert not cpu.node_label
    assert cpu.node_label_values == ()
    assert cpu.memory_basis == "Assumed"


def test_an_unknown_accelerator_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(UnknownAcceleratorError, match="did you mean A100-40GB or A100-80GB") as caught:
        CATALOG.accelerator("A100")
    assert caught.value.nearest == ("A100-40GB", "A100-80GB")


def test_without_a_near_name_all_are_listed() -> None:
    with pytest.raises(UnknownAcceleratorError, match="known are A100-40GB"):
        CATALOG.accelerator("???")
    assert "CPU" in CATALOG.accelerator_names
