"""State -> State: what stands in the cluster after the reconcile, whatever calls it made."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import yaml

from llama_operator.api.reasons import Reason
from llama_operator.errors import WriteRefusedError
from llama_operator.kube import kinds
from llama_operator.kube.port import NotFoundError, Ref


def condition(status, kind):
    return next(found for found in status.conditions if found.type == kind)


async def test_a_new_deployment_gets_its_objects_and_a_status(world):
    ref = await world.apply_sample("tiny-cpu")
    status = await world.reconcile(ref)
    (service,) = await world.names(kinds.RAY_SERVICE)
    assert service.startswith("tiny-")
    assert await world.names(kinds.SERVICE) == ["tiny"]
    assert await world.names(kinds.NETWORK_POLICY) == ["tiny", "tiny.head"]
    assert await world.names(kinds.POD_DISRUPTION_BUDGET) == ["tiny"]
    assert condition(status, "Ready").reason == Reason.STARTING
    live = await world.user.get(ref)
    assert live["status"] == status.to_api()


async def test_a_reconcile_that_changes_nothing_writes_nothing(world):
    ref = await world.apply_sample("tiny-cpu")
    await world.reconcile(ref)
    await world.reconcile(ref)  # now it sees its own RayService, and says so
    world.clock.advance(300)
    await world.reconcile(ref)  # and now that KubeRay makes nothing of it
    before = await world.snapshot()
    world.clock.advance(2700)
    await world.reconcile(ref)
    await world.reconcile(ref)
    assert await world.snapshot() == before


async def test_children_belong_to_the_deployment_and_go_with_it(world):
    ref = await world.apply_sample("tiny-cpu")
    await world.reconcile(ref)
    await world.user.delete(ref)
    assert await world.reconcile(ref) is None
    assert await world.names(kinds.RAY_SERVICE) == []
    assert await world.names(kinds.SERVICE) == []


async def test_it_gets_ready_when_kuberay_and_serve_say_so(world):
    ref = await world.apply_sample("tiny-cpu")
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.serve(name, status="DEPLOYING", endpoints=0)
    assert condition(await world.reconcile(ref), "Ready").status == "Unknown"
    await world.serve(name)
    assert condition(await world.reconcile(ref), "Ready").status == "True"


async def test_live_fields_change_the_running_revision_in_place(world):
    ref = await world.apply_sample("tiny-cpu")
    await world.reconcile(ref)
    (before,) = (await world.user.list(kinds.RAY_SERVICE)).items
    await world.apply_sample("tiny-cpu", scaling={"minReplicas": 1, "maxReplicas": 7, "targetQueueDepth": 9})
    await world.reconcile(ref)
    (after,) = (await world.user.list(kinds.RAY_SERVICE)).items
    old, new = (yaml.safe_load(item["spec"]["serveConfigV2"])["applications"][0] for item in (before, after))
    assert before["metadata"]["uid"] == after["metadata"]["uid"]
    assert old["args"] == new["args"], "a change of args would restart the engines"
    assert new["deployments"][0]["autoscaling_config"]["max_replicas"] == 7


async def test_a_new_revision_takes_the_traffic_only_when_it_serves_and_then_the_old_one_goes(world):
    ref = await world.apply_sample("tiny-cpu")
    await world.reconcile(ref)
    (old,) = await world.names(kinds.RAY_SERVICE)
    await world.serve(old)
    await world.reconcile(ref)
    await world.apply_sample("tiny-cpu", context={"maxModelLength": 512})
    await world.reconcile(ref)
    (new,) = set(await world.names(kinds.RAY_SERVICE)) - {old}
    service = Ref(kinds.SERVICE, "default", "tiny")
    assert (await world.user.get(service))["spec"]["selector"]["llama-operator.io/revision"] == old
    await world.serve(new)
    await world.reconcile(ref)
    assert (await world.user.get(service))["spec"]["selector"]["llama-operator.io/revision"] == new
    assert await world.names(kinds.RAY_SERVICE) == sorted([old, new]), "streams on the old one may end"
    assert world.outcome.next_check
    world.clock.advance(300)
    await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == [new]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"model": {"name": "llama-9"}}, Reason.MODEL_UNKNOWN),
        ({"context": {"maxModelLength": 99_999}}, Reason.CONTEXT_TOO_LONG),
        ({"model": {"name": "llama-3.1-8b"}}, Reason.ACCEPTANCE_MISSING),
        ({"hardware": {"accelerator": "CPU", "maxGPUs": 1}}, Reason.MAX_GPUS_EXCEEDED),
    ],
)
async def test_a_bad_spec_never_disturbs_what_serves(world, spec, reason):
    ref = await world.apply_sample("tiny-cpu")
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.serve(name)
    await world.reconcile(ref)
    before = await world.snapshot()
    await world.apply_sample("tiny-cpu", **spec)
    status = await world.reconcile(ref)
    after = await world.snapshot()
    changed = {key for key in before | after if before.get(key) != after.get(key)}
    assert changed == {("LlamaDeployment", "tiny")}
    assert (condition(status, "Ready").status, condition(status, "UpToDate").reason) == ("True", reason)
    assert (condition(status, "Stalled").status, condition(status, "Stalled").reason) == ("True", reason)
    assert condition(status, "EndpointReady").status == "True"
    assert status.observed_generation == 2


async def test_an_acceptance_that_appears_unblocks(world):
    ref = await world.apply_sample("llama-3.1-8b-l4")
    status = await world.reconcile(ref)
    assert condition(status, "LicenseAccepted").reason == Reason.ACCEPTANCE_NOT_FOUND
    assert await world.names(kinds.RAY_SERVICE) == []
    await world.apply_acceptance()
    status = await world.reconcile(ref)
    assert condition(status, "LicenseAccepted").status == "True"
    assert len(await world.names(kinds.RAY_SERVICE)) == 1


async def test_suspending_frees_the_hardware_and_resuming_brings_the_same_revision_back(world):
    ref = await world.apply_sample("tiny-cpu")
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.apply_sample("tiny-cpu", activation="Suspended")
    await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == []
    assert await world.names(kinds.SERVICE) == ["tiny"], "clients keep the name"
    await world.apply_sample("tiny-cpu")
    await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == [name]


async def test_drift_in_what_we_own_is_repaired_and_what_others_own_stays(world):
    ref = await world.apply_sample("tiny-cpu")
    await world.reconcile(ref)
    service = Ref(kinds.SERVICE, "default", "tiny")
    live = await world.user.get(service)
    await world.user.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "tiny", "namespace": "default", "annotations": {"team": "a"}},
            "spec": {"selector": {"llama-operator.io/revision": "stolen"}},
        }
    )
    await world.reconcile(ref)
    repaired = await world.user.get(service)
    assert repaired["spec"]["selector"] == live["spec"]["selector"]
    assert repaired["metadata"]["annotations"]["team"] == "a"


async def test_a_deleted_child_comes_back(world):
    ref = await world.apply_sample("tiny-cpu")
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    await world.user.delete(Ref(kinds.RAY_SERVICE, "default", name))
    await world.reconcile(ref)
    assert await world.names(kinds.RAY_SERVICE) == [name]


async def test_a_deployment_that_is_gone_is_no_error(world):
    assert await world.reconcile(Ref(kinds.LLAMA_DEPLOYMENT, "default", "nobody")) is None
    with pytest.raises(NotFoundError):
        await world.user.get(Ref(kinds.SERVICE, "default", "nobody"))


async def test_drift_is_repaired_also_while_the_service_is_missing(world):
    ref = await world.apply_sample("tiny-cpu")
    await world.reconcile(ref)
    (name,) = await world.names(kinds.RAY_SERVICE)
    address = {"apiVersion": "ray.io/v1", "kind": "RayService", "metadata": {"name": name, "namespace": "default"}}
    await world.user.apply(address | {"spec": {"serveConfigV2": "stolen"}})
    await world.user.delete(Ref(kinds.SERVICE, "default", "tiny"))
    await world.reconcile(ref)
    assert await world.names(kinds.SERVICE) == ["tiny"]
    assert (await world.user.get(Ref(kinds.RAY_SERVICE, "default", name)))["spec"]["serveConfigV2"] != "stolen"


async def test_a_service_of_somebody_else_is_not_taken_over(world):
    theirs = {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 80}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "tiny", "namespace": "default"}}
    before = await world.user.apply(service | {"spec": theirs})
    ref = await world.apply_sample("tiny-cpu")
    with pytest.raises(WriteRefusedError):
        await world.reconcile(ref)
    after = await world.user.get(Ref(kinds.SERVICE, "default", "tiny"))
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    status = (await world.user.get(ref))["status"]
    ready = next(each for each in status["conditions"] if each["type"] == "Ready")
    assert "spec.selector" in ready["message"]


async def test_what_fails_in_a_step_holds_up_nothing_beside_it(world):
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "tiny", "namespace": "default"}}
    await world.user.apply(service | {"spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}})
    ref = await world.apply_sample("tiny-cpu")
    with pytest.raises(WriteRefusedError):
        await world.reconcile(ref)
    assert len(await world.names(kinds.RAY_SERVICE)) == 1


async def test_a_revision_is_pinned_and_guarded_before_its_pods_may_start(world):
    await world.reconcile(await world.apply_sample("tiny-cpu"))
    order = [write.ref.kind for write in world.memory.writes if write.manager == "llama-operator"]
    pods = order.index(kinds.RAY_SERVICE)
    assert order.index(kinds.CONTROLLER_REVISION) < pods
    assert order.index(kinds.NETWORK_POLICY) < pods


async def test_each_part_of_a_pass_can_be_measured(world):
    seen = []

    @contextmanager
    def stage(name):
        seen.append(name)
        yield

    world.ports = replace(world.ports, stage=stage)
    await world.reconcile(await world.apply_sample("tiny-cpu"))
    assert seen == ["observe", "decide", "apply", "report"]
