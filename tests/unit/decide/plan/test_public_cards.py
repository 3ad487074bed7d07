"""Nodes as public users have them: a GPU is planned on as what it is, or refused in words, and never counted as a CPU."""

import pytest

from llama_operator import catalog
from llama_operator.api.manifest import parse_as
from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.accelerator import Accelerator
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.catalog.declared import with_declared
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed, Settings
from llama_operator.decide.placement.cards import nodes_with
from llama_operator.desired import objects
from llama_operator.observe.nodes.facts import node_facts

KNOWN = catalog.load()
PRODUCT = "nvidia.com/gpu.product"
LICENSE = {"acceptance": "acme", "attributionURL": "https://acme.example/about"}
CPU_NODE = ("cpu-1", {}, {})
HOPPER = {"nvidia.com/gpu.compute.major": "9", "nvidia.com/gpu.compute.minor": "0"}
GKE_SHARED = {
    "cloud.google.com/gke-accelerator": "nvidia-l4",
    "cloud.google.com/gke-gpu-sharing-strategy": "time-sharing",
    "cloud.google.com/gke-max-shared-clients-per-gpu": "3",
}


def node(name, labels, devices):
    allocatable = {"cpu": "3920m", "memory": "14Gi", **devices}
    conditions = [{"type": "Ready", "status": "True"}]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {"allocatable": allocatable, "conditions": conditions},
    }


def gpu(labels, count="1", resource="nvidia.com/gpu"):
    return ("gpu-1", labels, {resource: count})


def deployment(model="llama-3.2-1b", accelerator="Auto", **spec):
    content = {
        "apiVersion": "llama-operator.io/v1alpha1",
        "kind": "LlamaDeployment",
        "metadata": {"name": "chat", "namespace": "team-a"},
        "spec": {
            "model": model if isinstance(model, dict) else {"name": model},
            "hardware": {"accelerator": accelerator},
            "license": LICENSE,
        }
        | spec,
    }
    return parse_as(LlamaDeployment, content)


def declared(name="old-card", capability="7.5", mebibytes=11264, labels=None, **spec):
    marks = [{"key": key, "values": [value]} for key, value in (labels or {"acme.example/card": "old"}).items()]
    content = {"memoryMebibytes": mebibytes, "computeCapability": capability, "nodes": [{"labels": marks}]}
    obj = {"apiVersion": "llama-operator.io/v1alpha1", "kind": "Accelerator", "metadata": {"name": name}}
    return parse_as(Accelerator, obj | {"spec": content | spec})


def planned(*nodes, cards=(), images=None, **how):
    known = with_declared(KNOWN, cards)
    facts = tuple(facts for each in nodes if (facts := node_facts(node(*each), known)) is not None)
    observed = Observed(deployment(**how), acceptances=None, nodes=facts, accelerators=tuple(cards), images=images)
    return observed, decide(observed, KNOWN)


