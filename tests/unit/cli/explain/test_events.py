"""What Kubernetes warned of stands below the steps, while one of them is not fine."""

import asyncio

import pytest

from llama_operator.cli.explain.events import warning_facts
from llama_operator.kube import kinds
from support import recordings
from support.rights import WithoutRights

REVISION = "chat-aaaaaaaa"
NOTE = 'MountVolume.SetUp failed for volume "acme" : secret "acme" not found'


def warn(world, name, *, about=f"{REVISION}-x", kind="Pod", reason="FailedMount", note=NOTE, at="2026-03-02T09:28:00Z"):
    world.seed(
        kinds.EVENT,
        name,
        "team-a",
        type="Warning",
        reason=reason,
        note=note,
        regarding={"kind": kind, "name": about},
        deprecatedLastTimestamp=at,
    )


def told(world):
    return [check for check in world.json("explain", "chat")[1]["checks"] if check["name"] == "events"]


def test_the_latest_warnings_about_the_revision_are_told_each_once(world):
    asyncio.run(world.serving())
    warn(world, "a", at="2026-03-02T09:26:00Z", note="older")
    warn(world, "b")
    warn(world, "c", kind="RayCluster", reason="FailedToCreateService", note="exceeded quota: acme")
    warn(world, "d", about="other-1", note="of another deployment")
    warn(world, "e", at="2026-03-02T07:00:00Z", reason="Unhealthy", note="of this morning")
    (check,) = told(world)
    assert f"FailedMount: {NOTE} (Pod {REVISION}-x, 2m ago)" in check["evidence"]
    assert "FailedToCreateService: exceeded quota: acme" in check["evidence"]
    assert not [words for words in ("older", "another", "morning") if words in check["evidence"]]
    assert check["state"] == "Warning"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("volume-missing", 'FailedMount: MountVolume.SetUp failed for volume "acme" : secret "acme" not found'),
        ("liveness-fails", "Unhealthy: Liveness probe failed:"),
        ("probe-fails", "Unhealthy: Readiness probe failed:"),
    ],
)
def test_what_a_kubelet_warned_of_is_told(world, name, said):
    asyncio.run(world.serving())
    for event in recordings.objects(name, slim=False):
        if event["kind"] == "Event":
            warn(world, event["metadata"]["name"], reason=event["reason"], note=event["note"])
    (check,) = told(world)
    assert said in check["evidence"]


def test_a_write_that_is_tried_again_at_once_is_no_trouble(world):
    asyncio.run(world.serving())
    note = 'Operation cannot be fulfilled on pods "x": the object has been modified; please apply your changes to the latest version and try again'
    warn(world, "a", kind="RayService", about=REVISION, reason="FailedToUpdateHeadPodServeLabel", note=note)
    assert told(world) == []


def test_events_that_may_not_be_read_are_left_out(world):
    asyncio.run(world.serving())
    warn(world, "a")
    world.client = WithoutRights(world.client, kinds.EVENT)
    assert told(world) == []


@pytest.mark.parametrize("strange", [{}, {"regarding": "x"}, {"type": "Warning", "regarding": {"kind": []}}])
def test_an_event_that_nobody_foresaw_says_nothing(strange):
    assert warning_facts({"metadata": {"name": "e"}} | strange) is None
