"""Which bounds hold when: by the clock on the wall of the schedule's zone, also on days when that clock is changed."""

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from llama_operator import catalog
from llama_operator.api.v1alpha1.scaling import ScalingSpec
from llama_operator.decide.bounds import least_replicas, live_settings, most_replicas
from llama_operator.decide.decision import decide
from llama_operator.decide.scaling.schedule import ReplicaBounds, bounds_at, hours_of_a_week, seconds_to_next, widest
from llama_serving.config import RequestPath

WORKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
OFFICE = {"name": "office", "days": WORKDAYS, "from": "08:00", "to": "18:00", "minReplicas": 4}
NIGHT = {"name": "night", "from": "22:00", "to": "06:00", "minReplicas": 0, "maxReplicas": 2}
BERLIN = "Europe/Berlin"


def scaling(*windows, zone=BERLIN, least=1, most=6):
    return ScalingSpec.model_validate_json(
        json.dumps(
            {"minReplicas": least, "maxReplicas": most, "schedule": {"timeZone": zone, "windows": list(windows)}}
        )
    )


def berlin(text):
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(BERLIN)).astimezone(UTC)


@pytest.mark.parametrize(
    ("at", "least", "most", "window"),
    [
        ("2026-03-02T07:59", 1, 6, ""),
        ("2026-03-02T08:00", 4, 6, "office"),
        ("2026-03-02T17:59", 4, 6, "office"),
        ("2026-03-02T18:00", 1, 6, ""),
        ("2026-03-01T12:00", 1, 6, ""),
        ("2026-03-02T22:00", 0, 2, "night"),
        ("2026-03-03T05:59", 0, 2, "night"),
        ("2026-03-03T06:00", 1, 6, ""),
        ("2026-07-06T08:00", 4, 6, "office"),
    ],
)
def test_the_first_window_that_holds_counts(at, least, most, window):
    assert bounds_at(scaling(OFFICE, NIGHT), berlin(at)) == ReplicaBounds(least, most, window)


def test_a_night_belongs_to_the_day_on_which_it_begins():
    friday = scaling(NIGHT | {"days": ["Friday"]})
    assert bounds_at(friday, berlin("2026-03-07T05:00")).window == "night"
    assert bounds_at(friday, berlin("2026-03-06T05:00")).window == ""


@pytest.mark.parametrize(
    ("begin", "end", "holds_from", "holds_to"),
    [
        ("22:00", "02:30", "2026-10-24T20:00Z", "2026-10-25T01:30Z"),
        ("22:00", "02:00", "2026-10-24T20:00Z", "2026-10-25T00:00Z"),
        ("22:00", "03:00", "2026-10-24T20:00Z", "2026-10-25T02:00Z"),
        ("02:30", "06:00", "2026-10-25T00:30Z", "2026-10-25T05:00Z"),
        ("02:10", "02:20", "2026-10-25T00:10Z", "2026-10-25T01:20Z"),
    ],
)
def test_in_an_hour_that_comes_twice_no_window_ends_and_begins_again(begin, end, holds_from, holds_to):
    one = scaling({"name": "one", "from": begin, "to": end, "minReplicas": 3})
    noon = datetime(2026, 10, 24, 12, tzinfo=UTC)
    minutes = [noon + timedelta(minutes=minute) for minute in range(24 * 60)]
    held = [moment for moment in minutes if bounds_at(one, moment).window]
    assert held == [
        moment for moment in minutes if datetime.fromisoformat(holds_from) <= moment < datetime.fromisoformat(holds_to)
    ]


def test_of_windows_that_overlap_the_first_of_the_list_counts():
    lunch = {"name": "lunch", "from": "12:00", "to": "13:00", "minReplicas": 5}
    noon = berlin("2026-03-02T12:30")
    assert bounds_at(scaling(lunch, OFFICE), noon).window == "lunch"
    assert bounds_at(scaling(OFFICE, lunch), noon).window == "office"