@pytest.mark.parametrize(
    ("labels", "count", "resource", "card"),
    [
        # C01 and others of its kind
        ({PRODUCT: "Tesla-T4"}, "1", "nvidia.com/gpu", "T4-16GB"),
        ({PRODUCT: "NVIDIA-A40"}, "8", "nvidia.com/gpu", "A40-48GB"),
        ({PRODUCT: "NVIDIA-RTX-6000-Ada-Generation"}, "4", "nvidia.com/gpu", "RTX6000Ada-48GB"),
        (
            {PRODUCT: "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"},
            "8",
            "nvidia.com/gpu",
            "RTXPRO6000-96GB",
        ),
        # C02
        ({PRODUCT: "NVIDIA-H100-NVL", "nvidia.com/gpu.memory": "95830"}, "2", "nvidia.com/gpu", "H100NVL-94GB"),
        ({PRODUCT: "NVIDIA-H900", "nvidia.com/gpu.memory": "95830"} | HOPPER, "2", "nvidia.com/gpu", "NVIDIA-H900"),
        # C03
        ({"cloud.google.com/gke-accelerator": "nvidia-l4"}, "1", "nvidia.com/gpu", "L4-24GB"),
        (
            {"karpenter.k8s.aws/instance-gpu-name": "a100", "karpenter.k8s.aws/instance-gpu-memory": "81920"},
            "8",
            "nvidia.com/gpu",
            "A100-80GB",
        ),
        (
            {"eks.amazonaws.com/instance-gpu-name": "l40s", "eks.amazonaws.com/instance-gpu-memory": "45776"},
            "1",
            "nvidia.com/gpu",
            "L40S-48GB",
        ),
        ({"node.kubernetes.io/instance-type": "g5.xlarge"}, "1", "nvidia.com/gpu", "A10G-24GB"),
        (
            {
                "node.kubernetes.io/instance-type": "Standard_NC80adis_H100_v5",
                "kubernetes.azure.com/accelerator": "nvidia",
            },
            "2",
            "nvidia.com/gpu",
            "H100NVL-94GB",
        ),
        # C04
        (
            {PRODUCT: "NVIDIA-H100-80GB-HBM3-MIG-3g.40gb", "nvidia.com/gpu.memory": "40448"} | HOPPER,
            "14",
            "nvidia.com/gpu",
            "NVIDIA-H100-80GB-HBM3-MIG-3g-40gb",
        ),
        (
            {PRODUCT: "NVIDIA-H100-80GB-HBM3", "nvidia.com/mig-3g.40gb.memory": "40448"} | HOPPER,
            "2",
            "nvidia.com/mig-3g.40gb",
            "NVIDIA-H100-80GB-HBM3-mixed-3g-40gb",
        ),
        # Cards of no catalog, known by memory and compute capability: llm-d#84, vllm#29707.
        (
            {
                PRODUCT: "NVIDIA-GeForce-RTX-5070",
                "nvidia.com/gpu.memory": "12227",
                "nvidia.com/gpu.compute.major": "12",
                "nvidia.com/gpu.compute.minor": "0",
                "nvidia.com/gpu.count": "1",
            },
            "1",
            "nvidia.com/gpu",
            "NVIDIA-GeForce-RTX-5070",
        ),
        (
            {
                PRODUCT: "Quadro-RTX-5000",
                "nvidia.com/gpu.memory": "16384",
                "nvidia.com/gpu.compute.major": "7",
                "nvidia.com/gpu.compute.minor": "5",
            },
            "2",
            "nvidia.com/gpu",
            "Quadro-RTX-5000",
        ),
        # C23
        ({"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM"}, "8", "amd.com/gpu", "MI300X-192GB"),
        ({"amd.com/gpu.family": "AI", "amd.com/gpu.device-id": "74a1"}, "8", "amd.com/gpu", "MI300X-192GB"),
    ],
)
def test_a_gpu_is_planned_on_as_what_it_is_beside_any_number_of_cpus(labels, count, resource, card):
    observed, decision = planned(CPU_NODE, gpu(labels, count, resource))
    assert (decision.chosen.accelerator, decision.chosen.gpus_per_replica) == (card, 1)
    assert [(one.accelerator, one.gpus) for one in observed.nodes] == [("CPU", 3), (card, int(count))]


