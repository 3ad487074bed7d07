"""Which loader `Auto` becomes, and that nothing changes for engines that run."""

from dataclasses import replace

import pytest

from llama_operator.api.v1alpha1.llamadeployment import EngineArguments, LoadFormat
from llama_operator.decide.plan.memory import Sharding
from llama_operator.decide.weights.loader import loader
from support.planning import KNOWN, planned

AUTO = EngineArguments()
DENSE = KNOWN.model("llama-3.3-70b-instruct")
STREAMS, MAPS = LoadFormat.RUNAI_STREAMER, LoadFormat.SAFETENSORS


@pytest.fixture(scope="module")
def chosen():
    return planned().plan.chosen


@pytest.mark.parametrize(
    ("tensor", "pipeline", "gpus_per_node", "copied", "becomes", "shared"),
    [
        (4, 1, 8, False, MAPS, False),
        (4, 1, 8, True, STREAMS, True),
        (1, 1, 8, True, STREAMS, False),
        # Ranks that exchange what they read would do it over the network.
        (8, 2, 8, True, STREAMS, False),
    ],
)
def test_auto_becomes_what_fits_the_hardware(chosen, tensor, pipeline, gpus_per_node, copied, becomes, shared):
    here = replace(chosen, sharding=Sharding(tensor, pipeline), gpus_per_node=gpus_per_node)
    reads = loader(AUTO, DENSE.architecture, here, copied=copied)
    assert (reads.load_format, reads.is_shared) == (becomes, shared)
    assert reads.why
    assert (reads.buffer_bytes is not None) == (becomes is STREAMS)


def test_a_cpu_maps_its_files():
    decision = planned(name="tiny-random-llama", accelerator="CPU", license={})
    reads = loader(AUTO, decision.model.architecture, decision.plan.chosen, copied=True)
    assert reads.load_format is MAPS


@pytest.mark.parametrize("named", [MAPS, STREAMS, LoadFormat.FASTSAFETENSORS])
@pytest.mark.parametrize("copied", [True, False])
def test_what_the_spec_names_is_taken_with_the_loaders_own_defaults(chosen, named, copied):
    reads = loader(EngineArguments(load_format=named), DENSE.architecture, chosen, copied=copied)
    assert (reads.load_format, reads.buffer_bytes, reads.streams) == (named, None, None)


def test_dense_models_of_the_catalog_stream_and_experts_do_not(chosen):
    llamas = [model for model in KNOWN.models if not model.generated]
    reads = {m.id: loader(AUTO, m.architecture, chosen, copied=True).load_format for m in llamas}
    assert reads == {m.id: STREAMS if m.architecture.moe is None else MAPS for m in llamas}


def test_a_tensor_that_no_buffer_holds_is_mapped(chosen):
    huge = DENSE.architecture.model_copy(update={"vocab_size": 10**6})
    assert loader(AUTO, huge, chosen, copied=True).load_format is MAPS
