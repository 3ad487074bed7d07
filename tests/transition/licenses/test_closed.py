"""A license that no longer allows: closed for what is new, static for what runs, and open for whoever frees hardware."""

import pytest

from llama_operator.api.reasons import Reason
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref

SAMPLE = "llama-3.3-70b-fp8-h100"
TEAM = "team-a"


@pytest.fixture
async def ref(world):
    """A deployment that serves, and whose acceptance no longer covers its namespace."""
    await world.apply_acceptance()
    for node in range(4):
        await world.add_node(f"h100-{node}")
    ref = await world.apply_sample(SAMPLE)
    await world.reconcile(ref)
    (running,) = await world.names(kinds.RAY_SERVICE)
    await world.serve(running, TEAM)
    await world.reconcile(ref)
    live = await world.user.get(Ref(kinds.LICENSE_ACCEPTANCE, "", "acme-llama-3-3"))
    record = {key: live[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": "acme-llama-3-3"}}
    await world.user.apply(record | {"spec": live["spec"] | {"namespaces": ["team-b"]}})
    return ref


def accepted(status):
    return next(c for c in status.conditions if c.type == "LicenseAccepted")


async def ray_service(world):
    (name,) = await world.names(kinds.RAY_SERVICE)
    return await world.user.get(Ref(kinds.RAY_SERVICE, TEAM, name))


@pytest.mark.parametrize(
    "change",
    [
        {"scaling": {"minReplicas": 2, "maxReplicas": 8, "targetQueueDepth": 1}},
        {"scaling": {"mode": "Manual"}, "replicas": 4},
        {"context": {"maxModelLength": 8192, "concurrentSequences": 16}},
        {"model": {"name": "llama-3.3-70b-instruct", "precision": "BF16"}},
        {"rollout": {"restartedAt": "2026-03-02T10:00:00Z"}},
    ],
    ids=["higher-bounds", "more-replicas", "another-revision", "another-precision", "a-restart"],
)
async def test_nothing_grows_and_nothing_new_starts(world, ref, change):
    before = await ray_service(world)
    await world.apply_sample(SAMPLE, **change)
    status = await world.reconcile(ref)
    assert accepted(status).reason == Reason.ACCEPTANCE_NAMESPACE_NOT_COVERED
    assert (await ray_service(world))["spec"] == before["spec"], "what runs goes on as it was"


async def test_a_second_deployment_is_not_made(world, ref):
    live = await world.user.get(ref)
    copy = {key: live[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": "two", "namespace": TEAM}}
    await world.user.apply(copy)
    before = await world.names(kinds.RAY_SERVICE)
    await world.reconcile(Ref(kinds.LLAMA_DEPLOYMENT, TEAM, "two"))
    assert await world.names(kinds.RAY_SERVICE) == before


async def test_nobody_is_kept_from_freeing_the_hardware(world, ref):
    await world.apply_sample(SAMPLE, activation="Suspended")
    status = await world.reconcile(ref)
    assert accepted(status).status == "False"
    assert await world.names(kinds.RAY_SERVICE) == []
