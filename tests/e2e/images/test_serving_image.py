"""The Ray pods from the image that was built, and nothing of this machine in them. `make e2e-images` builds it."""

import os

import httpx
import pytest

from control_plane.node import configuration
from images.layout import Layout

BUILT = os.environ.get("LLAMA_OPERATOR_TEST_SERVING_IMAGE", "")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.nightly,
    pytest.mark.timeout(4800),
    pytest.mark.skipif(not BUILT, reason="the serving image is not built: make e2e-images"),
]

NAME, MODEL = "tiny", "tiny-random-llama"
START_SECONDS = 1800
GONE_SECONDS = 600


def test_the_tiny_sample_answers_from_the_image_that_was_built(cluster, endpoint, root, built):
    cluster.kubectl("apply", "--filename", str(root / "manifests/samples/tiny-cpu.yaml"))
    cluster.until(lambda: cluster.is_ready(NAME), seconds=START_SECONDS, what="the deployment to be Ready")
    pods = cluster.items("pods", "llama-operator.io/deployment")
    assert {pod["metadata"]["labels"]["ray.io/node-type"] for pod in pods} == {"head", "worker"}
    assert {pod["spec"]["runtimeClassName"] for pod in pods} == {configuration.WHOLE}
    ran = {status["imageID"].rpartition("@")[2] for pod in pods for status in pod["status"]["containerStatuses"]}
    assert ran == {Layout(built).manifest["config"]["digest"]}

    answer = endpoint(NAME).chat(model=MODEL, tokens=16)
    assert answer.status_code == httpx.codes.OK, answer.text
    assert 1 <= answer.json()["usage"]["completion_tokens"] <= 16

    cluster.kubectl("delete", "llamadeployment", NAME, f"--timeout={GONE_SECONDS}s")
