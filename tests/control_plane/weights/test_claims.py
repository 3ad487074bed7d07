"""Copies of weights on a real API server, with its volume, Job and garbage controllers; a kubelet's part, the end of a pod, is played."""

import asyncio
import json
import uuid
from datetime import UTC, datetime

import pytest

from llama_operator import catalog
from llama_operator.decide.observed import Settings
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from llama_operator.kube.server.client import connect
from llama_operator.observe.serving import NoServingReader
from llama_operator.reconcile.deployment import reconcile
from llama_operator.reconcile.ports import Ports

pytestmark = pytest.mark.control_plane

SIZE, DIGEST = 16_100_000_000, "sha256:" + "a" * 64
COPY_JOBS = "llama-operator.io/weights"


@pytest.fixture
def storage(plane, tmp_path):
    """A class of volumes on paths of a node, as an administrator makes them: two of them, which keep or lose what is in them."""
    name = f"static-{uuid.uuid4().hex[:6]}"
    made = []
    for number, policy in enumerate(("Retain", "Retain")):
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"{name}-{number}"},
            "spec": {
                "accessModes": ["ReadWriteMany"],
                "capacity": {"storage": "100Gi"},
                "hostPath": {"path": str(tmp_path / str(number))},
                "persistentVolumeReclaimPolicy": policy,
                "storageClassName": name,
            },
        }
        plane.kubectl("apply", "-f", "-", stdin=json.dumps(volume))
        made.append(volume["metadata"]["name"])
    yield name
    plane.kubectl("delete", "persistentvolume", *made, "--wait=false", "--ignore-not-found")


@pytest.fixture
def deploy(user, storage):
    """Apply a deployment whose weights are copied into a claim of that class."""

    def call(name="chat", **cache):
        wanted = {"mode": "Claim", "storageClassName": storage} | cache
        user.apply("llama-3.1-8b-l4", name=name, weights={"tokenSecret": {"name": "hf"}, "cache": wanted})

    return call


@pytest.fixture
def reconciled(kubeconfig, namespace):
    """Two passes of the operator over a deployment; returns its conditions by type."""

    async def run(name):
        async with connect(kubeconfig=kubeconfig) as cluster:
            settings = Settings(checks_access=False)
            ports = Ports(cluster, NoServingReader(), catalog.load(), settings, lambda: datetime.now(UTC))
            for _ in range(2):
                outcome = await reconcile(ports, Ref(kinds.LLAMA_DEPLOYMENT, namespace, name))
            return {each.type: each for each in outcome.status.conditions}

    return lambda name="chat": asyncio.run(run(name))


@pytest.fixture
def end(user, eventually):
    """End the newest pod of the only Job that runs; returns the Job's name once the Job controller has seen it."""

    def call(verdict, code, *, job_ends=True):
        (job,) = eventually(
            lambda: [job for job in user.get("jobs.batch", COPY_JOBS) if not job["status"].get("conditions")],
            "a Job runs",
        )
        name = job["metadata"]["name"]
        (pod,) = eventually(
            lambda: [
                pod
                for pod in user.get("pods", f"batch.kubernetes.io/job-name={name}")
                if pod["status"]["phase"] == "Pending"
            ],
            "the Job has a pod",
        )
        patch = json.dumps({"status": pod_status(verdict, code)})
        user.kubectl("patch", "pod", pod["metadata"]["name"], "--subresource=status", "--type=merge", "-p", patch)
        if job_ends:
            eventually(lambda: (user.one("job", name).get("status") or {}).get("conditions"), "the Job ends")
        return name

    return call


