"""A sharded engine says the same as one that is not, on one Ray node and over two."""

import pytest

from llama_serving.config import Placement

pytestmark = [pytest.mark.serving, pytest.mark.timeout(600)]

PROMPTS = ("KubeRay places", "Zebra 123", "Alpaca")
"""The best token leads by at least 0.14 logits at every step: far from what rounding may change."""
TOKENS = 24


@pytest.fixture(scope="session")
def unsharded(app):
    return [app.greedy(prompt, TOKENS) for prompt in PROMPTS]


def test_two_ranks_on_one_node_give_the_tokens_of_one_rank(deploy, unsharded):
    with deploy(tensor_parallel_size=2) as sharded:
        assert [sharded.greedy(prompt, TOKENS) for prompt in PROMPTS] == unsharded


def test_two_ranks_on_two_ray_nodes_give_the_tokens_of_one_rank(deploy, unsharded):
    spread = Placement(device="CPU", strategy="STRICT_SPREAD")
    with deploy(tensor_parallel_size=2, placement=spread, nodes=2, gpus=1) as sharded:
        assert [sharded.greedy(prompt, TOKENS) for prompt in PROMPTS] == unsharded
        nodes = sharded.cluster.nodes_of_ranks()
        assert len(nodes) == len(set(nodes)) == 2
