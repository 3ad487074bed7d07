"""Nodes on demand: a replica that finds no GPU gets its nodes from real Karpenter, and gives them back."""

from pathlib import Path

import pytest

from control_plane import karpenter
from control_plane.nodes import add_nodes, remove_nodes
from llama_operator.cli.shared.documents import documents

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"

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


@pytest.mark.nightly
def test_a_replica_takes_the_place_of_a_placeholder_at_once_and_the_next_node_is_started(
    eventually, user, operator, plane, head_node, start_karpenter
):
    """The manifest that we ship, with real Karpenter and the real scheduler."""
    start_karpenter()
    for obj in documents(MANIFESTS / "autoscaling" / "placeholder.yaml"):
        meta = obj["metadata"] | ({"namespace": user.namespace} if "namespace" in obj["metadata"] else {})
        plane.apply(obj | {"metadata": meta})

    def place():
        pods = user.get("pods", "app=placeholder-h100")
        return {each["spec"]["nodeName"] for each in pods if each["spec"].get("nodeName")}

    (ready,) = eventually(place, "the placeholder has a node")
    user.apply("llama-3.3-70b-bf16-h100")
    eventually(lambda: bound_to(user) == {ready}, "the replica has its node, for which nobody waited")
    (following,) = eventually(lambda: place() - {ready}, "the placeholder has the next one")
    assert following in node_names(plane)
    user.kubectl("delete", "deployment", "placeholder-h100")
    user.kubectl("delete", "lld", "chat", "--timeout=240s")
    plane.kubectl("delete", "priorityclass", "llama-placeholder")
    eventually(lambda: not node_names(plane), "nobody needs the nodes, so they go", patience=150)
