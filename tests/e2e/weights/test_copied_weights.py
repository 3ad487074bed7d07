"""Weights that are copied once, by a Job on a real kubelet, and read by replicas and revisions that ask nobody for them."""

import json

import httpx
import pytest

from support.nodes.real_cluster import NAMESPACE
from support.serving.weight_copies import COPIED, TOKEN

pytestmark = [pytest.mark.e2e, pytest.mark.weights, pytest.mark.timeout(3600)]

NAME, MODEL = "copied", "acme-chat"
COPY_JOBS = "llama-operator.io/weights"
COPY_SECONDS = 300
START_SECONDS = 900
GONE_SECONDS = 300
HANGING = ("model-00003-of-00004.safetensors", "model-00004-of-00004.safetensors")
WHOLE = ("model-00001-of-00004.safetensors", "model-00002-of-00004.safetensors")


def test_a_copy_is_made_once_and_read_by_all_that_start_after_it(cluster, endpoint, hub, disk, token, kill, root):
    for path in HANGING:
        hub.repository.hangs[path] = [1000, -1]
    cluster.kubectl("apply", "--filename", str(root / "tests/e2e/weights/copied.yaml"))
    break_off_half_way(cluster, hub, disk, kill)
    cluster.until(lambda: cluster.is_ready(NAME), seconds=START_SECONDS, what="the deployment to be Ready")
    service = endpoint(NAME)
    assert_answers(service)


def break_off_half_way(cluster, hub, disk, kill):
    """Kill the pod that copies once it has some whole files; the Job's next pod asks for the others only."""

    def has_half():
        return all(list(disk.glob(f".*.partial/{path}")) for path in WHOLE)

    cluster.until(has_half, seconds=COPY_SECONDS, what="half of the shards to be verified")
    assert kill("llama_serving.weights", "copy")
    asked = len(hub.repository.downloads)
    hub.repository.hangs.clear()
    cluster.until(lambda: list(disk.glob("*/.complete")), seconds=COPY_SECONDS, what="the copy to be complete")
    again = hub.repository.downloads[asked:]
    assert set(HANGING) <= set(again)
    assert not set(WHOLE) & set(again), "whole files are not asked for again"


def assert_answers(service):
    answer = service.chat(model=MODEL)
    assert answer.status_code == httpx.codes.OK, answer.text
    assert answer.json()["usage"]["completion_tokens"] >= 1
