"""The incidents are well made: names that a namespace can have, words that exist, and every cause of a diagnosis is played."""

import re
from collections import Counter

import pytest

from gameday.incident import View, When
from gameday.incidents import INCIDENTS
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.cli.explain.cures import cures

DIAGNOSED = {
    Reason.NODES_LOST,
    Reason.PODS_UNSCHEDULABLE,
    Reason.PODS_REFUSED,
    Reason.CLUSTER_NOT_MADE,
    Reason.IMAGE_NOT_PULLED,
    Reason.CONTAINER_FAILED,
    Reason.PROBE_FAILED,
    Reason.WRITE_REFUSED,
    Reason.DEGRADED,
    Reason.ENGINE_FAILED,
    Reason.PROGRESS_DEADLINE_EXCEEDED,
}


def test_names_are_unique_and_fit_a_namespace():
    counted = Counter(one.name for one in INCIDENTS)
    assert [name for name, count in counted.items() if count > 1] == []
    assert [name for name in counted if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,57}[a-z0-9])?", name)] == []


def test_every_cause_of_a_diagnosis_is_played():
    assert {reason for one in INCIDENTS for reason in one.reasons} >= DIAGNOSED


def test_six_are_played_with_the_tests_and_none_of_them_disturbs_others():
    sampled = [one for one in INCIDENTS if one.sampled]
    assert len(sampled) == 6
    assert [one.name for one in sampled if one.alone] == []


@pytest.mark.parametrize("incident", INCIDENTS, ids=lambda one: one.name)
def test_what_has_to_be_said_is_spelled_as_the_product_spells_it(incident):
    assert incident.says
    assert set(incident.reasons) <= cures()
    for says in incident.says:
        assert says.when is When.NEVER or says.of or says.has or says.lacks, f"anything would do: {says}"
        if says.view is View.CONDITION:
            assert says.of in {"", *ConditionType}
            assert says.reason in {"", *Reason}
            assert says.state in {"", "True", "False", "Unknown"}
        if says.view is View.EVENT:
            assert says.state in {"", "Normal", "Warning"}
