"""From events to keys, on a real cache: who is looked at again, and who is left alone."""

import copy

import pytest

from llama_operator.api.meta import LABEL_DEPLOYMENT, LABEL_REVISION
from llama_operator.handlers.dispatch import Dispatcher
from llama_operator.handlers.watched import WATCHED, kept
from llama_operator.kube import kinds
from llama_operator.kube.cache.objects import ObjectCache
from llama_operator.kube.port import Listing, Ref
from llama_operator.observe.endings import Endings
from llama_operator.observe.unreadable import Unreadable
from llama_operator.work.queue import Priority

BY_KIND = {each.kind: each for each in WATCHED}
CHAT = Ref(kinds.LLAMA_DEPLOYMENT, "team-a", "chat")


def obj(kind, name, *, namespace="team-a", version=1, labels=None, **rest):
    metadata = {"name": name, "uid": f"{kind.kind}-{name}", "resourceVersion": str(version), "labels": labels or {}}
    if kind.namespaced:
        metadata["namespace"] = namespace
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **rest}


def deployment(name="chat", *, version=1, generation=1, acceptance="acme", **metadata):
    found = obj(kinds.LLAMA_DEPLOYMENT, name, version=version, spec={"license": {"acceptance": acceptance}})
    found["metadata"] |= {"generation": generation, **metadata}
    return found


def node(name="n1", *, version=1, gpus="8", heartbeat="", unschedulable=False, ready="True"):
    labels = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    status = {
        "allocatable": {"nvidia.com/gpu": gpus, "cpu": "64"},
        "conditions": [{"type": "Ready", "status": ready, "lastHeartbeatTime": heartbeat}, {"type": "DiskPressure"}],
        "images": [{"names": ["example/image"]}] * 50,
    }
    return obj(kinds.NODE, name, version=version, labels=labels, spec={"unschedulable": unschedulable}, status=status)


class Scene:
    def __init__(self, catalog):
        self.cache = ObjectCache(index=LABEL_DEPLOYMENT, keep=kept)
        for each in WATCHED:
            self.cache.replace(each.kind, Listing((), "0"))
        self.asked = []
        self.timers = []
        self.dispatcher = Dispatcher(
            self.cache,
            lambda ref, priority=Priority.RECHECK: self.asked.append((ref, priority)),
            catalog=catalog,
            later=lambda _, call: self.timers.append(call),
        )

    def changed(self, found):
        self.asked.clear()
        self.dispatcher.changed(BY_KIND[kinds.find(found["apiVersion"], found["kind"])], copy.deepcopy(found))
        return self.asked

    def fire(self):
        """Let a crowd pass; returns the names of whom that wakes."""
        self.asked.clear()
        while self.timers:
            self.timers.pop()()
        return {ref.name for ref, _ in self.asked}

    def wrote(self, found):
        """The answer to a write of ours; what its event says then is known."""
        self.asked.clear()
        self.cache.wrote(copy.deepcopy(found))
        self.dispatcher.changed(BY_KIND[kinds.find(found["apiVersion"], found["kind"])], copy.deepcopy(found))
        return self.asked

    def deleted(self, found):
        self.asked.clear()
        self.dispatcher.deleted(BY_KIND[kinds.find(found["apiVersion"], found["kind"])], copy.deepcopy(found))
        return self.asked


@pytest.fixture
def scene(known):
    return Scene(known)


def test_a_new_deployment_goes_first(scene):
    assert scene.changed(deployment()) == [(CHAT, Priority.NEW)]


def test_a_deployment_that_another_process_looked_at_is_not_new(scene):
    assert scene.changed(deployment() | {"status": {"observedGeneration": 1}}) == [(CHAT, Priority.CHANGED)]


def test_a_changed_spec_is_urgent_and_a_changed_status_is_not(scene):
    scene.changed(deployment())
    assert scene.changed(deployment(version=2)) == [(CHAT, Priority.RECHECK)]
    assert scene.changed(deployment(version=3, generation=2)) == [(CHAT, Priority.CHANGED)]
    assert scene.changed(deployment(version=4, generation=2, deletionTimestamp="2026-03-02T09:30:00Z")) == [
        (CHAT, Priority.CHANGED)
    ]


