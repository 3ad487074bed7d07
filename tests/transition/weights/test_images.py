"""Weights in an image: pods mount it by its digest, nothing is downloaded or copied, and an older cluster is told."""

import json

from llama_operator.decide.platform import Platform
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref

NAMESPACE = "team-a"
IMAGE = f"registry.acme.example/llama@sha256:{'0' * 64}"
CACHE = {"mode": "Image", "image": IMAGE, "imageFolder": "models"}


async def test_pods_mount_the_image_and_need_no_token(copies, world):
    ref = await copies.apply(cache=CACHE)
    conditions = await copies.passes(ref)
    assert (conditions["WeightsCopied"].status, conditions["WeightsCopied"].reason) == ("True", "InImage")
    assert IMAGE in conditions["WeightsCopied"].message
    assert not await copies.jobs()
    assert not await copies.claims()
    (service,) = await copies.services()
    live = await world.user.get(Ref(kinds.RAY_SERVICE, NAMESPACE, service))
    cluster = live["spec"]["rayClusterConfig"]
    (told,) = world.outcome.status.weights
    assert (told.state, told.claim, told.source) == ("InImage", "", f"image {IMAGE}")
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        assert {"reference": IMAGE, "pullPolicy": "IfNotPresent"} in [each.get("image") for each in pod["volumes"]]
        (container,) = pod["containers"]
        mount = next(each for each in container["volumeMounts"] if each["mountPath"] == f"/models/{told.id}")
        assert mount["readOnly"] is True
        variables = {each["name"]: each for each in container["env"]}
        assert variables["HF_HUB_OFFLINE"]["value"] == "1"
        assert "hugging-face" not in json.dumps(pod)
    assert f"/models/{told.id}/models" in live["spec"]["serveConfigV2"]
    await world.serve(service, NAMESPACE)
    await copies.passes(ref)
    before = len(world.memory.writes)
    await copies.passes(ref)
    assert len(world.memory.writes) == before


async def test_the_evidence_names_the_image_before_and_after_the_revision_is_made(copies, lines):
    ref = await copies.apply(cache=CACHE)
    await copies.passes(ref)
    decided = [line for line in lines() if "modelSource" in line]
    assert decided
    assert {(line["modelSource"], line["modelRepository"], line["modelCommit"]) for line in decided} == {
        (IMAGE, "", "")
    }


async def test_another_digest_is_another_revision(copies, world):
    ref = await copies.apply(cache=CACHE)
    await copies.passes(ref)
    (old,) = await copies.services()
    await world.serve(old, NAMESPACE)
    await copies.apply(cache=CACHE | {"image": IMAGE.replace("0" * 64, "1" * 64)})
    await copies.passes(ref)
    assert len(await world.names(kinds.CONTROLLER_REVISION)) == 2


async def test_an_older_cluster_is_told_what_it_lacks_and_keeps_what_serves(copies, world):
    ref = await copies.apply(cache={"mode": "None"})
    await copies.passes(ref)
    (old,) = await copies.services()
    await world.serve(old, NAMESPACE)
    await copies.passes(ref)
    object.__setattr__(world.ports, "platform", lambda: Platform(kubernetes="v1.34.2"))
    world.compares = False
    await copies.apply(cache=CACHE)
    conditions = await copies.passes(ref)
    found = conditions["WeightsCopied"]
    assert (found.status, found.reason) == ("False", "ImageVolumesMissing")
    assert "v1.34.2" in found.message
    assert "1.35" in found.message
    assert await copies.services() == [old]
    object.__setattr__(world.ports, "platform", lambda: Platform(kubernetes="v1.35.0"))
    conditions = await copies.passes(ref)
    assert conditions["WeightsCopied"].reason == "InImage"


async def test_at_the_end_of_a_license_nothing_of_a_node_is_said_to_be_erased(copies, world):
    ref = await copies.apply(cache=CACHE)
    await copies.passes(ref)
    live = await world.user.get(Ref(kinds.LICENSE_ACCEPTANCE, "", "acme-llama-3-1"))
    obj = {key: live[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": "acme-llama-3-1"}}
    await world.user.apply(obj | {"spec": live["spec"] | {"state": "Terminated", "terminatedOn": "2026-03-01"}})
    await copies.passes(ref)
    assert not await copies.jobs(erase=True)
    assert not await copies.services()
    assert all(copy.state != "Erased" for copy in world.outcome.status.weights or ())
