"""LlamaDeployments on a real API server with real KubeRay and simulated H100 nodes: what users see, from apply to delete."""

import time

import pytest

from control_plane.nodes import add_nodes, remove_nodes

pytestmark = pytest.mark.control_plane

CHILDREN = "rayservices.ray.io,services,networkpolicies,controllerrevisions.apps"


@pytest.fixture(scope="module")
def nodes(plane):
    """Two nodes with eight H100 each."""
    names = add_nodes(plane, "h100-8", 2)
    yield names
    remove_nodes(plane, names)


@pytest.mark.parametrize(
    ("sample", "gpus"),
    [
        ("llama-3.3-70b-fp8-h100", [4]),
        ("llama-3.1-405b-fp8-h100", [8]),
        ("llama-3.1-405b-bf16-h100", [8, 8]),
    ],
)
def test_a_replica_gets_whole_pods_on_as_few_h100_nodes_as_it_needs(eventually, user, operator, nodes, sample, gpus):
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
    head = user.pods("head")[0]["spec"]["containers"][0]["resources"]["limits"]
    assert "nvidia.com/gpu" not in head
    assert len(user.get("rayservices.ray.io")) == len(user.get("rayclusters.ray.io")) == 1


def test_kubectl_shows_waits_scales_and_deletes(eventually, user, operator, nodes, plane):
    user.apply("llama-3.3-70b-fp8-h100", scaling={"mode": "Manual"}, replicas=1)
    user.kubectl("wait", "--for=condition=Ready", "lld/chat", "--timeout=90s")
    line = user.kubectl("get", "lld", "chat", "--no-headers").stdout
    assert "llama-3.3-70b-instruct" in line
    assert "Serving" in line
    user.kubectl("scale", "lld/chat", "--replicas=2")
    eventually(lambda: len(user.pods("worker")) == 2, "a second worker")
    reasons = {
        each["reason"] for each in user.get("events.v1.events.k8s.io") if each["regarding"]["kind"] == "LlamaDeployment"
    }
    assert {"RevisionStarted", "Ready"} <= reasons
    user.kubectl("delete", "lld", "chat", "--timeout=240s")
    eventually(
        lambda: not user.get(f"{CHILDREN},rayclusters.ray.io,pods", "-l", "llama-operator.io/deployment=chat"),
        "nothing is left",
    )


def test_live_bounds_restart_nothing_and_kuberay_does_not_revert_them(eventually, user, operator, nodes, plane):
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
    time.sleep(5)  # two more loops of KubeRay
    assert bounds() == (1, 3)
    assert before <= {each["metadata"]["uid"] for each in user.pods("worker") + user.pods("head")}
    assert len(user.get("rayclusters.ray.io")) == 1


def test_blue_green_moves_the_traffic_when_the_new_revision_serves_and_drains_the_old_one(
    eventually, user, operator, nodes
):
    rollout = {"strategy": "BlueGreen", "drainSeconds": 5}
    user.apply("llama-3.3-70b-fp8-h100", rollout=rollout)
    user.ready()
    (old,) = user.services()
    user.apply("llama-3.3-70b-fp8-h100", rollout=rollout, engine={"arguments": {"maxNumSeqs": 32}})
    eventually(lambda: len(user.services()) == 2, "both revisions run")
    (new,) = user.services() - {old}
    user.ready()
    assert user.traffic() == new
    eventually(lambda: user.services() == {new}, "the old one is drained")


def test_recreate_never_holds_the_gpus_of_two_revisions(eventually, user, operator, nodes):
    rollout = {"strategy": "Recreate"}
    user.apply("llama-3.1-405b-bf16-h100", rollout=rollout)
    user.ready()
    (old,) = user.services()
    user.apply("llama-3.1-405b-bf16-h100", rollout=rollout, engine={"arguments": {"maxNumSeqs": 16}})
    seen = []

    def replaced():
        seen.append({each["metadata"]["labels"]["llama-operator.io/revision"] for each in user.pods("worker")})
        return user.services() and old not in user.services() and user.condition("chat", "Ready")["status"] == "True"

    eventually(replaced, "the new revision serves")
    assert all(len(revisions) <= 1 for revisions in seen)