def test_an_object_that_is_known_already_wakes_nobody(scene):
    scene.changed(deployment(version=7))
    assert scene.changed(deployment(version=7)) == []
    assert scene.changed(deployment(version=6, generation=9)) == []
    assert scene.cache.find(CHAT)["metadata"]["resourceVersion"] == "7"


@pytest.mark.parametrize(
    "kind",
    [kinds.RAY_SERVICE, kinds.RAY_CLUSTER, kinds.SERVICE, kinds.NETWORK_POLICY, kinds.CONTROLLER_REVISION],
    ids=lambda kind: kind.kind,
)
def test_a_child_wakes_the_deployment_that_its_label_names(scene, kind):
    child = obj(kind, "chat-1a2b", labels={LABEL_DEPLOYMENT: "chat"})
    assert scene.changed(child) == [(CHAT, Priority.RECHECK)]
    assert scene.deleted(child) == [(CHAT, Priority.RECHECK)]
    assert scene.cache.find(Ref(kind, "team-a", "chat-1a2b")) is None


def test_a_child_that_lost_its_label_still_wakes_the_deployment_that_had_it(scene):
    child = obj(kinds.SERVICE, "chat", labels={LABEL_DEPLOYMENT: "chat"})
    scene.changed(child)
    assert scene.deleted(obj(kinds.SERVICE, "chat", version=2)) in ([(CHAT, Priority.RECHECK)], [])


def test_an_acceptance_wakes_those_who_name_it(scene):
    for found in (deployment(), deployment("other", acceptance="another"), deployment("third")):
        scene.changed(found)
    asked = scene.changed(obj(kinds.LICENSE_ACCEPTANCE, "acme"))
    assert {ref.name for ref, priority in asked if priority is Priority.CHANGED} == {"chat", "third"}


def record(name, version=1, **spec):
    return obj(kinds.LICENSE_ACCEPTANCE, name, version=version, generation=version, spec={"legalEntity": name} | spec)


@pytest.mark.parametrize(
    ("named", "changed", "woken"),
    [
        (record("old", state="Superseded", supersededBy="next"), record("next", 2), True),
        (record("old", legalEntity="Acme"), record("beside", 2, legalEntity="Acme"), True),
        (record("old", legalEntity="Acme"), record("another", 2, legalEntity="Globex"), False),
        (record("old"), record("another", 2, namespaces=["team-a"]), True),
        (record("old"), record("another", 2, namespaces=["team-b"]), False),
    ],
    ids=["a successor", "the same entity", "another entity", "the namespace", "another namespace"],
)
def test_an_acceptance_wakes_whom_it_may_matter_to_though_they_do_not_name_it(scene, named, changed, woken):
    scene.changed(named)
    scene.changed(deployment(acceptance="old"))
    scene.fire()
    asked = scene.changed(changed)
    assert ("chat" in {ref.name for ref, _ in asked}) is woken
    beside = named["spec"].get("supersededBy") == changed["metadata"]["name"]
    beside = beside or named["spec"]["legalEntity"] == changed["spec"]["legalEntity"]
    assert ("old" in scene.fire()) is beside, "records tell what they say of each other"


def test_a_status_that_somebody_writes_on_an_acceptance_wakes_nobody(scene):
    scene.changed(deployment())
    scene.changed(obj(kinds.LICENSE_ACCEPTANCE, "acme"))
    assert scene.changed(obj(kinds.LICENSE_ACCEPTANCE, "acme", version=2)) == []


def test_an_acceptance_and_a_policy_say_anew_what_they_know_of_each_other(scene):
    scene.changed(obj(kinds.LICENSE_POLICY, "house"))
    asked = {ref.kind for ref, _ in scene.changed(obj(kinds.LICENSE_ACCEPTANCE, "acme"))}
    assert asked == {kinds.LICENSE_ACCEPTANCE, kinds.LICENSE_POLICY}


