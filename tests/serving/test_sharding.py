"""A sharded engine says the same as one that is not, over two Ray nodes and, nightly, on one; with an adapter too."""

import pytest

from llama_serving.config import Placement
from llama_serving.contract.adapters import Adapter, AdapterRoom
from llama_serving.contract.tenants import DeskSettings
from llama_serving.generated import adapter

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


def test_two_ranks_on_two_ray_nodes_give_the_tokens_of_one_rank(deploy, config, unsharded, two_nodes):
    spread = Placement(device="CPU", strategy="STRICT_SPREAD")
    sharded = deploy(config(tensor_parallel_size=2, placement=spread))
    assert [sharded.greedy(prompt, TOKENS) for prompt in PROMPTS] == unsharded
    nodes = two_nodes.nodes_of_ranks()
    assert len(nodes) == len(set(nodes)) == 2


ADAPTER = "Llama-Acme-A"
FEW_TOKENS = 8
"""Of an adapter with random weights; the further the answer, the closer the tokens."""


@pytest.mark.nightly
def test_an_adapter_on_ranks_of_two_nodes_gives_the_tokens_of_one_rank(
    deploy, config, live, eventually, tmp_path, unsharded, two_nodes
):
    """The nodes are asked whether they have the same files, and each rank reads its own part."""
    del two_nodes
    adapter.write(tmp_path / "a", seed=1)
    room = AdapterRoom(max_loras=1, max_lora_rank=8, max_cpu_loras=1, folder=str(tmp_path))

    def said(**engine):
        app = deploy(config(adapters=room, **engine))
        app.apply(live(desk=DeskSettings(adapters=(Adapter(name=ADAPTER, path="a"),))))
        eventually(
            lambda: any(one.loaded or one.failed for one in app.cluster.status().adapters), seconds=120, what="it"
        )
        (told,) = app.cluster.status().adapters
        assert told.loaded == 1, told.message
        client = app.cluster.client()
        answers = [
            client.completions.create(model=ADAPTER, prompt=prompt, max_tokens=FEW_TOKENS, temperature=0)
            for prompt in PROMPTS
        ]
        return [answer.choices[0].text for answer in answers]

    spread = Placement(device="CPU", strategy="STRICT_SPREAD")
    whole = said()
    assert whole != [text[:FEW_TOKENS] for text in unsharded], "the adapter changes something"
    assert said(tensor_parallel_size=2, placement=spread) == whole
