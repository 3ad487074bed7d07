"""Starts what `llama_serving.app` books for a model of two ranks and for a guard on its cards, on one node. Run by tests/serving/test_shared_cards.py.

Prints the cards of the model and of the guard, and whether a second replica of each finds a place.
"""

import sys

import ray
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from llama_serving.config import EngineSettings, ModelSource, Placement, ServingConfig
from llama_serving.contract.guard import GUARD_RESOURCE, GUARD_SHARE, MODEL_RESOURCE, MODEL_SHARE
from llama_serving.contract.status import DeploymentIdentity
from llama_serving.llm_config import PER_WORKER_VARIABLE, placement_bundles, replica_environment

SECONDS = 60
SHORT_SECONDS = 3


def config(ranks, resource, share):
    return ServingConfig(
        model_id="tiny",
        source=ModelSource(kind="Generated", location="tiny"),
        engine=EngineSettings(
            tensor_parallel_size=ranks, max_model_len=512, max_num_seqs=4, gpu_memory_utilization=0.4
        ),
        placement=Placement(device="GPU", node_resource=resource, card_share=share),
        identity=DeploymentIdentity(namespace="team-a", name="chat", revision="chat-1"),
    )


@ray.remote(num_cpus=0)
class Rank:
    def cards(self):
        return ray.get_runtime_context().get_accelerator_ids()["GPU"]


def booked(what):
    return placement_group(placement_bundles(what), strategy=what.placement.strategy)


def cards(what, group):
    share = float(replica_environment(what)[PER_WORKER_VARIABLE])
    ranks = [
        Rank.options(
            num_gpus=share,
            scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=number),
        ).remote()
        for number in range(what.ranks)
    ]
    return ",".join(card for found in ray.get([rank.cards.remote() for rank in ranks]) for card in found), ranks


def main(first):
    ray.init(
        address="local", num_cpus=8, num_gpus=2, resources={MODEL_RESOURCE: 1, GUARD_RESOURCE: 1},
        include_dashboard=False, log_to_driver=False, logging_level="ERROR",
    )  # fmt: skip
    both = {"model": config(2, MODEL_RESOURCE, MODEL_SHARE), "guard": config(1, GUARD_RESOURCE, GUARD_SHARE)}
    groups = {}
    for name in sorted(both, key=lambda name: name != first):
        groups[name] = booked(both[name])
        assert groups[name].wait(SECONDS), name
    kept = [cards(both[name], groups[name]) for name in ("model", "guard")]
    second = ["placed" if booked(both[name]).wait(SHORT_SECONDS) else "pends" for name in ("model", "guard")]
    print(*(found for found, _ in kept), *second)


if __name__ == "__main__":
    main(sys.argv[1])
