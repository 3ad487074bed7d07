"""Weights in an image that a real kubelet pulls by its digest and pods mount: offline, read-only, without a token."""

import hashlib
import json

import httpx
import pytest

from llama_operator.decide.observed import Settings
from support.nodes.real_cluster import NAMESPACE
from support.serving.weight_copies import TOKEN

pytestmark = [pytest.mark.e2e, pytest.mark.weights, pytest.mark.timeout(3600)]

NAME, MODEL = "mounted", "Llama-acme"
FOLDER = "models"
START_SECONDS = 900
GONE_SECONDS = 300


def test_a_replica_starts_from_an_image_and_one_that_is_missing_is_told(
    cluster, endpoint, hub, weights_image, token, manifest, llama, eventually
):
    asked = len(hub.repository.requests)
    hub.stop()
    missing = f"{weights_image.reference.partition('@')[0]}@sha256:{'0' * 64}"
    cluster.kubectl("apply", "--filename", "-", stdin=manifest(NAME, weights={"cache": mounted(missing)}))
    told = eventually(lambda: image_is_missing(cluster))
    assert f"without the image {missing}" in told
    assert "not found" in told
    assert Settings().image not in told, "the image of the engines is there"
    assert "spec.weights.cache.image" in llama("explain", NAME, "--namespace", NAMESPACE)
    (row,) = (each for each in json.loads(llama("doctor", "-o", "json"))["checks"] if each["name"] == "mounted-images")
    assert row["state"] == "Passed", row

    cluster.patch(NAME, {"weights": {"cache": mounted(weights_image.reference)}})
    # What waits for the image that nobody has goes first.
    eventually(lambda: not waits_for(cluster, missing))
    cluster.until(lambda: cluster.is_ready(NAME), seconds=START_SECONDS, what="the deployment to be Ready")
    answer = endpoint(NAME).chat(model=MODEL)
    assert answer.status_code == httpx.codes.OK, answer.text
    assert answer.json()["usage"]["completion_tokens"] >= 1
    status = cluster.deployment(NAME)["status"]
    (copy,) = status["weights"]
    assert (copy["state"], copy["source"]) == ("InImage", f"image {weights_image.reference}")
    assert {each["type"]: each["reason"] for each in status["conditions"]}["WeightsCopied"] == "InImage"
    assert_pods_read_only_what_is_in_it(cluster, weights_image, copy["id"])
    assert not cluster.items("jobs")
    assert not cluster.items("persistentvolumeclaims")
    assert len(hub.repository.requests) == asked, "nobody asked the Hub, which is down"
    hub.start()
    cluster.kubectl("delete", "llamadeployment", NAME, f"--timeout={GONE_SECONDS}s")
    eventually(lambda: not cluster.pods())


def mounted(reference):
    return {"mode": "Image", "image": reference, "imageFolder": FOLDER}


def image_is_missing(cluster):
    """What the status says of an image that nobody has; None until it says something."""
    status = cluster.deployment(NAME).get("status", {})
    return next((one["message"] for one in status.get("conditions", ()) if one["reason"] == "ImageNotPulled"), None)


def waits_for(cluster, reference):
    return [pod["metadata"]["name"] for pod in cluster.items("pods") if reference in json.dumps(pod["spec"])]


def assert_pods_read_only_what_is_in_it(cluster, image, identity):
    folder = f"/models/{identity}/{FOLDER}"
    for pod in cluster.items("pods", "llama-operator.io/deployment,ray.io/node-type"):
        said = json.dumps(pod["spec"])
        assert TOKEN not in said
        assert '"secretName": "hub"' not in said
        name, (container, *_) = pod["metadata"]["name"], pod["spec"]["containers"]

        def run(*words, name=name, container=container["name"], check=True):
            where = ("--namespace", NAMESPACE, name, "--container", container)
            return cluster.kubectl("exec", *where, "--", *words, check=check)

        digests = dict(
            reversed(line.split()) for line in run("sh", "-c", f"cd {folder} && sha256sum *").stdout.splitlines()
        )
        assert digests == {path: hashlib.sha256(content).hexdigest() for path, content in image.files.items()}
        assert "Read-only file system" in run("touch", f"{folder}/more", check=False).stderr
