"""What the person on call is told: an outage is never told as a start or a rollout, and a rollout never as an outage.

Incidents that were played on a development cluster, as rows: what happens, and what the conditions say then.
"""

from dataclasses import dataclass, field

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import Propagation, Ref
from support.kstatus import kstatus
from support.stage import Stage, condition

SMALLER = {"maxModelLength": 512}
UNTIL = "served until 09:30:00Z on 2026-03-02"


@dataclass(frozen=True)
class Row:
    """What the conditions say in the end."""

    ready: tuple[str, str]
    current: tuple[str, str]
    stalled: str = "False"
    tool: str = "InProgress"
    words: tuple[str, ...] = ()
    """Parts of the message of Ready."""
    unsaid: tuple[str, ...] = field(default=("yet", "being started"))
    """What no message of Ready, EndpointReady and UpToDate has."""
    down: bool = False


ROWS = {}


async def put_status(world, ref, change):
    """Somebody else writes the status: an older operator, or who puts back a backup."""
    live = await world.user.get(ref)
    owner = world.memory.client("llama-operator")
    await owner.apply_status(kinds.identity(live) | {"status": change(live["status"])})


def row(name, **expected):
    def register(play):
        ROWS[name] = play, Row(**expected)
        return play

    return register


@row(
    "the first start fails",
    ready=("False", "EngineFailed"),
    current=("False", "RollingOut"),
    words=("CUDA out of memory",),
    unsaid=("served until",),
)
async def first_start_fails(stage):
    await stage.begin()
    await stage.says(status="DEPLOY_FAILED", endpoints=0, message="CUDA out of memory")


@row(
    "the first start fails for longer than the deadline",
    ready=("False", "EngineFailed"),
    current=("False", "ProgressDeadlineExceeded"),
    stalled="True",
    tool="Failed",
    words=("CUDA out of memory",),
    unsaid=("served until",),
)
async def first_start_is_overdue(stage):
    await first_start_fails(stage)
    await stage.wait(3600)
    assert "CUDA out of memory" in condition(stage.status, "Stalled").message


@row(
    "an engine dies while it serves",
    ready=("False", "EngineFailed"),
    current=("True", "RolledOut"),
    words=(UNTIL.replace("09:30", "09:40"), "Serve says UNHEALTHY", "EngineDeadError"),
    down=True,
)
async def engine_dies(stage):
    await stage.serve()
    await stage.says(status="UNHEALTHY", endpoints=2, message="EngineDeadError")
    await stage.wait(7200)


@row(
    "all pods stop being ready",
    ready=("False", "NoEndpoint"),
    current=("True", "RolledOut"),
    words=(UNTIL.replace("09:30", "09:40"),),
    down=True,
)
async def pods_stop(stage):
    await stage.serve()
    await stage.says(endpoints=0)
    await stage.wait(7200)


@row(
    "all pods stop being ready, and then the spec gets a problem",
    ready=("False", "NoEndpoint"),
    current=("False", "ContextTooLong"),
    stalled="True",
    tool="Failed",
    words=("served until",),
    down=True,
)
async def pods_stop_and_a_bad_spec(stage):
    await pods_stop(stage)
    await stage.change(context={"maxModelLength": 99_999})


@row(
    "somebody deletes the RayService",
    ready=("False", "NoEndpoint"),
    current=("True", "RolledOut"),
    words=("served until", "it is made again"),
    down=True,
)
async def ray_service_is_deleted(stage):
    await stage.serve()
    await stage.delete(kinds.RAY_SERVICE, stage.first)
    assert await stage.world.names(kinds.RAY_SERVICE) == [stage.first]


@row("somebody deletes the Service", ready=("True", "Serving"), current=("True", "RolledOut"), tool="Current")
async def service_is_deleted(stage):
    await stage.serve()
    await stage.delete(kinds.SERVICE, "tiny")


@row(
    "an outage ends",
    ready=("True", "Serving"),
    current=("True", "RolledOut"),
    tool="Current",
    unsaid=("served until", "yet"),
)
async def outage_ends(stage):
    await pods_stop(stage)
    await stage.says()


