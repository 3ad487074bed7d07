"""The room for adapters takes memory from the KV cache, as much as vLLM takes, and none where there is none."""

import pytest

from llama_operator import catalog
from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.adapters import AdapterSlotsSpec
from llama_operator.decide.decision import decide
from llama_operator.decide.plan.adapters import host_bytes, names_problem, place_bytes, places_of, slots_problem
from llama_operator.decide.plan.memory import Sharding, Step, estimate
from llama_operator.decide.plan.request import find_plan
from llama_serving.contract.adapters import AdapterRoom, engine_rank

KNOWN = catalog.load()
ROOM = {"adapterSlots": {"maxLoras": 2, "maxLoraRank": 16}}


def one_place(name, rank, *, tensor=1, layers=None, first=True, last=True):
    shape = KNOWN.model(name).architecture
    count = shape.num_hidden_layers if layers is None else layers
    return place_bytes(shape, shape.vocab_size, rank, layers=count, tensor=tensor, first=first, last=last)


@pytest.mark.parametrize(
    ("name", "rank", "measured"),
    [
        # Tensors of vLLM 0.32 (`lora_a_stacked`, `lora_b_stacked`) of an engine with three places, added up.
        ("tiny-random-llama", 16, 933_888 // 3),
    ],
)
def test_a_place_is_as_large_as_the_engine_makes_it(name, rank, measured):
    assert one_place(name, rank) == measured


@pytest.mark.parametrize(
    ("name", "rank", "megabytes"),
    [("llama-3.1-8b", 16, 84), ("llama-3.3-70b-instruct", 16, 414), ("llama-3.3-70b-instruct", 64, 1657)],
)
def test_all_projections_of_a_place_add_up_to_published_figures(name, rank, megabytes):
    assert one_place(name, rank, first=False, last=False) / 1e6 == pytest.approx(megabytes, rel=0.01)


def test_tensor_parallelism_cuts_a_little_more_than_half_and_never_the_ends():
    whole, cut = (one_place("llama-3.3-70b-instruct", 16, tensor=tensor, first=False, last=False) for tensor in (1, 8))
    assert 0.3 < cut / whole < 0.5
    ends = one_place("llama-3.3-70b-instruct", 16, tensor=8) - cut
    assert ends == 2 * (128_256 + 8192) * 16 * 2


def memory(places=None, *, graphs=True, accelerator="H100-80GB"):
    model = KNOWN.model("llama-3.1-8b")
    return estimate(
        model,
        model.default_variant("BF16"),
        KNOWN.accelerator(accelerator),
        Sharding(1, 1),
        utilization_percent=90,
        kv_element_bytes=2,
        step=Step(graphs=graphs),
        adapters=places,
    )


def test_what_adapters_take_is_missing_in_the_kv_cache():
    places = places_of(AdapterSlotsSpec(max_loras=4, max_lora_rank=16))
    without, with_room = memory(graphs=False), memory(places, graphs=False)
    assert without.adapters == 0
    assert with_room.adapters == 4 * one_place("llama-3.1-8b", 16)
    assert without.left_for_kv - with_room.left_for_kv == with_room.adapters
    assert memory(places).adapters > with_room.adapters, "graphs are captured once more"


def test_on_a_cpu_each_adapter_has_a_place_and_one_stays_empty():
    places = places_of(AdapterSlotsSpec(max_loras=1, max_adapters=3))
    assert memory(places, accelerator="CPU").adapters == 4 * one_place("llama-3.1-8b", 16)


def test_the_memory_of_the_node_holds_all_adapters_whole():
    shape = KNOWN.model("llama-3.1-8b").architecture
    places = places_of(AdapterSlotsSpec(max_adapters=8))
    assert host_bytes(None, shape, ranks=1, stages=1) == 0
    assert host_bytes(places, shape, ranks=2, stages=1) == 16 * one_place("llama-3.1-8b", 16)
    assert host_bytes(places, shape, ranks=2, stages=2) == 8 * one_place("llama-3.1-8b", 16)


@pytest.mark.parametrize(("asked", "known"), [(1, 1), (2, 8), (16, 16), (17, 32), (257, 320), (512, 512)])
def test_a_rank_is_rounded_up_to_one_that_the_engine_knows(asked, known):
    assert engine_rank(asked) == known
    places = places_of(AdapterSlotsSpec(max_lora_rank=asked), "/adapters")
    assert places.room == AdapterRoom(max_loras=4, max_lora_rank=known, max_cpu_loras=8, folder="/adapters")


def test_no_rank_of_the_spec_is_beyond_the_engine():
    with pytest.raises(ValueError, match="513"):
        engine_rank(513)


def test_a_plan_without_room_is_what_it_was_and_one_with_room_holds_less(observed):
    model = KNOWN.model("llama-3.1-8b")
    context = {"context": {"maxModelLength": 8192}, "hardware": {"accelerator": "L40S-48GB"}}
    plain = find_plan(observed(**context), model, KNOWN)[1].chosen.memory
    listed = find_plan(observed(**context, **ROOM), model, KNOWN)[1].chosen.memory
    assert plain.adapters == 0
    assert listed.kv_tokens < plain.kv_tokens


def test_a_place_that_does_not_fit_is_named(observed):
    model = KNOWN.model("llama-3.1-8b")
    large = {"adapterSlots": {"maxLoras": 64, "maxLoraRank": 512, "maxAdapters": 64}}
    hardware = {"hardware": {"accelerator": "L4-24GB"}, "parallelism": {"mode": "Manual", "tensor": 1}}
    plan = find_plan(observed(context={"maxModelLength": 8192}, **hardware, **large), model, KNOWN)[1]
    assert plan.chosen is None
    assert "room for adapters" in plan.rejected[0].message


@pytest.mark.parametrize("name", ["llama-4-scout", "llama-guard-4-12b"])
def test_a_model_for_which_no_room_is_planned_says_so(observed, name):
    model = KNOWN.model(name)
    assert slots_problem(observed().deployment.spec, model) is None
    problem = slots_problem(observed(**ROOM).deployment.spec, model)
    assert (problem.reason, problem.field) == (Reason.ADAPTERS_NOT_SUPPORTED, "spec.adapterSlots")


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        ((), False),
        (("Llama-Acme", "Llama-Acme-2"), False),
        (("Llama-Acme", "Llama-3.1-8B"), True),
    ],
)
def test_a_name_means_one_thing(observed, names, taken):
    model = KNOWN.model("llama-3.1-8b")
    listed = [{"name": name, "source": {"path": f"a{number}"}} for number, name in enumerate(names)]
    found = names_problem(observed(**ROOM, adapters=listed).deployment.spec, model)
    assert (found is not None) is taken
    if found is not None:
        assert found.reason is Reason.ADAPTER_NAME_TAKEN


def test_an_adapter_with_the_name_of_the_model_is_a_problem(observed):
    model = KNOWN.model("llama-3.1-8b")
    listed = [{"name": model.served_name.upper(), "source": {"path": "a"}}]
    assert names_problem(observed(**ROOM, adapters=listed).deployment.spec, model).reason is Reason.ADAPTER_NAME_TAKEN


def test_the_guard_gets_no_room_for_the_adapters_of_the_model(observed):
    spec = {"hardware": {"accelerator": "H100-80GB"}, "guard": {"model": {"name": "llama-guard-3-8b"}}}
    decision = decide(observed(**spec, **ROOM), KNOWN)
    assert decision.plan.chosen.memory.adapters > 0
    assert decision.guard is not None
    assert decision.guard.best.memory.adapters == 0
