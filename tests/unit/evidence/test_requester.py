"""Who asked: known from the object itself, and from what the operator's cache keeps of it."""

from datetime import UTC, datetime

import pytest

from llama_operator.decide.observed import Requester
from llama_operator.handlers.watched import kept
from llama_operator.kube import kinds
from llama_operator.kube.cache.objects import ObjectCache
from llama_operator.kube.port import Ref
from llama_operator.kube.twin.cluster import MemoryCluster
from llama_operator.observe.requester import requester

REF = Ref(kinds.LLAMA_DEPLOYMENT, "team-a", "chat")


@pytest.fixture
def twin():
    moments = iter(range(10, 60))
    return MemoryCluster(now=lambda: datetime(2026, 3, 2, 9, next(moments), tzinfo=UTC))


def deployment(model="llama-3.3-70b-instruct", **metadata):
    return {
        "apiVersion": "llama-operator.io/v1alpha1",
        "kind": "LlamaDeployment",
        "metadata": {"name": REF.name, "namespace": REF.namespace, **metadata},
        "spec": {"model": {"name": model}},
    }


def cached(live):
    cache = ObjectCache(keep=kept)
    cache.put(live)
    return next(iter(cache.list(kinds.LLAMA_DEPLOYMENT)))


async def test_the_last_who_wrote_the_spec_counts_and_not_who_wrote_status_or_labels(twin):
    await twin.client("kubectl").apply(deployment())
    await twin.client("argocd").apply(deployment("llama-3.1-8b"), force=True)
    await twin.client("llama-operator").apply_status({**deployment(), "spec": {}, "status": {"observedGeneration": 2}})
    labels = deployment(labels={"a": "b"})
    del labels["spec"]
    await twin.client("labeler").apply(labels)
    live = await twin.client("test").get(REF)
    assert requester(live) == Requester("", "argocd")
    assert requester(cached(live)) == requester(live)


async def test_the_annotation_names_a_person(twin):
    note = {"llama-operator.io/requested-by": "zoe@acme.example"}
    await twin.client("kubectl").apply(deployment(annotations=note))
    live = await twin.client("test").get(REF)
    assert requester(cached(live)) == Requester("zoe@acme.example", "kubectl")


def test_an_object_that_tells_nothing():
    assert requester({"metadata": {"name": "chat"}}) == Requester()


def scaled(live, **entry):
    """After `kubectl scale`: the API server notes it as an update of a subresource."""
    fields = {"f:spec": {"f:replicas": {}}}
    entries = live["metadata"]["managedFields"]
    note = {"operation": "Update", "subresource": "scale", "fieldsV1": fields} | entry
    return live | {"metadata": live["metadata"] | {"managedFields": [*entries, note]}}


async def test_who_scaled_later_is_not_the_one_that_the_annotation_names(twin):
    note = {"llama-operator.io/requested-by": "zoe@acme.example"}
    await twin.client("kubectl").apply(deployment(annotations=note))
    live = await twin.client("test").get(REF)
    later = scaled(live, manager="kubectl", time="2026-03-02T09:59:59Z")
    assert requester(later) == Requester("", "kubectl")
    assert requester(cached(later)) == requester(later)
    earlier = scaled(live, manager="hpa", time="2026-03-02T09:00:00Z")
    assert requester(earlier) == Requester("zoe@acme.example", "kubectl")