@row(
    "a rollout is on its way",
    ready=("True", "Serving"),
    current=("False", "RollingOut"),
    unsaid=("served until", "yet"),
)
async def rollout(stage):
    await stage.serve()
    await stage.change(context=SMALLER)


@row(
    "the new revision fails",
    ready=("True", "Serving"),
    current=("False", "RollingOut"),
    unsaid=("served until", "yet"),
)
async def rollout_fails(stage):
    await rollout(stage)
    await stage.says(await stage.newer(), status="DEPLOY_FAILED", endpoints=0, message="CUDA out of memory")
    assert condition(stage.status, "ModelLoaded").reason == "EngineFailed"


@row(
    "the new revision is given up",
    ready=("True", "Serving"),
    current=("False", "ProgressDeadlineExceeded"),
    stalled="True",
    tool="Failed",
    unsaid=("served until", "yet"),
)
async def given_up(stage):
    await rollout_fails(stage)
    await stage.wait(3600)
    assert await stage.world.names(kinds.RAY_SERVICE) == [stage.first]


@row("it is rolled back", ready=("True", "Serving"), current=("True", "RolledOut"), tool="Current")
async def rolled_back(stage):
    await given_up(stage)
    stage.spec.pop("context")
    await stage.change()


@row(
    "the old revision dies while the new one starts",
    ready=("False", "NoEndpoint"),
    current=("False", "RollingOut"),
    words=("served until",),
    unsaid=("yet",),
    down=True,
)
async def old_dies_in_a_rollout(stage):
    await rollout(stage)
    await stage.says(endpoints=0)


@row(
    "the old revision ends before the new one starts",
    ready=("Unknown", "RollingOut"),
    current=("False", "RollingOut"),
    words=("served until", "is being started"),
    unsaid=("yet",),
    down=True,
)
async def recreate(stage):
    await stage.serve(rollout={"strategy": "Recreate"})
    await stage.change(context=SMALLER)
    await stage.look()
    assert await stage.newer()


@row(
    "the new spec cannot be had",
    ready=("True", "Serving"),
    current=("False", "ModelUnknown"),
    stalled="True",
    tool="Failed",
)
async def bad_spec(stage):
    await stage.serve()
    await stage.change(model={"name": "llama-9"})


@row(
    "the first spec cannot be had",
    ready=("False", "ModelUnknown"),
    current=("False", "ModelUnknown"),
    stalled="True",
    tool="Failed",
)
async def bad_first_spec(stage):
    stage.ref = await stage.world.apply_sample("tiny-cpu", model={"name": "llama-9"})
    await stage.look()


@row("it is suspended", ready=("Unknown", "Suspended"), current=("False", "Suspended"))
async def suspended(stage):
    await stage.serve()
    await stage.change(activation="Suspended")


@row(
    "it is suspended in an outage",
    ready=("Unknown", "Suspended"),
    current=("False", "Suspended"),
    unsaid=("served until",),
)
async def suspended_in_an_outage(stage):
    await pods_stop(stage)
    await stage.change(activation="Suspended")


@row(
    "it is activated again",
    ready=("Unknown", "Starting"),
    current=("False", "RollingOut"),
    unsaid=("served until", "yet"),
)
async def activated_again(stage):
    await suspended(stage)
    stage.spec.pop("activation")
    await stage.change()


@row(
    "it is activated again while the pods of before still end",
    ready=("Unknown", "Starting"),
    current=("False", "RollingOut"),
    words=("is being deleted, and is made again when its pods have ended",),
    unsaid=("served until", "yet", "being started", "RUNNING"),
)
async def activated_while_pods_end(stage):
    await stage.serve()
    await stage.world.ray_cluster(stage.first)
    await stage.change(activation="Suspended")
    stage.spec.pop("activation")
    await stage.change()
    assert condition(stage.status, "ModelLoaded").status == "False"


@row(
    "somebody deletes the RayService, and its pods take their time",
    ready=("False", "NoEndpoint"),
    current=("True", "RolledOut"),
    words=("served until", "is being deleted, and is made again when its pods have ended"),
    unsaid=("yet", "being started", "RUNNING"),
    down=True,
)
async def ray_service_is_going(stage):
    await stage.serve()
    await stage.world.ray_cluster(stage.first)
    ref = Ref(kinds.RAY_SERVICE, "default", stage.first)
    await stage.world.user.delete(ref, propagation=Propagation.FOREGROUND)
    await stage.look()
    assert condition(stage.status, "ModelLoaded").status == "False"


