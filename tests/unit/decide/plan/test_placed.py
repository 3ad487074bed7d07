"""Auto takes the first candidate whose pods find nodes; a named accelerator is planned as it is."""

import pytest

from llama_operator.api.reasons import Reason
from llama_operator.decide.decision import decide
from llama_operator.observe.nodes.facts import node_facts
from support.deployments import node_of

EIGHT = {"model": {"name": "llama-3.1-8b", "precision": "BF16"}, "context": {"maxModelLength": 8192}}
CPU_NODE = node_of("cpu-1", "CPU", 8)


@pytest.fixture
def machine(known):
    """A node with cards and what else it has."""

    def of(name, product, *, gpus="1", cpu="32", memory="128Gi", disk="400Gi", taints=()):
        amounts = {"cpu": cpu, "memory": memory, "ephemeral-storage": disk, "pods": "58", "nvidia.com/gpu": gpus}
        labels = {"kubernetes.io/arch": "amd64", "nvidia.com/gpu.product": product}
        obj = {
            "metadata": {"name": name, "labels": labels},
            "spec": {"taints": list(taints)},
            "status": {"allocatable": amounts},
        }
        return node_facts(obj, known)

    return of


L4, L40S = "NVIDIA-L4", "NVIDIA-L40S"


def test_auto_passes_over_a_card_whose_node_does_not_take_the_pods(observed, known, machine):
    small = machine("small", L4, memory="10Gi")
    decision = decide(observed(nodes=(small, machine("large", L40S), CPU_NODE), hardware={}, **EIGHT), known)
    assert decision.chosen.accelerator == "L40S-48GB"
    first = decision.plan.rejected[0]
    assert (first.candidate.accelerator.name, first.reason) == ("L4-24GB", Reason.NODES_MISSING)
    assert first.message == (
        "0 of 1 worker pods find a node: the next one needs 12 GiB of memory, and small, which comes nearest, has 10 left"
    )
    assert decision.plan.max_num_seqs == decision.chosen.max_num_seqs > 0
    assert decision.plan.chosen.performance is not None


def test_auto_takes_the_cheapest_where_its_node_takes_the_pods(observed, known, machine):
    nodes = (machine("small", L4, memory="22Gi"), machine("large", L40S), CPU_NODE)
    decision = decide(observed(nodes=nodes, hardware={}, **EIGHT), known)
    assert decision.chosen.accelerator == "L4-24GB"
    assert all(rejection.reason is not Reason.NODES_MISSING for rejection in decision.plan.rejected)


def test_auto_takes_what_is_free_where_that_was_counted(observed, known, machine):
    small, large = machine("small", L4), machine("large", L40S)
    full = small.room.less(small.room.amounts)
    facts = {"free": (full, large.room, CPU_NODE.room)}
    decision = decide(observed(nodes=(small, large, CPU_NODE), hardware={}, facts=facts, **EIGHT), known)
    assert decision.chosen.accelerator == "L40S-48GB"


def test_auto_keeps_its_choice_where_no_node_takes_any(observed, known, machine):
    nodes = (machine("small", L4, memory="10Gi"), machine("large", L40S, disk="10Gi"), CPU_NODE)
    decision = decide(observed(nodes=nodes, hardware={}, **EIGHT), known)
    assert decision.problem is None
    assert decision.chosen.accelerator == "L4-24GB"


def test_auto_does_not_see_cards_behind_a_taint_that_pods_do_not_tolerate(observed, known, machine):
    taint = ({"key": "sku", "value": "gpu", "effect": "NoSchedule"},)
    nodes = (machine("small", L4, taints=taint), machine("large", L40S), CPU_NODE)
    assert decide(observed(nodes=nodes, hardware={}, **EIGHT), known).chosen.accelerator == "L40S-48GB"


def test_a_named_accelerator_is_planned_as_it_is(observed, known, machine):
    nodes = (machine("small", L4, memory="10Gi"), machine("large", L40S), CPU_NODE)
    decision = decide(observed(nodes=nodes, hardware={"accelerator": "L4-24GB"}, **EIGHT), known)
    assert decision.chosen.accelerator == "L4-24GB"
