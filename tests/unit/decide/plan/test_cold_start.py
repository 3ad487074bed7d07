"""Cold start: the published totals it was made from, and what each circumstance takes away."""

import pytest

from llama_operator import catalog
from llama_operator.api.v1alpha1.weights import CacheMode
from llama_operator.catalog.figures import cold_start as facts
from llama_operator.decide.plan.cold_start import read_from, stages, total_seconds
from llama_operator.decide.plan.memory import Sharding

KNOWN = catalog.load()


def predicted(model="llama-3-70b", precision="BF16", accelerator="H100-80GB", tensor=4, pipeline=1, **more):
    found = KNOWN.model(model)
    return stages(
        found, found.default_variant(precision), KNOWN.accelerator(accelerator), Sharding(tensor, pipeline), **more
    )


def seconds(name, found):
    return next(stage.seconds for stage in found if stage.name == name)


@pytest.mark.parametrize(
    ("model", "tensor", "published"),
    [("llama-3-70b", 4, 359.6), ("llama-3-8b", 1, 104.2)],
)
def test_published_starts_of_ray_serve_llm_on_ready_h100_nodes(model, tensor, published):
    # Of an older engine than the one that the constants are from: it started sooner, and never later than predicted.
    found = predicted(model, tensor=tensor, node_ready=True, image_present=True)
    assert published <= total_seconds(found) <= 1.25 * published


def test_stages_come_in_the_order_in_which_they_happen():
    assert [stage.name for stage in predicted()] == ["Node", "Image", "Weights", "Engine", "Compile", "Graphs"]


def test_a_ready_node_with_the_image_skips_both():
    found = predicted(node_ready=True, image_present=True)
    assert (seconds("Node", found), seconds("Image", found)) == (0, 0)
    assert seconds("Weights", found) == seconds("Weights", predicted())


@pytest.mark.parametrize("source", [source.name for source in facts.load().weight_sources])
def test_weights_take_as_long_as_their_source_is_slow(source):
    rate = facts.load().weight_source(source).bytes_per_second
    read = KNOWN.model("llama-3-70b").default_variant("BF16").bytes_to_read
    assert seconds("Weights", predicted(source=source)) == pytest.approx(read / rate, abs=1)


@pytest.mark.parametrize(
    ("where", "mode", "source"),
    [
        ({}, CacheMode.NONE, "HuggingFace"),
        ({}, CacheMode.CLAIM, "NetworkVolume"),
        ({}, CacheMode.IMAGE, "LocalDisk"),
        ({"uri": "s3://models/chat"}, CacheMode.NONE, "ObjectStore"),
        ({"uri": "s3://models/chat"}, CacheMode.CLAIM, "NetworkVolume"),
        ({"volume_claim": "models"}, CacheMode.NONE, "NetworkVolume"),
    ],
)
def test_pods_read_the_copy_and_without_one_what_the_variant_names(where, mode, source):
    variant = KNOWN.model("llama-3-70b").default_variant("BF16").model_copy(update=where)
    assert read_from(mode, variant) == source


def test_what_is_read_counts_not_what_is_loaded():
    whole, quantized = (KNOWN.model("llama-3-70b").default_variant(precision) for precision in ("BF16", "FP8"))
    assert quantized.weight_bytes < 0.6 * whole.weight_bytes, "the engine quantizes what it has read in 16 bits"
    assert seconds("Weights", predicted(precision="FP8")) == seconds("Weights", predicted(precision="BF16"))
    stored = seconds("Weights", predicted("llama-3.1-70b", precision="FP8"))
    assert stored < 0.6 * seconds("Weights", predicted("llama-3.1-70b", precision="BF16")), "stored in 8 bits"


def test_a_cpu_compiles_nothing_and_generated_weights_are_not_read():
    found = predicted("tiny-random-llama", accelerator="CPU", tensor=1)
    assert [seconds(name, found) for name in ("Weights", "Compile", "Graphs")] == [0, 0, 0]


def test_every_constant_says_where_it_is_from():
    content = facts.load().model_dump()
    sources = [entry["source"] for key, entry in content.items() if key != "weight_sources"]
    assert all([*sources, *(source["source"] for source in content["weight_sources"])])
