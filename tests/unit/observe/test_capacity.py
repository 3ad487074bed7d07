"""Which nodes count as hardware: those that would take one of our pods."""

import pytest

from llama_operator.observe.capacity import node_facts

GPU = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}


def node(*, conditions=(), labels=GPU, **spec):
    allocatable = {"cpu": "64", "nvidia.com/gpu": "8"}
    status = {"allocatable": allocatable, "conditions": list(conditions)}
    return {"metadata": {"name": "n", "labels": labels}, "spec": spec, "status": status}


def ready(status):
    return {"type": "Ready", "status": status}


def taint(key, effect="NoSchedule"):
    return [{"key": key, "effect": effect}]


@pytest.mark.parametrize(
    ("offered", "counts"),
    [
        (node(), True),
        (node(conditions=[ready("True")]), True),
        (node(conditions=[ready("False")]), False),
        (node(conditions=[ready("Unknown")]), False),
        (node(conditions=[{"type": "DiskPressure", "status": "False"}, ready("True")]), True),
        (node(unschedulable=True), False),
        (node(taints=taint("nvidia.com/gpu")), True),
        (node(taints=taint("maintenance")), False),
        (node(taints=taint("node.kubernetes.io/unreachable", "NoExecute")), False),
        (node(taints=taint("hint", "PreferNoSchedule")), True),
        (node(labels={}, taints=taint("node-role.kubernetes.io/control-plane")), False),
        (node(labels={}, taints=taint("nvidia.com/gpu")), False),
        (node(labels={}), True),
    ],
)
def test_a_node_counts_if_it_takes_our_pods(known, offered, counts):
    assert (node_facts(offered, known) is not None) is counts
