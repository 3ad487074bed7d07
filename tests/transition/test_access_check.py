"""Access to gated weights is asked for before any GPU is, by a Job that has the tenant's token; the rest waits for it.

What a job controller and a kubelet would do is given by the test.
"""

import json
from datetime import timedelta

import pytest

from llama_operator.api.meta import rfc3339
from llama_operator.kube import kinds
from llama_operator.kube.port import NotFoundError, Ref
from llama_operator.kube.twin.journal import PassThrough
from support.crashing.faults import CrashAfter, CrashError

SAMPLE, NAMESPACE = "llama-3.1-8b-l4", "team-a"
SECRET = {"tokenSecret": {"name": "hugging-face", "key": "token"}}
CANARY = "hf_canaryCanaryCanary"
"""Would be in the Secret; must be nowhere else."""


class Cluster:
    """A world in which access is checked, and what the cluster does with Jobs."""

    def __init__(self, world):
        self.world = world
        world.ports = world.ports_with(world.memory.client("llama-operator"), checks_access=True)
        self.kubelet = world.memory.client("kubelet")

    async def deploy(self, **spec):
        await self.world.apply_acceptance()
        await self.world.add_node("l4", product="NVIDIA-L4", gpus=1)
        self.ref = await self.world.apply_sample(SAMPLE, **({"weights": SECRET} | spec))
        return self.ref

    async def edit(self, **spec):
        await self.world.apply_sample(SAMPLE, **({"weights": SECRET} | spec))

    async def passes(self, count=3):
        for _ in range(count):
            status = await self.world.reconcile(self.ref)
        return {each.type: each for each in status.conditions}

    async def jobs(self):
        found = (await self.world.user.list(kinds.JOB, namespace=NAMESPACE)).items
        return sorted(found, key=lambda job: int(job["metadata"]["annotations"]["llama-operator.io/attempt"]))

    async def job(self):
        return (await self.jobs())[-1]

    async def asked(self):
        """Arguments of the Jobs by what they ask for."""
        commands = [job["spec"]["template"]["spec"]["containers"][0]["command"] for job in await self.jobs()]
        return {command[command.index("--repository") + 1]: command for command in commands}

    async def answer(self, access, *, about=None, message="", text=None, code=77):
        """The newest Job's pod ends with a verdict (or with `text`), and the Job with it; `about` is the repository."""
        job = await self.job() if about is None else await self.job_of(about)
        name = job["metadata"]["name"]
        verdict = {"access": access, "repository": "meta-llama/x", "revision": "main", "message": message}
        code = 0 if access == "Accessible" else code
        ended = {"exitCode": code, "reason": "Completed" if code == 0 else "Error"}
        ended["message"] = json.dumps(verdict) + "\n" if text is None else text
        await self.pod(name, {"terminated": ended})
        condition = {"type": "Complete" if code == 0 else "Failed", "status": "True"}
        condition["lastTransitionTime"] = rfc3339(self.world.clock.now)
        await self.finish(name, condition)

    async def job_of(self, repository):
        return next(job for job in await self.jobs() if f"'{repository}'" in repr(job["spec"]))

    async def finish(self, name, condition):
        address = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": NAMESPACE}}
        await self.kubelet.apply_status({**address, "status": {"conditions": [condition]}})

    async def pod(self, job, state, **status):
        live = await self.world.user.get(Ref(kinds.JOB, NAMESPACE, job))
        template = live["spec"]["template"]
        metadata = {"name": f"{job}-x", "namespace": NAMESPACE, "labels": template["metadata"]["labels"]}
        address = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
        await self.kubelet.apply({**address, "spec": template["spec"]})
        if state is not None:
            container = {"name": "preflight", "state": state, "image": "x", "imageID": "", "ready": False}
            # A cluster may put a sidecar into every pod, and list it first.
            sidecar = container | {"name": "istio-proxy", "state": {"running": {}}}
            status["containerStatuses"] = [each | {"restartCount": 0} for each in (sidecar, container)]
        await self.kubelet.apply_status({**address, "status": {"phase": "Pending", **status}})

    async def names(self, kind):
        return await self.world.names(kind)