@row(
    "a spec comes back while the pods of its first try still end",
    ready=("True", "Serving"),
    current=("False", "RollingOut"),
)
async def again_while_pods_end(stage):
    await stage.serve()
    await stage.change(context=SMALLER)
    await stage.world.ray_cluster(await stage.newer())
    stage.spec.pop("context")
    await stage.change()
    await stage.change(context=SMALLER)
    assert "waits until its RayService of before is gone" in condition(stage.status, "UpToDate").message


@row(
    "a replica of two is lost",
    ready=("True", "Degraded"),
    current=("True", "RolledOut"),
    tool="Current",
    words=("1 of 2 wanted replicas run",),
)
async def replica_is_lost(stage):
    await stage.serve(scaling={"minReplicas": 2, "maxReplicas": 2})
    stage.pods(running=2, wanted=2)
    await stage.look()
    stage.pods(running=1, wanted=2)
    await stage.wait(60)
    assert condition(stage.status, "EndpointReady").reason == "Degraded"


@row("the lost replica is back", ready=("True", "Serving"), current=("True", "RolledOut"), tool="Current")
async def replica_is_back(stage):
    await replica_is_lost(stage)
    stage.pods(running=2, wanted=2)
    await stage.look()


@row("a replica is added", ready=("True", "Serving"), current=("True", "RolledOut"), tool="Current")
async def replica_is_added(stage):
    await stage.serve(scaling={"minReplicas": 1, "maxReplicas": 3})
    stage.pods(running=1, wanted=1)
    await stage.look()
    stage.pods(running=1, wanted=2)
    await stage.wait(60)


@row(
    "every replica dies",
    ready=("False", "NoEndpoint"),
    current=("True", "RolledOut"),
    words=("served until", "0 of 1 wanted replicas run"),
    unsaid=("yet",),
    down=True,
)
async def every_replica_dies(stage):
    await stage.serve()
    stage.pods(running=1, wanted=1)
    await stage.look()
    stage.pods(running=0, wanted=1)
    await stage.look()


@row("there is no load", ready=("True", "ScaledToZero"), current=("True", "RolledOut"), tool="Current")
async def no_load(stage):
    await stage.serve(scaling={"minReplicas": 0, "maxReplicas": 1})
    stage.pods(running=0, wanted=0)
    await stage.look()


@row(
    "the first request after a pause",
    ready=("False", "Starting"),
    current=("True", "RolledOut"),
    unsaid=("served until",),
)
async def first_request_after_a_pause(stage):
    await no_load(stage)
    stage.pods(running=0, wanted=1)
    await stage.look()


@row(
    "Serve has lost its application, and its pods are ready",
    ready=("False", "NoEndpoint"),
    current=("True", "RolledOut"),
    words=("served until", "2 pod(s) are ready, and Serve has no application"),
    unsaid=("no pod is ready", "starting"),
    down=True,
)
async def application_is_lost(stage):
    await stage.serve()
    await stage.world.ray_cluster(stage.first)
    await stage.says(status="", endpoints=2)


@row(
    "Serve says a word that only a newer version has",
    ready=("False", "NoEndpoint"),
    current=("True", "RolledOut"),
    words=("served until", "1 pod(s) are ready, and Serve says DRAINING of the application"),
    unsaid=("no pod is ready",),
    down=True,
)
async def word_of_a_newer_serve(stage):
    await stage.serve()
    await stage.world.ray_cluster(stage.first)
    await stage.says(status="DRAINING")


