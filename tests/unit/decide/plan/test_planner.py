"""The planner shards as published recipes do, and says why everything else does not fit."""

from dataclasses import replace

import pytest

from llama_operator import catalog
from llama_operator.api.reasons import Reason
from llama_operator.decide.plan.candidate import Objectives, PlanRequest
from llama_operator.decide.plan.memory import GIB
from llama_operator.decide.plan.performance import Limits
from llama_operator.decide.plan.planner import TYPICAL_LOAD, plan

KNOWN = catalog.load()


def request(model="llama-3.3-70b-instruct", *, accelerator="H100-80GB", precisions=("BF16",), **changes):
    found = KNOWN.model(model)
    values = {
        "model": found,
        "variants": tuple(v for p in precisions if (v := found.default_variant(p)) is not None),
        "accelerators": (KNOWN.accelerator(accelerator),),
        "gpus_per_node": None,
        "max_gpus": None,
        "max_replicas": 1,
        "max_model_length": 8192,
        "concurrent_sequences": 1,
        "utilization_percent": 92,
        "kv_element_bytes": 2,
    }
    return PlanRequest(**(values | changes))


def shape(found):
    chosen = found.chosen
    return (chosen.variant.precision, chosen.sharding.tensor, chosen.sharding.pipeline) if chosen else None


def test_405b_in_bf16_takes_two_nodes_with_tensor_inside_each():
    found = plan(request("llama-3.1-405b", max_model_length=32768))
    assert shape(found) == ("BF16", 8, 2)
    assert found.chosen.nodes == 2


def test_405b_in_metas_fp8_takes_one_node():
    assert shape(plan(request("llama-3.1-405b", precisions=("FP8",), max_model_length=131072))) == ("FP8", 8, 1)


def test_fewer_gpus_win_over_quality():
    assert shape(plan(request(precisions=("BF16", "FP8"), max_model_length=32768))) == ("FP8", 2, 1)


def test_quality_wins_at_the_same_number_of_gpus():
    assert shape(plan(request(precisions=("BF16", "FP8")))) == ("BF16", 2, 1)


def test_a_tensor_size_that_does_not_divide_the_heads_names_those_that_do():
    found = plan(request(tensor=6))
    (rejection,) = found.rejected
    assert rejection.reason is Reason.HEADS_NOT_DIVISIBLE
    assert "1, 2, 4, 8" in rejection.message


def test_a_named_size_is_honored_even_when_a_smaller_one_fits():
    assert shape(plan(request("llama-3.1-8b", tensor=8))) == ("BF16", 8, 1)


def test_weights_that_do_not_fit_tell_how_many_gpus_they_need():
    found = plan(request(tensor=1))
    (rejection,) = found.rejected
    assert rejection.reason is Reason.WEIGHTS_DO_NOT_FIT
    assert rejection.nearest == "needs 2 GPUs (TP2 PP1)"
    assert rejection.message.endswith(rejection.nearest)


def test_a_context_that_does_not_fit_names_the_one_that_does_and_that_one_fits():
    asked = request(tensor=2, max_model_length=131072)
    (rejection,) = plan(asked).rejected
    assert rejection.reason is Reason.KV_CACHE_TOO_SMALL
    words = rejection.message.split("fits with maxModelLength ")[1].split()[0].rstrip(",")
    length = int(words.replace(",", ""))
    assert plan(request(tensor=2, max_model_length=length)).chosen is not None
    assert plan(request(tensor=2, max_model_length=length + 16)).chosen is None


def test_max_gpus_counts_all_replicas_and_tells_how_many_fit():
    found = plan(request(max_gpus=8, max_replicas=3, tensor=4))
    (rejection,) = found.rejected
    assert rejection.reason is Reason.MAX_GPUS_EXCEEDED
    assert "lower scaling.maxReplicas to 2" in rejection.message


def test_beyond_the_first_that_exceeds_max_gpus_larger_ones_come_last():
    found = plan(request("llama-3.1-405b", max_gpus=8))
    assert found.chosen is None
    labels = [(r.candidate.sharding.ranks, r.reason) for r in found.rejected]
    assert labels[:2] == [(16, Reason.MAX_GPUS_EXCEEDED), (8, Reason.WEIGHTS_DO_NOT_FIT)]
    assert labels[-1][0] == 64


