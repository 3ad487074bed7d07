"""A sharded engine says the same as one that is not, over two Ray nodes and, nightly, on one."""

import pytest

from llama_serving.config import Placement

pytestmark = [pytest.mark.serving, pytest.mark.timeout(1800)]

PROMPTS = ("KubeRay places", "Zebra 123", "Alpaca")
"""The best token leads by at least 0.14 logits at every step: far from what rounding may change."""
TOKENS = 24


@pytest.fixture(scope="module")
def unsharded(deploy, config):
    app = deploy(config())
    return [app.greedy(prompt, TOKENS) for prompt in PROMPTS]


@pytest.mark.nightly
def test_two_ranks_on_one_node_give_the_tokens_of_one_rank(deploy, config, unsharded):
    sharded = deploy(config(tensor_parallel_size=2))
    assert [sharded.greedy(prompt, TOKENS) for prompt in PROMPTS] == unsharded
    assert sharded.cluster.nodes_of_ranks() == [], "without Ray's executor the ranks are plain processes of one node"


def test_two_ranks_on_two_ray_nodes_give_the_tokens_of_one_rank(deploy, config, unsharded):
    spread = Placement(device="CPU", strategy="STRICT_SPREAD")
    sharded = deploy(config(tensor_parallel_size=2, placement=spread))
    assert [sharded.greedy(prompt, TOKENS) for prompt in PROMPTS] == unsharded
    nodes = sharded.cluster.nodes_of_ranks()
    assert len(nodes) == len(set(nodes)) == 2
