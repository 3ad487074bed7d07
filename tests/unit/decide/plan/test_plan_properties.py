"""What holds for every plan, whatever is asked: monotonic in memory and context, divisible, startable, within bounds."""

import dataclasses
import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llama_operator import catalog
from llama_operator.catalog.models import Precision
from llama_operator.decide.plan.candidate import Objectives, PlanRequest
from llama_operator.decide.plan.memory import layers_of_stages
from llama_operator.decide.plan.performance import Limits, Workload
from llama_operator.decide.plan.planner import plan

KNOWN = catalog.load()
SERVED = [m for m in KNOWN.models if not m.engine_constraints]
DENSE = [m for m in SERVED if m.architecture.moe is None and m.architecture.vision is None and not m.generated]
CARDS = [name for name in KNOWN.accelerator_names if name != "CPU"]
QUALITY: tuple[Precision, ...] = ("BF16", "FP16", "FP8", "INT8", "INT4")
NONE = 10**9

examples = settings(max_examples=60, deadline=None)


# vLLM's check at its start, written from vLLM's source and from tensor shapes alone. Nothing of the planner is used:
# layers are cut as `vllm/distributed/utils.py:get_pp_indices` does, tensors are counted as
# `vllm/model_executor/models/llama.py` shards them, blocks as `vllm/v1/core/kv_cache_utils.py` does. What cannot be known
# before a start, the profiled peak, is taken from the plan.
BLOCK = 16
BYTES_PER_WEIGHT = {"BF16": 2.0, "FP16": 2.0, "FP8": 1.0, "INT8": 1.0, "INT4": 0.5 + 2 / 128}


def starts(model, variant, card, tensor, pipeline, *, utilization_percent, kv_bytes, length, sequences, peak):
    """Whether the engine starts with `length`, and its cache then holds `sequences` of them."""
    return sequences <= concurrency(
        model,
        variant,
        card,
        tensor,
        pipeline,
        utilization_percent=utilization_percent,
        kv_bytes=kv_bytes,
        length=length,
        peak=peak,
    )


