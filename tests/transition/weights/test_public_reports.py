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