@pytest.mark.parametrize("kind", [kinds.LLAMA_MODEL, kinds.LICENSE_POLICY], ids=lambda kind: kind.kind)
def test_a_model_or_policy_wakes_every_deployment_and_every_record(scene, kind):
    for found in (deployment(), deployment("other"), obj(kinds.LICENSE_ACCEPTANCE, "acme")):
        scene.changed(found)
    record = obj(kind, "x")
    assert {ref.name for ref, _ in scene.changed(record)} == {"chat", "other", "acme", "x"}
    assert {ref.name for ref, _ in scene.deleted(record)} == {"chat", "other", "acme"}


CARD = {
    "memoryMebibytes": 15360,
    "computeCapability": "7.5",
    "nodes": [{"labels": [{"key": "acme.example/card", "values": ["old"]}]}],
}


def test_a_declared_card_wakes_every_deployment_and_tells_nodes_apart(scene):
    for found in (deployment(), deployment("other")):
        scene.changed(found)
    labels = {"acme.example/card": "new"}
    status = {"allocatable": {"nvidia.com/gpu": "1", "cpu": "4"}}
    scene.changed(obj(kinds.NODE, "gpu-1", labels=labels, status=status))
    scene.fire()
    card = obj(kinds.ACCELERATOR, "old-card", spec=CARD)
    assert {ref.name for ref, _ in scene.changed(card)} == {"chat", "other"}
    known = obj(kinds.NODE, "gpu-1", version=2, labels={"acme.example/card": "old"}, status=status)
    scene.changed(known)
    assert scene.fire() == {"chat", "other"}
    assert {ref.name for ref, _ in scene.deleted(card)} == {"chat", "other"}


def test_a_crowd_of_deployments_wakes_the_acceptances_that_they_name_once(scene):
    for name in ("acme", "another"):
        scene.changed(obj(kinds.LICENSE_ACCEPTANCE, name))
    for name in ("chat", "other", "third"):
        scene.changed(deployment(name))
    assert scene.fire() == {"acme"}
    scene.changed(deployment(version=2, generation=2, acceptance="another"))
    assert scene.fire() == {"acme", "another"}
    scene.changed(deployment(version=3, generation=2, acceptance="another"))
    assert scene.fire() == set(), "a status is no news"


def test_the_heartbeat_of_a_node_wakes_nobody(scene):
    scene.changed(deployment())
    scene.changed(node())
    scene.timers.clear()
    scene.dispatcher.enqueue_all()
    scene.changed(node(version=2, heartbeat="2026-03-02T09:30:10Z"))
    assert scene.timers == []


def test_a_node_that_is_not_ready_any_more_is_news(scene):
    scene.changed(deployment())
    scene.changed(node())
    scene.dispatcher.enqueue_all()
    scene.timers.clear()
    scene.changed(node(version=2, ready="Unknown"))
    assert len(scene.timers) == 1


def test_nodes_that_come_in_a_crowd_wake_everybody_once(scene):
    scene.changed(deployment())
    scene.fire()
    for number in range(5):
        scene.changed(node(f"n{number}"))
    assert len(scene.timers) == 1
    scene.asked.clear()
    scene.timers.pop()()
    assert scene.asked == [(CHAT, Priority.RECHECK)]
    scene.changed(node("n1", version=9, unschedulable=True))
    assert len(scene.timers) == 1


def test_what_nobody_reads_does_not_stay_in_memory(scene):
    found = node()
    found["metadata"]["managedFields"] = [{"manager": "kubelet"}]
    scene.changed(found)
    kept = scene.cache.find(Ref(kinds.NODE, "", "n1"))
    assert "managedFields" not in kept["metadata"]
    assert set(kept["status"]) == {"allocatable", "conditions"}
    assert kept["status"]["conditions"] == [{"type": "Ready", "status": "True"}]


