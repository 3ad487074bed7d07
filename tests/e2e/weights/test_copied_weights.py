"""Weights that are copied once, by a Job on a real kubelet, and read by replicas and revisions that ask nobody for them."""

import json

import httpx
import pytest

from llama_serving.contract.weights import ENGINES_FOLDER, MARKER
from support.nodes.license_ends import assert_erasing_is_told, end_license, is_in_state, weights_on
from support.nodes.real_cluster import NAMESPACE
from support.serving.weight_copies import TOKEN

pytestmark = [pytest.mark.e2e, pytest.mark.weights, pytest.mark.timeout(3600)]

NAME, MODEL = "copied", "Llama-acme"
COPY_LABEL = "llama-operator.io/weights"
COPY_SECONDS = 300
START_SECONDS = 900
GONE_SECONDS = 300
ERASE_SECONDS = 900
"""Requests may finish first."""
WHOLE = ("model-00001-of-00004.safetensors", "model-00002-of-00004.safetensors")
HANGING = ("model-00003-of-00004.safetensors", "model-00004-of-00004.safetensors")


def test_a_copy_is_made_once_and_read_by_all_that_start_after_it(
    cluster, endpoint, hub, disk, token, kill, follow, manifest
):
    for path in HANGING:
        hub.repository.hangs[path] = [1000, -1]
    cluster.kubectl("apply", "--filename", "-", stdin=manifest())
    break_off_half_way(cluster, hub, disk, kill, follow)
    cluster.until(lambda: cluster.is_ready(NAME), seconds=START_SECONDS, what="the deployment to be Ready")
    service = endpoint(NAME)
    assert_answers(service)
    assert_the_copy_is_told(cluster)
    assert_pods_need_neither_token_nor_source(cluster)

    asked, kept = len(hub.repository.requests), written_by_engines(disk)
    assert kept, "what engines find out about the model is in the claim"
    first = engines_of(service)
    scale(cluster, NAME, 2)
    cluster.until(lambda: len(engines_of(service)) == 2, seconds=START_SECONDS, what="a second engine")
    assert first < engines_of(service)
    assert hub.repository.requests[asked:] == [], "a second replica asks nobody"
    print_starts(cluster, NAME, 2)

    restart_by_a_revision(cluster)
    assert_answers(service)
    assert hub.repository.requests[asked:] == [], "nor does a second revision"
    assert written_by_engines(disk) == kept, "each later engine reads it, and finds out nothing anew"
    (copied,) = cluster.items("jobs", COPY_LABEL)
    assert copied["metadata"]["annotations"]["llama-operator.io/attempt"] == "1"

    hub.stop()
    lose_a_replica(cluster, service)
    assert_answers(service)
    hub.start()

    lose_the_license(cluster, disk)
    delete(cluster, NAME)


def test_without_a_copy_each_replica_downloads(cluster, endpoint, hub, token, manifest):
    """What the copy saves, at the same server."""
    name = "downloaded"
    cluster.kubectl("apply", "--filename", "-", stdin=manifest(name, weights={"cache": {"mode": "None"}}))
    cluster.until(lambda: cluster.is_ready(name), seconds=START_SECONDS, what="the deployment to be Ready")
    service, downloads = endpoint(name), hub.repository.downloads
    assert_answers(service)
    before = len(downloads)
    scale(cluster, name, 2)
    cluster.until(lambda: len(engines_of(service)) == 2, seconds=START_SECONDS, what="a second engine")
    assert {*WHOLE, *HANGING} <= set(downloads[before:])
    print_starts(cluster, name, 2)
    delete(cluster, name)


def break_off_half_way(cluster, hub, disk, kill, follow):
    """Kill the pod that copies once it has some whole files; the Job's next pod asks for the others only."""

    def has_half():
        return all(list(disk.glob(f".*.partial/{path}")) for path in WHOLE)

    cluster.until(has_half, seconds=COPY_SECONDS, what="half of the shards to be verified")
    with follow() as followed:
        assert kill("llama_serving.weights", "copy")
        downloads = hub.repository.downloads
        asked = len(downloads)
        hub.repository.hangs.clear()
        cluster.until(lambda: list(disk.glob(f"*/{MARKER}")), seconds=COPY_SECONDS, what="the copy to be complete")
    code, said = followed
    assert code == 0, said
    assert f'"{HANGING[0]}" is verified' in said
    assert f'"{WHOLE[0]}" is verified' in said, "by the pod that was killed"
    assert said.rstrip().splitlines()[-1].startswith("Verified")
    assert TOKEN not in said
    assert set(HANGING) <= set(downloads[asked:])
    assert not set(WHOLE) & set(downloads[asked:]), "whole files are not asked for again"


