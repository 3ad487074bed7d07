"""What another tool owns as well: after a restore from a backup, or after somebody emptied managedFields.

Server-side apply takes away only what nobody else owns. What the operator wants no more must go all the same.
"""

from datetime import timedelta

from llama_operator.api.meta import ANNOTATION_LIVE
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from llama_serving.contract.status import DeploymentIdentity, ServingStatus
from support.passes import condition, serving, settles


async def owned_by_a_backup(world, kind, name):
    """A tool writes the metadata of an object as it is, and owns it from then on beside the operator."""
    live = await world.user.get(Ref(kind, "default", name))
    kept = {key: live["metadata"][key] for key in ("labels", "annotations", "ownerReferences")}
    address = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name, "namespace": "default"}}
    await world.memory.client("velero").apply(address | {"metadata": address["metadata"] | kept})


async def test_a_memory_that_a_backup_owns_as_well_starts_no_engine(world):
    ref, name = await serving(world)
    await owned_by_a_backup(world, kinds.CONTROLLER_REVISION, name)
    await world.apply_sample("tiny-cpu", activation="Suspended")
    await settles(world, ref)
    record = await world.user.get(Ref(kinds.CONTROLLER_REVISION, "default", name))
    assert ANNOTATION_LIVE not in record["metadata"]["annotations"]
    await world.apply_sample("tiny-cpu", model={"name": "llama-9"})
    status = await settles(world, ref)
    assert condition(status, "Ready").reason == "ModelUnknown"
    assert await world.names(kinds.RAY_SERVICE) == [], "to begin again needs a spec without a problem"


async def test_a_status_that_a_backup_owns_as_well_says_what_is(world):
    world.compares = False
    ref, name = await serving(world)
    answer = ServingStatus(
        identity=DeploymentIdentity(namespace="default", name="tiny", revision=name),
        model_id="m",
        replicas=1,
        target_replicas=1,
        queue_depth=3,
        running_requests=0,
    )
    world.reader.answer = answer
    await settles(world, ref)
    world.reader.answer = None
    assert (await settles(world, ref)).serving_silent_since is not None
    live = await world.user.get(ref)
    address = {key: live[key] for key in ("apiVersion", "kind")}
    auditor = [{"type": "Audited", "status": "True", "reason": "Seen", "message": "", "observedGeneration": 1}]
    auditor[0]["lastTransitionTime"] = "2026-03-02T09:30:00Z"
    status = live["status"] | {"conditions": live["status"]["conditions"] + auditor}
    metadata = {"name": ref.name, "namespace": ref.namespace}
    await world.memory.client("velero").apply_status(address | {"metadata": metadata, "status": status})
    world.reader.answer = answer
    await settles(world, ref)
    told = (await world.user.get(ref))["status"]
    assert "servingSilentSince" not in told
    assert "Audited" in {each["type"] for each in told["conditions"]}, "conditions of others are theirs"


async def test_a_deployment_that_is_made_again_waits_for_what_the_old_one_left(world):
    """Its children are being deleted, and somebody's finalizer holds one of them."""
    ref, name = await serving(world)
    held = Ref(kinds.RAY_SERVICE, "default", name)
    await world.kuberay.merge_patch(held, {"metadata": {"finalizers": ["acme.com/hold"]}})
    await world.user.delete(ref)
    old = (await world.user.get(held))["metadata"]
    assert "deletionTimestamp" in old
    await world.apply_sample("tiny-cpu")
    for _ in range(3):
        status = await world.reconcile(ref)
        world.clock.advance(timedelta(minutes=1).total_seconds())
    assert condition(status, "Ready").status != "True"
    await world.kuberay.merge_patch(held, {"metadata": {"finalizers": None}})
    await settles(world, ref)
    new = (await world.user.get(held))["metadata"]
    assert new["uid"] != old["uid"]
    assert [owner["uid"] for owner in new["ownerReferences"]] == [(await world.user.get(ref))["metadata"]["uid"]]
