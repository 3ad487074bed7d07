"""What people had trouble with in other operators, played on this one: what an engine says reaches status and events whole.

The rows are reports about KubeRay, Ray Serve, cert-manager, crossplane, KubeBlocks, KServe and Argo CD.
"""

import re

import pytest

from llama_operator.kube import kinds
from support import recordings
from support.kstatus import kstatus
from support.stage import Stage, condition

CAUSE = "ValueError: To serve at least one request with the model's max seq len (2048), (0.0 GiB KV cache is needed"
TOKEN = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz0123"


class Notes:
    """Keeps whole events."""

    def __init__(self):
        self.told = []
        self.kept = []

    async def record(self, regarding, facts):
        self.told.append((facts.type, facts.reason))
        self.kept.append(facts)


RECORDED = recordings.engine("kv-cache")["applicationStatuses"]["llama"]
(SERVER,) = [name for name in RECORDED["serveDeploymentStatuses"] if name.startswith("LlamaServer")]
MARKS = re.compile(r"pid=\d+, ip=[\d.]+, actor_id=\w+, repr=(.*?) object at 0x\w+")


def failed(number, *, times=1):
    """What Serve says of a replica that does not start; each try has other marks, and the cause stands at the end."""
    marks = rf"pid={number}, ip=10.0.3.{number % 200}, actor_id=6c1b{number}, repr=\1 object at 0x7f{number}"
    said = {name: dict(told) for name, told in RECORDED["serveDeploymentStatuses"].items()}
    first, *frames, last = MARKS.sub(marks, said[SERVER]["message"]).splitlines()
    said[SERVER]["message"] = "\n".join((first, *frames * times, last))
    return {"status": RECORDED["status"], "endpoints": 0, "message": RECORDED["message"], "deployments": said}


@pytest.fixture
def stage(world):
    world.events = Notes()
    world.ports = world.ports_with(world.memory.client("llama-operator"))
    return Stage(world)


async def test_the_last_line_of_a_long_trace_is_in_the_condition_and_in_one_event(stage):
    await stage.begin()
    await stage.says(**failed(1, times=2))
    for kind in ("Ready", "ModelLoaded"):
        message = condition(stage.status, kind).message
        assert message.startswith(
            f"Failed to update the deployments ['{SERVER}']. {SERVER}: The deployment failed to start"
        )
        assert CAUSE in message
        assert "lower spec.context.maxModelLength" in message, "and what to do"
        assert len(message) <= 4096
    (note,) = [event.note for event in stage.world.events.kept if event.type == "Warning"]
    assert CAUSE in note
    assert "Failed to update the deployments" in note


async def test_an_outage_with_a_long_trace_still_says_since_when_and_is_one_event(stage):
    await stage.serve()
    await stage.says(**failed(1, times=2) | {"status": "UNHEALTHY"})
    message = condition(stage.status, "Ready").message
    assert message.startswith("served until 09:40:00Z on 2026-03-02: Serve says UNHEALTHY")
    assert CAUSE in message
    (note,) = [event.note for event in stage.world.events.kept if event.type == "Warning"]
    assert note.startswith("EngineFailed: served until 09:40:00Z")
    assert CAUSE in note


@pytest.mark.parametrize("times", [1, 5])
async def test_the_next_try_that_fails_in_the_same_way_writes_nothing(stage, times):
    await stage.begin()
    await stage.says(**failed(1000, times=times))
    await stage.look()
    of_others = len(stage.world.memory.writes), len(stage.world.events.kept)
    for number in range(1, 6):
        await stage.world.serve(stage.first, **failed(1000 + number, times=times))
        await stage.look()
    # KubeRay wrote each of them.
    assert (len(stage.world.memory.writes) - 5, len(stage.world.events.kept)) == of_others


async def test_a_token_that_an_engine_prints_goes_no_further(stage):
    await stage.begin()
    url = f"https://jo:pa55w0rd@mirror.acme/w?X-Amz-Signature=0f1e2d3c4b5a&token={TOKEN}"
    await stage.says(status="DEPLOY_FAILED", endpoints=0, message=f"OSError: 401 Client Error for url: {url}")
    said = str(await stage.world.user.get(stage.ref)) + str(stage.world.events.kept)
    assert "401 Client Error for url: https://***@mirror.acme/w" in said
    for secret in (TOKEN, "pa55w0rd", "0f1e2d3c4b5a"):
        assert secret not in said


async def test_a_pod_that_the_kubelet_refused_does_not_degrade_what_others_do(stage):
    await stage.serve()
    await stage.world.ray_cluster(stage.first)
    for name, role, told in (
        ("head", "head", "runs"),
        ("w1", "worker", "runs"),
        ("w0", "worker", "refused-by-kubelet"),
    ):
        pod = await stage.world.pod(told, name, role=role, revision=stage.first)
    await stage.world.user.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": pod["spec"]["nodeName"]}})
    await stage.look()
    assert condition(stage.status, "Ready").reason == "Serving"
    assert [event for event in stage.world.events.kept if event.type == "Warning"] == []


async def test_no_status_on_the_way_to_the_first_answer_is_taken_for_a_failure(stage):
    """Argo CD takes Ready=False for Degraded where nothing says that it is at work."""
    seen = []
    await stage.begin()
    seen.append(kstatus(stage.live))
    for words in ({"status": "", "endpoints": 0}, {"status": "DEPLOYING", "endpoints": 0}, {}):
        await stage.says(**words)
        seen.append(kstatus(stage.live))
    assert seen == ["InProgress"] * 3 + ["Current"]
    orders = {tuple(each.type for each in status.conditions) for status in stage.said}
    assert len(orders) == 1
    assert await stage.world.names(kinds.RAY_SERVICE) == [stage.first]
