"""A verified copy of the weights is made before any GPU is asked for, and shared by all that read the same source."""

import json

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import Ref

NAMESPACE = "team-a"
DIGEST = "sha256:" + "a" * 64


def owners(claim):
    return sorted(owner["name"] for owner in claim["metadata"].get("ownerReferences", ()))


async def test_no_gpu_is_asked_for_before_the_copy_is_verified(copies, world):
    ref = await copies.apply()
    conditions = await copies.passes(ref)
    claim, job = await copies.claim(), await copies.job()
    copy_id = claim["metadata"]["labels"]["llama-operator.io/weights"]
    assert claim["metadata"]["name"] == f"llama-weights-{copy_id}"
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert owners(claim) == ["chat"]
    assert conditions["WeightsCopied"].reason == "Copying"
    assert (conditions["Ready"].status, conditions["Ready"].reason) == ("Unknown", "Copying")
    assert (conditions["Reconciling"].status, conditions["Stalled"].status) == ("True", "False")
    assert await copies.services() == []
    assert await world.names(kinds.CONTROLLER_REVISION) == []
    (told,) = world.outcome.status.weights
    assert (told.state, told.id, told.expected_bytes > 0, told.deadline > told.started_at) == (
        "Copying",
        copy_id,
        True,
        True,
    )

    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "llama_serving.weights", "copy"]
    variables = {each["name"]: each for each in container["env"]}
    request = json.loads(variables["LLAMA_WEIGHTS"]["value"])
    assert request["id"] == copy_id
    assert request["source"]["repository"].startswith("meta-llama/")
    assert request["contents"]["sizes"]["num_hidden_layers"] == [32]
    (stage, *_) = world.outcome.status.cold_start.stages
    assert (stage.name, stage.predicted_seconds > 0, stage.measured_seconds) == ("Copy", True, None)
    assert variables["HF_TOKEN"]["valueFrom"]["secretKeyRef"]["name"] == "hugging-face"

    await copies.bind()
    await copies.end()
    conditions = await copies.passes(ref)
    assert (conditions["WeightsCopied"].status, conditions["WeightsCopied"].reason) == ("True", "Copied")
    stages = world.outcome.status.cold_start.stages
    assert (stages[0].name, stages[0].measured_seconds) == ("Copy", 800)
    start = sum(stage.predicted_seconds or 0 for stage in stages[1:])
    assert world.outcome.status.cold_start.predicted_seconds == start, "no start waits for the copy"
    (told,) = world.outcome.status.weights
    assert (told.state, told.digest, told.started_at, told.bytes) == ("Copied", DIGEST, None, 16_100_000_000)
    (service,) = await copies.services()
    live = await world.user.get(Ref(kinds.RAY_SERVICE, NAMESPACE, service))
    cluster = live["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        mount = next(each for each in pod["containers"][0]["volumeMounts"] if each["mountPath"] == f"/models/{copy_id}")
        assert (mount["subPath"], mount["readOnly"]) == (copy_id, True)
        variables = {each["name"]: each for each in pod["containers"][0]["env"]}
        assert variables["HF_HUB_OFFLINE"]["value"] == "1"
        assert not {"HF_TOKEN", "HF_TOKEN_PATH"} & variables.keys()
        assert "hugging-face" not in json.dumps(pod)
    assert f"/models/{copy_id}" in live["spec"]["serveConfigV2"]


async def test_the_job_asks_for_what_engines_would_not_start_without(copies, world):
    policy = {"apiVersion": "llama-operator.io/v1alpha1", "kind": "LicensePolicy", "metadata": {"name": "house"}}
    await world.user.apply(policy | {"spec": {"servedLicenseFiles": "Required", "unlistedTiers": "Allowed"}})
    ref = await copies.apply()
    await copies.passes(ref)
    (container,) = (await copies.job())["spec"]["template"]["spec"]["containers"]
    variables = {each["name"]: each for each in container["env"]}
    assert json.loads(variables["LLAMA_WEIGHTS"]["value"])["requiresLicense"] is True
    await copies.end("NotFound", message="no license text", file="LICENSE")
    conditions = await copies.passes(ref)
    assert "lacks a file" in conditions["WeightsCopied"].message
    assert "LICENSE: no license text" in conditions["WeightsCopied"].message
    assert not await copies.services()


async def test_a_pass_that_changes_nothing_writes_nothing(copies, world):
    ref = await copies.apply()
    await copies.passes(ref)
    before = len(world.memory.writes)
    await copies.passes(ref)
    assert len(world.memory.writes) == before, "while it is copied"
    await copies.end()
    await copies.passes(ref)
    (service,) = await copies.services()
    await world.serve(service, NAMESPACE)
    await copies.passes(ref)
    before = len(world.memory.writes)
    world.clock.advance(40)
    await copies.passes(ref)
    assert len(world.memory.writes) == before, "while it serves"


async def test_what_a_claim_remembers_outlives_its_job(copies, world):
    ref = await copies.apply()
    await copies.serving(ref)
    job = await copies.job()
    await world.user.delete(Ref(kinds.JOB, NAMESPACE, job["metadata"]["name"]))
    conditions = await copies.passes(ref)
    assert conditions["WeightsCopied"].reason == "Copied"
    assert await copies.jobs() == []
    assert world.outcome.status.weights[0].digest == DIGEST


async def test_two_deployments_share_one_copy_and_the_last_owner_takes_it_along(copies, world):
    first, second = await copies.apply("chat"), await copies.apply("other", context={"maxModelLength": 4096})
    conditions = await copies.passes(first, second)
    assert len(await copies.jobs()) == 1
    assert owners(await copies.claim()) == ["chat", "other"]
    assert "of LlamaDeployment chat" in conditions["WeightsCopied"].message
    await copies.end()
    await copies.passes(first, second)
    assert len(await copies.services()) == 2
    assert len(await copies.jobs()) == 1, "nothing is copied twice"

    await world.user.delete(first)
    await copies.passes(second)
    claim = await copies.claim()
    assert owners(claim) == ["other"]
    assert claim["spec"]["resources"]["requests"]["storage"].endswith("Gi"), "what the first one wrote stays"
    await world.user.delete(second)
    assert not await copies.claims()


async def test_the_first_deployment_may_leave_by_its_spec(copies, world):
    first, second = await copies.apply("chat"), await copies.apply("other")
    await copies.passes(first, second)
    await copies.end()
    await copies.passes(first, second)
    for service in await copies.services():
        await world.serve(service, NAMESPACE)
    await copies.passes(first, second)
    await copies.apply("chat", cache={"mode": "None"})
    await copies.passes(first, second)
    assert owners(await copies.claim()) == ["chat", "other"], "the old revision still reads it"
    for name in await copies.services():
        await world.serve(name, NAMESPACE)
    await copies.passes(first, second)
    world.clock.advance(4000)
    await copies.passes(first, second)
    assert owners(await copies.claim()) == ["other"]
    assert "llama-operator.io/user.chat" not in (await copies.claim())["metadata"]["annotations"]


async def test_a_retained_claim_has_no_owner_and_stays(copies, world):
    first, second = await copies.apply("chat"), await copies.apply("other", cache={"retention": "Retain"})
    await copies.passes(first, second)
    assert owners(await copies.claim()) == []
    await copies.end()
    await copies.passes(first, second)
    await world.user.delete(first)
    await world.user.delete(second)
    assert len(await copies.claims()) == 1

    # A later deployment reads what is there.
    third = await copies.apply("third")
    conditions = await copies.passes(third)
    assert owners(await copies.claim()) == []
    assert conditions["WeightsCopied"].reason == "Copied"


async def test_the_retention_changes_while_it_serves(copies, world):
    ref = await copies.apply()
    service = await copies.serving(ref)
    for retention, expected in (("Retain", []), ("Delete", ["chat"])):
        await copies.apply(cache={"retention": retention})
        await copies.passes(ref)
        assert owners(await copies.claim()) == expected
    assert await copies.services() == [service], "no restart"


@pytest.mark.parametrize(
    ("verdict", "reason", "waits"),
    [
        ("NoSpace", "NoSpace", False),
        ("NotWritable", "ClaimNotWritable", False),
        ("Mismatch", "CopyMismatch", False),
        ("TokenInvalid", "TokenInvalid", False),
        ("AccessDenied", "SourceDenied", False),
        ("NotFound", "NotFound", False),
        ("Forbidden", "CopyForbidden", False),
        ("Unreachable", "SourceUnreachable", True),
        ("Stalled", "CopyStalled", True),
        ("Failed", "CopyFailed", True),
    ],
)
async def test_a_copy_that_fails_says_why_and_is_tried_again(copies, world, verdict, reason, waits):
    ref = await copies.apply()
    await copies.passes(ref)
    await copies.end(verdict, message="the words of the program", file="model-00002.safetensors")
    conditions = await copies.passes(ref)
    found = conditions["WeightsCopied"]
    assert (found.status, found.reason) == ("False", reason)
    assert "model-00002.safetensors: the words of the program" in found.message
    assert (conditions["Stalled"].status, conditions["Reconciling"].status) == (
        ("False", "True") if waits else ("True", "False")
    )
    assert await copies.services() == []
    before = len(world.memory.writes)
    await copies.passes(ref)
    assert len(world.memory.writes) == before
    world.clock.advance(60)
    await copies.passes(ref)
    assert len(await copies.jobs()) == 2
    await copies.end()
    conditions = await copies.passes(ref)
    assert conditions["WeightsCopied"].reason == "Copied"
    assert len(await copies.services()) == 1


async def test_a_job_that_passed_its_deadline_goes_on_in_another_one(copies, world):
    ref = await copies.apply()
    await copies.passes(ref)
    job = await copies.job()
    ended = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "was active too long"}
    await copies.finish(job, ended | {"lastTransitionTime": "2026-01-01T00:00:00Z"})
    world.clock.advance(1)
    conditions = await copies.passes(ref)
    assert conditions["WeightsCopied"].reason in {"CopyFailed", "Copying"}
    world.clock.advance(60)
    await copies.passes(ref)
    assert len(await copies.jobs()) == 2


