"""What people had trouble with in other operators, played on this one: what an engine says reaches status and events whole.

The rows are reports about KubeRay, Ray Serve, cert-manager, crossplane, KubeBlocks, KServe and Argo CD.
"""

import json
import re

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import UnavailableError
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


async def test_a_pod_that_is_gone_for_good_ends_ready(stage):
    await stage.serve()
    await stage.says(endpoints=0)
    await stage.wait(3600)
    assert condition(stage.status, "Ready").status == "False"
    assert stage.status.ready_replicas == 0


async def test_a_change_that_starts_nothing_is_observed_as_well(stage):
    await stage.serve()
    await stage.change(rollout={"drainSeconds": 5})
    generation = stage.live["metadata"]["generation"]
    assert stage.status.observed_generation == generation > 1
    assert {each.observed_generation for each in stage.status.conditions} == {generation}


async def test_no_condition_claims_a_generation_that_no_pass_has_read(stage, monkeypatch):
    await stage.serve()
    await stage.world.apply_sample("tiny-cpu", context={"maxModelLength": 512})
    with monkeypatch.context() as patched:

        def away(*_, **__):
            raise UnavailableError("no answer from the API server")

        patched.setattr("llama_operator.observe.gather.Observer.observe", away)
        with pytest.raises(UnavailableError):
            await stage.look()
    live = await stage.world.user.get(stage.ref)
    assert kstatus(live) == "InProgress"
    assert {each["observedGeneration"] for each in live["status"]["conditions"]} == {1}


async def test_no_words_of_others_let_a_status_grow_without_bound(stage):
    await stage.serve(scaling={"minReplicas": 1, "maxReplicas": 9})
    for replicas in range(1, 40):
        stage.pods(running=replicas % 9 + 1, wanted=replicas % 9 + 1)
        await stage.look()
    await stage.says(status="DEPLOY_FAILED", endpoints=0, message="x " * 600_000 + CAUSE)
    assert CAUSE in condition(stage.status, "Ready").message
    assert len(json.dumps(stage.live)) < 64 * 1024


async def test_a_replacement_that_fails_is_told_apart_from_what_serves(stage):
    await stage.serve(rollout={"strategy": "BlueGreen"})
    await stage.change(context={"maxModelLength": 512})
    newer = await stage.newer()
    await stage.says(newer, status="DEPLOY_FAILED", endpoints=0, message=CAUSE)
    ready, loaded = condition(stage.status, "Ready"), condition(stage.status, "ModelLoaded")
    assert ready.status == "True"
    assert stage.first in ready.message
    assert (loaded.status, loaded.reason) == ("False", "EngineFailed")
    assert newer in condition(stage.status, "UpToDate").message


async def test_a_time_of_a_condition_moves_with_its_status_and_with_nothing_else(stage):
    await stage.begin()
    await stage.says(status="DEPLOY_FAILED", endpoints=0, message="first")
    since = condition(stage.status, "Ready").last_transition_time
    await stage.wait(60)
    await stage.says(status="DEPLOY_FAILED", endpoints=0, message=CAUSE)
    told = condition(stage.status, "Ready")
    assert CAUSE in told.message
    assert told.last_transition_time == since
    await stage.says()
    assert condition(stage.status, "Ready").last_transition_time > since


async def test_looks_that_find_nothing_new_tell_nothing(stage):
    await stage.serve()
    told, written = len(stage.world.events.told), len(stage.world.memory.writes)
    for _ in range(20):
        await stage.wait(600)
    assert (len(stage.world.events.told), len(stage.world.memory.writes)) == (told, written)
