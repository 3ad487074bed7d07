"""What would fit, where nothing does: every change that is offered fits, and the smallest of its kind is offered."""

import dataclasses

import pytest

from llama_operator.api import paths
from support.planning import planned

BF16 = {"model": {"precision": "BF16"}}
CASES = {
    "a length": {**BF16, "context": {"maxModelLength": 131_072}, "hardware": {"maxGPUs": 2}},
    "sequences": {**BF16, "context": {"maxModelLength": 131_072, "concurrentSequences": 8}, "hardware": {"maxGPUs": 4}},
    "a share": {
        **BF16,
        "name": "llama-3.1-8b",
        "accelerator": "A10G-24GB",
        "hardware": {"maxGPUs": 1},
        "context": {"maxModelLength": 28_000},
    },
    "named sizes": {**BF16, "context": {"maxModelLength": 8192}, "parallelism": {"mode": "Manual", "tensor": 1}},
    "precisions": {
        "name": "llama-3.1-405b",
        "model": {"precisions": ["BF16"]},
        "hardware": {"maxGPUs": 8},
        "context": {"maxModelLength": 8192},
    },
    "no length": {"name": "llama-3.1-405b", "accelerator": "L4-24GB", "hardware": {"maxGPUs": 8}},
    "a card without the precision": {
        "name": "llama-3.1-8b",
        "accelerator": "B200-180GB",
        "model": {"precision": "INT8"},
        "context": {"maxModelLength": 8192},
    },
}


def changed(spec, change):
    """The spec with one more field, as `planned` takes it."""
    field, value = change.field.removeprefix("spec."), change.value
    if field == "hardware.accelerator":
        return spec | {"accelerator": value}
    if field == "parallelism.mode":
        return {key: part for key, part in spec.items() if key != "parallelism"}
    if field == "model.precisions":
        value = value.strip("[]").split(", ")
    nested = paths.nested({field: value})
    return {**spec, **{key: {**spec.get(key, {}), **part} for key, part in nested.items()}}


@pytest.mark.parametrize("spec", CASES.values(), ids=CASES)
def test_every_change_that_is_offered_fits(spec):
    found = planned(**spec)
    assert found.chosen is None
    assert found.plan.changes
    for change in found.plan.changes:
        assert planned(**changed(spec, change)).chosen is not None, change.text
        assert change.text in found.problem.text


@pytest.mark.parametrize(
    ("case", "field", "step"),
    [
        ("a length", "spec.context.maxModelLength", 16),
        ("sequences", "spec.context.concurrentSequences", 1),
        ("a share", "spec.engine.gpuMemoryUtilizationPercent", -1),
        ("no length", "spec.hardware.maxGPUs", -1),
    ],
)
def test_a_smaller_change_does_not_fit(case, field, step):
    spec = CASES[case]
    change = next(each for each in planned(**spec).plan.changes if each.field == field)
    smaller = dataclasses.replace(change, value=change.value + step)
    assert planned(**changed(spec, smaller)).chosen is None


def test_every_kind_is_offered_where_it_helps():
    offered = {change.field for spec in CASES.values() for change in planned(**spec).plan.changes}
    assert offered == {
        "spec.context.maxModelLength",
        "spec.context.concurrentSequences",
        "spec.engine.gpuMemoryUtilizationPercent",
        "spec.engine.arguments.graphs",
        "spec.model.precision",
        "spec.model.precisions",
        "spec.hardware.maxGPUs",
        "spec.hardware.accelerator",
        "spec.parallelism.mode",
    }


def test_sizes_that_no_hardware_cures_get_no_advice_about_hardware():
    assert planned(parallelism={"mode": "Manual", "tensor": 6}).plan.changes == ()