def assert_the_copy_is_told(cluster):
    status = cluster.deployment(NAME)["status"]
    (copy,) = status["weights"]
    assert copy["state"] == "Copied"
    conditions = {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}
    assert conditions["WeightsCopied"] == ("True", "Copied")
    assert conditions["WeightsAccessible"] == ("True", "Accessible")


def assert_pods_need_neither_token_nor_source(cluster):
    for pod in cluster.items("pods", "llama-operator.io/deployment,ray.io/node-type"):
        said = json.dumps(pod["spec"])
        assert TOKEN not in said
        assert '"secretName": "hub"' not in said
        (ray, *_) = pod["spec"]["containers"]
        assert {"name": "HF_HUB_OFFLINE", "value": "1"} in ray["env"]
        (mount,) = (each for each in ray["volumeMounts"] if each["mountPath"].startswith("/models/"))
        assert mount["readOnly"]


def scale(cluster, name, replicas):
    cluster.patch(name, {"scaling": {"minReplicas": replicas, "maxReplicas": replicas}})


def restart_by_a_revision(cluster):
    """Ask for new engines with the same arguments; the old revision gives up its hardware first."""
    (before,) = (each["metadata"]["name"] for each in cluster.items("rayservices"))
    cluster.patch(NAME, {"rollout": {"restartedAt": "2026-01-02T03:04:05Z"}})

    def serves():
        active = cluster.deployment(NAME)["status"]["revisions"]["active"]
        return active not in {"", before} and cluster.is_ready(NAME)

    cluster.until(serves, seconds=START_SECONDS, what="the new revision to be Ready")


def lose_a_replica(cluster, service):
    """Delete a worker: the replica that takes its place starts while the source is down."""
    cluster.until(lambda: len(engines_of(service)) == 2, seconds=START_SECONDS, what="two engines")
    before, (lost, *_) = engines_of(service), cluster.pods("worker")
    cluster.kubectl("delete", "pod", lost, "--namespace", NAMESPACE, "--grace-period=1")

    def replaced():
        now = engines_of(service)
        return len(now) == 2 and now != before

    cluster.until(replaced, seconds=START_SECONDS, what="another replica")


def lose_the_license(cluster, disk):
    """End it while two replicas serve: they go first, then a Job erases what they read, and its empty claim goes."""
    (claim,) = cluster.items("persistentvolumeclaims")
    assert weights_on(disk)
    end_license(cluster, NAME)
    cluster.until(lambda: is_in_state(cluster, NAME, "Erased"), seconds=ERASE_SECONDS, what="the copy to be erased")
    assert cluster.items("pods", "ray.io/node-type") == [], "nobody reads it any more"
    assert weights_on(disk) == []
    assert_erasing_is_told(cluster, NAME)
    cluster.until(
        lambda: not cluster.items("persistentvolumeclaims") and not cluster.items("jobs", COPY_LABEL),
        seconds=GONE_SECONDS,
        what="the claim and its Job to be gone",
    )
    assert cluster.json("persistentvolume", claim["spec"]["volumeName"])["status"]["phase"] == "Released"


def assert_answers(service):
    answer = service.chat(model=MODEL)
    assert answer.status_code == httpx.codes.OK, answer.text
    assert answer.json()["usage"]["completion_tokens"] >= 1


def engines_of(service):
    """Identities of the engine replicas that report; a new one is a new process."""
    status = service.status()
    return set() if status is None else {report["replica"] for report in status["reports"]}


def written_by_engines(disk):
    """Files that engines have put into the claim for later starts, and when."""
    files = (path for path in disk.glob(f"{ENGINES_FOLDER}/**/*") if path.is_file())
    return {str(path.relative_to(disk)): path.stat().st_mtime_ns for path in files}


def print_starts(cluster, name, count):
    """Print what the status says about starts, the newest first, with what the plan predicts for each stage."""

    def known():
        told = cluster.deployment(name)["status"].get("coldStart") or {}
        return told if len(told.get("starts", ())) >= count else None

    told = cluster.until(known, seconds=120, what="starts that are told")
    print(f"\n{name}: predicted", {each["name"]: each.get("predictedSeconds") for each in told["stages"]})
    for start in told["starts"]:
        print(f"{name}: measured", {key: value for key, value in start.items() if key.endswith("Seconds")})


def delete(cluster, name):
    cluster.kubectl("delete", "llamadeployment", name, f"--timeout={GONE_SECONDS}s")
    cluster.until(lambda: not left_of(cluster), seconds=GONE_SECONDS, what="everything to be gone, the claim too")


def left_of(cluster):
    kinds = ("llamadeployments", "rayservices", "rayclusters", "controllerrevisions", "persistentvolumeclaims", "jobs")
    found = [f"{kind}/{item['metadata']['name']}" for kind in kinds for item in cluster.items(kind)]
    selectors = (COPY_LABEL, "llama-operator.io/deployment")
    return found + [f"pods/{pod['metadata']['name']}" for each in selectors for pod in cluster.items("pods", each)]
