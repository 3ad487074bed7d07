"""The operator and `kubectl llama diff` while Serve deploys an application again: `world.reconcile` compares them too."""

from llama_operator.kube import kinds
from llama_serving.contract.status import DeploymentIdentity, ServingStatus
from support import one_world

ROLLOUT = {"strategy": "BlueGreen", "drainSeconds": 60}


async def serving(world):
    ref = await world.apply_sample("tiny-cpu", rollout=ROLLOUT)
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.serve(name)
    await world.reconcile(ref)
    await world.reconcile(ref)
    return ref, name


def answer(ref, name, *, replicas):
    identity = DeploymentIdentity(name=ref.name, namespace=ref.namespace, revision=name)
    return ServingStatus(
        identity=identity,
        model_id="tiny",
        replicas=replicas,
        target_replicas=1,
        queue_depth=0,
        running_requests=0,
    )


async def test_both_keep_what_serves_while_serve_deploys_it_again(world):
    ref, old = await serving(world)
    world.reader.answer = answer(ref, old, replicas=1)
    await world.reconcile(ref)
    await world.serve(old, status="DEPLOYING")
    await world.apply_sample("tiny-cpu", rollout=ROLLOUT, context={"maxModelLength": 512})
    before = world.agreed
    difference, decision = await one_world.compared(world, ref), await one_world.decided(world, ref)
    assert difference.decision == decision
    assert old in decision.rollout.run
    assert decision.rollout.traffic == old
    await world.reconcile(ref)
    assert world.agreed == before + 1


async def test_replicas_that_are_gone_are_known_to_the_operator_and_called_unknown_by_the_command(world):
    ref, old = await serving(world)
    await world.serve(old, status="DEPLOYING")
    world.reader.answer = answer(ref, old, replicas=0)
    before = world.agreed
    await world.reconcile(ref)
    await world.reconcile(ref)
    assert world.agreed == before
    difference = await one_world.compared(world, ref)
    assert difference.unseen == (f"only the operator can ask the pods of {old} whether replicas are left",)