async def test_a_token_that_expires_half_way_is_mended_in_its_secret(copies, world):
    ref = await copies.apply()
    await copies.passes(ref)
    await copies.end("TokenInvalid", message="401")
    conditions = await copies.passes(ref)
    assert conditions["Stalled"].message.startswith("spec.weights.tokenSecret: ")
    # Another Secret asks at once.
    await copies.apply(weights={"tokenSecret": {"name": "other", "key": "hf"}, "cache": {"mode": "Claim"}})
    await copies.passes(ref)
    newest = await copies.job()
    assert "'other'" in repr(newest["spec"])
    await copies.end()
    conditions = await copies.passes(ref)
    assert conditions["WeightsCopied"].reason == "Copied"


async def test_another_deployments_token_copies_what_the_first_one_may_not(copies, world):
    first = await copies.apply("chat")
    await copies.passes(first)
    await copies.end("AccessDenied")
    await copies.passes(first)
    second = await copies.apply(
        "other", weights={"tokenSecret": {"name": "other", "key": "token"}, "cache": {"mode": "Claim"}}
    )
    await copies.passes(second)
    assert "'other'" in repr((await copies.job())["spec"])
    await copies.end()
    for ref in (first, second):
        conditions = await copies.passes(ref)
        assert conditions["WeightsCopied"].reason == "Copied"


