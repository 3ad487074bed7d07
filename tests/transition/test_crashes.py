"""The operator dies after every single write of every flow, and once more after the next; the end state is the same.

`CrashAfter` stands where the network would: the n-th write happens, the writer never hears of it and does nothing more.
Another operator then takes over. Invariants are judged after every write, not at the end alone.
"""

from contextlib import suppress
from datetime import timedelta

import pytest
import yaml

from llama_operator.kube import kinds
from llama_operator.kube.port import NotFoundError, Ref
from support.crashing.flows import Flow, writes_of

TINY = "tiny-cpu"
BLUE_GREEN = {"strategy": "BlueGreen", "drainSeconds": 60, "progressDeadlineSeconds": 600}
RECREATE = BLUE_GREEN | {"strategy": "Recreate"}
SCALED, GROWN = {"minReplicas": 1, "maxReplicas": 4}, 3
SHORTER = {"maxModelLength": 512}
ROUTES = (kinds.HTTP_ROUTE, kinds.INGRESS)
BY_GATEWAY = {"expose": {"hosts": ["llama.acme.example"], "gateway": {"name": "public"}}}
BY_INGRESS = {"expose": {"hosts": ["llama.acme.example"], "ingress": {}}}


class Watchdog:
    """Judges the cluster after every write, then lets another interceptor have its way."""

    def __init__(self, world, inner, most):
        self._world, self._inner, self._most = world, inner, most

    def before(self, write):
        self._inner.before(write)

    def after(self, write):
        here = list(self._world.memory._store)
        running = [stored for stored in here if stored.ref.kind is kinds.RAY_SERVICE]
        pinned = {stored.ref.name for stored in here if stored.ref.kind is kinds.CONTROLLER_REVISION}
        assert {stored.ref.name for stored in running} <= pinned, "nothing runs that is not pinned"
        assert len(running) <= self._most, "never more copies than the strategy allows"
        serves = with_traffic(here)
        assert all(least(stored.content) >= workers(here, serves) for stored in running if stored.ref.name != serves), (
            "who takes over begins with as many as serve"
        )
        self._inner.after(write)


def least(service):
    """Fewest replicas that a RayService asks for."""
    (override,) = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]["deployments"]
    return override["autoscaling_config"]["min_replicas"]


def with_traffic(here):
    """The revision that gets the requests; empty if none does."""
    services = (
        stored.content["spec"]["selector"] for stored in here if stored.ref == Ref(kinds.SERVICE, "default", "tiny")
    )
    return next(services, {}).get("llama-operator.io/revision", "")


def workers(here, revision):
    """Worker pods of a revision."""
    labels = (stored.content["metadata"]["labels"] for stored in here if stored.ref.kind is kinds.POD)
    return sum(
        each["llama-operator.io/revision"] == revision and each["ray.io/node-type"] == "worker" for each in labels
    )


async def drive(world, ref, *, healthy=None):
    """Reconcile until nothing changes, KubeRay making everything serve, or only what is `healthy`."""
    before = -1
    while before != len(world.memory.writes):
        before = len(world.memory.writes)
        await world.reconcile(ref)
        for name in await world.names(kinds.RAY_SERVICE):
            if healthy is None or name in healthy:
                await world.serve(name)
            else:
                await world.serve(name, status="DEPLOY_FAILED", endpoints=0, message="no kernel image")


async def settle(world, ref):
    await drive(world, ref)
    world.clock.advance(60)
    await drive(world, ref)


def edit(context=None, **spec):
    async def step(world, ref, play):
        await world.apply_sample(TINY, **(spec | ({"context": context} if context else {})))
        await play(lambda: settle(world, ref))

    return step


def failing(rollout):
    """An upgrade to a revision that never serves: its deadline passes."""

    async def step(world, ref, play):
        healthy = set(await world.names(kinds.RAY_SERVICE))
        await world.apply_sample(TINY, context=SHORTER, rollout=rollout)

        async def until_given_up():
            await drive(world, ref, healthy=healthy)
            world.clock.advance(600)
            await drive(world, ref, healthy=healthy)

        await play(until_given_up)

    return step


async def cordon_the_head(world):
    """A node with the head of what serves takes no new pods; another one does."""
    (name,) = await world.names(kinds.RAY_SERVICE)
    pod = await world.pod("runs", f"{name}-head", role="head", revision=name)
    for node, spec in ((pod["spec"]["nodeName"], {"unschedulable": True}), ("another", {})):
        await world.add_cpu_node(node, **spec)
    return name