@pytest.fixture
def cluster(world):
    return Cluster(world)


def requests_of_gpus(world):
    return [stored for stored in world.memory._store if stored.ref.kind is kinds.RAY_SERVICE]


async def test_no_gpu_is_asked_for_before_the_hub_has_said_yes(cluster, world):
    await cluster.deploy()
    conditions = await cluster.passes()
    (job,) = await cluster.jobs()
    assert await cluster.names(kinds.RAY_SERVICE) == []
    assert await cluster.names(kinds.CONTROLLER_REVISION) == []
    assert conditions["WeightsAccessible"].reason == "AccessChecking"
    assert conditions["Ready"].reason == "AccessChecking"
    assert (conditions["Reconciling"].status, conditions["Stalled"].status) == ("True", "False")
    await cluster.answer("Accessible")
    conditions = await cluster.passes()
    assert conditions["WeightsAccessible"].reason == "Accessible"
    (service,) = await cluster.names(kinds.RAY_SERVICE)
    assert [item["metadata"]["name"] for item in await cluster.jobs()] == [job["metadata"]["name"]]
    await world.serve(service, NAMESPACE)
    assert (await cluster.passes())["Ready"].status == "True"


async def test_a_pass_while_the_hub_is_asked_writes_nothing(cluster, world):
    await cluster.deploy()
    await cluster.passes()
    before = len(world.memory.writes)
    world.clock.advance(600)
    await cluster.passes()
    assert len(world.memory.writes) == before


@pytest.mark.parametrize(
    "access", ["TokenMissing", "TokenInvalid", "NotAccepted", "PendingReview", "Denied", "NotFound"]
)
async def test_a_refusal_stops_with_its_reason_and_the_hubs_words(cluster, world, access):
    await cluster.deploy()
    await cluster.passes()
    await cluster.answer(access, message="the Hub's own words")
    conditions = await cluster.passes()
    for kind in ("WeightsAccessible", "Ready"):
        assert (conditions[kind].status, conditions[kind].reason) == ("False", access)
        assert "the Hub's own words" in conditions[kind].message
    assert conditions["Stalled"].status == "True"
    assert await cluster.names(kinds.RAY_SERVICE) == []
    assert ("Warning", "Blocked") in world.events.told


@pytest.mark.parametrize(
    ("access", "text", "reason"),
    [("Offline", None, "Offline"), ("NotAccepted", "Traceback: no module", "AccessCheckFailed")],
)
async def test_what_says_nothing_about_access_is_tried_again_without_a_person(cluster, world, access, text, reason):
    await cluster.deploy()
    await cluster.passes()
    await cluster.answer(access, text=text, code=75)
    conditions = await cluster.passes()
    assert conditions["WeightsAccessible"].reason == reason
    assert (conditions["Reconciling"].status, conditions["Stalled"].status) == ("True", "False")
    assert "Traceback" not in json.dumps(world.outcome.status.to_api())
    assert world.outcome.next_check == 30
    world.clock.advance(30)
    await cluster.passes()
    assert len(await cluster.jobs()) == 2
    await cluster.answer("Accessible")
    await cluster.passes()
    assert len(await cluster.names(kinds.RAY_SERVICE)) == 1


async def test_it_asks_again_less_and_less_often_and_status_stands_still_meanwhile(cluster, world):
    await cluster.deploy()
    await cluster.passes()
    waits, seen = [], set()
    for _ in range(7):
        await cluster.answer("NotAccepted")
        conditions = await cluster.passes()
        assert len(await cluster.jobs()) == 1, "older questions are cleared away"
        waits.append(world.outcome.next_check)
        world.clock.advance(waits[-1] - 1)
        await cluster.passes()
        assert len(await cluster.jobs()) == 1
        world.clock.advance(1)
        conditions = await cluster.passes()
        assert len(await cluster.jobs()) == 2
        seen.add(conditions["WeightsAccessible"].model_dump_json())
    assert waits == [60, 120, 240, 480, 900, 900, 900]
    assert len(seen) == 1
    assert world.events.told.count(("Warning", "Blocked")) == 1


