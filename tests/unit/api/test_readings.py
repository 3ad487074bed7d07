"""What others wrote is read exactly, or not at all: no value that an object can hold raises."""

from datetime import UTC, datetime
from fractions import Fraction

import pytest

from llama_operator.api import readings
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus

STRANGE = (
    None,
    True,
    False,
    [],
    {},
    "",
    " ",
    "x",
    "1 ",
    " 1",
    "1x",
    "--1",
    "1e",
    "e1",
    ".",
    "1.2.3",
    "0x10",
    "NaN",
    "inf",
)


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("0", 0),
        ("1", 1),
        ("+1", 1),
        ("-1", -1),
        ("1.", 1),
        (".5", Fraction(1, 2)),
        ("0.1", Fraction(1, 10)),
        ("1n", Fraction(1, 10**9)),
        ("100u", Fraction(1, 10**4)),
        ("1500m", Fraction(3, 2)),
        ("1k", 1000),
        ("10k", 10_000),
        ("1M", 10**6),
        ("1G", 10**9),
        ("1T", 10**12),
        ("1P", 10**15),
        ("1E", 10**18),
        ("1Ki", 1024),
        ("1Mi", 1024**2),
        ("1.5Gi", Fraction(3 * 1024**3, 2)),
        ("1Ti", 1024**4),
        ("1Pi", 1024**5),
        ("1Ei", 1024**6),
        ("1e3", 1000),
        ("1E3", 1000),
        ("12e-1", Fraction(6, 5)),
        ("1e0", 1),
        (8, 8),
        (1.5, Fraction(3, 2)),
    ],
)
def test_an_amount_is_read_exactly_with_every_suffix(written, amount):
    assert readings.quantity(written) == amount


@pytest.mark.parametrize(
    "written",
    [*STRANGE, "1K", "1ki", "1mi", "1ei", "1e1000", "1" * 65, "1e3k", "1Ki3", "١", float("nan"), float("inf"), 10**400],
    ids=repr,
)
def test_what_is_no_amount_is_none(written):
    assert readings.quantity(written) is None
    assert readings.units(written) is None


@pytest.mark.parametrize(
    ("written", "units"), [("1k", 1000), ("2500m", 2), ("999m", 0), ("-1", None), ("1E", None), ("9P", 9 * 10**15)]
)
def test_units_are_whole_and_no_more_than_json_carries(written, units):
    assert readings.units(written) == units


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-03-02T09:30:00Z", datetime(2026, 3, 2, 9, 30, tzinfo=UTC)),
        ("2026-03-02T09:30:00.123456Z", datetime(2026, 3, 2, 9, 30, 0, 123456, tzinfo=UTC)),
        ("2026-03-02T11:30:00+02:00", datetime(2026, 3, 2, 9, 30, tzinfo=UTC)),
        ("2026-03-02T09:30:00", datetime(2026, 3, 2, 9, 30, tzinfo=UTC)),
        ("2026-03-02", datetime(2026, 3, 2, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_in_utc_also_without_an_offset(written, moment):
    assert readings.moment(written) == moment


@pytest.mark.parametrize(
    "written",
    [
        *STRANGE,
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-23:00",
        "0001-01-01T00:00:00+23:00",
        "1969-12-31T23:59:59Z",
        "3000-01-01T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "20260-01-01T00:00:00Z",
        1_767_225_600,
        "1" * 5000,
    ],
    ids=lambda written: repr(written)[:40],
)
def test_a_time_in_which_nothing_can_have_happened_is_none(written):
    assert readings.moment(written) is None


@pytest.mark.parametrize("written", [-1, 2**53, 10**400, 1.0, "3", True, None, [], {}], ids=repr)
def test_a_number_out_of_bounds_or_of_another_type_is_none(written):
    assert readings.whole(written) is None
    assert readings.whole(7, least=1, most=7) == 7
    assert readings.whole(8, most=7) is None


@pytest.mark.parametrize("written", [None, True, 3, "abc", [1, "x", None], [[{}]]], ids=repr)
def test_what_is_no_object_has_no_parts(written):
    assert readings.mapping(written) == {}
    assert readings.mappings(written) == ()
    assert readings.labels({"metadata": written}) == readings.annotations({"metadata": {"annotations": written}}) == {}


CONDITION = {
    "type": "Ready",
    "status": "True",
    "observedGeneration": 1,
    "lastTransitionTime": "2026-03-02T09:30:00Z",
    "reason": "Serving",
    "message": "",
}


@pytest.mark.parametrize(
    "broken",
    [
        {"replicas": "many"},
        {"replicas": -1},
        {"replicas": 10**400},
        {"plan": {"chosen": {"model": "m"}}},
        {"conditions": [CONDITION, {"type": "Stalled"}]},
        {"conditions": [CONDITION, "x", None]},
        {"conditions": [CONDITION, CONDITION | {"lastTransitionTime": "soon"}]},
        {"conditions": [CONDITION, CONDITION | {"status": "Perhaps"}]},
        {"scalingHistory": [{"time": "x"}]},
        {"scalingHistory": {}},
        {"revisions": []},
        {"kvCache": 3},
    ],
    ids=lambda broken: next(iter(broken)),
)
def test_of_a_half_written_status_the_rest_is_read(broken):
    whole = {"observedGeneration": 4, "url": "http://chat/v1", "conditions": [CONDITION]}
    read = readings.status(LlamaDeploymentStatus, whole | broken)
    assert (read.observed_generation, read.url) == (4, "http://chat/v1")
    assert [condition.reason for condition in read.conditions] == ["Serving"]


@pytest.mark.parametrize("written", [None, 3, "x", [], {}, {"newer": 1}], ids=repr)
def test_a_status_that_says_nothing_is_the_default_one(written):
    assert readings.status(LlamaDeploymentStatus, written) == LlamaDeploymentStatus()