STRANGE = (
    {},
    {"metadata": None},
    {"metadata": {}},
    {"metadata": {"name": "x"}},
    {"metadata": {"name": "x", "uid": "u"}},
    {"metadata": {"name": "x", "uid": 3, "resourceVersion": "1"}},
    {"metadata": {"name": "x", "uid": "u", "resourceVersion": "new"}},
    {"metadata": {"name": "x", "uid": "u", "resourceVersion": "7", "labels": None}},
    {"metadata": {"name": "x", "uid": "u", "resourceVersion": "7", "labels": [1]}, "spec": "x", "status": 3},
    {"metadata": {"name": "x", "uid": "u", "resourceVersion": "7", "managedFields": "x"}, "spec": {"license": 3}},
    {
        "metadata": {"name": "x", "uid": "u", "resourceVersion": "7"},
        "spec": {"workerGroupSpecs": ["x", {"groupName": 1}]},
    },
    {"metadata": {"name": "x", "uid": "u", "resourceVersion": "7"}, "status": {"allocatable": {"cpu": "many"}}},
)


@pytest.mark.parametrize("strange", STRANGE, ids=str)
@pytest.mark.parametrize("watched", WATCHED, ids=lambda watched: watched.kind.kind)
def test_no_object_ends_a_watch(scene, watched, strange):
    content = {"apiVersion": watched.kind.api_version, "kind": watched.kind.kind, **copy.deepcopy(strange)}
    scene.dispatcher.changed(watched, content)
    scene.dispatcher.changed(watched, copy.deepcopy(content))
    scene.dispatcher.deleted(watched, content)
    scene.dispatcher.enqueue_all()


def test_a_node_that_cannot_be_read_is_told_and_wakes_nobody_twice(scene, known):
    told = Unreadable()
    dispatcher = Dispatcher(
        scene.cache, lambda *_: None, catalog=known, later=lambda _, call: scene.timers.append(call), unreadable=told
    )
    dispatcher.changed(BY_KIND[kinds.NODE], node(gpus="many"))
    assert [left.name for left in told.found] == ["n1"]
    assert len(scene.timers) == 1, "it is there, and takes no pods"
    dispatcher.changed(BY_KIND[kinds.NODE], node(version=2, gpus="8"))
    assert len(scene.timers) == 1


def pod(name="chat-1-w", *, version=1, label="chat", ready="False", **status):
    labels = {LABEL_DEPLOYMENT: label, LABEL_REVISION: "chat-1", "ray.io/node-type": "worker"}
    conditions = [{"type": "Ready", "status": ready}]
    return obj(
        kinds.POD, name, version=version, labels=labels, status={"phase": "Running", "conditions": conditions} | status
    )


def test_a_pod_wakes_its_deployment_once_for_a_crowd_and_only_with_news(scene):
    assert scene.changed(pod()) == []
    scene.changed(pod("chat-1-x"))
    scene.changed(pod("talk-1-w", label="talk"))
    assert len(scene.timers) == 1
    assert scene.fire() == {"chat", "talk"}
    scene.changed(pod(version=2, podIP="10.0.0.1", startTime="2026-03-02T09:30:00Z"))
    assert scene.timers == [], "nothing that a diagnosis would see"
    scene.changed(pod(version=3, ready="True"))
    assert scene.fire() == {"chat"}
    scene.deleted(pod(version=4, ready="True"))
    assert scene.fire() == {"chat"}


def test_a_pod_of_somebody_else_wakes_nobody(scene):
    scene.changed(obj(kinds.POD, "web", labels={"app": "web"}, status={"phase": "Failed"}))
    assert scene.timers == []