async def test_when_somebody_accepts_on_the_hub_the_next_question_starts_the_revision(cluster, world):
    await cluster.deploy()
    await cluster.passes()
    await cluster.answer("NotAccepted")
    await cluster.passes()
    world.clock.advance(60)
    await cluster.passes()
    await cluster.answer("Accessible")
    conditions = await cluster.passes()
    assert conditions["WeightsAccessible"].status == "True"
    assert len(await cluster.names(kinds.RAY_SERVICE)) == 1
    assert len(await cluster.jobs()) == 1, "the refusal is history"


async def test_a_deleted_job_is_the_way_to_ask_at_once(cluster, world):
    await cluster.deploy()
    await cluster.passes()
    await cluster.answer("Denied")
    await cluster.passes()
    job = await cluster.job()
    await world.user.delete(Ref(kinds.JOB, NAMESPACE, job["metadata"]["name"]))
    await cluster.passes()
    again = await cluster.job()
    assert again["metadata"]["uid"] != job["metadata"]["uid"]
    assert "conditions" not in again.get("status", {})


async def test_another_secret_is_another_question(cluster, world):
    await cluster.deploy()
    await cluster.passes()
    await cluster.answer("TokenInvalid")
    await cluster.passes()
    await cluster.edit(weights={"tokenSecret": {"name": "other", "key": "hf"}})
    await cluster.passes()
    (job,) = await cluster.jobs()
    (container,) = job["spec"]["template"]["spec"]["containers"]
    source = next(each["valueFrom"] for each in container["env"] if each["name"] == "HF_TOKEN")
    assert source == {"secretKeyRef": {"name": "other", "key": "hf", "optional": True}}


async def test_a_gated_model_without_a_token_stops_before_anything_is_asked(cluster):
    await cluster.deploy(weights={})
    conditions = await cluster.passes()
    assert conditions["Ready"].reason == "TokenMissing"
    assert "spec.weights.tokenSecret" in conditions["Ready"].message
    assert await cluster.jobs() == []
    assert await cluster.names(kinds.RAY_SERVICE) == []


async def test_what_serves_goes_on_while_a_new_revision_is_asked_about_and_refused(cluster, world):
    await cluster.deploy()
    await cluster.passes()
    await cluster.answer("Accessible")
    await cluster.passes()
    (running,) = await cluster.names(kinds.RAY_SERVICE)
    await world.serve(running, NAMESPACE)
    await cluster.passes()
    before = await world.user.get(Ref(kinds.RAY_SERVICE, NAMESPACE, running))
    await cluster.edit(context={"maxModelLength": 4096})
    conditions = await cluster.passes()
    assert conditions["UpToDate"].status == "False"
    await cluster.answer("NotAccepted")
    conditions = await cluster.passes()
    assert conditions["EndpointReady"].status == "True"
    assert await world.user.get(Ref(kinds.RAY_SERVICE, NAMESPACE, running)) == before
    # Going back to what runs asks nobody.
    await cluster.edit()
    conditions = await cluster.passes()
    assert conditions["Ready"].status == "True"


def hub_adapters(*repositories):
    source = [{"huggingFace": {"repository": repository, "revision": "0" * 40}} for repository in repositories]
    return [{"name": f"Llama-{number}", "source": each} for number, each in enumerate(source)]


