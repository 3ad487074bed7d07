"""What public users had: nodes that do not take the pods, with the values of their threads."""

import pytest

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.decide.decision import decide
from llama_operator.observe.nodes.facts import away_node, node_facts
from llama_operator.status import conditions

GIB = 1 << 30
EIGHT = {"model": {"name": "llama-3.1-8b", "precision": "BF16"}, "context": {"maxModelLength": 8192}}
ONE = {"model": {"name": "llama-3.2-1b"}, "context": {"maxModelLength": 8192}}
SEVENTY = {
    "model": {"name": "llama-3.3-70b-instruct", "precision": "BF16"},
    "context": {"maxModelLength": 8192},
}
A10G, L4, A100, H100 = "NVIDIA-A10G", "NVIDIA-L4", "NVIDIA-A100-80GB-PCIe", "NVIDIA-H100-80GB-HBM3"
SYSTEM = {"cpu": "3920m", "memory": "13Gi", "ephemeral-storage": "90Gi", "pods": "110"}
"""A node for what needs no card: four cores, 16 GB."""


def node(name, product="", *, taints=(), ready="True", **amounts):
    status = {
        "allocatable": {"ephemeral-storage": "90Gi", "pods": "58"} | amounts,
        "conditions": [{"type": "Ready", "status": ready}],
    }
    labels = {"kubernetes.io/arch": "amd64"} | ({"nvidia.com/gpu.product": product} if product else {})
    return {"metadata": {"name": name, "labels": labels}, "spec": {"taints": list(taints)}, "status": status}


def gpu(product, *, cpu="64", memory="256Gi", gpus="1", **more):
    return node("gpu-1", product, **{"cpu": cpu, "memory": memory, "nvidia.com/gpu": gpus} | more)


def taint(key, value, effect="NoSchedule"):
    return ({"key": key, "value": value, "effect": effect},)


@pytest.fixture
def capacity(observed, known):
    def of(spec, *nodes):
        facts = tuple(found for each in nodes if (found := node_facts(each, known)) is not None)
        away = tuple(found for each in nodes if (found := away_node(each, known)) is not None)
        world = observed(nodes=facts, facts={"away": away}, hardware={}, **spec)
        decision = decide(world, known)
        found = conditions.findings(world, decision, None)
        return decision, next(each for each in found if each.type is ConditionType.CAPACITY_FOUND)

    return of


NAMED = EIGHT | {"hardware": {"accelerator": "A100-80GB"}}


@pytest.mark.parametrize(
    ("taints", "ready", "said"),
    [
        # awsome-distributed-ai#1225, rapidsai/deployment#104: the guide of AKS.
        (taint("sku", "gpu"), "True", "not counted: 1 on gpu-1, which has the taint sku=gpu:NoSchedule"),
        (taint("dedicated", "gpu"), "True", "not counted: 1 on gpu-1, which has the taint dedicated=gpu:NoSchedule"),
        (
            taint("cloud.google.com/gke-spot", "true"),
            "True",
            "not counted: 1 on gpu-1, which has the taint cloud.google.com/gke-spot=true:NoSchedule",
        ),
        ((), "Unknown", "not counted: 1 on gpu-1, which is not ready"),
        (
            taint("node.kubernetes.io/unreachable", "", "NoExecute"),
            "Unknown",
            "not counted: 1 on gpu-1, which is not ready",
        ),
    ],
)
def test_c05_a_node_that_takes_none_of_the_pods_is_no_capacity(observed, known, taints, ready, said):
    nodes = [gpu(A100, taints=taints, ready=ready), node("cpu-1", cpu="8", memory="32Gi")]
    facts = tuple(found for each in nodes if (found := node_facts(each, known)) is not None)
    away = tuple(found for each in nodes if (found := away_node(each, known)) is not None)
    world = observed(nodes=facts, facts={"away": away}, **NAMED)
    findings = conditions.findings(world, decide(world, known), None)
    found = next(each for each in findings if each.type is ConditionType.CAPACITY_FOUND)
    assert (found.status, found.reason) == ("False", "NodesMissing")
    assert found.message == f"0 A100-80GB exist, 1 are needed; pods wait until nodes are added; {said}"


@pytest.mark.parametrize(
    ("key", "value"), [("sku", "gpu"), ("dedicated", "gpu"), ("cloud.google.com/gke-spot", "true")]
)
def test_c05_auto_says_which_taint_keeps_pods_off_the_only_card(capacity, key, value):
    decision, _ = capacity(EIGHT, gpu(A100, taints=taint(key, value)), node("cpu-1", cpu="8", memory="32Gi"))
    assert decision.problem.reason is Reason.ACCELERATOR_UNDECIDED
    assert f"node gpu-1 with 1 A100-80GB has the taint {key}={value}:NoSchedule" in decision.problem.message