def test_midnight_ends_a_day():
    whole = scaling({"name": "sunday", "days": ["Sunday"], "from": "00:00", "to": "24:00", "maxReplicas": 3})
    assert [bounds_at(whole, berlin(at)).window for at in ("2026-03-01T00:00", "2026-03-01T23:59", "2026-03-02T00:00")] == [
        "sunday", "sunday", "",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("zone", "begins"),
    [("UTC", "2026-03-02T08:00"), ("America/New_York", "2026-03-02T13:00"), ("Asia/Kolkata", "2026-03-02T02:30")],
)
def test_hours_are_those_of_the_zone(zone, begins):
    moment = datetime.fromisoformat(begins).replace(tzinfo=UTC)
    spec = scaling(OFFICE, zone=zone)
    assert bounds_at(spec, moment).window == "office"
    assert bounds_at(spec, moment - timedelta(minutes=1)).window == ""


def walked(spec, begin, hours):
    """Moments at which bounds change, found minute by minute, and found by sleeping as long as is said."""
    by_minute, by_sleep = [], []
    last = bounds_at(spec, begin)
    for minute in range(1, hours * 60 + 1):
        moment = begin + timedelta(minutes=minute)
        if (now := bounds_at(spec, moment)) != last:
            by_minute.append((moment, now.window))
            last = now
    moment, last = begin, bounds_at(spec, begin)
    while moment < begin + timedelta(hours=hours):
        seconds = seconds_to_next(spec, moment)
        assert 0 < seconds <= 900
        moment += timedelta(seconds=seconds)
        if (now := bounds_at(spec, moment)) != last:
            by_sleep.append((moment, now.window))
            last = now
    return by_minute, by_sleep


@pytest.mark.parametrize(
    "begin",
    ["2026-03-28T12:00", "2026-10-24T12:00", "2026-03-02T00:00"],
    ids=["clocks go forward", "clocks go back", "a usual day"],
)
def test_the_next_look_is_at_the_change_and_never_sleeps_over_one(begin):
    spec = scaling({"name": "early", "from": "02:30", "to": "05:00", "minReplicas": 3}, OFFICE, NIGHT | {"to": "01:00"})
    by_minute, by_sleep = walked(spec, berlin(begin), 36)
    assert [window for _, window in by_minute] == [window for _, window in by_sleep]
    late = [slept - moment for (moment, _), (slept, _) in zip(by_minute, by_sleep, strict=True)]
    assert max(late) <= timedelta(seconds=900), "only where a clock change has moved a boundary"
    if begin == "2026-03-02T00:00":
        assert set(late) == {timedelta(0)}


def test_without_a_schedule_nobody_waits_for_one():
    assert seconds_to_next(ScalingSpec(), berlin("2026-03-02T08:00")) is None


def test_a_week_has_its_hours():
    assert hours_of_a_week(scaling(OFFICE)) == ((ReplicaBounds(4, 6, "office"), 50.0), (ReplicaBounds(1, 6), 118.0))


def test_limits_of_hardware_hold_for_all_hours_and_live_bounds_for_this_one(deployment):
    spec = deployment(
        scaling={"minReplicas": 1, "maxReplicas": 3, "schedule": {"windows": [OFFICE | {"maxReplicas": 9}]}}
    ).spec
    monday = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    assert (most_replicas(spec), widest(spec.scaling).least) == (9, 1)
    assert (least_replicas(spec), least_replicas(spec, monday)) == (1, 4)
    live = live_settings(spec, 8, RequestPath.DIRECT, now=monday)
    assert (live.min_replicas, live.max_replicas) == (4, 9)
    evening = live_settings(spec, 8, RequestPath.DIRECT, now=monday.replace(hour=19))
    assert (evening.min_replicas, evening.max_replicas) == (1, 3)


def test_a_schedule_is_no_other_revision_and_asks_for_a_look_in_time(observed):
    monday = datetime(2026, 3, 2, 7, 50, tzinfo=UTC)
    plain = decide(observed(facts={"now": monday}), catalog.load())
    planned = decide(
        observed(facts={"now": monday}, scaling={"maxReplicas": 6, "schedule": {"windows": [OFFICE]}}), catalog.load()
    )
    assert planned.revision == plain.revision
    assert (plain.next_bounds, planned.next_bounds) == (None, 600.0)