@pytest.mark.parametrize(
    ("labels", "resource", "said"),
    [
        ({PRODUCT: "NVIDIA-H900"}, "nvidia.com/gpu", (PRODUCT[:10], "NVIDIA-H900", "nvidia.com/gpu.memory is missing")),
        (
            {PRODUCT: "NVIDIA-H900", "nvidia.com/gpu.memory": "95830"},
            "nvidia.com/gpu",
            ("nvidia.com/gpu.compute.major is missing",),
        ),
        (
            {
                PRODUCT: "Tesla-P100-PCIE-16GB",
                "nvidia.com/gpu.memory": "16384",
                "nvidia.com/gpu.compute.major": "6",
                "nvidia.com/gpu.compute.minor": "0",
            },
            "nvidia.com/gpu",
            ("Tesla-P100-PCIE-16GB", "6.0 is below 7.0"),
        ),
        ({PRODUCT: "NVIDIA-A10G-SHARED"}, "nvidia.com/gpu", ("part of a card", "NVIDIA-A10G-SHARED")),
        (
            {PRODUCT: "NVIDIA-A10G", "nvidia.com/gpu.sharing-strategy": "mps"},
            "nvidia.com/gpu",
            ("part of a card", "sharing-strategy=mps"),
        ),
        (GKE_SHARED, "nvidia.com/gpu", ("part of a card", "gke-gpu-sharing-strategy=time-sharing")),
        (
            {
                "cloud.google.com/gke-accelerator": "nvidia-tesla-a100",
                "cloud.google.com/gke-gpu-partition-size": "1g.5gb",
            },
            "nvidia.com/gpu",
            ("part of a card", "gke-gpu-partition-size=1g.5gb"),
        ),
        # A slice of an L4, which Karpenter calls l4 too.
        (
            {"karpenter.k8s.aws/instance-gpu-name": "l4", "karpenter.k8s.aws/instance-gpu-memory": "2861"},
            "nvidia.com/gpu",
            (f"{PRODUCT} is missing", "instance-gpu-name=l4"),
        ),
        ({"kubernetes.azure.com/accelerator": "nvidia"}, "nvidia.com/gpu", (f"{PRODUCT} is missing",)),
        ({}, "nvidia.com/gpu", (f"{PRODUCT} is missing",)),
        ({}, "nvidia.com/gpu.shared", ("nvidia.com/gpu.shared",)),
        # HAMi, and whatever else shares without a label: HAMi#194.
        ({PRODUCT: "NVIDIA-L4", "nvidia.com/gpu.count": "1"}, "nvidia.com/gpu", ("part of a card", "2 are offered")),
        ({}, "volcano.sh/vgpu-number", ("volcano.sh/vgpu-number",)),
        # The driver of a GB10 tells no memory: KAI-Scheduler#1967.
        (
            {PRODUCT: "NVIDIA-GB10", "nvidia.com/gpu.compute.major": "12", "nvidia.com/gpu.compute.minor": "1"},
            "nvidia.com/gpu",
            ("NVIDIA-GB10", "nvidia.com/gpu.memory is missing"),
        ),
        ({"amd.com/gpu.family": "AI"}, "amd.com/gpu", ("amd.com/gpu.family=AI",)),
        (
            {"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM", "amd.com/compute-memory-partition": "cpx_nps4"},
            "amd.com/gpu",
            ("amd.com/gpu",),
        ),
        ({}, "gpu.intel.com/i915", ("gpu.intel.com/i915",)),
        ({}, "habana.ai/gaudi", ("habana.ai/gaudi",)),
        # No device plugin: it starts, or GPUs come by DRA.
        ({PRODUCT: "NVIDIA-L4"}, "vendor.example/nic", ("no nvidia.com/gpu", "L4-24GB", "DRA")),
        ({"nvidia.com/gpu.present": "true"}, "vendor.example/nic", ("no nvidia.com/gpu", "DRA")),
        ({"feature.node.kubernetes.io/pci-10de.present": "true"}, "vendor.example/nic", ("no nvidia.com/gpu", "DRA")),
    ],
)
@pytest.mark.parametrize("model", ["llama-3.2-1b", "tiny-random-llama"])
def test_what_nothing_is_planned_on_is_refused_in_words_and_is_no_cpu(labels, resource, said, model):
    observed, decision = planned(CPU_NODE, gpu(labels, "2", resource), model=model)
    assert decision.chosen is None
    assert decision.problem.reason is Reason.ACCELERATOR_UNDECIDED
    assert decision.problem.message.startswith(
        "is Auto, and no accelerator of the nodes can be planned on: node gpu-1 offers"
    )
    for words in said:
        assert words in decision.problem.message
    assert observed.nodes[1].accelerator != "CPU"


