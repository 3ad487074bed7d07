"""Who may send requests, over time: it belongs to a revision, and what each tenant may use does not.

A revision of another operator runs as it was pinned; what the spec asks for is told, and comes with the next one.
"""

import json
from pathlib import Path

import pytest
import yaml

from llama_operator.api.reasons import Reason
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from support import one_world

RECORDS = Path(__file__).resolve().parents[2] / "golden" / "records"
DIRECT = {"endpoint": {"path": "Direct"}}
PRODUCTION = {"license": {"purpose": "Production"}}
KEYS = {"access": {"mode": "Keys"}}
OPEN = {"access": {"mode": "Open"}}
ACME = {"name": "acme", "requestsPerMinute": 60, "tokensPerDay": 1_000_000}


def condition(status, kind):
    return next(found for found in status.conditions if found.type == kind)


async def serving(world, **spec):
    ref = await world.apply_sample("tiny-cpu", **spec)
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.serve(name)
    await world.reconcile(ref)
    return ref, name


async def run_of(world, name):
    """What KubeRay gets to run: the Serve config and the cluster."""
    live = await world.user.get(Ref(kinds.RAY_SERVICE, "default", name))
    return yaml.safe_load(live["spec"]["serveConfigV2"]), live["spec"]["rayClusterConfig"]


def engines(config):
    return next(one for one in config["applications"] if one["name"] == "llama")


def door_of(cluster):
    (container,) = cluster["headGroupSpec"]["template"]["spec"]["containers"]
    values = {each["name"]: each.get("value") for each in container["env"]}
    return json.loads(values["LLAMA_SERVING_DOOR"]) if "LLAMA_SERVING_DOOR" in values else None


async def test_limits_of_tenants_change_in_place(world):
    ref, name = await serving(world, **DIRECT, **KEYS, tenants=[ACME])
    before, cluster = await run_of(world, name)
    await world.apply_sample(
        "tiny-cpu", **DIRECT, **KEYS, tenants=[ACME | {"requestsPerMinute": 6}, {"name": "globex"}]
    )
    status = await world.reconcile(ref)
    after, same_cluster = await run_of(world, name)
    assert await world.names(kinds.RAY_SERVICE) == [name]
    assert condition(status, "UpToDate").status == "True"
    assert same_cluster == cluster
    (old,), (new,) = engines(before)["deployments"], engines(after)["deployments"]
    assert [tenant.get("requests_per_minute") for tenant in old["user_config"]["tenants"]] == [60]
    assert [tenant["name"] for tenant in new["user_config"]["tenants"]] == ["acme", "globex"]
    assert new["user_config"]["tenants"][0]["requests_per_minute"] == 6
    assert {**new, "user_config": None} == {**old, "user_config": None}
    assert engines(after)["args"] == engines(before)["args"], "a change of args would restart the engines"


async def test_the_desk_is_there_from_the_first_deploy_and_with_the_last_tenant_gone(world):
    ref, name = await serving(world, **DIRECT, **KEYS)
    (none,) = engines((await run_of(world, name))[0])["deployments"]
    assert none["user_config"]["tenants"] == []
    await world.apply_sample("tiny-cpu", **DIRECT, **KEYS, scaling={"maxQueuedRequests": 7})
    await world.reconcile(ref)
    (fewer,) = engines((await run_of(world, name))[0])["deployments"]
    assert fewer["user_config"]["max_waiting_requests"] == 7
    assert (fewer["max_ongoing_requests"], fewer["max_queued_requests"]) == (100_000, -1)


@pytest.mark.parametrize(
    "change",
    [
        KEYS,
        {"access": {"mode": "Keys", "keys": {"secret": "acme"}}},
        {"access": {"mode": "Open", "maxBodyMiB": 1}},
    ],
    ids=["keys", "a Secret", "size"],
)
async def test_another_access_is_a_new_revision_that_starts_beside_the_old_one(world, change):
    ref, old = await serving(world, **OPEN, rollout={"strategy": "BlueGreen"})
    before = await run_of(world, old)
    await world.apply_sample("tiny-cpu", **change, rollout={"strategy": "BlueGreen"})
    status = await world.reconcile(ref)
    (new,) = set(await world.names(kinds.RAY_SERVICE)) - {old}
    assert status.access.revision == old, "the endpoint is as open as what serves"
    assert await run_of(world, old) == before
    await world.serve(new)
    status = await world.reconcile(ref)
    assert (status.access.revision, status.access.mode) == (new, change["access"]["mode"])
    assert door_of((await run_of(world, new))[1])["access"] == change["access"]["mode"]


