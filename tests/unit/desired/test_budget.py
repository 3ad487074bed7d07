"""The budget for evictions: how many pods a drain leaves, by what the cluster wants and by what the revision pins."""

from dataclasses import replace

import pytest

from llama_operator import catalog
from llama_operator.api.manifest import parse
from llama_operator.decide.decision import decide
from llama_operator.decide.observed import Observed, RayClusterFacts, Settings, WorkerGroupFacts
from llama_operator.desired import budget, objects
from llama_operator.observe import children

TINY = {"model": {"name": "tiny-random-llama"}, "hardware": {"accelerator": "CPU"}}
BIG = {
    "model": {"name": "llama-3.1-405b", "precision": "BF16"},
    "context": {"maxModelLength": 8192},
    "hardware": {"accelerator": "H100-80GB"},
    "license": {"acceptance": "acme", "attributionURL": "https://acme.example/about"},
}


def of(spec, minimum=1):
    obj = {
        "apiVersion": "llama-operator.io/v1alpha1",
        "kind": "LlamaDeployment",
        "metadata": {"name": "chat", "namespace": "team-a", "uid": "u-1"},
        "spec": spec | {"scaling": {"minReplicas": minimum, "maxReplicas": 8}},
    }
    observed = Observed(parse(obj), acceptances=None)
    built = objects.build(observed, decide(observed, catalog.load()), Settings())
    record = next(one for one in built.apply if one["kind"] == "ControllerRevision")
    return observed.deployment, children.revision_facts(record)


def before_hosts(record):
    """The record as an operator made it that left all pods of a replica by themselves."""
    groups = [{key: value for key, value in one.items() if key != "numOfHosts"} for one in record["workerGroupSpecs"]]
    return {**record, "workerGroupSpecs": groups}


def cluster(pinned, wanted, **facts):
    groups = [WorkerGroupFacts(one["groupName"], 0, 8, wanted) for one in pinned.cluster["workerGroupSpecs"]]
    return RayClusterFacts(name="chat-x", groups=tuple(groups), **{"revision": pinned.name} | facts)


def spec_of(deployment, pinned, *clusters):
    of_model, *_ = budget.build(deployment, pinned, clusters)
    return of_model["spec"]


@pytest.mark.parametrize(("replicas", "kept"), [(0, 0), (1, 0), (2, 1), (8, 7), (9, 7)])
def test_a_drain_takes_one_replica_and_the_last_one_too(replicas, kept):
    deployment, pinned = of(TINY)
    assert spec_of(deployment, pinned, cluster(pinned, replicas))["minAvailable"] == kept


@pytest.mark.parametrize(
    "clusters",
    [
        lambda _: (),
        lambda pinned: (cluster(pinned, 7, revision="chat-other"),),
        lambda pinned: (cluster(pinned, 7, leaving=True),),
    ],
    ids=["none", "of another revision", "that goes"],
)
def test_while_no_cluster_says_how_many_there_shall_be_the_fewest_count(clusters):
    deployment, pinned = of(TINY, minimum=3)
    assert spec_of(deployment, pinned, *clusters(pinned))["minAvailable"] == 2


def test_of_a_replica_over_nodes_one_pod_counts_however_its_group_is_counted():
    deployment, pinned = of(BIG)
    assert spec_of(deployment, pinned, cluster(pinned, 3))["minAvailable"] == 2
    pinned = replace(pinned, cluster=before_hosts(pinned.cluster))
    assert spec_of(deployment, pinned, cluster(pinned, 6))["minAvailable"] == 2


def test_pods_that_are_never_ready_are_not_free_to_go_while_others_are():
    assert spec_of(*of(TINY))["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert spec_of(*of(BIG))["unhealthyPodEvictionPolicy"] == "IfHealthyBudget"


def test_it_is_about_the_workers_of_one_revision_and_its_model():
    deployment, pinned = of(TINY | {"guard": {"model": {"name": "tiny-random-llama"}}})
    (model, *_) = pinned.cluster["workerGroupSpecs"]
    labels = spec_of(deployment, pinned)["selector"]["matchLabels"]
    assert labels == {
        "llama-operator.io/revision": pinned.name,
        "ray.io/node-type": "worker",
        "ray.io/group": model["groupName"],
    }


def test_a_guard_has_a_budget_of_its_own_and_no_pod_is_under_two():
    deployment, pinned = of(TINY | {"guard": {"model": {"name": "tiny-random-llama"}}})
    pinned = replace(pinned, live=pinned.live.model_copy(update={"guard_replicas": 3}))
    of_model, of_guard = budget.build(deployment, pinned, (cluster(pinned, 2),))
    assert (of_model["metadata"]["name"], of_guard["metadata"]["name"]) == ("chat", "chat.guard")
    assert (of_model["spec"]["minAvailable"], of_guard["spec"]["minAvailable"]) == (1, 2)
    selected = [one["spec"]["selector"]["matchLabels"]["ray.io/group"] for one in (of_model, of_guard)]
    assert selected == [one["groupName"] for one in pinned.cluster["workerGroupSpecs"]]
    assert len({*selected}) == 2
