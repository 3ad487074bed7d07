"""`kubectl llama explain` on a cluster: what it reads, what it says when it may not, and its exit code."""

import asyncio
from dataclasses import replace

import pytest

from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from support.rights import WithoutRights

REVISION = "chat-aaaaaaaa"
LABELS = {"llama-operator.io/deployment": "chat", "llama-operator.io/revision": REVISION}


def lease(world, *, renewed="2026-03-02T09:29:57.000000Z"):
    world.seed(
        kinds.LEASE,
        "llama-operator",
        "llama-system",
        spec={"holderIdentity": "llama-operator-0_1", "renewTime": renewed, "leaseDurationSeconds": 15},
    )


def node(world, name, count="8"):
    world.seed(
        kinds.NODE,
        name,
        metadata={"labels": {"kubernetes.io/arch": "amd64", "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}},
        status={
            "allocatable": {
                "nvidia.com/gpu": count,
                "cpu": "192",
                "memory": "2Ti",
                "ephemeral-storage": "8Ti",
                "pods": "110",
            }
        },
    )


def pod(world, name, namespace="team-a", *, labels=None, gpus="8", node="", **status):
    container = {"name": "ray", "resources": {"limits": {"nvidia.com/gpu": gpus}}}
    spec = {"containers": [container]} | ({"nodeName": node} if node else {})
    world.seed(kinds.POD, name, namespace, metadata={"labels": labels or {}}, spec=spec, status=status)


def ray(world, *, status="RUNNING"):
    world.seed(
        kinds.RAY_SERVICE,
        REVISION,
        "team-a",
        metadata={"labels": LABELS},
        status={
            "numServeEndpoints": 1,
            "activeServiceStatus": {"applicationStatuses": {"llama": {"status": status, "message": ""}}},
            "conditions": [{"type": "Ready", "status": "True", "reason": "NonZeroServeEndpoints", "message": ""}],
        },
    )
    world.seed(kinds.RAY_CLUSTER, f"{REVISION}-xyz", "team-a", metadata={"labels": LABELS}, status={"conditions": []})


def checks(found):
    return {check["name"]: check for check in found["checks"]}


def test_a_deployment_that_serves_is_ready_and_every_check_says_why(world):
    asyncio.run(world.serving())
    lease(world)
    node(world, "gpu-1")
    ray(world)
    runs = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    pod(world, "head", labels=LABELS | {"ray.io/node-type": "head"}, gpus="0", node="gpu-1", **runs)
    pod(world, "worker", labels=LABELS | {"ray.io/node-type": "worker"}, node="gpu-1", **runs)
    code, found = world.json("explain", "chat")
    assert code == 0
    assert found["ready"] is True
    assert {check["state"] for check in found["checks"]} == {"Passed"}
    assert set(found["checks"][0]) == {"name", "state", "evidence", "unblock"}
    code, out, _ = world.run("explain", "chat")
    assert code == 0
    assert "team-a/chat is Ready" in out


@pytest.mark.parametrize(
    ("keys", "data", "state"),
    [
        ("ConfigMap chat-keys", None, "Warning"),
        ("ConfigMap chat-keys", {}, "Warning"),
        ("ConfigMap chat-keys", {"2sbqvijt3uhqjdkl": "{}"}, "Passed"),
        # A Secret is not read for this.
        ("Secret acme", None, "Passed"),
    ],
)
def test_an_endpoint_for_which_there_is_no_key_is_told(world, keys, data, state):
    access = {"revision": "chat-aaaaaaaa", "mode": "Keys", "path": "Direct", "keys": keys}
    asyncio.run(world.serving(status={"access": access}))
    if data is not None:
        metadata = {"name": "chat-keys", "namespace": "team-a"}
        asyncio.run(world.user.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}))
    _, found = world.json("explain", "chat")
    assert checks(found)["door"]["state"] == state


def test_what_answers_with_another_revision_is_not_called_down(world, serving_facts):
    _, conditions, _ = serving_facts
    late = ("False", "RollingOut", "revision chat-bbbbbbbb is being started beside chat-aaaaaaaa")
    asyncio.run(world.serving(status={"conditions": conditions(UpToDate=late)}))
    lease(world)
    ray(world)
    code, out, _ = world.run("explain", "chat")
    assert code == 5
    assert "team-a/chat answers, and does not serve what the spec asks for yet: waiting for rollout" in out