async def test_another_purpose_closes_nothing_that_serves_and_the_status_says_what_to_do(world):
    ref, name = await serving(world)
    before = await run_of(world, name)
    assert door_of(before[1])["access"] == "Open"
    await world.apply_sample("tiny-cpu", **PRODUCTION)
    status = await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == [name]
    assert await run_of(world, name) == before
    assert (status.access.mode, condition(status, "Ready").status) == ("Open", "True")
    assert "set spec.access.mode to Keys" in status.access.advice
    assert ("Warning", "AccessAdvice") in world.events.told
    told = len(world.events.told)
    await world.reconcile(ref)
    assert len(world.events.told) == told, "it is told once"
    await world.apply_sample("tiny-cpu", **PRODUCTION, rollout={"restartedAt": "1"})
    await world.reconcile(ref)
    (new,) = set(await world.names(kinds.RAY_SERVICE)) - {name}
    assert door_of((await run_of(world, new))[1])["access"] == "Keys"


async def test_a_production_deployment_that_is_open_by_choice_is_told_so(world):
    ref, _ = await serving(world, **PRODUCTION, **OPEN)
    status = await world.reconcile(ref)
    assert status.access.mode == "Open"
    assert "spec.access.mode is Open" in status.access.advice


async def test_a_production_deployment_asks_for_keys_and_nothing_is_advised(world):
    ref, _ = await serving(world, **PRODUCTION)
    status = await world.reconcile(ref)
    assert (status.access.mode, status.access.keys, status.access.advice) == ("Keys", "ConfigMap tiny-keys", "")
    assert ("Warning", "AccessAdvice") not in world.events.told


async def policy(world, **tier):
    await world.user.apply(
        {
            "apiVersion": "llama-operator.io/v1alpha1",
            "kind": "LicensePolicy",
            "metadata": {"name": "house"},
            "spec": {"tiers": [{"tier": "OtherLicense", **tier}]},
        }
    )


async def test_a_policy_that_requires_keys_gives_keys_to_a_new_evaluation(world):
    await policy(world, requireKeys="Required")
    ref, _ = await serving(world)
    status = await world.reconcile(ref)
    assert (status.access.mode, condition(status, "LicenseAccepted").status) == ("Keys", "True")


async def test_a_policy_that_requires_keys_lets_no_open_endpoint_start(world):
    await policy(world, requireKeys="Required")
    ref = await world.apply_sample("tiny-cpu", **OPEN)
    status = await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == []
    refused = condition(status, "LicenseAccepted")
    assert (refused.status, refused.reason) == ("False", Reason.HOUSE_POLICY)
    assert "set spec.access.mode to Keys" in refused.message
    await world.apply_sample("tiny-cpu", **KEYS)
    status = await world.reconcile(ref)
    assert condition(status, "LicenseAccepted").status == "True"
    assert len(await world.names(kinds.RAY_SERVICE)) == 1


async def test_a_policy_that_comes_later_cuts_nothing_off_and_is_told(world):
    ref, name = await serving(world)
    before = await run_of(world, name)
    await policy(world, requireKeys="Required")
    status = await world.reconcile(ref)
    assert await run_of(world, name) == before
    assert (condition(status, "Ready").status, condition(status, "LicenseAccepted").reason) == ("True", "HousePolicy")
    # What serves stays while what the message asks for starts beside it.
    await world.apply_sample("tiny-cpu", **KEYS, rollout={"strategy": "BlueGreen"})
    status = await world.reconcile(ref)
    (new,) = set(await world.names(kinds.RAY_SERVICE)) - {name}
    decision = await one_world.decided(world, ref)
    assert (decision.may_start(name), decision.may_start(new)) == (False, True), "each by its own door"
    await world.serve(new)
    status = await world.reconcile(ref)
    assert (status.access.revision, status.access.mode) == (new, "Keys")


def desk_of(run):
    (engine,) = engines(run[0])["deployments"]
    return engine["user_config"]


async def test_a_policy_bounds_the_limits_of_each_tenant_while_the_engines_go_on(world):
    ref, name = await serving(world, **DIRECT, **KEYS, tenants=[ACME, {"name": "globex", "requestsPerMinute": 5}])
    before, cluster = await run_of(world, name)
    await policy(world, maxRequestsPerMinute=20, maxTokensPerMinute=1000)
    await world.reconcile(ref)
    status = await world.reconcile(ref)
    after, same_cluster = await run_of(world, name)

    desk = desk_of((after, cluster))
    assert [one["requests_per_minute"] for one in desk["tenants"]] == [20, 5]
    assert [one["tokens_per_minute"] for one in (*desk["tenants"], desk["others"])] == [1000] * 3
    assert (same_cluster, engines(after)["args"]) == (cluster, engines(before)["args"])
    assert await world.names(kinds.RAY_SERVICE) == [name]
    assert "at most 20 requests a minute for each tenant (LicensePolicy house" in status.access.house_limits

    await policy(world)
    await world.reconcile(ref)
    status = await world.reconcile(ref)
    assert await run_of(world, name) == (before, cluster)
    assert status.access.house_limits == ""