@pytest.mark.parametrize("name", ROWS)
async def test_an_incident_is_told_as_what_it_is(world, name):
    play, expected = ROWS[name]
    stage = Stage(world)
    await play(stage)
    ready, current = condition(stage.status, "Ready"), condition(stage.status, "UpToDate")
    assert (ready.status, ready.reason) == expected.ready, ready.message
    assert (current.status, current.reason) == expected.current, current.message
    assert condition(stage.status, "Stalled").status == expected.stalled
    assert kstatus(stage.live) == expected.tool
    for words in expected.words:
        assert words in ready.message
    said = " ".join(condition(stage.status, kind).message for kind in ("Ready", "EndpointReady", "UpToDate"))
    for words in expected.unsaid:
        assert words not in said
    assert (stage.status.down_since is not None) is expected.down
    # Once more, to see what this pass itself has changed.
    await stage.look()
    before = await world.snapshot()
    await stage.look()
    assert await world.snapshot() == before, "a pass that changes nothing writes nothing"


async def test_a_healthy_life_is_ready_from_the_first_answer_to_the_last(world):
    stage = Stage(world)
    await stage.serve(scaling={"minReplicas": 1, "maxReplicas": 2})
    first_ready = next(number for number, one in enumerate(stage.said) if condition(one, "Ready").status == "True")
    await stage.change(scaling={"minReplicas": 2, "maxReplicas": 2})
    await stage.change(context=SMALLER, rollout={"strategy": "BlueGreen", "drainSeconds": 60})
    newer = await stage.newer()
    await stage.says(newer, status="DEPLOYING", endpoints=0)
    await stage.says(newer)
    assert condition(stage.status, "UpToDate").status == "True"
    await stage.wait(60)
    assert await world.names(kinds.RAY_SERVICE) == [newer]
    assert {condition(one, "Ready").status for one in stage.said[first_ready:]} == {"True"}
    assert kstatus(stage.live) == "Current"
    await stage.change(activation="Suspended")
    stage.spec.pop("activation")
    await stage.change()
    await stage.says(newer)
    assert condition(stage.status, "Ready").status == "True"
    await world.user.delete(stage.ref)
    assert await world.reconcile(stage.ref) is None
    assert not any(one.down_since for one in stage.said)
    assert [told for told in world.events.told if told[0] == "Warning"] == []
    assert ("Normal", "NotReady") in world.events.told, "somebody suspended it"


@pytest.mark.parametrize(("play", "severity"), [(recreate, "Normal"), (suspended, "Normal"), (pods_stop, "Warning")])
async def test_only_what_nobody_asked_for_is_a_warning(world, play, severity):
    await play(Stage(world))
    assert [told for told in world.events.told if told[1] == "NotReady"] == [(severity, "NotReady")]


async def test_a_time_of_an_outage_is_kept_over_passes_that_fail_and_specs_that_cannot_be_read(world):
    stage = Stage(world)
    await stage.serve()
    await stage.says(endpoints=0)
    since = stage.status.down_since
    await world.user.merge_patch(stage.ref, {"spec": {"scaling": {"mode": "Predictive"}}})
    await stage.wait(60)
    assert stage.status.down_since == since
    ready = condition(stage.status, "Ready")
    assert (ready.status, ready.reason) == ("False", "NoEndpoint")
    assert condition(stage.status, "UpToDate").reason == "NotUnderstood"
    await world.user.merge_patch(stage.ref, {"spec": {"scaling": {"mode": "QueueDepth"}}})
    await stage.wait(60)
    assert stage.status.down_since == since
    assert condition(stage.status, "UpToDate").status == "True"


def lose(*, since=True, active=True, conditions=True):
    """What an older operator, or a backup, leaves of a status in an outage."""

    def change(status):
        if since:
            status.pop("downSince", None)
        if active:
            status.get("revisions", {}).pop("active", None)
        if conditions:
            status["conditions"] = []
        return status

    return change


LOST = {
    "the beginning": (lose(active=False, conditions=False), True),
    "the beginning and what was active": (lose(conditions=False), True),
    "the conditions too": (lose(), False),
    "all of it": (lambda _: {}, False),
}