async def test_adapters_of_the_hub_are_asked_for_one_after_another_before_any_gpu(cluster, world):
    wanted = hub_adapters("acme/a", "acme/b", "acme/a")
    await cluster.deploy(adapterSlots={}, adapters=wanted)
    await cluster.passes()
    (model,) = await cluster.asked()
    await cluster.answer("Accessible", about=model)
    await cluster.passes()
    asked = await cluster.asked()
    assert asked.keys() == {model, "acme/a"}
    assert "--file" not in asked[model], "older images know no other file"
    assert asked["acme/a"][-2:] == ["--file", "adapter_config.json"]
    assert asked["acme/a"][asked["acme/a"].index("--revision") + 1] == "0" * 40

    await cluster.answer("NotAccepted", about="acme/a")
    conditions = await cluster.passes()
    assert (conditions["WeightsAccessible"].status, conditions["WeightsAccessible"].reason) == ("False", "NotAccepted")
    assert "https://huggingface.co/acme/a" in conditions["WeightsAccessible"].message
    assert await cluster.names(kinds.RAY_SERVICE) == []

    # The one that nobody may read goes, and the other one is asked for: the model is another question of another revision.
    await cluster.edit(adapterSlots={}, adapters=hub_adapters("acme/b"))
    await cluster.passes()
    await cluster.answer("Accessible", about=model)
    await cluster.passes()
    await cluster.answer("Accessible", about="acme/b")
    conditions = await cluster.passes()
    assert conditions["WeightsAccessible"].message == f"{model} may be downloaded"
    assert len(await cluster.names(kinds.RAY_SERVICE)) == 1
    before = len(world.memory.writes)
    await cluster.passes()
    assert len(world.memory.writes) == before


async def test_what_was_answered_well_is_never_asked_again(cluster, world):
    await cluster.deploy()
    await cluster.passes()
    await cluster.answer("Accessible")
    await cluster.passes()
    job = await cluster.job()
    await world.user.delete(Ref(kinds.JOB, NAMESPACE, job["metadata"]["name"]))
    world.clock.advance(10_000)
    conditions = await cluster.passes()
    assert await cluster.jobs() == []
    assert conditions["WeightsAccessible"].reason == "Accessible"
    (record,) = (await world.user.list(kinds.CONTROLLER_REVISION)).items
    assert "llama-operator.io/weights-checked-at" in record["metadata"]["annotations"]


async def test_a_pod_that_cannot_start_says_why(cluster, world):
    await cluster.deploy()
    await cluster.passes()
    job = await cluster.job()
    await cluster.pod(job["metadata"]["name"], {"waiting": {"reason": "ErrImagePull", "message": "not found"}})
    conditions = await cluster.passes()
    assert "ErrImagePull not found" in conditions["WeightsAccessible"].message
    assert world.outcome.next_check == 30, "pods are not watched"
    ended = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "was active too long"}
    await cluster.finish(job["metadata"]["name"], ended | {"lastTransitionTime": rfc3339(world.clock.now)})
    await world.user.delete(Ref(kinds.POD, NAMESPACE, f"{job['metadata']['name']}-x"))
    conditions = await cluster.passes()
    assert conditions["WeightsAccessible"].reason == "AccessCheckFailed"
    assert "was active too long" in conditions["WeightsAccessible"].message


async def test_a_pod_that_no_node_takes_says_why(cluster):
    await cluster.deploy()
    await cluster.passes()
    job = await cluster.job()
    no_room = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: no CPU"}
    await cluster.pod(job["metadata"]["name"], None, conditions=[no_room])
    assert "0/1 nodes: no CPU" in (await cluster.passes())["WeightsAccessible"].message


async def test_a_pod_that_is_being_made_is_no_news(cluster, world):
    await cluster.deploy()
    await cluster.passes()
    before = world.outcome.status
    job = await cluster.job()
    await cluster.pod(job["metadata"]["name"], {"waiting": {"reason": "ContainerCreating"}})
    await cluster.passes()
    assert world.outcome.status == before


async def test_nothing_is_asked_while_no_hardware_is_wanted(cluster):
    await cluster.deploy(activation="Suspended")
    await cluster.passes()
    assert await cluster.jobs() == []
    await cluster.edit()
    await cluster.passes()
    assert len(await cluster.jobs()) == 1


async def test_switched_off_nothing_is_asked(cluster, world):
    world.ports = world.ports_with(world.memory.client("llama-operator"), checks_access=False)
    await cluster.deploy(weights={})
    conditions = await cluster.passes()
    assert conditions["WeightsAccessible"].reason == "AccessNotChecked"
    assert len(await cluster.names(kinds.RAY_SERVICE)) == 1


