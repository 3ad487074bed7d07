"""What finds a node: taints, labels, and all amounts together; with the head put where it costs most and least."""

from dataclasses import replace

import pytest

from llama_operator.decide.placement.count import Demand, asks
from llama_operator.decide.placement.fit import fit, most, obstacle
from llama_operator.decide.placement.shape import (
    Amounts,
    PodShape,
    PodShapes,
    Requirement,
    Room,
    Taint,
    Toleration,
)

GIB = 1 << 30
GPU = "nvidia.com/gpu"
L4 = {"card": "L4"}
HEAD = PodShape("head", Amounts(2000, 8 * GIB), beside=Amounts(500, GIB // 2))
WORKER = PodShape(
    "worker",
    Amounts(3000, 12 * GIB, 20 * GIB, {GPU: 1}),
    tolerations=(Toleration(GPU, "Exists", effect="NoSchedule"),),
    requirements=(Requirement("card", "In", ("L4",)),),
)
SHAPES = PodShapes(HEAD, WORKER)


def room(name="gpu-1", cpu=3920, memory=14, disk=100, gpus=1, pods=10, labels=L4, taints=()):
    devices = {GPU: gpus} if gpus else {}
    return Room(name, Amounts(cpu, memory * GIB, disk * GIB, devices), pods, labels, tuple(taints))


CPU_NODE = room("cpu-1", cpu=8000, memory=32, gpus=0, labels={})


@pytest.mark.parametrize(
    ("changes", "what", "needed", "has"),
    [
        ({}, None, 0, 0),
        ({"gpus": 0}, GPU, 1, 0),
        ({"pods": 0}, "pods", 1, 0),
        ({"cpu": 2999}, "cpu", 3000, 2999),
        ({"cpu": 3000}, None, 0, 0),
        ({"memory": 11}, "memory", 12 * GIB, 11 * GIB),
        ({"disk": 19}, "ephemeral-storage", 20 * GIB, 19 * GIB),
        ({"labels": {}}, "card=L4", 0, 0),
        ({"taints": [Taint(GPU, "NoSchedule", "present")]}, None, 0, 0),
        ({"taints": [Taint(GPU, "NoExecute", "present")]}, f"{GPU}=present:NoExecute", 0, 0),
        ({"taints": [Taint("sku", "NoSchedule", "gpu")]}, "sku=gpu:NoSchedule", 0, 0),
        ({"taints": [Taint("sku", "PreferNoSchedule", "gpu")]}, None, 0, 0),
        ({"memory": -3}, "memory", 12 * GIB, 0),
    ],
)
def test_the_first_thing_that_is_short_is_named_with_its_number(changes, what, needed, has):
    found = obstacle(WORKER, room(**changes))
    assert (None if found is None else found.what) == what
    assert found is None or (found.needed, found.has) == (needed, has)
    assert (most(WORKER, room(**changes)) > 0) is (what is None)


@pytest.mark.parametrize(
    ("toleration", "tolerates"),
    [
        (Toleration("sku", "Equal", "gpu", "NoSchedule"), True),
        (Toleration("sku", "Equal", "gpu"), True),
        (Toleration("sku", "Exists"), True),
        (Toleration("", "Exists"), True),
        (Toleration("sku", "Equal", "other"), False),
        (Toleration("sku", "Exists", effect="NoExecute"), False),
        (Toleration("other", "Exists"), False),
    ],
)
def test_a_toleration_puts_up_with_a_taint_as_in_kubernetes(toleration, tolerates):
    tainted = room(taints=[Taint("sku", "NoSchedule", "gpu")])
    assert (most(replace(WORKER, tolerations=(toleration,)), tainted) == 1) is tolerates


@pytest.mark.parametrize(
    ("requirement", "holds"),
    [
        (Requirement("card", "In", ("A10G", "L4")), True),
        (Requirement("card", "NotIn", ("L4",)), False),
        (Requirement("other", "NotIn", ("L4",)), True),
        (Requirement("card", "Exists"), True),
        (Requirement("other", "Exists"), False),
        (Requirement("other", "DoesNotExist"), True),
        (Requirement("memory", "Gt", ("23000",)), True),
        (Requirement("memory", "Lt", ("23000",)), False),
        (Requirement("card", "Gt", ("1",)), False),
    ],
)
def test_a_requirement_holds_as_in_kubernetes(requirement, holds):
    labelled = room(labels={"card": "L4", "memory": "23034"})
    assert (most(replace(WORKER, requirements=(requirement,)), labelled) == 1) is holds
    other = (Requirement("nothing", "Exists"),)
    either = replace(WORKER, requirements=(), alternatives=(other, (requirement,)))
    assert (most(either, labelled) == 1) is holds


def test_a_node_selector_is_one_more_label():
    chosen = replace(WORKER, node_selector={"pool": "a"})
    assert most(chosen, room()) == 0
    assert most(chosen, room(labels=L4 | {"pool": "a"})) == 1


@pytest.mark.parametrize(
    ("rooms", "head", "certain", "possible"),
    [
        # The head may come to the only GPU node, or leave it free.
        ((room(), CPU_NODE), True, 0, 1),
        ((room(), room("cpu-1", cpu=2500, memory=9, gpus=0, labels={})), True, 0, 1),
        ((room(), room("cpu-1", cpu=2499, memory=9, gpus=0, labels={})), True, 0, 0),
        ((room(cpu=5500, memory=21, pods=2),), True, 1, 1),
        ((room(cpu=5500, memory=21, pods=1),), True, 0, 0),
        ((room(gpus=4, cpu=64000, memory=256), CPU_NODE), True, 4, 4),
        ((room(gpus=4, cpu=12000, memory=256), CPU_NODE), True, 3, 4),
        ((room(cpu=2000),), False, 0, 0),
        ((), False, 0, 0),
    ],
)
def test_the_head_comes_first_and_nobody_knows_where_it_lands(rooms, head, certain, possible):
    found = fit(HEAD, WORKER, rooms)
    assert (found.head, found.certain, found.possible) == (head, certain, possible)


def test_a_head_that_has_its_node_looks_for_none():
    found = fit(None, WORKER, (room(),))
    assert (found.head, found.certain, found.possible) == (True, 1, 1)


@pytest.mark.parametrize(
    ("workers", "rooms", "said"),
    [
        (1, (), "the head pod finds no node: it needs 2.5 cpu, 8.5 GiB of memory, and there is no node"),
        (
            1,
            (room(cpu=2490),),
            "the head pod finds no node: it needs 2.5 cpu, and gpu-1, which comes nearest, has 2.49 left",
        ),
        (
            1,
            (CPU_NODE, room(memory=11, cpu=3000)),
            "0 of 1 worker pods find a node: the next one needs 12 GiB of memory, and gpu-1, which comes nearest, has 11 left",
        ),
        (
            1,
            (CPU_NODE, room(cpu=2000, taints=[Taint("sku", "NoSchedule", "gpu")])),
            "0 of 1 worker pods find a node: the next one does not tolerate the taint sku=gpu:NoSchedule of gpu-1",
        ),
        (1, (CPU_NODE,), "0 of 1 worker pods find a node: the next one needs a node with card=L4"),
        (
            1,
            (room(cpu=3920, memory=30),),
            (
                "0 of 1 worker pods find a node: the next one needs 3 cpu, and gpu-1, which comes nearest, has 1.4 left; the head pod, "
                "which asks for 2.5 cpu, 8.5 GiB of memory, takes their place: add a node for it, which needs no GPU"
            ),
        ),
        (
            3,
            (CPU_NODE, room(gpus=2, cpu=64000, memory=256)),
            f"2 of 3 worker pods find a node: the next one needs 1 {GPU}, and gpu-1, which comes nearest, has 0 left",
        ),
        (
            1,
            (CPU_NODE, room(pods=0)),
            "0 of 1 worker pods find a node: the next one finds no place on gpu-1, which comes nearest: the node takes no more pods",
        ),
        (
            1,
            (CPU_NODE, room()),
            "0 of 1 worker pods find a node if the head pod comes to gpu-1, which nobody can rule out",
        ),
        (1, (CPU_NODE, room(cpu=5500, memory=21)), ""),
    ],
)
def test_what_is_short_is_said_in_words(workers, rooms, said):
    assert Demand(SHAPES, workers).short(rooms) == said
    assert Demand(SHAPES, workers).holds(rooms) is (said == "")


def test_a_pod_says_what_it_asks_for():
    assert asks(WORKER) == f"3 cpu, 12 GiB of memory, 20 GiB of node disk (ephemeral-storage), 1 {GPU}"


def test_amounts_add_up():
    one = Amounts(1, 2, 3, {"a": 1})
    assert one + Amounts(devices={"b": 2}) == Amounts(1, 2, 3, {"a": 1, "b": 2})
    assert one - one == Amounts(devices={"a": 0})
    assert one * 3 == Amounts(3, 6, 9, {"a": 3})


def test_what_depends_on_other_pods_counts_as_not_fitting():
    spread = Demand(PodShapes(HEAD, replace(WORKER, needs_other_pods=True)), 1)
    rooms = (CPU_NODE, room(cpu=5500, memory=21))
    assert not spread.holds(rooms)
    assert spread.fit(rooms).may_hold(1)
    assert "depends on other pods" in spread.short(rooms)