def test_the_cpu_is_planned_on_if_the_manifest_says_so_or_for_the_generated_model_without_a_gpu_in_sight():
    strange = gpu({PRODUCT: "NVIDIA-H900"})
    assert planned(CPU_NODE, strange, accelerator="CPU")[1].chosen.accelerator == "CPU"
    assert planned(CPU_NODE, model="tiny-random-llama")[1].chosen.accelerator == "CPU"
    _, alone = planned(CPU_NODE)
    assert alone.problem.reason is Reason.ACCELERATOR_UNDECIDED
    assert "or CPU to compute on processors" in alone.problem.message


@pytest.mark.parametrize(("card", "precision"), [("T4-16GB", "FP16"), ("V100-16GB", "FP16"), ("L4-24GB", "BF16")])
def test_a_card_without_bf16_gets_the_weights_in_fp16(card, precision):
    context = {"maxModelLength": 8192}
    decision = planned(accelerator=card, context=context)[1]
    chosen = decision.chosen
    assert (chosen.precision, chosen.accelerator) == (precision, card)
    tried = {one.candidate.variant.precision for one in decision.plan.rejected}
    assert precision == "BF16" or "BF16" not in tried
    named = planned(accelerator=card, context=context, model={"name": "llama-3.2-1b", "precision": "BF16"})[1]
    assert (named.chosen is None) is (precision == "FP16")
    if named.chosen is None:
        assert named.problem.reason is Reason.NOTHING_FITS
        assert "use precision FP16" in named.problem.message


@pytest.mark.parametrize(
    ("card", "kind"),
    [("MI300X-192GB", "rocm"), ("MI250X-64GB", "rocm"), ("GH200-96GB", "cuda-arm64"), ("V100-32GB", "cuda-volta")],
)
def test_a_card_that_the_default_image_does_not_run_on_needs_another(card, kind):
    _, refused = planned(accelerator=card, images={})
    assert refused.problem.reason is Reason.IMAGE_MISSING
    assert refused.problem.field == "spec.image"
    assert f"--card-image {kind}=IMAGE" in refused.problem.message
    assert planned(accelerator=card, images={kind: "registry.example/serving:other"})[1].problem is None
    assert planned(accelerator=card, images={}, image="registry.example/mine")[1].problem is None
    assert planned(accelerator=card, images=None)[1].problem is None, "a plan on a laptop warns: tests/unit/cli/plan"


