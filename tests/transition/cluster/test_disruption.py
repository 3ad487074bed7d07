"""The budget for evictions over time: it follows replicas and the traffic, and what cannot be written of it stops nothing."""

from dataclasses import replace

import pytest

from llama_operator.handlers.watched import WATCHED
from llama_operator.kube import kinds
from llama_operator.kube.delegating import Delegating
from llama_operator.kube.port import ForbiddenError, JsonPatch, NotFoundError, Ref
from llama_operator.observe.rights import WithoutThe

BUDGET = Ref(kinds.POD_DISRUPTION_BUDGET, "default", "tiny")


def condition(status, kind):
    return next(each for each in status.conditions if each.type == kind)


async def serving(world, **spec):
    ref = await world.apply_sample("tiny-cpu", **spec)
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.ray_cluster(name)
    await world.serve(name)
    return ref, name, await world.reconcile(ref)


async def scaled_to(world, name, replicas):
    """Ray's autoscaler asks for so many."""
    cluster = Ref(kinds.RAY_CLUSTER, "default", f"{name}-abcde")
    await world.kuberay.patch(cluster, [JsonPatch("replace", "/spec/workerGroupSpecs/0/replicas", replicas)])


async def test_the_budget_follows_the_replicas_and_at_rest_nothing_is_written(world):
    ref, name, _ = await serving(world, scaling={"maxReplicas": 5})
    assert (await world.user.get(BUDGET))["spec"]["minAvailable"] == 0
    for replicas in (4, 2):
        await scaled_to(world, name, replicas)
        await world.reconcile(ref)
        assert (await world.user.get(BUDGET))["spec"]["minAvailable"] == replicas - 1
    before = await world.snapshot()
    await world.reconcile(ref)
    assert await world.snapshot() == before


async def test_the_budget_goes_with_the_traffic(world):
    ref, old, _ = await serving(world)
    await world.apply_sample("tiny-cpu", context={"maxModelLength": 64}, rollout={"strategy": "BlueGreen"})
    await world.reconcile(ref)
    selected = "llama-operator.io/revision"
    assert (await world.user.get(BUDGET))["spec"]["selector"]["matchLabels"][selected] == old
    (new,) = set(await world.names(kinds.RAY_SERVICE)) - {old}
    await world.serve(new)
    await world.reconcile(ref)
    assert (await world.user.get(BUDGET))["spec"]["selector"]["matchLabels"][selected] == new
    assert await world.names(kinds.POD_DISRUPTION_BUDGET) == ["tiny"], "a pod under two budgets cannot be evicted"


class Refusing(Delegating):
    """An API server that lets nobody write, or read, budgets."""

    def __init__(self, inner, error):
        super().__init__(inner)
        self.error = error

    def _check(self, kind):
        if kind == kinds.POD_DISRUPTION_BUDGET:
            raise self.error

    async def get(self, ref):
        self._check(ref.kind)
        return await super().get(ref)

    async def apply(self, obj, *, force=True, manager=""):
        self._check(kinds.find(obj["apiVersion"], obj["kind"]))
        return await super().apply(obj, force=force, manager=manager)


@pytest.mark.parametrize(
    "error",
    [
        ForbiddenError("Missing right: verb `get` on `poddisruptionbudgets`; grant it by a role"),
        ForbiddenError('admission webhook "budgets.acme.example" denied it: ask the platform'),
        NotFoundError("apply of PodDisruptionBudget: the API server does not serve this kind"),
    ],
    ids=["older roles", "denied", "not there"],
)
async def test_a_budget_that_is_refused_stops_nothing_and_is_told(world, error):
    rights = WithoutThe([one.kind for one in WATCHED if not one.needed])
    world.ports = replace(world.ports, cluster=Refusing(world.ports.cluster, error), rights=rights)
    world.compares = False
    _, _, status = await serving(world)
    assert condition(status, "Ready").status == "True"
    kept = condition(status, "ObjectsKept")
    assert (kept.status, kept.reason) == ("False", "WriteRefused")
    assert str(error) in kept.message
    assert ("Warning", "Contested") not in world.events.told, "nobody changes it"
