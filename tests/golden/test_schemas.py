"""What we render is what others accept: Ray's own Serve schema, KubeRay's own CRD, Kubernetes' own types."""

import itertools
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from llama_serving.config import RequestPath, ServingConfig
from llama_serving.contract.guard import GUARD_DEPLOYMENT
from support.fuzzing.validity import closed

HERE = Path(__file__).resolve().parent
GOLDEN = sorted((HERE / "samples").glob("*.output.yaml"))


def objects(path: Path, kind: str) -> dict[str, Any]:
    applied = yaml.safe_load(path.read_text(encoding="utf-8"))["apply"]
    return next(obj for obj in applied if obj["kind"] == kind)


@pytest.fixture(scope="module")
def rayservice_schema(kuberay_crds):
    text = (kuberay_crds / "ray.io_rayservices.yaml").read_text(encoding="utf-8")
    definition = yaml.load(text, Loader=yaml.CSafeLoader)
    version = next(found for found in definition["spec"]["versions"] if found["name"] == "v1")
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return jsonschema.Draft7Validator(closed(spec))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_rayservice_keeps_kuberays_schema(path, rayservice_schema):
    rayservice_schema.validate(objects(path, "RayService")["spec"])


# Ray 2.60 names variables that are to replace the field, and reads the field alone (serve/_private/{replica,router}.py).
@pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning")
@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_serve_config_is_valid_for_ray(path):
    schema = pytest.importorskip("ray.serve.schema", reason="make install provides Ray")
    config = yaml.safe_load(objects(path, "RayService")["spec"]["serveConfigV2"])
    schema.ServeDeploySchema.model_validate(config)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_arguments_are_what_the_serving_pods_read(path):
    config = yaml.safe_load(objects(path, "RayService")["spec"]["serveConfigV2"])
    application, *board = config["applications"]
    parsed = ServingConfig.model_validate(application["args"])
    assert bool(board) is (parsed.path is RequestPath.DIRECT)
    assert [one["args"] for one in board] == [application["args"]] * len(board)
    guard = [] if parsed.guard is None else [GUARD_DEPLOYMENT]
    assert [override["name"] for override in application["deployments"]] == [parsed.server_deployment, *guard]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
@pytest.mark.parametrize("kind", ["Service", "NetworkPolicy"])
def test_the_other_objects_are_valid_for_kubernetes(path, kind):
    kubernetes_validate.validate(objects(path, kind), "1.36", strict=True)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_names_fit_what_kuberay_makes_of_them(path):
    assert len(objects(path, "RayService")["metadata"]["name"]) <= 47


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_clusters_are_closed_to_strangers_and_pods_restricted(path):
    cluster = objects(path, "RayService")["spec"]["rayClusterConfig"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["autoscalerOptions"]["version"] == "v2"
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        spec = group["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"]["drop"] == ["ALL"]
            assert set(security["capabilities"].get("add", ())) <= {"IPC_LOCK"}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_gpu_group_declares_its_accelerator_so_that_it_can_grow_from_zero(path):
    config = yaml.safe_load(objects(path, "RayService")["spec"]["serveConfigV2"])
    model = ServingConfig.model_validate(config["applications"][0]["args"])
    groups = objects(path, "RayService")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    engines = [model, *([] if model.guard is None else [model.guard])]
    # A guard on the model's cards is in the model's group.
    for engine, group in itertools.zip_longest(engines, groups, fillvalue=groups[0]):
        declared = group["rayStartParams"].get("resources", "")
        if engine.placement.accelerator_type is not None:
            assert f"accelerator_type:{engine.placement.accelerator_type}" in declared
        if engine.placement.node_resource is not None:
            assert engine.placement.node_resource in declared
    assert len({engine.placement.node_resource for engine in engines}) == len(engines)
