"""What the pods measured reaches the status, once, and is never mistaken for that of another revision."""

from llama_operator.api.reasons import Reason
from llama_operator.kube import kinds
from llama_serving.contract.status import DeploymentIdentity, ServingStatus

MODEL_70B = "llama-3.3-70b-fp8-h100"


def answer(revision, tokens):
    return ServingStatus(
        identity=DeploymentIdentity(namespace="team-a", name="chat-70b", revision=revision),
        model_id="m",
        replicas=1,
        target_replicas=1,
        queue_depth=0,
        running_requests=0,
        kv_cache_tokens=tokens,
        max_concurrency=None if tokens is None else tokens / 16384,
    )


def accurate(status):
    found = next(condition for condition in status.conditions if condition.type == "PlanAccurate")
    return found.status, found.reason


async def serving(world):
    await world.apply_acceptance()
    ref = await world.apply_sample(MODEL_70B)
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.serve(name, "team-a")
    return ref, name, (await world.reconcile(ref)).plan.chosen.kv_cache_tokens


async def test_a_plan_that_promised_too_much_is_told_once_and_nothing_is_restarted(world):
    ref, name, planned = await serving(world)
    assert accurate(await world.reconcile(ref)) == ("Unknown", Reason.NOT_MEASURED)
    world.reader.answer = answer(name, planned // 2)
    world.events.told.clear()
    status = await world.reconcile(ref)
    assert accurate(status) == ("False", Reason.KV_CACHE_SMALLER_THAN_PLANNED)
    assert next(found.status for found in status.conditions if found.type == "Ready") == "True"
    assert (status.kv_cache.planned_tokens, status.kv_cache.measured_tokens) == (planned, planned // 2)
    assert world.events.told == [("Warning", "PlanMissed")]

    before = await world.snapshot()
    world.clock.advance(3000)
    await world.reconcile(ref)
    # Nobody answers for a while, a board that was just restarted has no reports yet, and then all is as it was.
    world.reader.answer = None
    await world.reconcile(ref)
    world.reader.answer = answer(name, planned // 2)
    await world.reconcile(ref)
    assert accurate(await world.reconcile(ref))[1] == Reason.KV_CACHE_SMALLER_THAN_PLANNED
    assert world.events.told == [("Warning", "PlanMissed")]
    assert {key: value for key, value in (await world.snapshot()).items() if key[0] != "LlamaDeployment"} == {
        key: value for key, value in before.items() if key[0] != "LlamaDeployment"
    }


async def test_a_measurement_that_stays_the_same_writes_nothing(world):
    ref, name, planned = await serving(world)
    world.reader.answer = answer(name, planned)
    assert accurate(await world.reconcile(ref)) == ("True", Reason.KV_CACHE_AS_PLANNED)
    before = await world.snapshot()
    await world.reconcile(ref)
    world.clock.advance(3000)
    await world.reconcile(ref)
    assert await world.snapshot() == before


async def test_while_a_new_revision_starts_the_old_ones_cache_says_nothing_of_it(world):
    ref, old, planned = await serving(world)
    world.reader.answer = answer(old, planned // 2)
    await world.reconcile(ref)
    shorter = {"maxModelLength": 8192, "concurrentSequences": 4}
    await world.apply_sample(MODEL_70B, context=shorter, rollout={"strategy": "BlueGreen"})
    status = await world.reconcile(ref)
    assert status.kv_cache is None
    assert accurate(status) == ("Unknown", Reason.NOT_MEASURED)
    assert status.kv_cache_tokens == planned // 2, "it is what answers"
    (new,) = set(await world.names(kinds.RAY_SERVICE)) - {old}
    await world.serve(new, "team-a")
    await world.reconcile(ref)
    live = await world.reconcile(ref)
    world.reader.answer = answer(new, live.plan.chosen.kv_cache_tokens)
    status = await world.reconcile(ref)
    assert status.kv_cache.revision == new
    assert accurate(status) == ("True", Reason.KV_CACHE_AS_PLANNED)