def test_c05_a_team_that_tolerates_the_taint_gets_the_card(observed, known):
    nodes = [gpu(A100, taints=taint("sku", "gpu")), node("cpu-1", cpu="8", memory="32Gi")]
    facts = tuple(node_facts(each, known) for each in nodes)
    pods = {"workers": {"tolerations": [{"key": "sku", "operator": "Equal", "value": "gpu"}]}}
    world = observed(nodes=facts, hardware={}, pods=pods, **EIGHT)
    decision = decide(world, known)
    assert decision.chosen.accelerator == "A100-80GB"
    found = next(
        each for each in conditions.findings(world, decision, None) if each.type is ConditionType.CAPACITY_FOUND
    )
    assert found.status == "True"


@pytest.mark.parametrize("taints", [taint("nvidia.com/gpu", "present"), taint("sku", "gpu", "PreferNoSchedule")])
def test_c05_a_taint_that_keeps_nobody_off_changes_nothing(capacity, taints):
    _, found = capacity(EIGHT, gpu(A100, taints=taints), node("cpu-1", cpu="8", memory="32Gi"))
    assert found.status == "True"


@pytest.mark.parametrize("spec", [ONE, EIGHT], ids=["1b", "8b"])
@pytest.mark.parametrize(
    ("product", "cpu", "memory"),
    [
        (A10G, "3920m", "14900000Ki"),  # g5.xlarge
        (L4, "3920m", "14900000Ki"),  # g6.xlarge
        (L4, "3920m", "13200Mi"),  # g2-standard-4
        (A10G, "7910m", "30Gi"),  # g5.2xlarge
        (L4, "7910m", "28Gi"),  # g2-standard-8
    ],
)
def test_c07_a_small_model_fits_the_usual_nodes_with_one_gpu(capacity, spec, product, cpu, memory):
    # Two of them, so that the head has a node whichever it takes, beside one of four cores for it.
    machines = [
        gpu(product, cpu=cpu, memory=memory),
        node("gpu-2", product, cpu=cpu, memory=memory, **{"nvidia.com/gpu": "1"}),
    ]
    decision, found = capacity(spec, *machines, node("system", **SYSTEM))
    worker = decision.shapes.worker.asked
    assert 2000 <= worker.cpu_millicores <= 3000
    assert 8 * GIB <= worker.memory_bytes <= 12 * GIB
    assert (found.status, found.message) == ("True", f"1 {decision.chosen.accelerator} are needed and exist")


def test_c07_what_a_node_lacks_besides_its_card_is_said(capacity):
    _, found = capacity(EIGHT, gpu(A10G, cpu="3920m", memory="14900000Ki"))
    assert found.status == "False"
    assert found.message == (
        "1 A10G-24GB are needed and exist, but 0 of 1 worker pods find a node: the next one needs 3 cpu, and gpu-1, which comes "
        "nearest, has 1.4 left; the head pod, which asks for 2.5 cpu, 8.5 GiB of memory, takes their place: add a node for it, "
        "which needs no GPU; pods wait until nodes are added"
    )


@pytest.mark.parametrize(
    ("spec", "least", "most"),
    [(ONE, 2, 4), (EIGHT, 16, 20), (SEVENTY, 141, 160)],
    ids=["1b", "8b", "70b"],
)
def test_c20_pods_ask_for_the_disk_that_their_files_take(capacity, spec, least, most):
    decision, _ = capacity(spec, gpu(H100, cpu="192", memory="2Ti", gpus="8", **{"ephemeral-storage": "8Ti"}))
    worker, head = decision.shapes.worker.asked, decision.shapes.head.asked
    assert least * 10**9 < worker.ephemeral_storage_bytes < most * 10**9
    assert head.ephemeral_storage_bytes == 0


def test_c20_a_boot_disk_of_100_gb_does_not_take_a_70b(capacity):
    machine = gpu(H100, cpu="192", memory="2Ti", gpus="8", **{"ephemeral-storage": "85Gi"})
    _, found = capacity(SEVENTY, machine, node("cpu-1", cpu="8", memory="32Gi"))
    assert found.status == "False"
    assert (
        "needs 145 GiB of node disk (ephemeral-storage), and gpu-1, which comes nearest, has 85 left" in found.message
    )


@pytest.mark.parametrize(
    ("change", "disk"),
    [
        ({}, 17 * GIB),
        (
            {
                "model": {"name": "tiny-random-llama"},
                "hardware": {"accelerator": "CPU"},
                "context": {"maxModelLength": 512},
            },
            0,
        ),
    ],
)
def test_c20_what_is_made_in_the_pod_takes_no_disk(observed, known, change, disk):
    spec = EIGHT | {"hardware": {"accelerator": "L4-24GB"}} | change
    assert decide(observed(**spec), known).shapes.worker.asked.ephemeral_storage_bytes == disk
