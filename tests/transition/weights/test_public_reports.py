"""What users of other projects reported of their model caches, tried on ours; docs/designs/0023-weights.md lists the reports."""

import json
from pathlib import Path

from llama_operator.cli.shared.documents import documents
from llama_operator.decide.platform import Platform
from llama_operator.kube import kinds
from llama_operator.kube.delegating import Delegating
from llama_operator.kube.port import ForbiddenError, Ref, Right
from llama_operator.observe.rights import WithoutThe

NAMESPACE = "team-a"
SAMPLES = Path(__file__).resolve().parents[3] / "manifests" / "samples"


async def test_a_class_that_does_not_exist_is_told_and_nothing_holds_the_deletion_up(copies, world):
    """kubeai#286, kserve#4462: a claim that never binds, and a model that cannot be deleted."""
    ref = await copies.apply(cache={"storageClassName": "no-such-class"})
    await copies.passes(ref)
    claim = await copies.claim()
    metadata = {"name": claim["metadata"]["name"], "namespace": NAMESPACE}
    pending = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "status": {"phase": "Pending"},
    }
    await copies.kubelet.apply_status(pending)
    conditions = await copies.passes(ref)
    assert "is Pending, with StorageClass no-such-class" in conditions["WeightsCopied"].message
    live = await copies.live(ref)
    assert "finalizers" not in live["metadata"]
    await world.user.delete(ref)
    assert not await copies.claims()
    assert not await copies.jobs()


async def test_on_openshift_the_cluster_chooses_the_group_of_the_volume(copies, world):
    """LLMKube#238, LLMKube#418: a fixed fsGroup is refused there, and none at all is not writable elsewhere."""
    ref = await copies.apply()
    await copies.passes(ref)
    pod = (await copies.job())["spec"]["template"]["spec"]
    assert (pod["securityContext"]["fsGroup"], pod["securityContext"]["fsGroupChangePolicy"]) == (
        1000,
        "OnRootMismatch",
    )

    kind = "securitycontextconstraints.security.openshift.io"
    object.__setattr__(world.ports, "platform", lambda: Platform(kinds={kind: ("v1",)}))
    world.compares = False
    other = await copies.apply("other", model={"name": "llama-3.1-8b", "variant": "meta-llama/Llama-3.1-8B"})
    await copies.passes(other)
    (pod,) = [
        job["spec"]["template"]["spec"]
        for job in await copies.jobs()
        if job["metadata"]["labels"]["llama-operator.io/deployment"] == "other"
    ]
    assert "fsGroup" not in pod["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"] is True


async def test_the_job_reaches_a_private_store_and_serving_pods_need_not(copies, world):
    """kubeai#483: the loader did not get the address and the credentials of the store."""
    (model,) = documents(SAMPLES / "llama-model.yaml")
    store = {"uri": "s3://models/chat", "endpoint": "https://minio.example:9000", "region": "eu-1"}
    await world.user.apply(model | {"spec": model["spec"] | {"source": {"objectStore": store}}})
    weights = {"storeSecret": {"name": "minio"}, "cache": {"mode": "Claim"}}
    ref = await copies.apply(model={"name": "acme-support"}, weights=weights)
    await copies.passes(ref)
    (container,) = (await copies.job())["spec"]["template"]["spec"]["containers"]
    variables = {each["name"]: each for each in container["env"]}
    assert variables["AWS_ENDPOINT_URL_S3"]["value"] == "https://minio.example:9000"
    assert variables["AWS_ACCESS_KEY_ID"]["valueFrom"]["secretKeyRef"]["name"] == "minio"
    assert json.loads(variables["LLAMA_WEIGHTS"]["value"])["source"] == {
        "kind": "ObjectStore",
        "uri": "s3://models/chat",
    }
    await copies.end()
    await copies.passes(ref)
    (service,) = await copies.services()
    live = await world.user.get(Ref(kinds.RAY_SERVICE, NAMESPACE, service))
    assert "minio" not in json.dumps(live)


async def test_two_that_say_different_things_of_a_claim_do_not_write_in_turn(copies, world):
    """LLMKube#1139: two field managers wrote the name of a claim in turn, and pods were replaced without end."""
    first = await copies.apply("chat")
    second = await copies.apply("other", cache={"retention": "Retain"}, context={"maxModelLength": 4096})
    await copies.passes(first, second)
    await copies.end()
    await copies.passes(first, second)
    for service in await copies.services():
        await world.serve(service, NAMESPACE)
    await copies.passes(first, second)
    before = len(world.memory.writes)
    await copies.passes(first, second)
    assert len(world.memory.writes) == before


async def test_away_from_the_copy_and_back_before_the_new_pods_came_up(copies, world):
    """kserve#4390: the claim was deleted when the cache was switched off, and new pods that were to use it again could not start."""
    ref = await copies.apply()
    service = await copies.serving(ref)
    claim = await copies.claim()
    await copies.apply(cache={"mode": "None"})
    await copies.passes(ref)
    assert len(await copies.services()) == 2, "the new one has not come up"
    await copies.apply()
    await copies.passes(ref)
    assert (await copies.claim())["metadata"]["uid"] == claim["metadata"]["uid"]
    assert service in await copies.services()
    assert len(await copies.jobs()) <= 1, "nothing is copied again"


async def test_nothing_that_has_ended_holds_an_erased_claim(copies, world):
    """modelplane#140: the pod of a Job that had ended outlived the Job, and its claim could not be deleted."""
    ref = await copies.apply()
    await copies.passes(ref)
    live = await world.user.get(Ref(kinds.LICENSE_ACCEPTANCE, "", "acme-llama-3-1"))
    obj = {key: live[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": "acme-llama-3-1"}}
    await world.user.apply(obj | {"spec": live["spec"] | {"state": "Terminated", "terminatedOn": "2026-03-01"}})
    await copies.passes(ref)
    await copies.end("Erased", erase=True)
    await copies.passes(ref)
    assert not await copies.claims()
    assert not (await world.user.list(kinds.POD, namespace=NAMESPACE)).items


async def test_switched_off_nothing_is_made(copies):
    """scaleapi/llm-engine#822: claims were made although the cache was off."""
    ref = await copies.apply(cache={"mode": "None"})
    await copies.passes(ref)
    assert not await copies.claims()
    assert len(await copies.services()) == 1


async def test_an_operator_that_is_newer_than_its_roles_starts_nothing_and_says_why(copies, world):
    """Without the right to claims it is not known whether a copy is there."""
    ref = await copies.apply()
    world.ports = world.ports_with(NoClaims(world.ports.cluster))
    object.__setattr__(world.ports, "rights", WithoutThe({kinds.PERSISTENT_VOLUME_CLAIM}))
    world.compares = False
    conditions = await copies.passes(ref)
    assert conditions["WeightsCopied"].reason == "CopyNotAllowed"
    assert conditions["Stalled"].status == "True"
    assert not await copies.services()


class NoClaims(Delegating):
    """A cluster whose claims may not be listed."""

    async def list(self, kind, **selection):
        if kind == kinds.PERSISTENT_VOLUME_CLAIM:
            raise ForbiddenError("forbidden", Right("operator", "list", "persistentvolumeclaims", ""))
        return await super().list(kind, **selection)
