"""Nodes on demand: a replica that finds no GPU gets its nodes from real Karpenter, and gives them back."""

import pytest

from control_plane import karpenter
from control_plane.nodes import add_nodes, remove_nodes

pytestmark = [pytest.mark.control_plane, pytest.mark.karpenter, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def head_node(plane):
    """Heads need no GPU, and Karpenter may start none but GPU nodes."""
    names = add_nodes(plane, "cpu", 1)
    yield names[0]
    remove_nodes(plane, names)


@pytest.fixture
def start_karpenter(plane):
    """Other tests of the session want no node but their own."""
    yield lambda: karpenter.start(plane)
    karpenter.stop(plane)


def node_names(plane):
    return {each["metadata"]["name"] for each in plane.api.list("nodes", labels=karpenter.POOL_LABEL)}


def bound_to(user):
    return {each["spec"].get("nodeName") for each in user.pods("worker")}


def test_a_replica_over_two_nodes_says_that_they_are_missing_gets_them_and_gives_them_back(
    eventually, user, operator, plane, head_node, start_karpenter
):
    user.apply("llama-3.1-405b-bf16-h100")
    # In the operator's words, then in those of the scheduler.
    missing = {"NodesMissing", "PodsUnschedulable"}
    eventually(lambda: user.condition("chat", "CapacityFound")["reason"] in missing, "nodes are missing")
    eventually(lambda: len(user.pods("worker")) == 2, "its pods wait for nodes")
    assert bound_to(user) == {None}
    start_karpenter()
    eventually(lambda: len(bound_to(user) - {None}) == 2, "each worker has a node of its own")
    made = node_names(plane)
    assert bound_to(user) == made
    for node in plane.api.list("nodes", labels=karpenter.POOL_LABEL):
        assert node["metadata"]["labels"]["nvidia.com/gpu.product"] == "NVIDIA-H100-80GB-HBM3"
        assert node["status"]["allocatable"]["nvidia.com/gpu"] == "8"
    user.ready()
    # Whether the endpoint answers, and where pods are, comes to the operator by two watches: one may be behind the other.
    eventually(
        lambda: user.condition("chat", "CapacityFound")["reason"] == "NodesFound", "its pods are seen on their nodes"
    )
    assert {each["spec"]["nodeName"] for each in user.pods("head")} == {head_node}
    user.kubectl("delete", "lld", "chat", "--timeout=240s")
    eventually(lambda: not node_names(plane), "nobody needs the nodes, so they go", patience=150)