@pytest.mark.parametrize(("change", "beginning"), LOST.values(), ids=LOST)
async def test_an_outage_whose_beginning_is_lost_is_no_start(world, change, beginning):
    stage = Stage(world)
    await stage.begin()
    await stage.wait(60)
    await stage.says()
    await stage.says(endpoints=0)
    since = stage.status.down_since
    world.clock.advance(600)
    await put_status(world, stage.ref, change)
    await stage.look()
    ready, current = condition(stage.status, "Ready"), condition(stage.status, "UpToDate")
    assert (ready.status, ready.reason) == ("False", "NoEndpoint"), ready.message
    assert "served until" in ready.message
    assert (current.status, current.reason) == ("True", "RolledOut"), current.message
    assert stage.status.down_since == (since if beginning else world.clock.now)
    told = stage.status.down_since
    await stage.wait(60)
    assert stage.status.down_since == told
    await stage.says()
    assert stage.status.down_since is None


async def test_a_start_of_what_served_before_is_no_outage_whatever_is_lost(world):
    stage = Stage(world)
    await stage.begin()
    await stage.wait(60)
    await stage.says()
    await stage.wait(60)
    await stage.change(activation="Suspended")
    stage.spec.pop("activation")
    await stage.change()
    for change in (lose(), lambda _: {}):
        await put_status(world, stage.ref, change)
        await stage.wait(5)
        assert stage.status.down_since is None
        assert condition(stage.status, "Ready").status == "Unknown"


async def test_a_first_request_after_a_pause_is_no_outage_whatever_is_lost(world):
    stage = Stage(world)
    await stage.begin(scaling={"minReplicas": 0, "maxReplicas": 1})
    await stage.wait(60)
    await stage.says()
    stage.pods(running=0, wanted=0)
    await stage.look()
    stage.pods(running=0, wanted=1)
    for _ in range(3):
        await stage.wait(20)
        assert stage.status.down_since is None
    await put_status(world, stage.ref, lose(active=False, conditions=False))
    await stage.look()
    assert stage.status.down_since is None


async def test_a_spec_that_cannot_be_read_says_that_another_revision_answers(world):
    stage = Stage(world)
    await stage.serve()
    await world.user.merge_patch(stage.ref, {"spec": {"scaling": {"mode": "Predictive"}}})
    await stage.look()
    said = {kind: condition(stage.status, kind).status for kind in ("Ready", "EndpointReady", "UpToDate", "Stalled")}
    assert said == {"Ready": "True", "EndpointReady": "True", "UpToDate": "Unknown", "Stalled": "False"}
    assert kstatus(stage.live) == "InProgress"


MANY = {"hardware": {"accelerator": "H100-80GB"}, "scaling": {"minReplicas": 3, "maxReplicas": 5}}


async def test_pods_that_wait_for_a_node_are_told_with_what_is_free_and_what_the_most_would_need(world):
    world.compares = False
    await world.apply_acceptance()
    for node in ("gpu-0", "gpu-1"):
        await world.add_node(node)
    await world.hold_gpus("training", "gpu-0", 7)
    ref = await world.apply_sample("llama-3.3-70b-fp8-h100", **MANY)
    status = await world.reconcile(ref)
    assert condition(status, "CapacityFound").message == (
        "12 H100-80GB are needed and exist; maxReplicas 5 needs 20, more than exist: it is not reached until nodes are added"
    )
    (name,) = await world.names(kinds.RAY_SERVICE)
    service = await world.user.get(Ref(kinds.RAY_SERVICE, ref.namespace, name))
    labels = {**service["metadata"]["labels"], "ray.io/node-type": "worker"}
    address = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "worker", "namespace": ref.namespace, "labels": labels},
    }
    await world.kuberay.apply(address | {"spec": {"containers": [{"name": "ray-worker", "image": "acme/serving:1"}]}})
    words = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."
    unplaced = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words}
    await world.kuberay.apply_status(address | {"status": {"phase": "Pending", "conditions": [unplaced]}})
    status = await world.reconcile(ref)
    for kind in ("CapacityFound", "Ready"):
        found = condition(status, kind)
        assert (found.status, found.reason) == ("False", "PodsUnschedulable")
        assert words in found.message
    told = condition(status, "CapacityFound").message
    assert (
        "12 H100-80GB are needed, 16 exist, 9 of them free; 2 of 3 worker pods find a node: the next one needs 4"
        in told
    )
    assert "; maxReplicas 5 needs 20" in told
    assert [each for each in world.events.told if each[0] == "Warning"] == [("Warning", "PodsUnschedulable")]
