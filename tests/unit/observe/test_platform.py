"""What the cluster can do, as its API server tells; what it does not tell is unknown, not missing."""

import asyncio

import pytest

from llama_operator.decide.platform import Platform, version
from llama_operator.kube.port import ForbiddenError, UnavailableError
from llama_operator.kube.server import answers
from llama_operator.observe.children import ray_cluster_facts
from llama_operator.observe.platform import read_platform

RAY = "rayservices.ray.io"
DISCOVERY = {
    "kind": "APIGroupDiscoveryList",
    "apiVersion": "apidiscovery.k8s.io/v2",
    "items": [
        {
            "metadata": {"name": "ray.io"},
            "versions": [
                {"version": "v1", "resources": [{"resource": "rayservices"}, {"resource": "rayclusters"}]},
                {"version": "v1alpha1", "resources": [{"resource": "rayservices"}]},
            ],
        },
        {"metadata": {"name": "empty.example"}},
    ],
}


class Server:
    def __init__(self, kinds, refuses=None):
        self.kinds = kinds
        self.refuses = refuses

    async def server_version(self):
        if self.refuses == "version":
            raise ForbiddenError("version of the API server: forbidden")
        return "v1.37.0"

    async def served_kinds(self):
        if self.refuses == "kinds":
            raise ForbiddenError("discovery of kinds: forbidden")
        return self.kinds


def test_discovery_tells_every_kind_with_its_versions():
    served = answers.served_kinds(DISCOVERY)
    assert served == {RAY: ("v1", "v1alpha1"), "rayclusters.ray.io": ("v1",)}
    platform = asyncio.run(read_platform(Server(served)))
    assert platform == Platform(kubernetes="v1.37.0", kinds=served)
    assert platform.has(RAY)
    assert not platform.lacks(RAY)
    assert platform.lacks("workloads.kueue.x-k8s.io")


def test_a_server_that_knows_no_such_list_tells_nothing():
    assert answers.served_kinds({"kind": "APIGroupList", "groups": []}) is None


@pytest.mark.parametrize(("refuses", "kubernetes"), [("version", ""), ("kinds", "v1.37.0")])
def test_what_is_refused_is_not_known_which_is_not_the_same_as_missing(refuses, kubernetes):
    platform = asyncio.run(read_platform(Server({}, refuses)))
    assert (platform.kubernetes, platform.kinds) == (kubernetes, None)
    assert not platform.has(RAY)
    assert not platform.lacks(RAY)


def test_a_server_that_does_not_answer_leaves_everything_unknown():
    class Silent(Server):
        async def server_version(self):
            raise UnavailableError("no answer")

    assert asyncio.run(read_platform(Silent({}))) == Platform()


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("v1.37.1-gke.100", (1, 37, 1)), ("1.6.2", (1, 6, 2)), ("v1.37", (1, 37)), ("nightly", ()), ("", ())],
)
def test_versions_are_compared_as_numbers(text, numbers):
    assert version(text) == numbers


def test_the_newest_kuberay_counts_and_the_first_that_knows_is_believed():
    platform = Platform().seen(["v1.9.0", "v1.10.0", "", "nightly"])
    assert platform.kuberay == "v1.10.0"
    assert platform.seen(["v2.0.0"]) == platform
    assert platform.kuberay_at_least((1, 10))
    assert not platform.kuberay_at_least((1, 11))
    assert not Platform().kuberay_at_least((1, 0)), "an unknown version can do nothing new"
    assert Platform().seen(["sha256"]) == Platform()


def test_kuberay_writes_its_version_onto_what_it_makes():
    metadata = {"name": "c", "annotations": {"ray.io/kuberay-version": "v1.6.2"}}
    assert ray_cluster_facts({"metadata": metadata}).kuberay == "v1.6.2"
    assert ray_cluster_facts({"metadata": {"name": "c"}}).kuberay == ""


@pytest.mark.parametrize(
    "written", ["v" + "9" * 5000 + ".1", "1." + "9" * 5000, "v1.6.2" + "0" * 5000, "", "v", "1", "v١.٢"]
)
def test_no_version_that_an_object_tells_raises(written):
    assert len(version(written)) in {0, 2, 3}
