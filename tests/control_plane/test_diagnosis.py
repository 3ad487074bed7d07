"""Why pods do not run, told by the command line with real KubeRay and a real scheduler, within seconds of their knowing it."""

import json

import pytest

from control_plane.nodes import add_nodes, remove_nodes
from llama_operator.cli.main import main

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
        eventually(lambda: {check["state"] for check in explained().values()} == {"Passed"}, "all is well")
    finally:
        remove_nodes(plane, names)
    check = eventually(lambda: (one := explained()["capacity"])["state"] == "Failed" and one, "the node is missed")
    assert f"node {names[0]} is gone" in check["evidence"] or "placed on no node" in check["evidence"]
    assert "the cluster has 0 on 0 node(s)" in check["evidence"]
