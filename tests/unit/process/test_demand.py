"""What an autoscaler of others may do: only what pods say of a deployment that is there, and of its whole load."""

import pytest

from llama_operator.api.meta import LABEL_DEPLOYMENT
from llama_operator.kube import kinds
from llama_operator.kube.cache.objects import ObjectCache
from llama_operator.process.demand import of_whole
from llama_serving.contract.status import DeploymentIdentity, ScalingState, ServingStatus


def thing(kind, name, **content):
    metadata = {"namespace": "team-a", "name": name, "uid": f"{kind.kind}-{name}", "resourceVersion": "7"}
    metadata["labels"] = {LABEL_DEPLOYMENT: "chat"}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **content}


def world(active, pending, services):
    cache = ObjectCache(index=LABEL_DEPLOYMENT)
    if active is not None:
        revisions = {"active": active, "pending": pending}
        cache.put(thing(kinds.LLAMA_DEPLOYMENT, "chat", status={"revisions": revisions}))
    for name in services:
        cache.put(thing(kinds.RAY_SERVICE, name))
    return cache


def said(unbounded):
    return ServingStatus(
        identity=DeploymentIdentity(namespace="team-a", name="chat", revision="b"), model_id="m", replicas=8,
        target_replicas=8, queue_depth=0, running_requests=0,
        scaling=ScalingState(at=1.0, wanted_replicas=8, unbounded_replicas=unbounded),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("active", "pending", "services", "unbounded", "wanted"),
    [
        pytest.param("b", "", ["b"], 2, [2], id="alone"),
        pytest.param("b", "c", ["b", "c"], 2, [2], id="the next one is on its way"),
        pytest.param("b", "", ["a", "b"], 2, [8], id="the one before has streams left: argoproj/argo-rollouts#2857"),
        pytest.param("b", "", ["a", "b"], 9, [9], id="it may rise meanwhile"),
        pytest.param("b", "", ["a", "b"], None, [None], id="pods of before"),
        pytest.param("c", "", ["b", "c"], 2, [], id="another one has taken over"),
        pytest.param(None, "", [], 2, [], id="the deployment is gone"),
        pytest.param("", "", ["b"], 2, [], id="it was made anew by the same name: kedacore/keda#8124"),
    ],
)
def test_only_what_is_about_the_whole_deployment_is_told(active, pending, services, unbounded, wanted):
    found = of_whole([said(unbounded)], world(active, pending, services))
    assert [one.scaling.unbounded_replicas for one in found] == wanted


def test_an_object_that_cannot_be_read_tells_nothing():
    cache = ObjectCache(index=LABEL_DEPLOYMENT)
    cache.put(thing(kinds.LLAMA_DEPLOYMENT, "chat", status="x"))
    assert [*of_whole([said(2)], cache)] == []
