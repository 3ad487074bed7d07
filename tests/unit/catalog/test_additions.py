"""A LlamaModel as a catalog entry: shape and families from its lineage, and a clear word where too little is known."""

import json

import pytest

from llama_operator.api.manifest import parse
from llama_operator.catalog.additions import Additions, Unusable
from llama_operator.decide.find_model import find_model
from llama_operator.errors import InvalidManifestError

DIGEST = "0" * 64
SHAPE = {
    "numHiddenLayers": 16,
    "hiddenSize": 2048,
    "intermediateSize": 8192,
    "numAttentionHeads": 32,
    "vocabSize": 128256,
    "maxPositionEmbeddings": 4096,
}


def model(name="acme-chat", *derived, families=(), **spec):
    lineage = {"derivedFrom": [{"model": base, "kind": kind} for base, kind in derived]}
    fields = {
        "source": {"huggingFace": {"repository": "acme/chat", "revision": "a" * 40}},
        "digest": DIGEST,
        "lineage": lineage,
        "licenseFamilies": list(families),
    }
    obj = {"apiVersion": "llama-operator.io/v1alpha1", "kind": "LlamaModel", "metadata": {"name": name}}
    return parse(json.loads(json.dumps(obj | {"spec": fields | spec})))


def entry(known, *models, name="acme-chat"):
    return Additions(known, models).added(name)


def test_what_is_left_out_is_as_in_the_base(known):
    base = known.model("llama-3.1-8b")
    found = entry(known, model("acme-chat", ("llama-3.1-8b", "Finetune")))
    assert found.architecture == base.architecture
    assert (found.params_total, found.kv_bytes_per_token) == (base.params_total, base.kv_bytes_per_token)
    assert found.context_length == base.context_length
    assert (found.variants[0].repository, found.variants[0].revision) == ("acme/chat", "a" * 40)
    assert found.added


def test_what_its_config_says_wins_over_the_base(known):
    tuned = model(
        "acme-chat", ("llama-3.1-8b", "Finetune"), architectureFingerprint={"vocabSize": 128264}, contextLength=8192
    )
    found = entry(known, tuned)
    assert (found.architecture.vocab_size, found.context_length) == (128264, 8192)
    assert found.params_total == known.model("llama-3.1-8b").params_total + 8 * 4096 * 2


def test_its_families_are_its_own_and_those_of_every_ancestor(known):
    merged = model("merged", ("llama-3-8b", "Merge"), ("llama-2-7b", "TrainingOutput"), families=["mit"])
    child = model("acme-chat", ("merged", "Quantized"), weights={"precision": "INT4", "quantization": "awq"})
    assert entry(known, merged, child).license_families == ("mit", "llama-3", "llama-2")
    assert entry(known, merged, child).variants[0].quantization == "awq"


def test_published_bytes_beat_the_formula(known):
    sized = model("acme-chat", ("llama-3.1-8b", "Quantized"), weights={"precision": "FP8", "sizeBytes": 9_000_000_000})
    assert entry(known, sized).variants[0].weight_bytes == 9_000_000_000


def test_a_model_without_a_base_is_planned_by_its_own_shape(known):
    found = entry(known, model(families=["apache-2.0"], architectureFingerprint=SHAPE))
    assert found.architecture.head_dim == 64
    assert found.license_families == ("apache-2.0",)


@pytest.mark.parametrize(
    ("models", "said", "lineage"),
    [
        ([model("acme-chat", ("llama-9", "Finetune"))], "neither in the catalog nor a LlamaModel", True),
        ([model("acme-chat", ("lama-3.1-8b", "Finetune"))], "did you mean llama-3.1-8b", True),
        ([model("acme-chat", ("b", "Merge")), model("b", ("acme-chat", "Merge"))], "in a circle", True),
        ([model(families=["free-for-all"], architectureFingerprint=SHAPE)], "free-for-all", True),
        ([model(families=["mit"])], "numHiddenLayers", False),
        (
            [model(families=["mit"], architectureFingerprint=SHAPE | {"className": "MllamaForConditionalGeneration"})],
            "base",
            False,
        ),
        (
            [model("acme-chat", ("llama-3.1-8b", "Finetune"), architectureFingerprint={"className": "Other"})],
            "is a LlamaForCausalLM",
            True,
        ),
        ([model("acme-chat", ("b", "Finetune")), model("b", ("nothing", "Finetune"))], "its ancestor b", True),
    ],
)
def test_too_little_is_said_by_field(known, models, said, lineage):
    found = entry(known, *models)
    assert isinstance(found, Unusable)
    assert said in found.message
    assert found.lineage == lineage


def test_the_name_of_a_catalog_entry_cannot_be_taken(known):
    taken = model("llama-3.1-8b", families=["mit"], architectureFingerprint=SHAPE)
    assert find_model("llama-3.1-8b", (taken,), known) == known.model("llama-3.1-8b")
    assert "another name" in entry(known, taken, name="llama-3.1-8b").message


def test_a_name_that_nobody_has_is_nothing(known):
    assert entry(known, name="nobody") is None


@pytest.mark.parametrize(
    ("senseless", "field"),
    [
        (model("acme-chat", ("llama-3.1-8b", "Finetune"), weights={"sizeBytes": 1}), "spec.weights.sizeBytes"),
        (model("acme-chat", ("llama-3.1-8b", "Finetune"), weights={"sizeBytes": 16}), "in bytes"),
        (
            model("acme-chat", ("llama-3.2-11b-vision", "Finetune"), architectureFingerprint={"numHiddenLayers": 6}),
            "numHiddenLayers is 6",
        ),
        (
            model("acme-chat", ("llama-3.2-11b-vision", "Finetune"), architectureFingerprint={"numHiddenLayers": 8}),
            "numHiddenLayers is 8",
        ),
        (
            model("acme-chat", ("llama-4-scout", "Finetune"), architectureFingerprint={"numHiddenLayers": 1}),
            "numHiddenLayers is 1",
        ),
        (
            model("acme-chat", ("llama-3.1-8b", "Finetune"), architectureFingerprint={"numKeyValueHeads": 5}),
            "numKeyValueHeads is 5",
        ),
        (
            model("acme-chat", ("llama-3.1-8b", "Finetune"), architectureFingerprint={"numAttentionHeads": 12}),
            "numKeyValueHeads is 8",
        ),
    ],
)
def test_what_no_model_can_be_is_refused_with_its_field(known, senseless, field):
    found = entry(known, senseless)
    assert isinstance(found, Unusable)
    assert field in found.message
    assert not found.lineage


@pytest.mark.parametrize("base", ["llama-3.1-8b", "llama-3.2-11b-vision", "llama-4-scout"])
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"numHiddenLayers": 4096},
        {"hiddenSize": 1},
        {"hiddenSize": 1_048_576, "intermediateSize": 4_194_304, "numHiddenLayers": 4096},
        {"vocabSize": 1},
        {"vocabSize": 16_777_216},
        {"headDim": 1},
        {"numAttentionHeads": 4096, "numKeyValueHeads": 4096},
        {"maxPositionEmbeddings": 1},
        {"ropeTheta": 1},
    ],
    ids=str,
)
def test_every_shape_within_the_schema_is_an_entry_or_is_refused(known, base, shape):
    assert entry(known, model("acme-chat", (base, "Finetune"), architectureFingerprint=shape)) is not None


def test_a_name_that_no_endpoint_can_have_is_refused_by_the_schema():
    assert model(servedName="L" * 128, families=["mit"]).spec.served_name
    with pytest.raises(InvalidManifestError, match=r"spec\.servedName"):
        model(servedName="L" * 129, families=["mit"])
