"""The access check on a real API server with the real job controller; a kubelet's part, the end of a pod, is played."""

import asyncio
import json
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

CANARY = "hf_canaryCanaryCanary"


@pytest.fixture
def tenant(user):
    """Somebody with a token and a gated model."""
    user.kubectl("create", "secret", "generic", "hugging-face", f"--from-literal=token={CANARY}")
    user.apply("llama-3.1-8b-l4")
    return user


@pytest.fixture
def reconciled(kubeconfig, namespace):
    """One pass of the operator over the deployment; returns its conditions by type."""

    async def run():
        async with connect(kubeconfig=kubeconfig) as cluster:
            ports = Ports(cluster, NoServingReader(), catalog.load(), Settings(), lambda: datetime.now(UTC))
            outcome = await reconcile(ports, Ref(kinds.LLAMA_DEPLOYMENT, namespace, "chat"))
            return {each.type: each for each in outcome.status.conditions}

    return lambda: asyncio.run(run())


@pytest.fixture
def end(tenant, eventually):
    """End the pod of the only Job with a verdict; returns the Job's name once the job controller has seen it."""

    def call(access, code):
        (job,) = eventually(lambda: tenant.get("jobs.batch"), "the Job is there")
        name = job["metadata"]["name"]
        label = f"llama-operator.io/preflight={name}"
        (pod,) = eventually(lambda: tenant.get("pods", label), "the Job has a pod")
        patch = json.dumps({"status": pod_status(access, code)})
        tenant.kubectl("patch", "pod", pod["metadata"]["name"], "--subresource=status", "--type=merge", "-p", patch)
        kind = "Failed" if code else "Complete"

        def seen():
            conditions = (tenant.one("job", name).get("status") or {}).get("conditions", [])
            return any(each["type"] == kind and each["status"] == "True" for each in conditions)

        eventually(seen, f"the Job is {kind}")
        return name

    return call


def pod_status(access, code):
    """Status of a pod whose probe has written a verdict."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    verdict = {"access": access, "repository": "meta-llama/Llama-3.1-8B-Instruct", "revision": "main"}
    ended = {"exitCode": code, "reason": "Error" if code else "Completed", "message": json.dumps(verdict) + "\n"}
    container = {"name": "preflight", "image": "x", "imageID": "x", "ready": False, "restartCount": 0}
    container["state"] = {"terminated": ended | {"startedAt": now, "finishedAt": now}}
    return {"phase": "Failed" if code else "Succeeded", "startTime": now, "containerStatuses": [container]}


def test_a_refusal_stops_and_a_yes_starts_the_revision(tenant, reconciled, end):
    assert reconciled()["WeightsAccessible"].reason == "AccessChecking"
    name = end("NotAccepted", 77)
    found = reconciled()
    assert (found["Ready"].reason, found["Stalled"].status) == ("NotAccepted", "True")
    assert tenant.services() == set()
    tenant.kubectl("delete", "job", name, "--cascade=foreground")
    reconciled()
    end("Accessible", 0)
    assert reconciled()["WeightsAccessible"].reason == "Accessible"
    assert len(tenant.services()) == 1
    everything = tenant.get("lld,jobs.batch,pods,rayservices.ray.io,controllerrevisions.apps")
    assert CANARY not in json.dumps(everything)