def pod_status(verdict, code):
    """Status of a pod whose program has written a verdict."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    said = {"verdict": verdict, "bytes": SIZE, "files": 12, "seconds": 1.5, "message": ""}
    said |= {"digest": DIGEST} if verdict == "Verified" else {}
    ended = {"exitCode": code, "reason": "Error" if code else "Completed", "message": json.dumps(said)}
    container = {"name": "weights", "image": "x", "imageID": "x", "ready": False, "restartCount": 0}
    container["state"] = {"terminated": ended | {"startedAt": now, "finishedAt": now}}
    return {"phase": "Failed" if code else "Succeeded", "startTime": now, "containerStatuses": [container]}


def owners(claim):
    return sorted(owner["name"] for owner in claim["metadata"].get("ownerReferences", ()))


def test_a_claim_is_bound_filled_shared_and_goes_with_its_last_owner(user, deploy, reconciled, end, eventually, plane):
    deploy("chat")
    deploy("other")
    assert reconciled("chat")["WeightsCopied"].reason == "Copying"
    assert reconciled("other")["WeightsCopied"].reason == "Copying"
    (claim,) = user.get("persistentvolumeclaims")
    assert owners(claim) == ["chat", "other"]
    name = claim["metadata"]["name"]
    eventually(lambda: user.one("persistentvolumeclaim", name)["status"]["phase"] == "Bound", "the claim is bound")
    volume = user.one("persistentvolumeclaim", name)["spec"]["volumeName"]
    assert len(user.get("jobs.batch", COPY_JOBS)) == 1

    # A pod that fails with a verdict that another try may change is tried again by the Job itself.
    end("Unreachable", 1, job_ends=False)
    end("Verified", 0)
    for deployment in ("chat", "other"):
        assert reconciled(deployment)["WeightsCopied"].reason == "Copied"
    assert len(user.services("chat") | user.services("other")) == 2
    before = user.one("persistentvolumeclaim", name)["metadata"]["resourceVersion"]
    for deployment in ("chat", "other"):
        reconciled(deployment)
    assert user.one("persistentvolumeclaim", name)["metadata"]["resourceVersion"] == before

    user.kubectl("delete", "lld", "chat")
    eventually(lambda: owners(user.one("persistentvolumeclaim", name)) == ["other"], "the first owner is struck out")
    reconciled("other")
    live = user.one("persistentvolumeclaim", name)
    assert live["spec"]["storageClassName"] == claim["spec"]["storageClassName"], "what the first one wrote stays"
    user.kubectl("delete", "lld", "other")
    eventually(lambda: not user.get("persistentvolumeclaims"), "the claim goes with its last owner")
    eventually(
        lambda: plane.api.find("persistentvolume", volume)["status"]["phase"] == "Released",
        "a volume may keep its bytes",
    )


def test_a_verdict_that_no_try_can_change_ends_the_job_at_once(user, deploy, reconciled, end):
    deploy()
    reconciled()
    name = end("NoSpace", 3)
    assert len(user.get("pods", f"batch.kubernetes.io/job-name={name}")) == 1
    found = reconciled()
    assert (found["WeightsCopied"].reason, found["Stalled"].status) == ("NoSpace", "True")
    assert user.services() == set()


@pytest.mark.nightly
def test_a_retained_claim_outlives_its_users(user, deploy, reconciled, eventually):
    deploy("chat")
    reconciled("chat")
    deploy("other", retention="Retain")
    reconciled("other")
    reconciled("chat")
    (claim,) = user.get("persistentvolumeclaims")
    assert owners(claim) == []
    for deployment in ("chat", "other"):
        user.kubectl("delete", "lld", deployment)
    eventually(lambda: not user.get("lld"), "the deployments are gone")
    assert len(user.get("persistentvolumeclaims")) == 1


@pytest.mark.nightly
def test_who_leaves_by_the_spec_takes_only_its_own_entry_along(user, deploy, reconciled, end):
    deploy("chat")
    reconciled("chat")
    end("Verified", 0)
    reconciled("chat")
    deploy("other")
    reconciled("other")
    (claim,) = user.get("persistentvolumeclaims")
    entries = {name for name in claim["metadata"]["annotations"] if "/user." in name}
    assert entries == {"llama-operator.io/user.chat", "llama-operator.io/user.other"}
    assert "llama-operator.io/weights-copied" in claim["metadata"]["annotations"]
    managers = {entry["manager"] for entry in claim["metadata"]["managedFields"]}
    assert len([manager for manager in managers if manager.startswith("llama-operator-")]) == 2