async def grow(world, ref, play):
    """Its own autoscaler has started more replicas."""
    (name,) = await world.names(kinds.RAY_SERVICE)
    for number in range(GROWN):
        await world.pod("runs", f"{name}-{number}", role="worker", revision=name)
    await play(lambda: settle(world, ref))


async def move(world, ref, play):
    """The node of the head is cordoned: the same revision starts again elsewhere."""
    await cordon_the_head(world)
    await play(lambda: settle(world, ref))


async def move_in_vain(world, ref, play):
    """As before, but the second copy never serves."""
    first = await cordon_the_head(world)

    async def until_given_up():
        await drive(world, ref, healthy={first})
        world.clock.advance(600)
        await drive(world, ref, healthy={first})

    await play(until_given_up)


async def remove(world, ref, play):
    with suppress(NotFoundError):
        await world.user.delete(ref)
    await play(lambda: settle(world, ref))


FLOWS = {
    "create": (1, [edit(rollout=BLUE_GREEN)]),
    "scale": (1, [edit(rollout=BLUE_GREEN), edit(rollout=BLUE_GREEN, scaling={"minReplicas": 2, "maxReplicas": 3})]),
    "upgrade beside": (2, [edit(rollout=BLUE_GREEN), edit(SHORTER, rollout=BLUE_GREEN)]),
    "upgrade beside under load": (
        2,
        [edit(rollout=BLUE_GREEN, scaling=SCALED), grow, edit(SHORTER, rollout=BLUE_GREEN, scaling=SCALED)],
    ),
    "upgrade after": (1, [edit(rollout=RECREATE), edit(SHORTER, rollout=RECREATE)]),
    "roll back beside": (2, [edit(rollout=BLUE_GREEN), failing(BLUE_GREEN)]),
    "roll back after": (1, [edit(rollout=RECREATE), failing(RECREATE)]),
    "go back by hand": (2, [edit(rollout=BLUE_GREEN), edit(SHORTER, rollout=BLUE_GREEN), edit(rollout=BLUE_GREEN)]),
    "suspend and resume": (1, [edit(rollout=BLUE_GREEN), edit(activation="Suspended"), edit(rollout=BLUE_GREEN)]),
    "let in from outside": (1, [edit(endpoint=BY_GATEWAY), edit(endpoint=BY_INGRESS), edit()]),
    "move the head": (2, [edit(rollout=BLUE_GREEN), move]),
    "move the head in vain": (2, [edit(rollout=BLUE_GREEN), move_in_vain]),
    "delete": (1, [edit(rollout=BLUE_GREEN), remove]),
}
"""Name -> (most copies at a time, steps)."""
_LONG = {"move the head in vain": pytest.mark.nightly}


def flow_of(name):
    most, steps = FLOWS[name]
    ref = Ref(kinds.LLAMA_DEPLOYMENT, "default", "tiny")

    def operator(world, inner):
        client = world.memory.client("llama-operator", interceptor=Watchdog(world, inner, most))
        world.ports = world.ports_with(client)

    taken = [lambda world, play, step=step: step(world, ref, play) for step in steps]
    return Flow(taken, spacing=timedelta(seconds=10_000), operator=operator, end_state=end_state)


async def end_state(world):
    found = {}
    for kind in (kinds.RAY_SERVICE, kinds.SERVICE, kinds.NETWORK_POLICY, kinds.CONTROLLER_REVISION, *ROUTES):
        for item in (await world.user.list(kind)).items:
            content = {key: item.get(key) for key in ("spec", "data", "revision")}
            marks = sorted(item["metadata"].get("annotations", {}))
            found[kind.kind, item["metadata"]["name"]] = (content, marks)
    return found


@pytest.mark.parametrize("name", [pytest.param(name, marks=_LONG.get(name, ())) for name in FLOWS])
async def test_a_crash_after_any_write_leads_to_the_same_end_state(make_world, name):
    flow, world = flow_of(name), make_world()
    await flow.undisturbed(world)
    assert flow.writes >= 5
    assert world.agreed >= 2, "diff was held against the operator after the passes"
    for writes in flow.moments:
        assert writes_of(await flow.crashed(writes)) <= flow.writes + 2, "work that was done is not done again"


@pytest.mark.parametrize("name", ["upgrade beside", pytest.param("roll back after", marks=pytest.mark.nightly)])
async def test_two_crashes_in_a_row_lead_there_too(make_world, name):
    flow = flow_of(name)
    await flow.undisturbed(make_world())
    for writes in flow.moments[:-1]:
        for again in (0, 1, 2):
            await flow.crashed(writes, again)