async def test_a_new_source_is_copied_before_the_old_revision_is_disturbed(copies, world):
    ref = await copies.apply()
    old = await copies.serving(ref)
    before = await world.user.get(Ref(kinds.RAY_SERVICE, NAMESPACE, old))
    (claim,) = await copies.claims()
    model = {"name": "llama-3.1-8b", "precision": "BF16", "variant": "meta-llama/Llama-3.1-8B"}
    await copies.apply(model=model)
    conditions = await copies.passes(ref)
    assert await copies.services() == [old]
    assert await world.user.get(Ref(kinds.RAY_SERVICE, NAMESPACE, old)) == before
    assert conditions["EndpointReady"].status == "True"
    assert len(await copies.claims()) == 2
    await copies.end("NoSpace")
    conditions = await copies.passes(ref)
    assert (conditions["Ready"].status, conditions["UpToDate"].reason) == ("True", "NoSpace")
    assert await world.user.get(Ref(kinds.RAY_SERVICE, NAMESPACE, old)) == before

    # Back to the old source: the Job and the claim of the other one go.
    await copies.apply()
    await copies.passes(ref)
    assert [each["metadata"]["name"] for each in await copies.claims()] == [claim["metadata"]["name"]]


async def test_a_copy_that_nobody_wants_any_more_is_not_finished(copies, world):
    ref = await copies.apply()
    await copies.passes(ref)
    (job,) = await copies.jobs()
    model = {"name": "llama-3.1-8b", "precision": "BF16", "variant": "meta-llama/Llama-3.1-8B"}
    await copies.apply(model=model)
    await copies.passes(ref)
    (other,) = await copies.jobs()
    assert other["metadata"]["name"] != job["metadata"]["name"]


async def test_a_new_revision_of_the_same_source_copies_nothing(copies, world):
    ref = await copies.apply()
    await copies.serving(ref)
    await copies.apply(context={"maxModelLength": 4096})
    conditions = await copies.passes(ref)
    assert conditions["WeightsCopied"].reason == "Copied"
    assert len(await copies.jobs()) <= 1


