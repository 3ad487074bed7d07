"""Drains with real KubeRay, and with the controller that counts what a budget allows: one replica at a time, and whole ones."""

import json

import pytest

from control_plane.nodes import add_nodes, remove_nodes

pytestmark = pytest.mark.control_plane


@pytest.fixture(scope="module")
def four_nodes(plane):
    names = add_nodes(plane, "h100-8", 4)
    yield names
    remove_nodes(plane, names)


def evict(user, name):
    """Ask for an eviction, as `kubectl drain` does; returns what is said against it."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": user.namespace}}
    path = f"/api/v1/namespaces/{user.namespace}/pods/{name}/eviction"
    done = user.plane.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(body), check=False)
    return done.stderr if done.returncode else ""


def allowed(user):
    """How many pods may go now; None while nobody has counted for the budget as it is."""
    live = user.one("poddisruptionbudgets.policy", "chat") or {"metadata": {}}
    status = live.get("status", {})
    counted = status.get("observedGeneration") == live["metadata"].get("generation")
    return (live["spec"]["minAvailable"], status.get("disruptionsAllowed")) if counted and live.get("spec") else None


def ready(user, role="worker"):
    return [
        pod
        for pod in user.pods(role)
        if any(
            one["type"] == "Ready" and one["status"] == "True" for one in pod.get("status", {}).get("conditions", ())
        )
    ]


def test_a_drain_takes_one_replica_at_a_time(eventually, user, operator, four_nodes):
    user.apply("llama-3.3-70b-fp8-h100", scaling={"mode": "Manual"}, replicas=2)
    user.ready()
    eventually(lambda: len(ready(user)) == 2 and allowed(user) == (1, 1), "two replicas, of which one may go")
    first, second = (pod["metadata"]["name"] for pod in user.pods("worker"))
    # Nothing takes the place of the first one before the second is asked for.
    user.plane.kubectl("cordon", *four_nodes)
    assert evict(user, first) == ""
    assert "disruption budget" in evict(user, second)
    user.plane.kubectl("uncordon", *four_nodes)
    eventually(lambda: len(ready(user)) == 2 and allowed(user) == (1, 1), "KubeRay has made another one")
    assert evict(user, second) == ""
    user.kubectl("scale", "lld/chat", "--replicas=1")
    eventually(lambda: (allowed(user) or (None,))[0] == 0, "the last one may go, or its node could not be drained")
    user.kubectl("delete", "lld", "chat", "--timeout=240s")
    eventually(lambda: not user.get("poddisruptionbudgets.policy"), "the budget goes with its deployment")


@pytest.mark.nightly
def test_pods_of_a_replica_over_nodes_come_and_go_together(eventually, user, operator, four_nodes):
    user.apply("llama-3.1-405b-bf16-h100", scaling={"mode": "Manual"}, replicas=2)
    user.ready()
    replica = "ray.io/worker-group-replica-name"

    def groups():
        found = {}
        for pod in user.pods("worker"):
            found.setdefault(pod["metadata"]["labels"].get(replica), set()).add(pod["metadata"]["uid"])
        return found if sorted(map(len, found.values())) == [2, 2] else None

    before = eventually(groups, "two replicas of two pods")
    (cluster,) = user.get("rayclusters.ray.io")
    (group,) = cluster["spec"]["workerGroupSpecs"]
    assert (group["minReplicas"], group["maxReplicas"], group["numOfHosts"]) == (2, 2, 2)
    gone = user.pods("worker")[0]["metadata"]
    user.kubectl("delete", "pod", gone["name"], "--wait=false")

    def after():
        found = groups()
        pods = {uid for uids in (found or {}).values() for uid in uids}
        return found if found and not before[gone["labels"][replica]] & pods else None

    now = eventually(after, "its mate went too, and both came back")
    kept = [uids for name, uids in before.items() if name != gone["labels"][replica]]
    assert kept[0] in now.values(), "the other replica stays"


def capacity(user):
    found = user.condition("chat", "CapacityFound")
    return found["reason"], found["message"]


@pytest.mark.nightly
def test_a_cordoned_node_of_the_head_is_told_before_it_is_drained(eventually, user, operator, four_nodes):
    user.apply("llama-3.3-70b-fp8-h100", scaling={"mode": "Manual"}, replicas=1, rollout={"strategy": "Recreate"})
    user.ready()
    (head,) = user.pods("head")
    node = head["spec"]["nodeName"]
    user.plane.kubectl("cordon", node)
    eventually(lambda: capacity(user)[0] == "NodesLeaving", "somebody takes the node of the head away")
    told = capacity(user)[1]
    assert told.startswith(f"{node} is cordoned, with the head: if it is drained now, all replicas load again")
    assert "no second copy is started: spec.rollout.strategy says so" in told
    assert user.condition("chat", "Ready")["status"] == "True"
    events = user.get("events.events.k8s.io")
    assert [one["note"] for one in events if one["reason"] == "NodesLeaving"] == [told]
    user.plane.kubectl("uncordon", node)
    eventually(lambda: capacity(user)[0] == "NodesFound", "it stays")


def test_a_head_on_a_cordoned_node_moves_before_the_drain(eventually, user, operator, four_nodes):
    user.apply(
        "llama-3.3-70b-fp8-h100",
        scaling={"mode": "Manual"},
        replicas=1,
        rollout={"strategy": "Auto", "drainSeconds": 1},
    )
    user.ready()
    (head,) = user.pods("head")
    node, (first,) = head["spec"]["nodeName"], user.get("rayservices.ray.io")
    since = user.condition("chat", "Ready")["lastTransitionTime"]
    user.plane.kubectl("cordon", node)

    def moved():
        services, heads = user.get("rayservices.ray.io"), user.pods("head")
        names = {one["metadata"]["name"] for one in services}
        alone = len(names) == 1 and first["metadata"]["name"] not in names
        return alone and all(one["spec"].get("nodeName") != node for one in heads)

    eventually(moved, "a second copy serves elsewhere, and the first one is gone")
    user.ready()
    assert user.condition("chat", "Ready")["lastTransitionTime"] == since, "it was Ready all the time"
    command = ("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=240s")
    user.plane.kubectl(*command)
    assert user.condition("chat", "Ready")["lastTransitionTime"] == since, "the drain met nothing of it"
    user.plane.kubectl("uncordon", node)


def test_a_drained_node_of_a_replica_takes_the_whole_replica_and_no_other(eventually, user, operator, four_nodes):
    user.apply("llama-3.1-405b-bf16-h100", scaling={"mode": "Manual"}, replicas=2)
    user.ready()
    index, name = "ray.io/replica-host-index", "ray.io/worker-group-replica-name"
    before = {pod["metadata"]["uid"]: pod["metadata"]["labels"] for pod in user.pods("worker")}
    gone = next(pod for pod in user.pods("worker") if pod["metadata"]["labels"][index] == "1")
    node, replica = gone["spec"]["nodeName"], gone["metadata"]["labels"][name]
    user.plane.kubectl("cordon", node)
    eventually(lambda: "all pods of the same replica go with it" in capacity(user)[1], "what a drain would take")
    user.plane.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=240s")
    stays = {uid for uid, labels in before.items() if labels[name] != replica}
    eventually(lambda: {pod["metadata"]["uid"] for pod in user.pods("worker")} & {*before} == stays, "one replica goes")
    user.plane.kubectl("uncordon", node)
    eventually(lambda: len([one for one in user.pods("worker") if one["spec"].get("nodeName")]) == 4, "both run again")
    user.ready()
