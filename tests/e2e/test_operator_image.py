"""The operator from the image that users would run, and nothing of this machine in its pods. `make e2e` builds it."""

import json
import os
from pathlib import Path

import pytest

from control_plane.node import configuration
from images.layout import Layout

BUILT = os.environ.get("LLAMA_OPERATOR_TEST_OPERATOR_IMAGE", "")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.nightly,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not BUILT, reason="the operator's image is not built: make e2e"),
]


def test_both_replicas_are_available_and_run_the_image_that_was_built(cluster):
    assert cluster.operator_is_available()
    selector = "app.kubernetes.io/name=llama-operator"
    shown = cluster.kubectl("get", "pods", "--all-namespaces", "--selector", selector, "--output", "json").stdout
    pods = json.loads(shown)["items"]
    assert len(pods) == 2
    built = Layout(Path(BUILT)).manifest["config"]["digest"]
    for pod in pods:
        assert pod["spec"]["runtimeClassName"] == configuration.WHOLE
        assert {status["imageID"].rpartition("@")[2] for status in pod["status"]["containerStatuses"]} == {built}