def test_what_a_pod_died_of_is_remembered_until_the_next_one_is_ready(scene, known):
    ended = {"name": "ray-worker", "state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}
    seconds = [0.0]
    endings = Endings(lambda: seconds[0])
    dispatcher = Dispatcher(scene.cache, lambda *_: None, catalog=known, later=lambda *_: None, endings=endings)
    watched = BY_KIND[kinds.POD]
    dispatcher.changed(watched, pod(containerStatuses=[ended]))
    dispatcher.deleted(watched, pod(version=2, containerStatuses=[ended]))
    assert [(one.name, one.last_exit) for one in endings.of(CHAT)] == [("chat-1-w", "OOMKilled")]
    seconds[0] = 901.0
    assert endings.of(CHAT) == ()
    seconds[0] = 10.0
    dispatcher.changed(watched, pod("chat-1-x", version=3, ready="True"))
    assert endings.of(CHAT) == ()


def test_two_containers_that_end_in_the_same_way_are_one_ending_whichever_is_seen_first(scene, known):
    seconds = [0.0]
    endings = Endings(lambda: seconds[0])
    dispatcher = Dispatcher(scene.cache, lambda *_: None, catalog=known, later=lambda *_: None, endings=endings)

    def ends(name, container, version, code=127):
        state = {"terminated": {"reason": "Error", "exitCode": code}}
        dispatcher.changed(
            BY_KIND[kinds.POD], pod(name, version=version, containerStatuses=[{"name": container, "state": state}])
        )
        return [one.container for one in endings.of(CHAT)]

    assert ends("chat-1-w", "autoscaler", 1) == ["autoscaler"]
    seconds[0] = 800.0
    assert ends("chat-1-x", "ray-head", 2) == ["autoscaler"]
    seconds[0] = 1600.0
    assert [one.container for one in endings.of(CHAT)] == ["autoscaler"], "the second one counts anew"
    assert ends("chat-1-y", "ray-head", 3, code=1) == ["ray-head"], "in another way"


def test_a_pod_that_is_told_to_go_leaves_no_ending(scene, known):
    endings = Endings(lambda: 0.0)
    dispatcher = Dispatcher(scene.cache, lambda *_: None, catalog=known, later=lambda *_: None, endings=endings)
    ended = {"name": "ray-worker", "state": {"terminated": {"reason": "Error", "exitCode": 143}}}
    gone = pod(containerStatuses=[ended])
    gone["metadata"]["deletionTimestamp"] = "2026-03-02T09:30:00Z"
    dispatcher.changed(BY_KIND[kinds.POD], gone)
    assert endings.of(CHAT) == ()


@pytest.mark.parametrize("change", [{"ready": "Unknown"}, {"unschedulable": True}])
def test_a_node_that_takes_no_more_pods_wakes_all(scene, change):
    scene.changed(deployment())
    scene.changed(node())
    scene.fire()
    scene.changed(node(version=2, **change))
    assert scene.fire() == {"chat"}


def claim(version=1, owners=(), users=()):
    found = obj(kinds.PERSISTENT_VOLUME_CLAIM, "llama-weights-a", version=version)
    found["metadata"]["ownerReferences"] = [
        {"apiVersion": "llama-operator.io/v1alpha1", "kind": "LlamaDeployment", "name": name, "uid": name}
        for name in owners
    ]
    found["metadata"]["annotations"] = {f"llama-operator.io/user.{name}": name for name in users}
    return found


def test_a_claim_wakes_all_who_use_it_and_those_who_did(scene):
    assert {ref.name for ref, _ in scene.changed(claim(owners=["chat"], users=["chat", "kept"]))} == {"chat", "kept"}
    assert {ref.name for ref, _ in scene.changed(claim(version=2, owners=["other"]))} == {"chat", "kept", "other"}
    assert {ref.name for ref, _ in scene.deleted(claim(version=2, owners=["other"]))} == {"other"}


def test_what_we_write_ourselves_is_told_to_whom_else_it_concerns(scene):
    """No event tells of it any more: it is in the cache already."""
    scene.changed(record("acme"))
    scene.changed(deployment())
    scene.fire()
    assert scene.wrote(deployment(version=2) | {"status": {"weights": [{"state": "Erasing"}]}}) == []
    assert scene.fire() == set()
    erased = {"weights": [{"state": "Erased", "erasedAt": "2026-03-02T09:30:00Z"}]}
    assert scene.wrote(deployment(version=3) | {"status": erased}) == []
    assert scene.fire() == {"acme"}, "it tells what was erased"
    assert {ref.name for ref, _ in scene.wrote(claim(users=["chat", "other"]))} == {"chat", "other"}
    assert scene.wrote(claim(users=["chat", "other"])) == []