def test_auto_takes_the_card_that_has_an_image_and_the_pods_get_it():
    mixed = (
        gpu({PRODUCT: "NVIDIA-L4"}),
        ("gpu-2", {"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM"}, {"amd.com/gpu": "8"}),
    )
    assert planned(*mixed, images={})[1].chosen.accelerator == "L4-24GB"
    other = "registry.example/serving:rocm"
    observed, decision = planned(mixed[1], images={"rocm": other})
    assert decision.chosen.accelerator == "MI300X-192GB"
    built = objects.build(observed, decision, Settings(card_images={"rocm": other})).apply
    service = next(obj for obj in built if obj["kind"] == "RayService")
    (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    pod = group["template"]["spec"]
    assert pod["containers"][0]["image"] == other
    assert {taint["key"] for taint in pod["tolerations"]} == {"amd.com/gpu"}


def test_a_declared_card_is_found_by_auto_and_by_name_and_goes_before_the_catalog():
    labels = {PRODUCT: "NVIDIA-GeForce-RTX-2080-Ti"}
    card = declared(labels=labels)
    _, decision = planned(CPU_NODE, gpu(labels, "4"), cards=(card,))
    assert (decision.chosen.accelerator, decision.chosen.precision) == ("old-card", "FP16")
    assert planned(cards=(card,), accelerator="old-card")[1].chosen.accelerator == "old-card"
    half = declared("half-a10g", "8.6", 11500, {PRODUCT: "NVIDIA-A10G-SHARED"}, interconnect="None")
    shared = gpu({PRODUCT: "NVIDIA-A10G-SHARED", "nvidia.com/gpu.sharing-strategy": "time-slicing"}, "8")
    assert planned(shared, cards=(half,))[1].chosen.accelerator == "half-a10g"
    smaller = declared("l4-without-ecc", "8.9", 20000, {PRODUCT: "NVIDIA-L4"})
    assert planned(gpu({PRODUCT: "NVIDIA-L4"}), cards=(smaller,))[1].chosen.accelerator == "l4-without-ecc"
    assert planned(accelerator="nobody", cards=(card,))[1].problem.reason is Reason.ACCELERATOR_UNKNOWN


def test_of_a_node_with_whole_and_sliced_cards_the_whole_ones_are_planned_on():
    # gpu-operator#981: two cards, one of them cut.
    labels = {PRODUCT: "NVIDIA-A100-SXM4-80GB", "nvidia.com/gpu.count": "2", "nvidia.com/mig-1g.10gb.memory": "9728"}
    mixed = ("gpu-1", labels, {"nvidia.com/gpu": "1", "nvidia.com/mig-1g.10gb": "7"})
    observed, decision = planned(mixed)
    assert decision.chosen.accelerator == "A100-80GB"
    assert [(one.accelerator, one.gpus) for one in observed.nodes] == [("A100-80GB", 1)]
    amounts = {name: int(count) for name, count in mixed[2].items()}
    assert KNOWN.devices(labels, amounts).beside == ("nvidia.com/mig-1g.10gb",)


def test_a_node_that_is_labeled_as_if_it_had_a_gpu_stops_nobody_who_has_one():
    # gpu-operator#1274: the label is there, the card is not.
    wrong = ("cpu-2", {"nvidia.com/gpu.present": "true"}, {})
    observed, decision = planned(wrong, gpu({PRODUCT: "NVIDIA-L4"}))
    assert decision.chosen.accelerator == "L4-24GB"
    assert [bool(one.device_problem) for one in observed.nodes] == [True, False]


def test_a_replica_has_one_slice_only():
    labels = {PRODUCT: "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb", "nvidia.com/gpu.memory": "9856"} | HOPPER
    _, decision = planned(gpu(labels, "7"), model="llama-3.2-3b", context={"maxModelLength": 4096})
    assert decision.chosen.gpus_per_replica == 1
    assert {one.candidate.sharding.ranks for one in decision.plan.rejected} <= {1}
    parallelism = {"mode": "Manual", "tensor": 2}
    _, by_hand = planned(gpu(labels, "7"), model="llama-3.1-8b", parallelism=parallelism)
    assert by_hand.problem.reason is Reason.PARALLELISM_SPANS_NODES
    assert "slices of cards" in by_hand.problem.message


@pytest.mark.parametrize(
    "card", [card for card in KNOWN.accelerators if card.device == "GPU"], ids=lambda card: card.name
)
def test_every_node_that_is_known_to_have_a_card_is_one_that_its_pods_accept(card):
    for mark, alternative in zip(card.known_by, nodes_with(card), strict=True):
        labels = {label.key: label.values[0] for label in mark}
        assert all(_holds(one, labels) for one in alternative)
        for part in (
            GKE_SHARED,
            {PRODUCT: "NVIDIA-OTHER-MIG-1g.5gb"},
            {"amd.com/compute-memory-partition": "cpx_nps4"},
        ):
            cut = part | labels if PRODUCT in labels else labels | part
            known = KNOWN.devices(cut, [card.resource_name])
            if known is None or known.accelerator is not card:
                continue
            assert any(all(_holds(one, cut) for one in each) for each in nodes_with(card))


def _holds(requirement, labels):
    value = labels.get(requirement.key)
    return {
        "In": value in requirement.values,
        "NotIn": value not in requirement.values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[requirement.operator]
