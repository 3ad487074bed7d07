"""What a lineage costs: work grows with the number of declared steps, not with the ways through them, and is done once.

Work is counted in calls of functions: seconds would depend on the machine.
"""

import sys
from datetime import UTC, datetime

import pytest

from llama_operator.api.manifest import parse
from llama_operator.catalog.additions import Additions
from llama_operator.decide.license.lineage import Lineages, lineages
from llama_operator.status import license_records
from llama_operator.status.license_records import Records


def model(name, ancestors=("llama-3.1-8b",)):
    kind = "Merge" if len(ancestors) > 1 else "Finetune"
    return parse(
        {
            "apiVersion": "llama-operator.io/v1alpha1",
            "kind": "LlamaModel",
            "metadata": {"name": name},
            "spec": {
                "source": {"huggingFace": {"repository": f"acme/{name}", "revision": "a" * 40}},
                "digest": "b" * 64,
                "lineage": {"derivedFrom": [{"model": each, "kind": kind} for each in ancestors]},
            },
        }
    )


def merged(count):
    """LlamaModels in rows of four; each is merged from the 16 of the four rows before: 50 steps from the first to the last."""
    rows = (range(max(0, number // 4 * 4 - 16), number // 4 * 4) for number in range(count))
    return tuple(
        model(f"m{number}", [f"m{other}" for other in above] or ["llama-3.1-8b"]) for number, above in enumerate(rows)
    )


def row(count):
    """LlamaModels of which each is tuned from the one before it."""
    return tuple(model(f"m{number}", [f"m{number - 1}"] if number else ["llama-3.1-8b"]) for number in range(count))


def calls(work):
    """Calls of functions that `work` makes."""
    count = 0

    def counting(_frame, event, _argument):
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(counting)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("kind", [Lineages, Additions], ids=lambda kind: kind.__name__)
def test_twice_the_models_cost_twice_the_work(kind, known):
    def asked(models):
        found = kind(known, models)
        ask = found.resolve if kind is Lineages else found.added
        return lambda: ask(models[-1].metadata.name)

    hundred, double = (calls(asked(merged(count))) for count in (100, 200))
    assert double < 2.5 * hundred
    # 3,080 steps: a few hundred calls each would be a walk over ways.
    assert double < 100 * 3_080


def test_what_stays_the_same_is_found_out_once_for_all_passes(known):
    first, again = merged(60), merged(60)
    assert first is not again
    assert lineages(known, first) is lineages(known, again)
    asked = calls(lambda: lineages(known, first).resolve("m59"))
    assert calls(lambda: lineages(known, again).resolve("m59")) < asked / 5
    assert lineages(known, first[:-1]) is not lineages(known, first)


def test_status_is_no_reason_to_look_again(known):
    models = merged(20)
    status = license_records.of_model(models[3], Records(known, models, (), (), datetime(2026, 3, 2, tzinfo=UTC)))
    written = tuple(each.model_copy(update={"status": status}) for each in models)
    assert lineages(known, written) is lineages(known, models)


def test_every_step_is_there_once_nearest_first(known):
    facts = Lineages(known, merged(5)).resolve("m4")
    assert facts.ancestors == ("m0", "llama-3.1-8b", "m1", "m2", "m3")
    steps = [(step.model, step.ancestor) for step in facts.derivations]
    assert steps == [
        *(("m4", "m0"), ("m0", "llama-3.1-8b")),
        *(("m4", "m1"), ("m1", "llama-3.1-8b")),
        *(("m4", "m2"), ("m2", "llama-3.1-8b")),
        *(("m4", "m3"), ("m3", "llama-3.1-8b")),
    ]


@pytest.mark.parametrize("first", ["m99", "m64", "m30"])
def test_what_is_asked_first_changes_no_answer(known, first):
    """A lineage that is too long spoils itself and what is made of it, and nothing that it is made of."""
    found = Lineages(known, row(100))
    found.resolve(first)
    refused = [name for name in (f"m{number}" for number in range(100)) if found.resolve(name).unresolved]
    assert refused == [f"m{number}" for number in range(64, 100)]
    assert found.resolve("m64").unresolved == Lineages(known, row(100)).resolve("m64").unresolved
    assert "65 steps long" in found.resolve("m64").unresolved[0]


def test_a_row_of_thousands_ends_in_words(known):
    facts = Lineages(known, row(3_000)).resolve("m2999")
    assert facts.unresolved


@pytest.mark.parametrize("first", ["a", "b", "c", "outside"])
def test_a_circle_is_told_alike_whichever_of_its_models_is_asked_first(known, first):
    models = (model("b", ["c"]), model("c", ["a"]), model("a", ["b"]), model("outside", ["c"]))
    found = Lineages(known, models)
    found.resolve(first)
    for name in ("a", "b", "c", "outside"):
        assert "its lineage leads in a circle: a -> b -> c -> a" in found.resolve(name).unresolved