async def test_a_claim_of_another_class_is_told_and_left_alone(copies, world):
    first = await copies.apply("chat", cache={"storageClassName": "slow"})
    await copies.passes(first)
    before = await copies.claim()
    second = await copies.apply("other", cache={"storageClassName": "fast"})
    conditions = await copies.passes(second)
    assert conditions["WeightsCopied"].reason == "ClaimDiffers"
    assert "which chat uses too" in conditions["WeightsCopied"].message
    assert await copies.claim() == before


async def test_a_claim_of_the_user_is_only_mounted(copies, world):
    metadata = {"name": "models", "namespace": NAMESPACE}
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "500Gi"}}}
    await world.user.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})
    before = await copies.claim()
    ref = await copies.apply(cache={"claimName": "models"})
    await copies.passes(ref)
    assert '"claimName": "models"' in json.dumps(await copies.job())
    await copies.end()
    conditions = await copies.passes(ref)
    assert conditions["WeightsCopied"].reason == "Copied"
    (service,) = await copies.services()
    await world.serve(service, NAMESPACE)
    await copies.passes(ref)
    assert await copies.claim() == before
    await world.user.delete(Ref(kinds.JOB, NAMESPACE, (await copies.job())["metadata"]["name"]))
    conditions = await copies.passes(ref)
    assert conditions["WeightsCopied"].reason == "Copied"
    assert await copies.jobs() == [], "what runs has read it"
    await world.user.delete(ref)
    assert await copies.claim() == before


async def test_a_pod_that_cannot_start_says_why(copies, world):
    ref = await copies.apply()
    await copies.passes(ref)
    message = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims"
    conditions = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]
    await copies.pod(await copies.job(), None, conditions=conditions)
    assert message in (await copies.passes(ref))["WeightsCopied"].message


async def test_a_lost_copy_is_made_again_while_the_revision_serves(copies, world):
    ref = await copies.apply()
    service = await copies.serving(ref)
    claim = await copies.claim()
    world.clock.advance(60)
    await copies.delete_claim(claim["metadata"]["name"])
    conditions = await copies.passes(ref)
    assert (await copies.claim())["metadata"]["uid"] != claim["metadata"]["uid"]
    assert conditions["WeightsCopied"].reason == "Copying"
    assert conditions["Ready"].status == "True"
    assert await copies.services() == [service]
    await copies.end()
    conditions = await copies.passes(ref)
    assert conditions["WeightsCopied"].reason == "Copied"


async def test_who_comes_back_from_a_pause_reads_the_copy_that_is_there(copies, world):
    ref = await copies.apply()
    service = await copies.serving(ref)
    await copies.apply(activation="Suspended")
    await copies.passes(ref)
    assert await copies.services() == []
    assert owners(await copies.claim()) == ["chat"]
    await copies.apply()
    await copies.passes(ref)
    assert await copies.services() == [service]


async def test_who_comes_back_to_a_claim_that_is_gone_copies_first(copies, world):
    ref = await copies.apply()
    service = await copies.serving(ref)
    await copies.apply(activation="Suspended")
    await copies.passes(ref)
    world.clock.advance(60)
    await copies.delete_claim((await copies.claim())["metadata"]["name"])
    await copies.apply()
    conditions = await copies.passes(ref)
    assert await copies.services() == []
    assert conditions["WeightsCopied"].reason == "Copying"
    await copies.end()
    await copies.passes(ref)
    assert await copies.services() == [service]


async def test_weights_that_the_project_generates_are_not_copied(copies, world):
    ref = await world.apply_sample("tiny-cpu", weights={"cache": {"mode": "Claim"}})
    for _ in range(4):
        status = await world.reconcile(ref)
    (found,) = [each for each in status.conditions if each.type == "WeightsCopied"]
    assert (found.status, found.reason) == ("True", "Copied")
    assert len(await copies.services()) == 1