def concurrency(model, variant, card, tensor, pipeline, *, utilization_percent, kv_bytes, length, peak):
    """Sequences of `length` that the cache holds; 0 when the engine does not start."""
    shape = model.architecture
    requested = math.floor(card.usable_memory_bytes * utilization_percent / 100)
    blocks = []
    for rank, layers in enumerate(partition(shape.num_hidden_layers, pipeline)):
        available = requested - weights(model, variant, tensor, layers, rank == 0, rank == pipeline - 1) - peak
        heads = max(1, shape.num_key_value_heads // tensor)
        page = BLOCK * heads * 2 * shape.head_dim * kv_bytes
        blocks.append(math.floor(available / (page * layers)))
    # One block is the null block.
    return max(0, min(blocks) - 1) // math.ceil(length / BLOCK)


def partition(layers, stages):
    counts = [layers // stages for _ in range(stages)]
    left = layers % stages
    for i in range(2, left + 2):
        counts[-i] += 1
    return counts


def weights(model, variant, tensor, layers, first, last):
    """Bytes on one rank; a published size stretches all layers alike."""
    shape = model.architecture
    each = BYTES_PER_WEIGHT[variant.precision]
    h, d = shape.hidden_size, shape.head_dim
    kv_on_rank = max(shape.num_key_value_heads / tensor, 1)
    attention = 2 * h * shape.num_attention_heads * d / tensor + 2 * h * d * kv_on_rank
    block = feed_forward(shape, layers) / tensor
    ends = shape.vocab_size * h * 2
    embeddings = (ends if first else 0) + (0 if last and first and shape.tie_word_embeddings else ends if last else 0)
    norms = layers * 2 * h * 2 + (h * 2 if last else 0)
    linear = (layers * attention + block) * each
    stretch = 1.0
    if variant.bytes_source == "published":
        whole = (shape.num_hidden_layers * (2 * h * (shape.num_attention_heads + shape.num_key_value_heads) * d)) * each
        whole += feed_forward(shape, shape.num_hidden_layers) * each
        kept = variant.weight_bytes - ends * (1 if shape.tie_word_embeddings else 2)
        stretch = kept / whole
    return linear * stretch + embeddings / tensor + norms


def feed_forward(shape, layers):
    return layers * 3 * shape.hidden_size * shape.intermediate_size


@st.composite
def requests(draw, models=SERVED):
    """A request as `decide.plan.request` makes it."""
    model = draw(st.sampled_from([m.id for m in models]))
    facts = KNOWN.model(model)
    wanted = draw(st.sets(st.sampled_from(facts.precisions), min_size=1))
    return PlanRequest(
        model=facts,
        variants=tuple(v for p in QUALITY if p in wanted and (v := facts.default_variant(p)) is not None),
        accelerators=(KNOWN.accelerator(draw(st.sampled_from(CARDS))),),
        gpus_per_node=draw(st.sampled_from([None, 1, 2, 4, 6, 8])),
        max_gpus=draw(st.sampled_from([None, 1, 4, 8, 16, 64])),
        max_replicas=draw(st.integers(1, 3)),
        max_model_length=draw(st.integers(16, min(facts.context_length, 400_000))),
        concurrent_sequences=draw(st.sampled_from([1, 2, 8, 64])),
        utilization_percent=draw(st.integers(50, 99)),
        kv_element_bytes=draw(st.sampled_from([1, 2])),
        max_num_batched_tokens=draw(st.sampled_from([None, 2048, 32768])),
        graphs=draw(st.booleans()),
    )


def gpus(request):
    chosen = plan(request).chosen
    return chosen.gpus if chosen is not None else NONE


@examples
@given(asked=requests(DENSE))
def test_a_chosen_plan_passes_vllms_own_check_at_its_start(asked):
    chosen = plan(asked).chosen
    assume(chosen is not None)
    assert starts(
        asked.model,
        chosen.variant,
        chosen.accelerator,
        chosen.sharding.tensor,
        chosen.sharding.pipeline,
        utilization_percent=asked.utilization_percent,
        kv_bytes=asked.kv_element_bytes,
        length=asked.max_model_length,
        sequences=asked.concurrent_sequences,
        peak=chosen.memory.reserve,
    )


@examples
@given(asked=requests(DENSE))
def test_a_rejection_for_the_context_fits_with_the_length_it_names(asked):
    for rejection in plan(asked).rejected:
        if "maxModelLength " in rejection.nearest:
            length = int(rejection.nearest.split("maxModelLength ")[1].split()[0].rstrip(",").replace(",", ""))
            shorter = dataclasses.replace(
                asked,
                variants=(rejection.candidate.variant,),
                max_model_length=length,
                max_gpus=None,
                tensor=rejection.candidate.sharding.tensor,
                pipeline=rejection.candidate.sharding.pipeline,
            )
            assert plan(shorter).chosen is not None
            assert plan(dataclasses.replace(shorter, max_model_length=length + 16)).chosen is None


@examples
@given(asked=requests())
def test_a_rejection_for_memory_fits_with_the_share_or_the_gpus_that_it_names(asked):
    for rejection in plan(asked).rejected:
        alone = dataclasses.replace(
            asked,
            variants=(rejection.candidate.variant,),
            max_gpus=None,
            tensor=rejection.candidate.sharding.tensor,
            pipeline=rejection.candidate.sharding.pipeline,
        )
        if "gpuMemoryUtilizationPercent " in rejection.nearest:
            percent = int(rejection.nearest.split("gpuMemoryUtilizationPercent ")[1].split(",")[0])
            assert plan(dataclasses.replace(alone, utilization_percent=percent)).chosen is not None
            assert plan(dataclasses.replace(alone, utilization_percent=percent - 1)).chosen is None
        if "needs " in rejection.nearest:
            count = int(rejection.nearest.split("needs ")[1].split()[0])
            found = plan(dataclasses.replace(alone, tensor=None, pipeline=None)).chosen
            assert found is not None
            assert found.sharding.ranks == count


@examples
@given(asked=requests(), extra=st.integers(1, 64))
def test_more_memory_never_needs_more_gpus(asked, extra):
    (card,) = asked.accelerators
    larger = card.model_copy(update={"usable_memory_bytes": card.usable_memory_bytes + extra * (1 << 30)})
    assert gpus(dataclasses.replace(asked, accelerators=(larger,))) <= gpus(asked)


@examples
@given(asked=requests(), share=st.integers(1, 49))
def test_a_larger_share_of_the_memory_never_needs_more_gpus(asked, share):
    larger = dataclasses.replace(asked, utilization_percent=min(99, asked.utilization_percent + share))
    assert gpus(larger) <= gpus(asked)


@examples
@given(asked=requests(), longer=st.integers(1, 400_000))
def test_a_longer_context_never_takes_fewer_gpus(asked, longer):
    more = dataclasses.replace(asked, max_model_length=asked.max_model_length + longer)
    assert gpus(asked) <= gpus(more)


@examples
@given(asked=requests(), more=st.integers(1, 64))
def test_more_sequences_never_take_fewer_gpus(asked, more):
    larger = dataclasses.replace(asked, concurrent_sequences=asked.concurrent_sequences + more)
    assert gpus(asked) <= gpus(larger)


@examples
@given(asked=requests())
def test_no_plan_breaks_divisibility_bounds_or_nodes(asked):
    found = plan(asked)
    shape = asked.model.architecture
    for candidate in (found.chosen, *found.alternatives) if found.chosen else ():
        tensor, pipeline = candidate.sharding.tensor, candidate.sharding.pipeline
        assert shape.num_attention_heads % tensor == 0
        assert shape.num_key_value_heads % tensor == 0 or tensor % shape.num_key_value_heads == 0
        assert shape.intermediate_size % tensor == 0
        assert pipeline <= shape.num_hidden_layers
        assert asked.max_gpus is None or tensor * pipeline * asked.max_replicas <= asked.max_gpus
        per_node = candidate.gpus_per_node
        assert candidate.nodes == 1 or (tensor * pipeline == candidate.nodes * per_node and per_node % tensor == 0)
        assert candidate.variant in asked.variants


@examples
@given(asked=requests(), tensor=st.integers(1, 16), pipeline=st.integers(1, 8))
def test_named_sizes_are_honored_or_refused_never_changed(asked, tensor, pipeline):
    found = plan(dataclasses.replace(asked, tensor=tensor, pipeline=pipeline))
    every = [*([found.chosen] if found.chosen else []), *found.alternatives, *(r.candidate for r in found.rejected)]
    assert {(c.sharding.tensor, c.sharding.pipeline) for c in every} == {(tensor, pipeline)}
    assert all(rejection.nearest for rejection in found.rejected)


@examples
@given(
    asked=requests(),
    rate=st.integers(1, 5000),
    first=st.sampled_from([None, 500, 2000]),
    each=st.sampled_from([None, 20_000, 50_000]),
)
def test_a_plan_with_objectives_meets_them_and_more_load_never_takes_fewer_gpus(asked, rate, first, each):
    def with_rate(wanted):
        objectives = Objectives(Workload(1000, 200, wanted), Limits(first, each))
        return dataclasses.replace(asked, objectives=objectives, max_replicas=500, max_gpus=None)

    found = plan(with_rate(rate)).chosen
    if found is not None:
        assert found.performance is not None
        assert found.performance.within(Limits(first, each))
        assert found.performance.requests_per_minute * found.replicas >= rate
        assert found.performance.concurrency <= plan(with_rate(rate)).max_num_seqs or asked.concurrent_sequences > 1
    assert gpus(with_rate(rate)) <= gpus(with_rate(rate * 2))


@given(layers=st.integers(1, 130), stages=st.integers(1, 16))
def test_layers_are_cut_as_vllm_cuts_them(layers, stages):
    assert layers_of_stages(layers, stages) == partition(layers, stages)
    assert sum(layers_of_stages(layers, stages)) == layers


@pytest.mark.parametrize(("tensor", "pipeline", "tokens"), [(1, 1, 1_048_576), (2, 1, 2_097_152), (2, 2, 4_194_304)])
def test_the_independent_check_meets_what_the_engine_logged(tensor, pipeline, tokens):
    # vLLM on CPU logged these sizes for a cache of 1 GiB per rank and a toy model; the weights are below a block.
    tiny = KNOWN.model("tiny-random-llama")
    shape = tiny.architecture.model_copy(
        update={
            "num_hidden_layers": 4,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "num_attention_heads": 4,
            "hidden_size": 128,
        }
    )
    toy = tiny.model_copy(update={"architecture": shape})
    assert tokens % 16 == 0
    held = concurrency(
        toy,
        tiny.variants[0].model_copy(update={"weight_bytes": 1}),
        KNOWN.accelerator("CPU").model_copy(update={"usable_memory_bytes": 1 << 30}),
        tensor,
        pipeline,
        utilization_percent=100,
        kv_bytes=2,
        length=16,
        peak=0,
    )
    assert held * 16 == pytest.approx(tokens, rel=0.1)
