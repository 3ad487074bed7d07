"""What explain says of bounds by the hour."""

import json
from datetime import UTC, datetime

from llama_operator.api.v1alpha1.scaling import ScalingSpec
from llama_operator.cli.explain.schedule import told

OFFICE = {"name": "office", "from": "08:00", "to": "18:00", "minReplicas": 3}


def scaling(**more):
    return ScalingSpec.model_validate_json(json.dumps({"maxReplicas": 5} | more))


def test_the_bounds_that_hold_and_those_that_follow_are_told():
    spec = scaling(schedule={"timeZone": "Europe/Berlin", "windows": [OFFICE]})
    (check,) = told(spec, datetime(2026, 3, 2, 9, 30, tzinfo=UTC))
    assert check.evidence == "window office holds: 3 to 5 replicas; in 7:30:00 no window: 1 to 5 (Europe/Berlin)"
    (check,) = told(spec, datetime(2026, 3, 2, 20, 0, tzinfo=UTC))
    assert check.evidence == "no window holds: 1 to 5 replicas; in 11:00:00 window office: 3 to 5 (Europe/Berlin)"


def test_without_a_schedule_nothing_is_said():
    assert [*told(scaling(), datetime(2026, 3, 2, tzinfo=UTC))] == []
