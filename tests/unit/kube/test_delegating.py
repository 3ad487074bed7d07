"""The port that forwards: every verb reaches the inner cluster, and what surrounds it hears of it."""

from contextlib import asynccontextmanager

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.delegating import Delegating, Verb
from llama_operator.kube.port import (
    Cluster,
    ConflictError,
    InvalidError,
    JsonPatch,
    NotFoundError,
    Preconditions,
    Ref,
)
from llama_operator.kube.twin.cluster import MemoryCluster

CHAT = Ref(kinds.LLAMA_DEPLOYMENT, "team-a", "chat")
OBJ = {
    "apiVersion": "llama-operator.io/v1alpha1",
    "kind": "LlamaDeployment",
    "metadata": {"name": "chat", "namespace": "team-a", "labels": {"team": "a"}},
    "spec": {"model": {"name": "llama-3.1-8b"}},
}


class Listening(Delegating):
    def __init__(self, inner):
        super().__init__(inner)
        self.heard = []

    @asynccontextmanager
    async def _around(self, verb, ref):
        self.heard.append((verb, ref))
        yield


@pytest.fixture
def twin():
    return MemoryCluster()


def test_it_has_every_verb_of_the_port():
    verbs = {name for name in vars(Cluster) if not name.startswith("_")}
    assert verbs <= set(vars(Delegating))
    assert verbs - {"watch"} == set(Verb)


@pytest.mark.parametrize("kind", [Delegating, Listening])
async def test_every_verb_does_what_the_inner_cluster_does(twin, kind):
    cluster = kind(twin.client("llama-operator"))
    since = (await cluster.list(kinds.LLAMA_DEPLOYMENT)).resource_version
    applied = await cluster.apply(OBJ)
    assert await cluster.get(CHAT) == applied
    assert (await cluster.list(kinds.LLAMA_DEPLOYMENT, namespace="team-b")).items == ()
    assert (await cluster.list(kinds.LLAMA_DEPLOYMENT, labels={"team": "b"})).items == ()
    assert (await cluster.list(kinds.LLAMA_DEPLOYMENT, fields={"metadata.name": "code"})).items == ()
    assert (await cluster.list(kinds.LLAMA_DEPLOYMENT, labels={"team": "a"})).items == (applied,)
    assert (await cluster.apply_status(OBJ | {"status": {"replicas": 2}}))["status"] == {"replicas": 2}
    patched = await cluster.patch(CHAT, [JsonPatch("replace", "/metadata/labels/team", "b")])
    assert patched["metadata"]["labels"] == {"team": "b"}
    assert (await anext(cluster.watch(kinds.LLAMA_DEPLOYMENT, since=since))).object == applied
    await twin.client("kubectl").apply(OBJ)
    with pytest.raises(ConflictError):
        await cluster.apply(OBJ | {"spec": {"model": {"name": "llama-3.3-70b-instruct"}}}, force=False)
    with pytest.raises(ConflictError):
        await cluster.delete(CHAT, preconditions=Preconditions(uid="another"))
    await cluster.delete(CHAT)
    with pytest.raises(NotFoundError):
        await cluster.get(CHAT)


async def test_what_surrounds_hears_of_each_request_and_of_its_object(twin):
    cluster = Listening(twin.client("llama-operator"))
    await cluster.apply(OBJ)
    await cluster.apply_status(OBJ | {"status": {"replicas": 2}})
    await cluster.patch(CHAT, ())
    await cluster.list(kinds.LLAMA_DEPLOYMENT, namespace="team-a")
    await cluster.list(kinds.NODE)
    await cluster.get(CHAT)
    await cluster.delete(CHAT)
    assert cluster.heard == [
        (Verb.APPLY, CHAT),
        (Verb.APPLY_STATUS, CHAT),
        (Verb.PATCH, CHAT),
        (Verb.LIST, Ref(kinds.LLAMA_DEPLOYMENT, "team-a", "")),
        (Verb.LIST, Ref(kinds.NODE, "", "")),
        (Verb.GET, CHAT),
        (Verb.DELETE, CHAT),
    ]
    assert [verb for verb in Verb if not verb.writes] == [Verb.GET, Verb.LIST]


async def test_a_kind_that_the_product_does_not_know_is_refused(twin):
    with pytest.raises(InvalidError, match="no kind 'Secret'"):
        await Delegating(twin.client("llama-operator")).apply(OBJ | {"apiVersion": "v1", "kind": "Secret"})