async def test_the_operator_reads_no_secret_and_writes_no_token(cluster, world):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hugging-face", "namespace": NAMESPACE}}
    assert kinds.find(secret["apiVersion"], secret["kind"]) is None, "no kind of ours: it cannot even be addressed"
    await cluster.deploy()
    await cluster.passes()
    # The probe leaves the token out; if it ever did not, this shows how far it would get.
    await cluster.answer("TokenInvalid", text=f"Traceback: Authorization: Bearer {CANARY}")
    await cluster.passes()
    told = [world.outcome.status.to_api(), *(await cluster.jobs())]
    assert CANARY not in json.dumps(told) + repr(world.events.told)


async def script(cluster, play):
    """Refused, asked again, allowed, serving; then a new revision, allowed."""
    world = cluster.world

    async def settle():
        await cluster.passes(4)

    async def answered(access):
        if not any(each.get("status", {}).get("conditions") is None for each in await cluster.jobs()):
            return
        await cluster.answer(access)

    await play(settle)
    await answered("NotAccepted")
    await play(settle)
    world.clock.advance(60)
    await play(settle)
    await answered("Accessible")
    await play(settle)
    for name in await cluster.names(kinds.RAY_SERVICE):
        await world.serve(name, NAMESPACE)
    await play(settle)
    await cluster.edit(context={"maxModelLength": 4096})
    await play(settle)
    await answered("Accessible")
    await play(settle)


class Guard:
    """No RayService before the Hub has said yes, judged after every write; then lets a crash have its way."""

    def __init__(self, world, inner):
        self._world, self._inner = world, inner

    def before(self, write):
        self._inner.before(write)

    def after(self, write):
        here = list(self._world.memory._store)
        pinned = {s.ref.name for s in here if s.ref.kind is kinds.CONTROLLER_REVISION}
        assert {s.ref.name for s in here if s.ref.kind is kinds.RAY_SERVICE} <= pinned
        jobs = [s.to_object() for s in here if s.ref.kind is kinds.JOB]
        allowed = {
            job["metadata"]["labels"]["llama-operator.io/revision"]
            for job in jobs
            if any(each["type"] == "Complete" for each in job.get("status", {}).get("conditions", ()))
        }
        self._world.allowed = getattr(self._world, "allowed", set()) | allowed
        assert pinned <= self._world.allowed, "nothing is pinned that the Hub has not allowed"
        self._inner.after(write)


async def play_through(make_world, crashes):
    world = make_world()
    cluster, lives = Cluster(world), list(crashes)
    start = world.clock.now

    def operator():
        inner = CrashAfter(lives.pop(0)) if lives else PassThrough()
        client = world.memory.client("llama-operator", interceptor=Guard(world, inner))
        world.ports = world.ports_with(client, checks_access=True)

    async def play(step):
        while True:
            try:
                return await step()
            except CrashError:
                operator()

    operator()
    await cluster.deploy()
    await script(cluster, play)
    assert world.clock.now - start == timedelta(seconds=60)
    ended = {}
    for kind in (kinds.RAY_SERVICE, kinds.CONTROLLER_REVISION, kinds.JOB):
        for item in (await world.user.list(kind)).items:
            ended[kind.kind, item["metadata"]["name"]] = item.get("spec") or item.get("data")
    return ended, sum(1 for write in world.memory.writes if write.manager == "llama-operator")


@pytest.mark.nightly
async def test_a_crash_after_any_write_leads_to_the_same_end(make_world):
    """Nightly: flows of `test_crashes` and of copies have a crash after any write too, with Jobs among them."""
    expected, total = await play_through(make_world, [])
    assert total >= 10
    assert {kind for kind, _ in expected} == {"RayService", "ControllerRevision", "Job"}
    for writes in range(total + 1):
        ended, count = await play_through(make_world, [writes])
        assert ended == expected, f"crash after write {writes} of {total}"
        assert count <= total + 2, "work that was done is not done again"


async def test_jobs_go_with_their_deployment(cluster, world):
    await cluster.deploy()
    await cluster.passes()
    await world.user.delete(cluster.ref)
    with pytest.raises(NotFoundError):
        await world.user.get(cluster.ref)
    assert await cluster.jobs() == []
