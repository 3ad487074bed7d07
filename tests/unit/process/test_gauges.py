"""/metrics answers whatever stands in a status."""

import pytest

from llama_operator.process.gauges import by_ready
from llama_operator.telemetry.metrics import plan_ratios

METADATA = {"namespace": "team-a", "name": "chat"}


def counts(*statuses):
    found = by_ready({"metadata": METADATA, "status": status} for status in statuses)
    return {labels["ready"]: count for labels, count in found}


def test_deployments_are_counted_by_what_they_say():
    told = [{"conditions": [{"type": "Ready", "status": status}]} for status in ("True", "False", "False", "Unknown")]
    assert counts(*told, {}) == {"True": 1, "False": 2, "Unknown": 2}


STATUSES = (
    None,
    "x",
    [],
    {"conditions": "x"},
    {"conditions": ["x"]},
    {"conditions": [{}]},
    {"conditions": [{"type": "Ready"}]},
    {"conditions": [{"type": "Ready", "status": "Perhaps"}]},
    {"conditions": [{"type": "Ready", "status": ["True"]}]},
)


@pytest.mark.parametrize("status", STATUSES, ids=repr)
def test_a_status_that_cannot_be_read_is_unknown(status):
    assert counts(status) == {"True": 0, "False": 0, "Unknown": 1}


@pytest.mark.parametrize(
    "cache", [None, "x", {}, {"plannedTokens": "x"}, {"plannedTokens": 0}, {"plannedTokens": True}], ids=repr
)
def test_a_plan_that_cannot_be_read_has_no_ratio(cache):
    assert list(plan_ratios([{"metadata": METADATA, "status": {"kvCache": cache}}])) == []


def test_a_measurement_that_cannot_be_read_is_none():
    cache = {"plannedTokens": 10, "measuredTokens": "x"}
    assert [ratio for _, ratio in plan_ratios([{"metadata": METADATA, "status": {"kvCache": cache}}])] == [0]
