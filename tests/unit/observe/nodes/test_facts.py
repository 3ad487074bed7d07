"""Which nodes count as hardware: those that would take one of our pods, with all that they have for it."""

import pytest

from llama_operator.decide.placement.cards import tolerations_for
from llama_operator.decide.placement.fit import repels
from llama_operator.decide.placement.shape import Amounts, Taint
from llama_operator.observe.nodes.facts import away_node, node_facts

GPU = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}


def node(*, conditions=(), labels=GPU, **spec):
    gpus = {"nvidia.com/gpu": "8"} if labels else {}
    allocatable = {"cpu": "63500m", "memory": "2Ti", "ephemeral-storage": "8Gi", "pods": "58"} | gpus
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
    found = node_facts(offered, known)
    takes = (
        found is not None and repels(found.room.taints, tolerations_for(known.accelerator(found.accelerator))) is None
    )
    assert takes is counts


@pytest.mark.parametrize(
    ("offered", "why"),
    [
        (node(), None),
        (node(conditions=[ready("Unknown")], unschedulable=True), "is not ready"),
        (node(unschedulable=True), "is cordoned"),
        (node(taints=taint("maintenance")), None),
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


def test_a_node_has_all_that_pods_ask_for(known):
    room = node_facts(node(taints=[{"key": "sku", "value": "gpu", "effect": "NoSchedule"}]), known).room
    assert room.amounts == Amounts(63_500, 2 << 40, 8 << 30, {"nvidia.com/gpu": 8})
    assert (room.pods, room.labels, room.taints) == (58, GPU, (Taint("sku", "NoSchedule", "gpu"),))
    assert str(room.taints[0]) == "sku=gpu:NoSchedule"


def test_a_node_that_names_no_amount_has_none_of_it(known):
    empty = {"metadata": {"name": "n"}, "status": {"allocatable": {"nvidia.com/gpu": "8"}}}
    room = node_facts(empty, known).room
    assert (room.amounts.memory_bytes, room.pods) == (0, 0)
