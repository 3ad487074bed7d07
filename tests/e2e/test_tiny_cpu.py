"""The tiny sample on a cluster that runs its pods: served, scaled, upgraded, deleted."""

import json

import httpx
import pytest
import yaml

pytestmark = [pytest.mark.e2e, pytest.mark.nightly, pytest.mark.timeout(4800)]

NAME = "tiny"
MODEL = "tiny-random-llama"
TOKENS = 16
CLIENTS = 16
"""Requests at once: four run, and what waits is more than the queue that one replica may have."""
START_SECONDS = 1200
SCALE_SECONDS = 800
GONE_SECONDS = 600


def test_the_tiny_sample_serves_scales_is_upgraded_and_leaves_nothing(cluster, endpoint, root):
    cluster.kubectl("apply", "--filename", str(root / "manifests/samples/tiny-cpu.yaml"))
    cluster.until(lambda: cluster.is_ready(NAME), seconds=START_SECONDS, what="the deployment to be Ready")
    service = endpoint(NAME)
    assert_answers(service)
    assert_evidence_has_a_stream_of_its_own(cluster)
    engines, pods, since = engines_of(service), cluster.pods(), ready_since(cluster)
    assert len(engines) == 1

    change_limits(cluster, targetQueueDepth=2, downscaleDelaySeconds=25)
    let_a_queue_bring_a_second_worker(cluster, service)
    change_limits(cluster, minReplicas=2)
    cluster.until(lambda: len(engines_of(service)) == 2, seconds=SCALE_SECONDS, what="a second engine")
    assert engines < engines_of(service)
    assert pods.items() <= cluster.pods().items(), "a pod was replaced or restarted"
    assert ready_since(cluster) == since, f"it was not Ready for a while, and served all the time:\n{events(cluster)}"
    assert_answers(service)

    upgrade_by_recreate(cluster)
    cluster.until(lambda: len(engines_of(service)) == 2, seconds=60, what="as many engines as before the upgrade")
    assert_answers(service)
    assert not pods.keys() & cluster.pods().keys()
    assert not engines & engines_of(service)

    cluster.kubectl("delete", "llamadeployment", NAME, f"--timeout={GONE_SECONDS}s")
    cluster.until(lambda: not left_of(cluster), seconds=GONE_SECONDS, what="everything to be gone")


def assert_answers(service):
    answer = service.chat(model=MODEL, tokens=TOKENS)
    assert answer.status_code == httpx.codes.OK, answer.text
    completion = answer.json()
    assert completion["model"] == MODEL
    assert completion["choices"][0]["finish_reason"] in {"length", "stop"}
    usage = completion["usage"]
    assert 1 <= usage["completion_tokens"] <= TOKENS
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def assert_evidence_has_a_stream_of_its_own(cluster):
    evidence = [json.loads(line) for line in cluster.operator_said("evidence")]
    assert {line["evidence"] for line in evidence} == {"llama-operator.io/license-evidence/v1"}
    assert {"TermStarted"} < {line["event"] for line in evidence}
    assert not [line for line in cluster.operator_said("operator") if "license-evidence" in line]
    assert cluster.operator_restarts() == {"evidence": 0, "operator": 0}


def engines_of(service):
    """Identities of the engine replicas that report; a new one is a new process."""
    status = service.status()
    return set() if status is None else {report["replica"] for report in status["reports"]}


def ready_since(cluster):
    conditions = cluster.deployment(NAME)["status"]["conditions"]
    (found,) = [
        each["lastTransitionTime"] for each in conditions if (each["type"], each["status"]) == ("Ready", "True")
    ]
    return found


def events(cluster):
    """What was said of the deployment: why it was not Ready among it."""
    return cluster.kubectl("get", "events", f"--field-selector=involvedObject.name={NAME}").stdout


def change_limits(cluster, **scaling):
    """Change live fields, and wait until both objects that carry the bounds have them; no revision may come of it."""
    before = revisions_that_run(cluster)
    cluster.patch(NAME, {"scaling": scaling})
    wanted = cluster.deployment(NAME)["spec"]["scaling"]
    cluster.until(lambda: live_limits(cluster) == limits(wanted), seconds=180, what="the new limits to be in place")
    assert revisions_that_run(cluster) == before
    assert len(cluster.items("rayclusters")) == 1


def revisions_that_run(cluster):
    return [service["metadata"]["name"] for service in cluster.items("rayservices")]


def limits(scaling):
    bounds = (scaling["minReplicas"], scaling["maxReplicas"])
    return {"serve": (*bounds, scaling["targetQueueDepth"]), "service": bounds, "cluster": bounds}


def live_limits(cluster):
    (service,), (ray_cluster,) = cluster.items("rayservices"), cluster.items("rayclusters")
    config = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]["deployments"][0]["autoscaling_config"]
    return {
        "serve": (config["min_replicas"], config["max_replicas"], config["target_ongoing_requests"]),
        "service": worker_bounds(service["spec"]["rayClusterConfig"]),
        "cluster": worker_bounds(ray_cluster["spec"]),
    }


def worker_bounds(ray_cluster_spec):
    (group,) = ray_cluster_spec["workerGroupSpecs"]
    return group["minReplicas"], group["maxReplicas"]


def let_a_queue_bring_a_second_worker(cluster, service):
    """Serve asks for a replica, Ray's autoscaler for a worker, KubeRay makes the pod."""
    with service.load(model=MODEL, clients=CLIENTS) as codes:
        cluster.until(lambda: len(cluster.pods("worker")) == 2, seconds=SCALE_SECONDS, what="a second worker")
    assert set(codes) == {httpx.codes.OK}


def upgrade_by_recreate(cluster):
    """Change an engine argument: the old revision gives up its hardware first, as the node cannot hold both."""
    before = revisions_that_run(cluster)
    cluster.patch(
        NAME,
        {
            "rollout": {"strategy": "Recreate"},
            "scaling": {"minReplicas": 1},
            "engine": {"arguments": {"maxNumSeqs": 5}},
        },
    )

    def new_revision_serves():
        return cluster.deployment(NAME)["status"]["revisions"]["active"] not in {"", *before} and cluster.is_ready(NAME)

    cluster.until(new_revision_serves, seconds=START_SECONDS, what="the new revision to be Ready")
    (service,) = cluster.items("rayservices")
    assert service["metadata"]["name"] not in before
    assert yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]["args"]["engine"]["max_num_seqs"] == 5


def left_of(cluster):
    kinds = ("llamadeployments", "rayservices", "rayclusters", "controllerrevisions", "networkpolicies", "pods")
    found = [f"{kind}/{item['metadata']['name']}" for kind in kinds for item in cluster.items(kind)]
    return found + [
        f"services/{item['metadata']['name']}"
        for item in cluster.items("services")
        if item["metadata"]["name"] != "kubernetes"
    ]