def test_a_pod_without_a_node_shows_who_holds_the_gpus(world):
    asyncio.run(world.serving())
    node(world, "gpu-1")
    message = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    pod(
        world,
        "worker",
        labels=LABELS,
        phase="Pending",
        conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}],
    )
    pod(world, "other", "team-b", node="gpu-1", phase="Running")
    pod(world, "done", "team-c", node="gpu-1", phase="Succeeded")
    check = checks(world.json("explain", "chat")[1])["capacity"]
    assert check["state"] == "Failed"
    assert message in check["evidence"]
    assert "0 free; held by team-b 8)" in check["evidence"]


def test_a_container_that_cannot_start_is_found_behind_its_status(world):
    asyncio.run(world.serving())
    ray(world)
    waiting = {"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}}
    ended = {"lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}
    pod(world, "worker", labels=LABELS, phase="Running", containerStatuses=[waiting | ended])
    check = checks(world.json("explain", "chat")[1])["cluster"]
    assert "OOMKilled, exit code 137" in check["evidence"]
    assert "worker: CrashLoopBackOff" in check["evidence"]
    assert "--previous" in check["unblock"]


def test_a_new_deployment_without_an_operator_is_not_ready(world):
    asyncio.run(world.deployment())
    code, out, _ = world.run("explain", "chat")
    assert code == 5
    assert "no operator holds a Lease" in out
    assert "team-a/chat is not Ready: see operator" in out


def test_a_live_operator_that_has_not_looked_yet_is_waited_for(world):
    asyncio.run(world.deployment())
    lease(world)
    code, out, _ = world.run("explain", "chat")
    assert code == 5
    assert "is not Ready yet: waiting for operator" in out


def test_what_may_not_be_read_is_said_and_hides_nothing_else(world):
    asyncio.run(world.serving())
    world.client = WithoutRights(world.client, kinds.POD, kinds.NODE, kinds.LEASE)
    code, found = world.json("explain", "chat")
    assert code == 0
    capacity = checks(found)["capacity"]
    assert capacity["state"] == "Unknown"
    assert "jo may not list pods in namespace team-a" in capacity["evidence"]
    assert checks(found)["license"]["state"] == "Passed"


def test_a_spec_that_breaks_a_rule_is_explained_by_its_field(world):
    world.seed(kinds.LLAMA_DEPLOYMENT, "chat", "team-a", spec={"model": {"name": "llama-3.1-8b"}, "replicas": -1})
    code, found = world.json("explain", "chat")
    assert code == 5
    assert "spec.replicas" in checks(found)["object"]["evidence"]


def test_an_autoscaler_that_cannot_read_a_number_yet_is_told_how_to_begin(world):
    spec = {"model": {"name": "llama-3.1-8b"}, "scaling": {"mode": "External"}}
    world.seed(kinds.LLAMA_DEPLOYMENT, "chat", "team-a", spec=spec, status={"replicas": 5})
    _, found = world.json("explain", "chat")
    check = checks(found)["activation"]
    assert "no autoscaler can read /scale before" in check["evidence"]
    assert "kubectl scale lld chat -n team-a --replicas 5" in str(check)


def test_a_deployment_that_does_not_exist_is_an_error(world):
    code, _, err = world.run("explain", "nobody")
    assert code == 1
    assert "no LlamaDeployment team-a/nobody exists" in err


@pytest.mark.parametrize(
    ("served", "state", "words"),
    [
        ({}, "Failed", "KubeRay is not installed"),
        ({"rayservices.ray.io": ("v1",)}, "Waiting", "RayService chat-aaaaaaaa does not exist yet"),
        (None, "Waiting", "RayService chat-aaaaaaaa does not exist yet"),
    ],
)
def test_explain_says_that_a_kind_is_missing_only_if_the_server_says_so(world, served, state, words):
    asyncio.run(world.serving())
    world.platform = replace(world.platform, kinds=served)
    check = checks(world.json("explain", "chat")[1])["cluster"]
    assert check["state"] == state
    assert words in check["evidence"]


def test_a_ray_service_that_is_being_deleted_is_told_with_what_is_left_of_it(world):
    asyncio.run(world.serving())
    name, labels = (
        "chat-aaaaaaaa",
        {"llama-operator.io/deployment": "chat", "llama-operator.io/revision": "chat-aaaaaaaa"},
    )
    metadata = {"name": name, "namespace": "team-a", "labels": labels, "finalizers": ["ray.io/keep"]}
    address = {"apiVersion": "ray.io/v1", "kind": "RayService", "metadata": metadata}
    running = {"activeServiceStatus": {"applicationStatuses": {"llama": {"status": "RUNNING"}}}}

    async def going():
        await world.kuberay.apply(address | {"spec": {}})
        await world.kuberay.apply_status(
            address | {"metadata": {"name": name, "namespace": "team-a"}, "status": running}
        )
        await world.user.delete(Ref(kinds.RAY_SERVICE, "team-a", name))

    asyncio.run(going())
    told = checks(world.json("explain", "chat")[1])
    assert (told["cluster"]["state"], told["engine"]["state"]) == ("Waiting", "Skipped")
    assert told["cluster"]["evidence"] == f"RayService {name} is being deleted"
    assert "see which finalizer keeps it" in told["cluster"]["unblock"]


def test_a_spec_of_newer_definitions_is_told_with_what_to_upgrade(world, serving_facts):
    _, _, spec = serving_facts
    asyncio.run(world.serving(spec=spec | {"scaling": {"mode": "Predictive"}, "observability": {"traces": "On"}}))
    check = checks(world.json("explain", "chat")[1])["object"]
    assert check["state"] == "Failed"
    assert 'spec.scaling.mode: "Predictive"' in check["evidence"]
    assert "upgrade kubectl-llama and the operator" in check["evidence"]
    assert "observability" not in check["evidence"], "a field that is not known is no mistake"


GOOD = {
    "families": ["llama-3.3"],
    "versionDate": "2024-12-06",
    "textHashes": [
        "ce9be40907bf3275c053d6ea24b9c7cc2dde6fb04046ccc9274d9860482f9e77",
        "8e17187c41bc86de78463a9865705b80f8762b3c8125888d1107edeb7761b0df",
    ],
    "legalEntity": "Acme GmbH",
    "domicile": "DE",
    "acceptedBy": "Jo Doe",
    "acceptedOn": "2026-03-02",
    "monthlyActiveUsers": {"month": "2024-11", "count": 12, "attestedBy": "Jo Doe", "attestedOn": "2026-03-02"},
    "namespaces": ["team-a"],
}
RECORDS = {
    "good": GOOD,
    "terminated": GOOD | {"state": "Terminated", "terminatedOn": "2026-03-02", "legalEntity": "Other Ltd"},
    "other-license": GOOD | {"families": ["llama-3.1"], "versionDate": "2024-07-23"},
    "other-namespace": GOOD | {"namespaces": ["team-b"]},
}


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (RECORDS, "allowed would be: good (llama-3.3)"),
        ({name: spec for name, spec in RECORDS.items() if name != "good"}, "none of those that exist would be allowed"),
        ({}, "there is none yet"),
    ],
    ids=["one", "none of them", "nothing"],
)
def test_only_records_that_would_be_allowed_are_offered(world, serving_facts, there, said):
    _, conditions, _ = serving_facts
    refused = conditions(LicenseAccepted=("False", "AcceptanceNotFound", "there is no LicenseAcceptance acme"))
    asyncio.run(world.serving(status={"conditions": refused}))
    for name, spec in there.items():
        record = {"apiVersion": "llama-operator.io/v1alpha1", "kind": "LicenseAcceptance", "metadata": {"name": name}}
        asyncio.run(world.user.apply(record | {"spec": spec}))
    unblock = checks(world.json("explain", "chat")[1])["license"]["unblock"]
    assert said in unblock
    assert not [name for name in RECORDS if name != "good" and name in unblock]
