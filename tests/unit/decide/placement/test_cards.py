"""What is counted as a card is what the pods for that card accept: labels as providers and people write them, drawn together."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from llama_operator import catalog
from llama_operator.decide.placement.cards import nodes_with, tolerations_for

KNOWN = catalog.load()
GPUS = [card for card in KNOWN.accelerators if card.device == "GPU"]
MARKS = [mark for card in GPUS for mark in card.known_by]
PRODUCT = "nvidia.com/gpu.product"
NOISE = {
    PRODUCT: ["NVIDIA-L4-SHARED", "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "NVIDIA-H900", "Tesla-P100-PCIE-16GB"],
    "nvidia.com/gpu.memory": ["4864", "97887", "many"],
    "nvidia.com/gpu.compute.major": ["6", "7", "9", "12"],
    "nvidia.com/gpu.sharing-strategy": ["none", "mps", "time-slicing"],
    "nvidia.com/gpu.count": ["1", "8"],
    "cloud.google.com/gke-accelerator": ["nvidia-l4", "nvidia-tesla-p4"],
    "cloud.google.com/gke-gpu-partition-size": ["1g.5gb"],
    "cloud.google.com/gke-max-shared-clients-per-gpu": ["2"],
    "amd.com/gpu.product-name": ["AMD_Radeon_Pro_V520"],
    "amd.com/compute-memory-partition": ["spx_nps1", "cpx_nps4"],
    "kubernetes.io/arch": ["amd64", "arm64"],
}
RESOURCES = ["nvidia.com/gpu", "amd.com/gpu", "nvidia.com/mig-1g.10gb", "nvidia.com/gpu.shared", "vendor.example/nic"]


@st.composite
def nodes(draw):
    labels = {key: draw(st.sampled_from(values)) for key, values in NOISE.items() if draw(st.integers(0, 3)) == 0}
    for mark in draw(st.lists(st.sampled_from(MARKS), max_size=2)):
        labels |= {label.key: draw(st.sampled_from(label.values)) for label in mark}
    amounts = {name: draw(st.integers(1, 8)) for name in RESOURCES if draw(st.booleans())}
    return labels, amounts


def holds(requirement, labels):
    value = labels.get(requirement.key)
    return {
        "In": value in requirement.values,
        "NotIn": value not in requirement.values,
        "DoesNotExist": value is None,
    }[requirement.operator]


@given(nodes())
@example(
    (
        {"nvidia.com/gpu.product": "Tesla-P40", "nvidia.com/gpu.memory": "22919", "nvidia.com/gpu.compute.major": "6"},
        {"nvidia.com/gpu": 1},
    )
)
@settings(max_examples=300, deadline=None)
def test_pods_for_a_card_accept_every_node_on_which_it_is_counted(node):
    labels, amounts = node
    found = KNOWN.devices(labels, amounts)
    if any(name.startswith(("nvidia.com/", "amd.com/")) for name in amounts):
        assert found is not None, "a node with accelerators is never a CPU"
    if found is None:
        return
    assert (found.accelerator is None) <= bool(found.problem), "what nothing is planned on is told"
    if found.problem:
        assert ": " in found.problem, "and what to do about it"
        return
    card = found.accelerator
    assert found.resource == card.resource_name
    assert found.resource in amounts
    assert any(all(holds(one, labels) for one in each) for each in nodes_with(card))
    assert {one.key for one in tolerations_for(card)} >= {card.resource_name}