async def test_guard_and_adapters_have_copies_of_their_own(copies, world):
    for number in range(6):
        await world.add_node(f"l4-{number}", product="NVIDIA-L4", gpus=1)
    await copies.accept("llama-3.2")
    adapter = {"huggingFace": {"repository": "acme/support", "revision": "1" * 40}}
    ref = await copies.apply(
        guard={"model": {"name": "llama-guard-3-8b"}},
        adapterSlots={},
        adapters=[{"name": "Llama-support", "source": adapter}],
    )
    for _ in range(4):
        status = await world.reconcile(ref)
    assert status.weights, status.conditions[0].message
    assert [one.role for one in status.weights] == ["Model", "Guard", "Adapter"]
    jobs = await copies.jobs()
    assert len(jobs) == 3
    for job in jobs[:2]:
        await copies.end(job=job)
    for _ in range(4):
        status = await world.reconcile(ref)
    assert await copies.services() == [], "every copy has to be there"
    await copies.end(job=jobs[2])
    for _ in range(4):
        status = await world.reconcile(ref)
    (service,) = await copies.services()
    live = await world.user.get(Ref(kinds.RAY_SERVICE, ref.namespace, service))
    ids = {one.id for one in status.weights}
    cluster = live["spec"]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        mounted = {each.get("subPath") for each in pod["containers"][0]["volumeMounts"]} - {None, "engines"}
        assert mounted == ids
        variables = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
        assert variables["HF_HUB_OFFLINE"] == "1"
        assert "hugging-face" not in json.dumps(pod)
    served = live["spec"]["serveConfigV2"]
    assert all(f"/models/{one}" in served for one in ids)
    assert f"acme/support@{'1' * 40}: /models/" in served


async def environments(copies, ref, **spec):
    """Environment and mounts of the workers of each revision that the deployment had, of what the engine reads."""
    (old,) = await copies.services()
    await copies.apply(**spec)
    await copies.passes(ref)
    found = {}
    for name in await copies.world.names(kinds.CONTROLLER_REVISION):
        record = await copies.world.user.get(Ref(kinds.CONTROLLER_REVISION, NAMESPACE, name))
        (group,) = record["data"]["cluster"]["workerGroupSpecs"]
        (container,) = group["template"]["spec"]["containers"]
        engine = {one["name"]: one.get("value") for one in container["env"] if one["name"].startswith("VLLM_")}
        found[name] = engine, container["volumeMounts"]
    return found.pop(old), *found.values()


@pytest.mark.parametrize(
    ("spec", "same"),
    [
        ({"rollout": {"restartedAt": "2026-01-01"}}, True),
        ({"pods": {"workers": {"labels": {"team": "a"}}}}, True),
        ({"tenants": [{"name": "acme"}], "rollout": {"restartedAt": "2"}}, True),
        ({"context": {"maxModelLength": 4096}}, False),
        ({"image": "registry/serving@sha256:" + "b" * 64}, False),
        ({"engine": {"arguments": {"graphs": "Eager"}}}, False),
    ],
)
async def test_engines_that_start_with_the_same_find_what_the_ones_before_compiled(copies, spec, same):
    ref = await copies.apply()
    await copies.serving(ref)
    first, second = await environments(copies, ref, **spec)
    assert (first == second) is same
    variables, mounts = first
    mount = next(each for each in mounts if each["mountPath"] == "/var/cache/llama-engines")
    assert (mount["subPath"], mount.get("readOnly")) == ("engines", None)
    assert variables["VLLM_CACHE_ROOT"].startswith("/var/cache/llama-engines/")
    assert variables["VLLM_ENABLE_STARTUP_PLAN"] == "1"


async def test_engine_caches_can_be_left_out(copies, world):
    weights = {"tokenSecret": {"name": "hugging-face"}, "cache": {"mode": "Claim"}, "engineCache": "Disabled"}
    ref = await copies.apply(weights=weights)
    service = await copies.serving(ref)
    live = await world.user.get(Ref(kinds.RAY_SERVICE, NAMESPACE, service))
    assert "llama-engines" not in json.dumps(live)


async def test_weights_are_copied_ahead_without_hardware(copies, world):
    ahead = await copies.apply("ahead", activation="Prefetch")
    conditions = await copies.passes(ahead)
    assert conditions["WeightsCopied"].reason == "Copying"
    assert (conditions["Reconciling"].status, conditions["Ready"].reason) == ("True", "Suspended")
    await copies.end()
    conditions = await copies.passes(ahead)
    assert conditions["WeightsCopied"].reason == "Copied"
    assert (conditions["Reconciling"].status, conditions["Stalled"].status) == ("False", "False")
    assert await copies.services() == []
    before = len(world.memory.writes)
    await copies.passes(ahead)
    assert len(world.memory.writes) == before

    ref = await copies.apply("chat")
    await copies.passes(ref)
    assert len(await copies.services()) == 1
    await world.user.delete(ahead)
    await copies.passes(ref)
    assert owners(await copies.claim()) == ["chat"]


async def test_nothing_is_copied_ahead_without_a_license(copies, world):
    ref = await copies.apply("ahead", activation="Prefetch", license={"acceptance": "none"})
    conditions = await copies.passes(ref)
    assert conditions["Stalled"].status == "True"
    assert not await copies.claims()
