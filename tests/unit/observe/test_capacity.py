"""Which nodes count as hardware: those that would take one of our pods."""

import pytest

from llama_operator.observe.capacity import away_node, node_facts

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
        (node(labels={}, taints=taint("nvidia.com/gpu")), True),
        (node(labels={}), True),
    ],
)
def test_a_node_counts_if_it_takes_our_pods(known, offered, counts):
    assert (node_facts(offered, known) is not None) is counts


@pytest.mark.parametrize(
    ("offered", "why"),
    [
        (node(), None),
        (node(conditions=[ready("Unknown")], unschedulable=True), "is not ready"),
        (node(unschedulable=True), "is cordoned"),
        (
            node(taints=[*taint("nvidia.com/gpu"), {"key": "a", "value": "b", "effect": "NoExecute"}]),
            "has the taint a=b:NoExecute",
        ),
        (node(taints=taint("maintenance")), "has the taint maintenance:NoSchedule"),
        ({"metadata": {"name": "n", "labels": GPU}, "status": {"allocatable": {"nvidia.com/gpu": "many"}}}, "says an"),
        ({"metadata": {"name": "n"}, "status": {"allocatable": "much"}, "spec": "strange"}, "says an amount"),
    ],
)
def test_a_node_counts_or_is_away_for_a_reason(known, offered, why):
    found = away_node(offered, known)
    assert (found is None) is (why is None)
    assert found is None or found.why.startswith(why)
    assert found is None or found.lost is (why == "is not ready")


def test_a_node_that_is_lost_says_since_when(known):
    since = ready("Unknown") | {"lastTransitionTime": "2026-03-02T09:29:08Z"}
    found = away_node(node(conditions=[since]), known)
    assert found.accelerator == "H100-80GB"
    assert found.accelerators == 8
    assert f"{found.since:%H:%M:%S}" == "09:29:08"