def test_beside_a_chosen_plan_the_smaller_candidates_come_first_nearest_first():
    found = plan(request(max_model_length=131072))
    assert found.chosen.sharding.ranks == 4
    assert [r.candidate.sharding.ranks for r in found.rejected] == [2, 1]


def test_a_replica_over_nodes_must_fill_them():
    (rejection,) = plan(request(tensor=4, pipeline=3)).rejected
    assert rejection.reason is Reason.PARALLELISM_SPANS_NODES
    assert rejection.nearest == "use tensor 8 and pipeline 2, or set hardware.gpusPerNode to 6"
    assert shape(plan(request(tensor=4, pipeline=3, gpus_per_node=6))) == ("BF16", 4, 3)


@pytest.mark.parametrize("sizes", [(16, 1), (4, 4), (2, 8), (1, 16)])
def test_named_sizes_that_fill_nodes_are_honored(sizes):
    tensor, pipeline = sizes
    found = plan(request("llama-3.1-405b", tensor=tensor, pipeline=pipeline))
    assert shape(found) == ("BF16", tensor, pipeline)
    assert found.chosen.nodes == 2
    assert found.chosen.tensor_crosses_nodes is (tensor > 8)


def test_shards_that_cross_nodes_are_slower_than_stages():
    objectives = Objectives(TYPICAL_LOAD, Limits())
    crossing, staged = (
        plan(request("llama-3.1-405b", tensor=tensor, pipeline=pipeline, objectives=objectives)).chosen.performance
        for tensor, pipeline in ((16, 1), (8, 2))
    )
    assert crossing.time_to_first_token_ms > staged.time_to_first_token_ms


def test_int4_groups_are_not_cut():
    native = KNOWN.model("llama-2-7b").default_variant("FP16")
    int4 = native.model_copy(update={"precision": "INT4", "weight_bytes": 3_900_000_000})
    reasons = {
        size: [
            r.reason for r in plan(request("llama-2-7b", variants=(int4,), tensor=size, max_model_length=2048)).rejected
        ]
        for size in (2, 8)
    }
    assert reasons == {2: [], 8: [Reason.SHARD_NOT_ALIGNED]}


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        ({"max_num_seqs": 4096}, "fits without engine.arguments.maxNumSeqs (4,096)"),
        ({"max_num_batched_tokens": 262_144}, "fits without engine.arguments.maxNumBatchedTokens (262,144)"),
        ({"max_num_seqs": 8}, ""),
    ],
)
def test_an_argument_that_takes_the_memory_is_named(arguments, cure):
    asked = request("llama-3.1-8b", precisions=("FP8",), accelerator="L4-24GB", max_model_length=8192)
    found = plan(replace(asked, **arguments))
    said = [rejection.message for rejection in found.rejected if "fits without" in rejection.message]
    assert bool(said) == bool(cure)
    assert all(cure in message and "no sharding" not in message for message in said)


def test_fp8_is_refused_where_no_kernel_has_it():
    found = plan(request("llama-3.1-8b", precisions=("FP8",), accelerator="CPU"))
    assert {rejection.reason for rejection in found.rejected} == {Reason.PRECISION_NOT_SUPPORTED}


def test_pipeline_stages_on_cpu_are_refused():
    found = plan(request("llama-3.2-1b", accelerator="CPU", tensor=1, pipeline=2, max_model_length=512))
    assert found.rejected[0].reason is Reason.PIPELINE_NOT_SUPPORTED


@pytest.mark.parametrize("model", [m.id for m in KNOWN.models])
def test_every_model_of_the_catalog_gets_an_answer_on_every_card(model):
    facts = KNOWN.model(model)
    for name in KNOWN.accelerator_names:
        found = plan(request(model, accelerator=name, precisions=facts.precisions, max_model_length=2048))
        assert found.chosen is not None or found.rejected
        if found.chosen is not None:
            assert found.chosen.memory.left_for_kv > 0
            assert found.chosen.memory.budget < KNOWN.accelerator(name).usable_memory_bytes
            assert found.max_num_seqs >= 1


def test_a_gpu_has_the_memory_that_its_name_promises():
    assert 79 * GIB < KNOWN.accelerator("H100-80GB").usable_memory_bytes < 80 * GIB
