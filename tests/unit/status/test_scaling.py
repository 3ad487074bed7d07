"""The history of replicas holds what Serve did, and nothing that the operator merely could not see."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from llama_operator.decide.decision import decide
from llama_operator.decide.observed import RevisionFacts, TrafficFacts
from llama_operator.decide.rollout.revision import revision_of
from llama_operator.status import summary
from llama_serving.contract.status import DeploymentIdentity, ScalingChange, ScalingState, ServingStatus

BEGIN = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
OLD = "chat-old"
SILENT = "while the status endpoint did not answer; now 0 requests wait, 4 per replica is the target"
BOUNDS = "bounds of the spec"
FEWER = "0 requests wait: fewer replicas hold the target of 4"
SPEC = {
    "model": {"name": "tiny-random-llama"}, "hardware": {"accelerator": "CPU"}, "license": {},
    "rollout": {"strategy": "BlueGreen"},
}  # fmt: skip


def told(replicas, *, by="", queue=0, least=1, most=5, traffic=None, changes=None):
    """Serve answers: the pods of revision `by`, of the wanted one if it is empty; `changes` is what the policy wrote down."""
    return {
        "serving": (replicas, by, queue), "services": (by,), "least": least, "most": most, "traffic": traffic,
        "changes": changes,
    }  # fmt: skip


def change(minute, before, after, reason="up: 3 requests/s"):
    return ScalingChange(
        at=(BEGIN + timedelta(minutes=minute)).timestamp() + 0.5, before=before, after=after, reason=reason
    )


def silent(*, least=1, most=5):
    """KubeRay says that it serves, and the status endpoint does not answer."""
    return told(0, least=least, most=most) | {"serving": None}


def away(*, by="", least=1, most=5, held=True):
    """The endpoint does not answer its health check: no pod is ready."""
    return silent(least=least, most=most) | {"away": True, "services": (by,), "held": held}


GONE = silent() | {"services": ()}
SUSPENDED = told(3) | {"serving": None, "more": {"activation": "Suspended"}}
UNKNOWN_MODEL = {"model": {"name": "no-such-model"}}


def _said(step):
    changes = step.get("changes")
    return None if changes is None else ScalingState(at=0.0, wanted_replicas=step["serving"][0], changes=tuple(changes))


@pytest.fixture
def history(observed, service_facts, known, deployment):
    """Run passes, each with the status that the one before wrote; returns the entries, oldest first."""
    wanted = revision_of(deployment(**SPEC)).name

    def run(steps, *, status=None, facts=None):
        for minute, step in enumerate(steps):
            serving = None
            if step["serving"] is not None:
                replicas, by, queue = step["serving"]
                identity = DeploymentIdentity(namespace="team-a", name="chat", revision=by or wanted)
                serving = ServingStatus(
                    identity=identity, model_id="tiny-random-llama", replicas=replicas, target_replicas=replicas,
                    queue_depth=queue, running_requests=0, scaling=_said(step),
                )  # fmt: skip
            given = observed(
                **(SPEC | step.get("more", {})),
                scaling={"minReplicas": step["least"], "maxReplicas": step["most"], "targetQueueDepth": 4},
                serving=serving,
                ray_services=tuple(
                    service_facts(name or wanted, endpoints=0 if step.get("away") else 1, holds_replicas=step.get("held", True))
                    for name in step["services"]
                ),
                facts={
                    "now": BEGIN + timedelta(minutes=minute),
                    "traffic": TrafficFacts(step.get("traffic") or wanted, BEGIN),
                }
                | (facts or {}),
            )  # fmt: skip
            if status is not None:
                given = replace(given, deployment=given.deployment.model_copy(update={"status": status}))
            status = summary.build(given, decide(given, known), failure=None, now=given.now)
        return status, [(e.from_replicas, e.to_replicas, e.reason) for e in reversed(status.scaling_history)]

    return run


@pytest.mark.parametrize(
    ("steps", "entries"),
    [
        pytest.param([told(2), away(), told(2)], [], id="reported: health check fails for a moment"),
        pytest.param([told(2), away(held=False), told(2)], [], id="health check fails, all replicas gone"),
        pytest.param([told(2), silent(), silent(), told(2)], [], id="status endpoint is unreachable"),
        pytest.param([told(2), silent()], [], id="unreachable, and still so"),
        pytest.param([told(2), told(1)], [(2, 1, FEWER)], id="a change"),
        pytest.param(
            [told(2), told(3, queue=9)], [(2, 3, "9 requests wait, 4 per replica is the target")], id="a change by load"
        ),
        pytest.param([told(2), silent(), told(3)], [(2, 3, SILENT)], id="a change while it was unreachable"),
        pytest.param([told(2), away(), told(3)], [(2, 3, SILENT)], id="a change while no pod was ready"),
        pytest.param([told(3), away(held=False), told(1)], [(3, 1, SILENT)], id="Serve was restarted"),
        pytest.param([told(2), SUSPENDED, silent()], [], id="resumed, and the operator first sees that it serves again"),
        pytest.param([told(2), SUSPENDED, told(2)], [(1, 2, SILENT)], id="resumed, and it has grown when it is seen first"),
        pytest.param([told(0, least=0), silent(least=1)], [(0, 1, BOUNDS)], id="the bounds take it out of zero"),
        pytest.param([told(2)], [], id="the first look at a deployment that runs: replicas before are unknown"),
        pytest.param([GONE, away(held=False), told(1)], [], id="a start"),
        pytest.param([GONE, away(held=False), told(2)], [(1, 2, SILENT)], id="a start that had to scale at once"),
        pytest.param([told(1), silent(least=2), told(2, least=2)], [(1, 2, BOUNDS)], id="bounds while unreachable"),
        pytest.param([told(1), away(least=2), told(2, least=2)], [(1, 2, BOUNDS)], id="bounds while no pod was ready"),
        pytest.param([told(1), told(2, least=2)], [(1, 2, BOUNDS)], id="bounds"),
        pytest.param([told(4), told(3, most=3)], [(4, 3, BOUNDS)], id="bounds below what runs"),
        pytest.param([told(3), SUSPENDED, GONE, told(1)], [], id="suspended and resumed"),
        pytest.param(
            [told(1, least=0), told(0, least=0), away(least=0), told(1, least=0)],
            [(1, 0, FEWER), (0, 1, SILENT)],
            id="to zero and back",
        ),
        pytest.param(
            [told(2), away() | {"more": UNKNOWN_MODEL}, told(2)], [], id="a problem of the spec while no pod was ready"
        ),
        pytest.param([told(2), told(3) | {"more": UNKNOWN_MODEL}], [(2, 3, "0 requests wait, 4 per replica is the target")], id="a change under a problem of the spec"),
        pytest.param(
            [told(3, by=OLD, traffic=OLD), told(3, by=OLD) | {"services": (OLD, "")}, told(1)],
            [],
            id="another revision takes over",
        ),
        pytest.param(
            [told(3, by=OLD, traffic=OLD), *[told(n, by=OLD) | {"services": (OLD, "")} for n in (3, 4)], told(1)],
            [],
            id="pods of the revision before answer still, with another target",
        ),
        pytest.param(
            [told(3, by=OLD, traffic=OLD), told(3, by=OLD) | {"services": (OLD, "")}, silent(), told(1), told(2)],
            [(1, 2, "0 requests wait, 4 per replica is the target")],
            id="the first answer of another revision, after a gap",
        ),
    ],
)  # fmt: skip
def test_history_holds_only_what_serve_did(history, steps, entries):
    assert history(steps)[1] == entries


def test_what_the_policy_wrote_down_is_taken_with_its_times_and_reasons(history):
    first, second = change(1, 2, 3), change(2, 3, 1, "down: 1 requests/s")
    steps = [told(2, changes=[]), told(3, changes=[first]), silent(), told(1, changes=[second, first])]
    status, entries = history(steps)
    assert entries == [(2, 3, "up: 3 requests/s"), (3, 1, "down: 1 requests/s")]
    assert [one.time for one in status.scaling_history] == [BEGIN + timedelta(minutes=minute) for minute in (2, 1)]
    assert history([*steps, told(1, changes=[second, first])])[1] == entries


def test_what_older_pods_left_to_be_guessed_stays_before_what_the_policy_wrote_down(history):
    _, entries = history([told(2), told(1), told(1, changes=[]), told(4, changes=[change(2.5, 1, 4)])])
    assert entries == [(2, 1, FEWER), (1, 4, "up: 3 requests/s")]


@pytest.mark.parametrize(
    ("since", "own", "entries"),
    [
        pytest.param(3, [change(1, 1, 3)], [(2, 1), (1, 2)], id="what it changed before is not of the deployment"),
        pytest.param(3, [change(4, 3, 2), change(1, 1, 3)], [(3, 2), (2, 1), (1, 2)], id="what it changes now is"),
        pytest.param(None, [change(4, 3, 2), change(1, 1, 3)], [(3, 2), (1, 3), (1, 2)], id="where nobody says since when"),
    ],
)  # fmt: skip
def test_a_revision_that_takes_over_keeps_what_the_one_before_it_changed(history, deployment, since, own, entries):
    old = [change(2, 2, 1), change(0, 1, 2)]
    status, _ = history([told(1, by=OLD, traffic=OLD, changes=old)])
    wanted = revision_of(deployment(**SPEC)).name
    moved = None if since is None else BEGIN + timedelta(minutes=since)
    status, _ = history([told(2, changes=own)], status=status, facts={"traffic": TrafficFacts(wanted, moved)})
    assert [(one.from_replicas, one.to_replicas) for one in status.scaling_history] == entries


def test_replicas_stand_while_the_endpoint_is_away(history):
    status, _ = history([told(3), away()])
    assert (status.replicas, status.ready_replicas, status.queue_depth) == (3, 0, None)
    status, _ = history([told(3), silent()])
    assert (status.replicas, status.ready_replicas, status.queue_depth) == (3, 3, 0)
    assert status.serving_silent_since is not None
    status, _ = history([told(3), silent(), told(3)])
    assert status.serving_silent_since is None


def test_a_revision_that_gets_the_traffic_back_may_have_any_number_of_replicas(history, deployment):
    wanted = revision_of(deployment(**SPEC)).name
    status, _ = history([told(2, by=OLD, traffic=OLD)])
    earlier = (BEGIN - timedelta(hours=1)).isoformat()
    plan = status.plan
    facts = {"revisions": (RevisionFacts(wanted, 1, plan, {}, {}, {}, served_at=earlier),)}
    _, entries = history(
        [silent() | {"services": (OLD, ""), "traffic": OLD}, told(4), told(5)], status=status, facts=facts
    )
    assert entries == [(4, 5, "0 requests wait, 4 per replica is the target")]


def test_the_newest_ten_are_kept(history):
    status, entries = history([told(count, most=20) for count in range(1, 14)])
    assert [entry[:2] for entry in entries] == [(count, count + 1) for count in range(3, 13)]
    assert status.scaling_history[0].time == BEGIN + timedelta(minutes=12)
