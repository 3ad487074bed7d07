"""Why pods do not run, told by the command line with real KubeRay and a real scheduler, within seconds of their knowing it."""

import asyncio
import json
import threading
import time
from datetime import UTC, datetime

import pytest

from control_plane.nodes import add_nodes, remove_nodes
from llama_operator import catalog
from llama_operator.cli.main import main
from llama_operator.decide.diagnosis.causes import causes
from llama_operator.kube import kinds
from llama_operator.kube.port import Ref
from llama_operator.kube.server.client import connect
from llama_operator.observe.gather import Observer
from llama_operator.observe.serving import NoServingReader

pytestmark = pytest.mark.control_plane

QUOTA = {"apiVersion": "v1", "kind": "ResourceQuota", "spec": {"hard": {"requests.nvidia.com/gpu": "0"}}}


@pytest.fixture
def explained(kubeconfig, namespace, capsys):
    """Steps of `kubectl llama explain chat` by name."""

    def explain():
        main(["explain", "chat", "--kubeconfig", str(kubeconfig), "-n", namespace, "-o", "json"])
        return {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}

    return explain


def test_a_quota_that_refuses_pods_is_told_and_lifted(eventually, explained, plane, user, operator, h100_nodes):
    plane.apply(QUOTA | {"metadata": {"name": "none", "namespace": user.namespace}})
    user.apply("llama-3.3-70b-fp8-h100")

    def refused():
        check = explained()["cluster"]
        return check if check["state"] == "Failed" else None

    check = eventually(refused, "the refusal is told")
    assert "FailedCreateWorkerPod: exceeded quota: none, requested: requests.nvidia.com/gpu=4" in check["evidence"]
    assert "kubectl describe resourcequota" in check["unblock"]
    assert "exceeded quota: none" in explained()["events"]["evidence"], "KubeRay warns of it too"
    user.kubectl("delete", "resourcequota", "none")
    user.ready()
    eventually(lambda: explained()["cluster"]["state"] == "Passed", "nothing is wrong any more")


def test_a_node_that_goes_with_its_pods_is_named(eventually, explained, plane, user, operator):
    names = add_nodes(plane, "h200-8", 1)
    try:
        user.apply("llama-3.3-70b-fp8-h100", hardware={"accelerator": "H200-141GB"})
        user.ready()
        # Nobody has made a key yet, and explain says so.
        fine = {"door": "Warning"}
        eventually(
            lambda: all(check["state"] == fine.get(name, "Passed") for name, check in explained().items()),
            "all is well",
        )
    finally:
        remove_nodes(plane, names)
    check = eventually(lambda: (one := explained()["capacity"])["state"] == "Failed" and one, "the node is missed")
    assert f"node {names[0]} is gone" in check["evidence"] or "placed on no node" in check["evidence"]
    assert "the cluster has 0 on 0 node(s)" in check["evidence"]


async def found(kubeconfig, namespace):
    """Causes of all revisions of the deployment, now."""
    async with connect(kubeconfig=kubeconfig) as cluster:
        observer = Observer(cluster, catalog.load(), NoServingReader())
        observed = await observer.observe(Ref(kinds.LLAMA_DEPLOYMENT, namespace, "chat"), datetime.now(UTC))
        services = () if observed is None else observed.ray_services
        return {(one.name, cause.reason, cause.message) for one in services for cause in causes(observed, one.name)}


@pytest.mark.nightly
def test_a_healthy_life_has_no_cause(eventually, kubeconfig, user, operator, h100_nodes):
    seen, over = set(), threading.Event()

    def look():
        while not over.is_set():
            seen.update(asyncio.run(found(kubeconfig, user.namespace)))
            time.sleep(0.1)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        user.apply("llama-3.3-70b-fp8-h100", rollout={"strategy": "BlueGreen", "drainSeconds": 1})
        user.ready()
        user.kubectl(
            "patch", "lld", "chat", "--type=merge", "-p", json.dumps({"spec": {"scaling": {"minReplicas": 2}}})
        )
        eventually(lambda: len(user.pods("worker")) == 2, "a second worker")
        (old,) = user.services()
        user.kubectl(
            "patch", "lld", "chat", "--type=merge", "-p", json.dumps({"spec": {"context": {"maxModelLength": 8192}}})
        )
        eventually(lambda: user.services() and old not in user.services(), "the new revision alone")
        user.ready()
        user.kubectl("patch", "lld", "chat", "--type=merge", "-p", '{"spec":{"activation":"Suspended"}}')
        eventually(lambda: not user.services(), "no hardware is held")
        user.kubectl("patch", "lld", "chat", "--type=merge", "-p", '{"spec":{"activation":"Active"}}')
        user.ready()
        user.kubectl("delete", "lld", "chat", "--timeout=240s")
    finally:
        over.set()
        watcher.join()
    assert seen == set()
