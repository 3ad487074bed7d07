"""Events follow from how the status changed, each once; their notes keep the server's limit, which counts bytes."""

import pytest

from llama_operator.api.meta import Condition
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus
from llama_operator.decide.observed import RepairFacts
from llama_operator.status.events import CAUSES, changes, orphan_events, repair_events


@pytest.mark.parametrize("letter", ["a", "é", "機", "🦙"])
def test_a_note_has_at_most_1024_bytes_and_no_half_letter(letter):
    (event,) = orphan_events(letter * 2000, cut=True, removed=False)
    assert 1010 < len(event.note.encode()) <= 1024
    assert event.note.startswith(letter * 50)
    assert event.note.endswith("without --cascade=orphan")
    assert "\ufffd" not in event.note


@pytest.mark.parametrize(
    ("facts", "note"),
    [
        (RepairFacts("Service", "chat", ()), "Service chat was deleted, and is made again"),
        (
            RepairFacts("Service", "chat", ("spec.selector",), "kubectl-edit"),
            "Service chat was changed (spec.selector) by kubectl-edit, and is set right",
        ),
        (
            RepairFacts("RayService", "chat-1", ("metadata.labels", "spec.x")),
            "RayService chat-1 was changed (metadata.labels, spec.x), and is set right",
        ),
    ],
)
def test_a_repair_says_what_was_done_and_by_whom(facts, note):
    assert [event.note for event in repair_events([facts])] == [note]


@pytest.fixture
def said(now):
    """A status with conditions, given as type: (status, reason, message); the others are as of a deployment that serves."""

    def build(**conditions):
        healthy = {kind.value: ("True", Reason.SERVING, "") for kind in ConditionType} | {
            "Reconciling": ("False", Reason.SETTLED, ""),
            "Stalled": ("False", Reason.SETTLED, ""),
        }
        return LlamaDeploymentStatus(
            url="http://chat/v1",
            conditions=tuple(
                Condition(
                    type=kind,
                    status=status,
                    reason=reason,
                    message=message,
                    observed_generation=1,
                    last_transition_time=now,
                )
                for kind, (status, reason, message) in (healthy | conditions).items()
            ),
        )

    return build


def told(before, after):
    return [(event.type, event.reason, event.note) for event in changes(before, after)]


LOST = ("False", Reason.NODES_LOST, "1 pod was on node gpu-1, which is gone")
REFUSED = ("True", Reason.WRITE_REFUSED, "exceeded quota: q")


@pytest.mark.parametrize(
    ("conditions", "events"),
    [
        ({}, []),
        ({"CapacityFound": LOST}, [("Warning", "NodesLost", LOST[2])]),
        # The same cause in two conditions is told once.
        ({"CapacityFound": LOST, "ModelLoaded": LOST}, [("Warning", "NodesLost", LOST[2])]),
        ({"EndpointReady": ("True", Reason.DEGRADED, "1 of 2 run")}, [("Warning", "Degraded", "1 of 2 run")]),
        ({"Stalled": REFUSED}, [("Warning", "WriteRefused", "exceeded quota: q")]),
        ({"Ready": ("False", *REFUSED[1:]), "Stalled": REFUSED}, [("Warning", "WriteRefused", "exceeded quota: q")]),
        # What passes by waiting, and what is no cause, is no news.
        ({"ModelLoaded": ("False", Reason.STARTING, "the Ray cluster is starting")}, []),
        ({"CapacityFound": ("False", Reason.NODES_MISSING, "0 exist")}, []),
    ],
)
def test_what_changed_for_the_worse_is_told_once(said, conditions, events):
    assert told(said(), said(**conditions)) == events
    assert told(said(**conditions), said(**conditions)) == []


@pytest.mark.parametrize("reason", CAUSES)
def test_every_cause_is_told_with_its_own_reason_when_it_comes_and_not_when_it_goes(said, reason):
    first, other = (said(ModelLoaded=("False", reason, f"{words} since 11:45")) for words in ("this", "that"))
    assert told(said(), first) == [("Warning", reason, "this since 11:45")]
    later = said(ModelLoaded=("False", reason, "this since 11:46"))
    assert told(first, later) == [], "only a number differs"
    assert told(first, other) == [("Warning", reason, "that since 11:45")]
    assert told(first, said()) == []