async def test_a_key_that_is_revoked_reaches_the_replicas_and_restarts_nothing(world):
    ref, name = await serving(world, **DIRECT, **KEYS)
    before, cluster = await run_of(world, name)
    await world.apply_sample("tiny-cpu", **DIRECT, access={"mode": "Keys", "revokedKeys": ["abcdefghijklmnop"]})
    await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == [name]
    after, same_cluster = await run_of(world, name)
    assert (same_cluster, engines(after)["args"]) == (cluster, engines(before)["args"])
    assert desk_of((after, cluster))["revoked_keys"] == ["abcdefghijklmnop"]


async def test_a_key_is_revoked_also_where_the_house_refuses_what_serves(world):
    ref, name = await serving(world, **DIRECT, **KEYS, tenants=[ACME])
    before = await run_of(world, name)
    await policy(world, namespaces=["elsewhere"])
    revoked = {"mode": "Keys", "revokedKeys": ["abcdefghijklmnop"]}
    await world.apply_sample("tiny-cpu", **DIRECT, access=revoked, tenants=[ACME], scaling={"maxReplicas": 9})
    status = await world.reconcile(ref)
    assert condition(status, "LicenseAccepted").status == "False"
    after = await run_of(world, name)
    assert desk_of(after) == desk_of(before) | {"revoked_keys": ["abcdefghijklmnop"]}
    assert after[1] == before[1], "no more hardware"


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({}, id="as it was"),
        pytest.param(PRODUCTION, id="purpose"),
        pytest.param(PRODUCTION | {"tenants": [ACME]}, id="tenants"),
    ],
)
async def test_an_upgrade_changes_nothing_of_what_an_older_operator_pinned(world, spec):
    path = RECORDS / "0.1.0" / "tiny-cpu.yaml"
    record, service = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ref = await world.apply_sample("tiny-cpu", **spec)
    name = record["metadata"]["name"]
    owner = (await world.user.get(ref))["metadata"]["uid"]
    for obj in (record, service):
        owners = [
            {"apiVersion": "llama-operator.io/v1alpha1", "kind": "LlamaDeployment", "name": ref.name, "uid": owner}
        ]
        obj["metadata"]["ownerReferences"] = [
            each | {"controller": True, "blockOwnerDeletion": True} for each in owners
        ]
        await world.memory.client("llama-operator").apply(obj)
    before, cluster = await run_of(world, name)
    await world.serve(name)
    for _ in range(2):
        status = await world.reconcile(ref)
    after, same_cluster = await run_of(world, name)
    assert await world.names(kinds.RAY_SERVICE) == [name]
    assert engines(after)["args"] == engines(before)["args"]
    assert "user_config" not in engines(after)["deployments"][0]
    assert [one["name"] for one in after["applications"]] == ["llama"]
    assert door_of(same_cluster) is None
    assert same_cluster["headGroupSpec"] == cluster["headGroupSpec"]
    assert (status.access.mode, status.access.path) == ("Open", "Ingress")
    assert ("without a key" in status.access.advice) is bool(spec)
    assert ("limits of tenants in the spec do not count" in status.access.advice) is ("tenants" in spec)
    versions = await world.snapshot()
    await world.reconcile(ref)
    assert await world.snapshot() == versions


BROKEN = {"status": "UNHEALTHY", "message": "the board said no"}


async def test_a_board_that_fails_is_told_and_takes_nothing_from_the_endpoint(world):
    ref, name = await serving(world, **DIRECT)
    await world.serve(name, board={"status": "RUNNING"})
    status = await world.reconcile(ref)
    assert condition(status, "EndpointReady").reason == Reason.ENDPOINT_SERVING
    await world.serve(name, board=BROKEN)
    status = await world.reconcile(ref)
    found = condition(status, "EndpointReady")
    assert (found.status, found.reason) == ("True", Reason.DEGRADED)
    assert "llama-board" in found.message
    assert "the board said no" in found.message
    assert condition(status, "Ready").status == "True"
    assert await world.names(kinds.RAY_SERVICE) == [name]


async def test_where_engine_and_board_fail_the_engine_is_told(world):
    ref, name = await serving(world, **DIRECT)
    await world.serve(name, status="UNHEALTHY", endpoints=0, message="the engine said no", board=BROKEN)
    status = await world.reconcile(ref)
    told = " ".join(found.message for found in status.conditions)
    assert "the engine said no" in told
    assert "the board said no" not in told
    assert condition(status, "EndpointReady").reason != Reason.BOARD_FAILED


async def test_a_board_that_never_ran_is_the_cause_of_a_start_that_fails(world):
    ref = await world.apply_sample("tiny-cpu", **DIRECT)
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.serve(name, endpoints=0, board=BROKEN | {"status": "DEPLOY_FAILED"})
    status = await world.reconcile(ref)
    found = condition(status, "EndpointReady")
    assert (found.status, found.reason) == ("False", Reason.BOARD_FAILED)
    assert "the board said no" in found.message
    assert ("Warning", "BoardFailed") in world.events.told
