"""LlamaDeployments on a real API server with real KubeRay and simulated H100 nodes: what users see, from apply to delete."""

import pytest

from control_plane.nodes import add_nodes, remove_nodes
from llama_operator.decide.placement import pod_spec
from llama_operator.decide.placement.pod_spec import shapes_of

pytestmark = pytest.mark.control_plane

CHILDREN = "rayservices.ray.io,services,networkpolicies,controllerrevisions.apps"


@pytest.mark.parametrize(
    ("sample", "gpus"),
    [
        ("llama-3.3-70b-fp8-h100", [4]),
        pytest.param("llama-3.1-405b-fp8-h100", [8], marks=pytest.mark.nightly),
        ("llama-3.1-405b-bf16-h100", [8, 8]),
    ],
)
def test_a_replica_gets_whole_pods_on_as_few_h100_nodes_as_it_needs(
    eventually, user, operator, h100_nodes, sample, gpus
):
    """Part of a node, and two nodes; a whole node is nightly, because it is only the first of these two with more GPUs."""
    user.apply(sample)
    user.ready()

    def bound():
        found = user.pods("worker")
        return found if len(found) == len(gpus) and all("nodeName" in each["spec"] for each in found) else None

    workers = eventually(bound, "all workers are bound: those of another test may have to leave first")
    asked = [int(each["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]) for each in workers]
    assert asked == gpus, "a tensor parallel group never leaves its pod, and a pod never its node"
    assert len({each["spec"]["nodeName"] for each in workers}) == len(gpus)
    assert all(each["spec"]["nodeName"].startswith("h100") for each in workers)
    (head,) = user.pods("head")
    assert "nvidia.com/gpu" not in head["spec"]["containers"][0]["resources"]["limits"]
    (pinned,) = user.get("controllerrevisions.apps")
    shapes = shapes_of(pinned["data"]["cluster"], len(gpus))
    counted = [shapes.head.asked, *[shapes.worker.asked] * len(gpus)]
    assert [pod_spec.asked(each["spec"]) for each in (head, *workers)] == counted, (
        "KubeRay adds nothing that is not counted"
    )
    assert len(user.get("rayservices.ray.io")) == len(user.get("rayclusters.ray.io")) == 1


def test_kubectl_shows_waits_scales_and_deletes(eventually, user, operator, h100_nodes, plane):
    user.apply("llama-3.3-70b-fp8-h100", scaling={"mode": "Manual"}, replicas=1)
    for kind in ("UpToDate", "Ready"):
        user.kubectl("wait", f"--for=condition={kind}", "lld/chat", "--timeout=240s")
    line = user.kubectl("get", "lld", "chat", "--no-headers").stdout
    assert {"llama-3.3-70b-instruct", "True", "Serving", "RolledOut"} <= set(line.split())
    user.kubectl("scale", "lld/chat", "--replicas=2")
    eventually(lambda: len(user.pods("worker")) == 2, "a second worker")
    reasons = {
        each["reason"] for each in user.get("events.v1.events.k8s.io") if each["regarding"]["kind"] == "LlamaDeployment"
    }
    assert {"RevisionStarted", "Ready"} <= reasons
    user.kubectl("delete", "lld", "chat", "--timeout=240s")
    eventually(
        lambda: not user.get(f"{CHILDREN},rayclusters.ray.io,pods", "llama-operator.io/deployment=chat"),
        "nothing is left",
    )


def test_live_bounds_restart_nothing_and_kuberay_does_not_revert_them(eventually, user, operator, h100_nodes, plane):
    user.apply("llama-3.3-70b-fp8-h100")
    user.ready()
    before = {each["metadata"]["uid"] for each in user.pods("worker") + user.pods("head")}
    (cluster,) = user.get("rayclusters.ray.io")
    submitted = len(plane.dashboards.puts(user.namespace, cluster["metadata"]["name"]))
    user.apply("llama-3.3-70b-fp8-h100", scaling={"minReplicas": 1, "maxReplicas": 3, "targetQueueDepth": 2})

    def bounds():
        (live,) = user.get("rayclusters.ray.io")
        (group,) = live["spec"]["workerGroupSpecs"]
        return group["minReplicas"], group["maxReplicas"]

    eventually(lambda: bounds() == (1, 3), "the RayCluster has the new bounds")
    eventually(
        lambda: len(plane.dashboards.puts(user.namespace, cluster["metadata"]["name"])) > submitted,
        "KubeRay has submitted the new limits",
    )
    last = plane.dashboards.puts(user.namespace, cluster["metadata"]["name"])
    applications = [each["applications"][0] for each in (last[-2], last[-1])]
    assert applications[0]["args"] == applications[1]["args"], "a change of args would restart the engines"
    user.wait_for_kuberay()
    assert bounds() == (1, 3)
    assert before <= {each["metadata"]["uid"] for each in user.pods("worker") + user.pods("head")}
    assert len(user.get("rayclusters.ray.io")) == 1


def test_restarts_upgrades_and_nodes_write_nothing(eventually, user, make_operator, h100_nodes, plane):
    first = make_operator()
    user.apply("llama-3.3-70b-fp8-h100", hardware={"accelerator": "Auto"})
    user.ready()
    before = user.at_rest()
    first.stop()
    second = make_operator("--serving-image=acme/serving:of-a-newer-operator", "--ray-version=2.61.0")
    log = eventually(lambda: second.log.read_text() if "holds Lease" in second.log.read_text() else "", "it leads")
    assert "ERROR" not in log
    (extra,) = add_nodes(plane, "h200-8", 1)
    try:
        # What the operator says about this one shows which nodes it has seen.
        user.apply("llama-3.3-70b-fp8-h100", name="witness", hardware={"accelerator": "H200-141GB"})
        found = lambda: user.condition("witness", "CapacityFound")  # noqa: E731
        eventually(lambda: found()["reason"] == "NodesFound", "it has seen the new node")
        plane.kubectl("label", "node", extra, "nvidia.com/gpu.product=NVIDIA-H100-80GB-HBM3", "--overwrite")
        # By then its pods may be there, and have no node: the reason is the scheduler's then.
        eventually(lambda: found()["status"] == "False", "it has seen what the node is now")
        user.wait_for_kuberay()
        assert user.written("chat") == before
    finally:
        remove_nodes(plane, [extra])


@pytest.mark.parametrize(
    "running",
    [pytest.param(True, id="operator up"), pytest.param(False, id="operator down", marks=pytest.mark.nightly)],
)
def test_a_namespace_full_of_deployments_goes(eventually, user, make_operator, plane, namespace, running):
    operator = make_operator()
    for number in range(20):
        user.apply("tiny-cpu", name=f"chat-{number}")
    eventually(lambda: len(user.get("rayservices.ray.io")) == 20, "all have their RayService")
    if not running:
        operator.stop()
    # Well within a minute on two idle cores; how busy the machine is says nothing about the operator.
    plane.kubectl("delete", "namespace", namespace, "--timeout=240s")
