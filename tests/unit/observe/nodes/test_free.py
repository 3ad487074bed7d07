"""What is free is what nodes have without the pods on them, and no more nodes are read than it takes."""

import asyncio

import pytest

from llama_operator.decide.placement.pod_settings import PodSettings
from llama_operator.decide.placement.requests import head_shape
from llama_operator.decide.placement.shape import Amounts
from llama_operator.kube import kinds
from llama_operator.kube.port import Listing
from llama_operator.observe.nodes.free import free_rooms
from llama_operator.observe.unreadable import Unreadable
from support.deployments import node_of

GIB = 1 << 30
GPU = "nvidia.com/gpu"
HEAD = head_shape(PodSettings())


def pod(name, cpu="1", gpus="0", phase="Running", **spec):
    resources = {"requests": {"cpu": cpu, "memory": "1Gi", GPU: gpus}}
    spec = {"containers": [{"name": "c", "resources": resources}]} | spec
    return {"kind": "Pod", "metadata": {"name": name}, "spec": spec, "status": {"phase": phase}}


class Pods:
    """Answers for the pods of a node, and remembers which nodes were asked for."""

    def __init__(self, **on_node):
        self.on_node = on_node
        self.asked = []

    async def list(self, kind, *, fields):
        assert kind is kinds.POD
        self.asked.append(fields["spec.nodeName"])
        return Listing(tuple(self.on_node.get(fields["spec.nodeName"], ())), "1")


@pytest.fixture
def read():
    def run(pods, *nodes, **options):
        unreadable = Unreadable()
        rooms = asyncio.run(free_rooms(pods, nodes, HEAD, unreadable, **options))
        return {room.node: room for room in rooms}, unreadable.found

    return run


def test_what_pods_hold_is_not_free_until_they_have_ended(read):
    node = node_of("gpu", "H100-80GB", 8)
    pods = Pods(gpu=[pod("a", gpus="2"), pod("b", cpu="500m", phase="Pending"), pod("c", gpus="4", phase="Succeeded")])
    rooms, _ = read(pods, node)
    assert node.room.amounts - rooms["gpu"].amounts == Amounts(1500, 2 * GIB, 0, {GPU: 2})
    assert node.room.pods - rooms["gpu"].pods == 2


def test_of_a_node_with_a_pod_that_cannot_be_read_nothing_is_free(read):
    rooms, found = read(Pods(gpu=[pod("a", cpu="many")]), node_of("gpu", "H100-80GB", 8))
    assert (rooms["gpu"].amounts, rooms["gpu"].pods) == (Amounts(), 0)
    assert "is no amount" in found[0].why


def test_of_nodes_without_accelerators_no_more_are_read_than_it_takes_for_the_head(read):
    nodes = [node_of(name, "CPU", 4) for name in ("cpu-1", "cpu-2", "cpu-3")]
    pods = Pods(**{"cpu-1": [pod("full", cpu="3")]})
    rooms, _ = read(pods, *nodes, node_of("gpu", "H100-80GB", 8))
    assert pods.asked == ["gpu", "cpu-1", "cpu-2"]
    assert set(rooms) == {"gpu", "cpu-1", "cpu-2"}


def test_all_of_them_are_read_where_workers_go_there_too(read):
    pods = Pods()
    read(pods, *(node_of(name, "CPU", 4) for name in ("cpu-1", "cpu-2")), on_cpu=True)
    assert pods.asked == ["cpu-1", "cpu-2"]
