"""The control plane that other tests stand on: pods are bound, KubeRay gets its answers, and nothing outlives it."""

import json
import time
from pathlib import Path

import pytest

from control_plane import saved_planes
from control_plane.nodes import add_nodes, remove_nodes

pytestmark = pytest.mark.control_plane

PRODUCT = "NVIDIA-H100-80GB-HBM3"


def eventually(look, what, seconds=240):
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"never came true: {what}"
        time.sleep(0.2)
    return found


def container(name, **resources):
    return {"name": name, "image": "rayproject/ray:2.60.0", "resources": {"requests": resources, "limits": resources}}


def ray_service(namespace):
    """Shape of a 70B model in 16 bits: two workers, each with a whole node."""
    worker = {
        "nodeSelector": {"nvidia.com/gpu.product": PRODUCT},
        "containers": [
            container("ray-worker", cpu="8", memory="64Gi") | {"readinessProbe": {"exec": {"command": ["true"]}}}
        ],
    }
    for amounts in worker["containers"][0]["resources"].values():
        amounts["nvidia.com/gpu"] = "8"
    group = {"groupName": "h100", "replicas": 2, "minReplicas": 2, "maxReplicas": 2, "rayStartParams": {}}
    head = {"containers": [container("ray-head", cpu="2", memory="4Gi")]}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": "chat", "namespace": namespace},
        "spec": {
            "upgradeStrategy": {"type": "None"},
            "serveConfigV2": json.dumps(
                {"applications": [{"name": "llama", "route_prefix": "/", "import_path": "a:b"}]}
            ),
            "rayClusterConfig": {
                "rayVersion": "2.60.0",
                "headGroupSpec": {"rayStartParams": {"num-gpus": "0"}, "template": {"spec": head}},
                "workerGroupSpecs": [group | {"template": {"spec": worker}}],
            },
        },
    }


@pytest.fixture
def h100(plane):
    names = add_nodes(plane, "h100-8", 2)
    yield names
    remove_nodes(plane, names)


def applications(plane, namespace):
    (service,) = plane.api.list("rayservices", namespace=namespace)
    parts = (service.get("status", {}).get(part, {}) for part in ("activeServiceStatus", "pendingServiceStatus"))
    return [each for part in parts for each in part.get("applicationStatuses", {}).values()]


def test_a_70b_gets_its_pods_on_h100_nodes_and_serves(plane, namespace, h100):
    plane.apply(ray_service(namespace))
    plane.kubectl("wait", "--for=condition=Ready", "rayservice/chat", "-n", namespace, "--timeout=240s")

    def places():
        workers = plane.api.list("pods", namespace=namespace, labels="ray.io/node-type=worker")
        return {each["spec"].get("nodeName") for each in workers}

    # Serve may answer before the scheduler has bound the last worker.
    eventually(lambda: places() == set(h100), "its workers are on the H100 nodes")
    (config, *_) = plane.dashboards.puts(namespace, "chat")
    assert config["applications"][0]["import_path"] == "a:b"


def test_what_serve_says_is_what_kuberay_reports(plane, namespace, h100):
    plane.dashboards.set(namespace, "chat", application_status="DEPLOY_FAILED", message="CUDA out of memory")
    plane.apply(ray_service(namespace))
    failed = {"status": "DEPLOY_FAILED", "message": "CUDA out of memory"}
    eventually(
        lambda: any(failed.items() <= each.items() for each in applications(plane, namespace)), "the application failed"
    )


def test_a_plane_starts_from_the_saved_one_with_its_crds_and_leaves_nothing(tmp_path):
    with saved_planes.control_plane(tmp_path, bare=True) as plane:
        names = {each["metadata"]["name"] for each in plane.api.list("crd")}
        pids = [plane.processes.pid(name) for name in plane.processes.names()]
    assert {"rayservices.ray.io", "llamadeployments.llama-operator.io"} <= names
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