def test_a_revision_that_fails_is_rolled_back_and_says_why(eventually, user, operator, nodes, plane):
    rollout = {"strategy": "BlueGreen", "drainSeconds": 0, "progressDeadlineSeconds": 15}
    user.apply("llama-3.3-70b-fp8-h100", rollout=rollout)
    user.ready()
    (old,) = user.services()
    user.apply("llama-3.3-70b-fp8-h100", rollout=rollout, engine={"arguments": {"maxNumSeqs": 32}})
    (new,) = eventually(lambda: user.services() - {old}, "the new revision starts")
    plane.dashboards.set(user.namespace, new, application_status="DEPLOY_FAILED", message="CUDA out of memory")
    eventually(lambda: user.condition("chat", "UpToDate")["reason"] == "ProgressDeadlineExceeded", "it is given up")
    eventually(lambda: user.services() == {old}, "its RayService is gone")
    assert "CUDA out of memory" in user.condition("chat", "UpToDate")["message"]
    assert user.condition("chat", "EndpointReady")["status"] == "True"
    assert user.traffic() == old


def test_a_bad_spec_over_a_serving_one_changes_nothing_of_what_serves_and_says_why(eventually, user, operator, nodes):
    user.apply("llama-3.3-70b-fp8-h100")
    user.ready()
    before = {key: value for key, value in user.written().items() if key[0] != "LlamaDeployment"}
    refused = user.kubectl(
        "patch", "lld", "chat", "--type=merge", "-p", '{"spec":{"scaling":{"minReplicas":9}}}', check=False
    )
    assert "minReplicas" in refused.stderr, "the schema's own rules name the field"
    user.apply("llama-3.3-70b-fp8-h100", context={"maxModelLength": 1_000_000})
    eventually(lambda: user.condition("chat", "Ready")["reason"] == "ContextTooLong", "the status says why")
    assert "spec.context.maxModelLength" in user.condition("chat", "Ready")["message"]
    assert user.condition("chat", "EndpointReady")["status"] == "True"
    assert {key: value for key, value in user.written().items() if key[0] != "LlamaDeployment"} == before


def test_restarts_upgrades_and_nodes_write_nothing(eventually, user, make_operator, nodes, plane):
    first = make_operator()
    user.apply("llama-3.3-70b-fp8-h100", hardware={"accelerator": "Auto"})
    user.ready()
    eventually(lambda: user.condition("chat", "Reconciling")["status"] == "False", "it is at rest")
    time.sleep(3)
    before = user.written()
    first.stop()
    second = make_operator("--serving-image=acme/serving:of-a-newer-operator", "--ray-version=2.61.0")
    log = eventually(lambda: second.log.read_text() if "holds Lease" in second.log.read_text() else "", "it leads")
    assert "ERROR" not in log
    extra = add_nodes(plane, "h200-8", 1)
    try:
        node = extra[0]
        plane.kubectl("label", "node", node, "nvidia.com/gpu.product=NVIDIA-H100-80GB-HBM3", "--overwrite")
        time.sleep(5)
        assert user.written() == before
    finally:
        remove_nodes(plane, extra)


@pytest.mark.parametrize("running", [True, False], ids=["operator up", "operator down"])
def test_a_namespace_full_of_deployments_goes(eventually, user, make_operator, plane, namespace, running):
    operator = make_operator()
    for number in range(20):
        user.apply("tiny-cpu", name=f"chat-{number}")
    eventually(lambda: len(user.get("rayservices.ray.io")) == 20, "all have their RayService")
    if not running:
        operator.stop()
    # Well within a minute on two idle cores; how busy the machine is says nothing about the operator.
    plane.kubectl("delete", "namespace", namespace, "--timeout=240s")
