"""What explain says of starts."""

import pytest

from llama_operator.api.v1alpha1.llamadeployment_status import ColdStartStage, ColdStartStatus, ReplicaStart
from llama_operator.cli.explain.starts import told
from llama_operator.cli.shared.checks import State


def known(*stages, predicted=None, measured=None, starts=0):
    return ColdStartStatus(
        plan="p", predicted_seconds=predicted, measured_seconds=measured,
        stages=tuple(ColdStartStage(name=name, predicted_seconds=a, measured_seconds=b) for name, a, b in stages),
        starts=tuple(
            ReplicaStart(replica=str(n), ready="2026-03-02T09:00:00Z", total_seconds=measured) for n in range(starts)
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "state", "text"),
    [
        (known(("Node", 300, None), ("Graphs", 0, None), predicted=300), State.PASSED, "predicted 300 s (Node 300)"),
        (
            known(("Node", 300, 12), ("Weights", 60, 61), predicted=360, measured=90, starts=3),
            State.PASSED,
            "predicted 360 s (Node 300, Weights 60); measured 90 s (Node 12, Weights 61), median of the last 3 starts",
        ),
        (known(measured=90, starts=1), State.PASSED, "measured 90 s, the last start"),
        (
            known(("Copy", 200, 812), ("Node", 300, None), predicted=300),
            State.PASSED,
            "predicted 300 s (Node 300); the copy, once before: predicted 200 s, measured 812 s",
        ),
    ],
)
def test_the_time_is_told_by_stage(status, state, text):
    (check,) = told(status)
    assert (check.state, check.evidence) == (state, text)


def test_a_slow_start_names_its_slowest_stage_and_what_to_do():
    (check,) = told(
        known(
            ("Node", 300, 310), ("Image", 120, 900), ("FirstToken", None, 2000), predicted=420, measured=1210, starts=1
        )
    )
    assert check.state is State.WARNING
    assert "image is pulled slowly" in check.unblock


def test_without_figures_nothing_is_said():
    assert [*told(None), *told(known())] == []
