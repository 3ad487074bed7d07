"""Adapters come and go in place; room for them is a new revision, and a wrong list disturbs nothing that serves."""

import pytest
import yaml

from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from support.passes import condition, serving, settles

SLOTS = {"adapterSlots": {"maxLoras": 2, "volumeClaim": "acme-adapters"}}
A, B = {"name": "a", "source": {"path": "a/v1"}}, {"name": "b", "source": {"path": "b/v1"}}


async def run_of(world, name):
    """What KubeRay gets to run: the Serve config and the cluster."""
    live = await world.user.get(Ref(kinds.RAY_SERVICE, "default", name))
    applications = yaml.safe_load(live["spec"]["serveConfigV2"])["applications"]
    return {one["name"]: one for one in applications}, live["spec"]["rayClusterConfig"]


def listed(applications):
    (engine,), (board,) = (applications[name]["deployments"] for name in ("llama", "llama-board"))
    assert board["user_config"]["adapters"] == engine["user_config"]["adapters"]
    return [(one["name"], one["path"]) for one in engine["user_config"]["adapters"]]


async def test_adapters_change_in_place_and_are_there_from_the_first_deploy(world):
    ref, name = await serving(world, **SLOTS)
    before, cluster = await run_of(world, name)
    assert listed(before) == []

    for adapters in ([A], [A, B], [B], []):
        await world.apply_sample("tiny-cpu", **SLOTS, adapters=adapters)
        status = await settles(world, ref)
        after, same = await run_of(world, name)
        assert listed(after) == [(one["name"], one["source"]["path"]) for one in adapters]
        assert same == cluster
        assert after["llama"]["args"] == before["llama"]["args"], "a change of args would restart the engines"
        assert await world.names(kinds.RAY_SERVICE) == [name]
        assert condition(status, "UpToDate").status == "True"


async def test_room_is_a_new_revision_with_the_volume_and_the_one_before_gets_no_list(world):
    ref, old = await serving(world)
    plain, _ = await run_of(world, old)
    assert "adapters" not in plain["llama"]["args"]
    assert "adapters" not in plain["llama"]["deployments"][0]["user_config"]

    await world.apply_sample("tiny-cpu", **SLOTS, adapters=[A])
    await world.reconcile(ref)

    (new,) = set(await world.names(kinds.RAY_SERVICE)) - {old}
    assert await run_of(world, old) == (plain, (await run_of(world, old))[1])
    made, cluster = await run_of(world, new)
    assert listed(made) == [("a", "a/v1")]
    assert made["llama"]["args"]["adapters"] == {
        "max_loras": 2,
        "max_lora_rank": 16,
        "max_cpu_loras": 8,
        "folder": "/adapters",
    }
    pods = [cluster["headGroupSpec"]["template"]["spec"], cluster["workerGroupSpecs"][0]["template"]["spec"]]
    mounted = [[one["name"] for one in pod.get("volumes", ()) if one["name"] == "adapters"] for pod in pods]
    assert mounted == [[], ["adapters"]]


async def test_an_adapter_of_the_hub_is_a_new_revision_whose_pods_may_reach_it(world):
    hub = {"name": "h", "source": {"huggingFace": {"repository": "acme/support", "revision": "0" * 40}}}
    ref, old = await serving(world, **SLOTS, adapters=[A])

    await world.apply_sample("tiny-cpu", **SLOTS, adapters=[A, hub])
    await world.reconcile(ref)

    (new,) = set(await world.names(kinds.RAY_SERVICE)) - {old}
    assert listed((await run_of(world, old))[0]) == [("a", "a/v1")], "its pods cannot fetch the other"
    made, cluster = await run_of(world, new)
    (engine,) = made["llama"]["deployments"]
    assert [one["name"] for one in engine["user_config"]["adapters"]] == ["a", "h"]
    assert made["llama"]["args"]["adapters"]["repositories"] == [{"repository": "acme/support", "revision": "0" * 40}]
    (container,) = cluster["workerGroupSpecs"][0]["template"]["spec"]["containers"]
    assert "HF_HUB_OFFLINE" not in {each["name"] for each in container["env"]}
    await world.serve(new)

    # Those of the volume still come and go in place.
    await world.apply_sample("tiny-cpu", **SLOTS, adapters=[B, hub])
    await settles(world, ref)
    (engine,) = (await run_of(world, new))[0]["llama"]["deployments"]
    assert [one["name"] for one in engine["user_config"]["adapters"]] == ["b", "h"]
    assert set(await world.names(kinds.RAY_SERVICE)) <= {old, new}


@pytest.mark.parametrize(
    ("adapters", "reason"),
    [
        ([{"name": "tiny-random-llama", "source": {"path": "x"}}], "AdapterNameTaken"),
        ([A, A | {"name": "A"}], "InvalidSpec"),
        ([A | {"licenseFamilies": ["acme-free"]}], "LineageUnresolved"),
    ],
)
async def test_a_wrong_list_keeps_what_serves_and_says_so(world, adapters, reason):
    ref, name = await serving(world, **SLOTS, adapters=[B])
    before = await run_of(world, name)

    await world.apply_sample("tiny-cpu", **SLOTS, adapters=adapters)
    status = await settles(world, ref)

    assert await run_of(world, name) == before
    assert reason in {one.reason for one in status.conditions if one.status != "True"}
    assert condition(status, "Ready").status == "True"
    await world.apply_sample("tiny-cpu", **SLOTS, adapters=[A])
    await settles(world, ref)
    assert listed((await run_of(world, name))[0]) == [("a", "a/v1")]
