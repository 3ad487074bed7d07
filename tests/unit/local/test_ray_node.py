import json
from pathlib import Path

import pytest

from llama_operator.errors import InvalidManifestError
from llama_operator.local import ray_node
from llama_operator.local.ports import block_ports
from llama_serving.config import NICENESS_VARIABLE, pod_environment
from support.serving.configs import tiny_config

PORTS = block_ports(0)
MARKS = {"LLAMA_OPERATOR_LOCAL_RUN": "cafe0123"}


def group(*, cpu=None, parameters=None, env=(), **fields):
    container = {"name": "ray", "env": list(env)}
    if cpu is not None:
        container["resources"] = {"limits": {"cpu": cpu}}
    return {"rayStartParams": parameters or {}, "template": {"spec": {"containers": [container]}}} | fields


def cluster(head=None, *workers):
    return {"headGroupSpec": head or group(parameters={"num-cpus": "0"}), "workerGroupSpecs": list(workers)}


def service(config, spec=None):
    metadata = {"namespace": "team-a", "name": "chat"}
    return {"metadata": metadata, "spec": {"serveConfigV2": config, "rayClusterConfig": spec or cluster()}}


def environment(spec, *, inherited=None, temp_dir="/tmp/x/0"):
    return ray_node.head_environment(
        spec,
        cluster="chat-abc01",
        inherited=inherited or {},
        marks=MARKS,
        token_file=Path("/run/token"),
        temp_dir=Path(temp_dir),
        ports=PORTS,
    )


def command(spec, python="/nowhere/bin/python"):
    return ray_node.head_command(spec, python=Path(python), ports=PORTS, temp_dir=Path("/tmp/x/0"))


def test_the_node_is_as_large_as_all_worker_groups_at_their_maximum():
    workers = group(cpu="2", maxReplicas=3, numOfHosts=2), group(cpu="500m", maxReplicas=4)
    node = ray_node.resources(cluster(group(parameters={"num-cpus": "1"}), *workers))
    assert node.cpus == 1 + 2 * 3 * 2 + 1 * 4


def test_ray_start_parameters_beat_container_limits():
    node = ray_node.resources(cluster(None, group(cpu="16", parameters={"num-cpus": "3"}, maxReplicas=2)))
    assert node.cpus == 6


def test_a_cluster_without_cpus_still_has_one_for_serve_itself():
    assert ray_node.resources(cluster()).cpus == 1


def test_engines_give_way_to_what_somebody_does_on_this_machine_and_in_a_pod_they_do_not():
    value = pod_environment(tiny_config())[NICENESS_VARIABLE]
    assert value == "0"
    assert NICENESS_VARIABLE not in environment(cluster(group(env=[{"name": NICENESS_VARIABLE, "value": value}])))


@pytest.mark.parametrize(
    "text",
    [
        '{"accelerator_type:H100": 1}',
        "'{\"accelerator_type:H100\": 1}'",
        r'"{\"accelerator_type:H100\": 1}"',
        r"""'"{\"accelerator_type:H100\": 1}"'""",
    ],
)
def test_custom_resources_are_read_however_the_manifest_quotes_them(text):
    node = ray_node.resources(cluster(None, group(parameters={"resources": text}, maxReplicas=4)))
    assert node.custom == {"accelerator_type:H100": 4.0}


def test_without_gpu_groups_ray_is_told_that_there_are_none():
    assert "--num-gpus=0" in command(cluster(None, group(cpu="1", maxReplicas=1)))


def test_with_gpu_groups_ray_finds_the_gpus_of_the_machine():
    gpu = group(maxReplicas=1)
    gpu["template"]["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": 1}}
    assert not any(word.startswith("--num-gpus") for word in command(cluster(None, gpu)))


def test_everything_listens_on_the_loopback_address_and_on_reserved_ports():
    words = command(cluster())
    assert "--node-ip-address=127.0.0.1" in words
    assert "--dashboard-host=127.0.0.1" in words
    for port in (PORTS.gcs, PORTS.dashboard, PORTS.client, PORTS.agent_http, PORTS.agent_grpc, PORTS.metrics_export):
        assert any(word.endswith(f"={port}") for word in words)


def test_the_object_store_size_of_the_manifest_is_kept():
    words = command(cluster(group(parameters={"num-cpus": "0", "object-store-memory": "100000000", "port": "6379"})))
    assert "--object-store-memory=100000000" in words
    assert f"--port={PORTS.gcs}" in words


def test_ray_is_run_as_a_module_where_its_script_is_missing():
    assert command(cluster())[:3] == ("/nowhere/bin/python", "-m", "ray.scripts.scripts")


def test_ray_is_run_by_the_script_beside_the_interpreter(tmp_path):
    (tmp_path / "ray").touch()
    assert command(cluster(), python=tmp_path / "python")[:2] == (str(tmp_path / "ray"), "start")


def test_plain_variables_of_the_manifest_reach_ray_and_the_head_wins():
    head = group(env=[{"name": "A", "value": "head"}, {"name": "SECRET", "valueFrom": {"secretKeyRef": {}}}])
    worker = group(env=[{"name": "A", "value": "worker"}, {"name": "B", "value": "1"}], maxReplicas=1)
    result = environment(cluster(head, worker), inherited={"PATH": "/bin"})
    assert (result["A"], result["B"], result["PATH"]) == ("head", "1", "/bin")
    assert "SECRET" not in result


def test_a_variable_that_points_into_a_volume_is_left_out():
    """This machine has no volumes of pods, but perhaps a token of its own."""
    head = group(env=[{"name": "HF_TOKEN_PATH", "value": "/var/run/hub/token"}, {"name": "A", "value": "/var/run"}])
    (container,) = head["template"]["spec"]["containers"]
    assert environment(cluster(head))["HF_TOKEN_PATH"] == "/var/run/hub/token"
    container["volumeMounts"] = [{"name": "hub-token", "mountPath": "/var/run/hub"}]
    assert "HF_TOKEN_PATH" not in environment(cluster(head), inherited={})
    assert environment(cluster(head), inherited={"HF_TOKEN_PATH": "/home/me"})["HF_TOKEN_PATH"] == "/home/me"
    assert environment(cluster(head))["A"] == "/var/run"


def test_another_ray_of_this_shell_cannot_interfere():
    assert "RAY_ADDRESS" not in environment(cluster(), inherited={"RAY_ADDRESS": "10.0.0.1:6379"})


def test_a_manifest_cannot_switch_token_authentication_off():
    head = group(env=[{"name": "RAY_AUTH_MODE", "value": "disabled"}, {"name": "RAY_AUTH_TOKEN", "value": "x"}])
    result = environment(cluster(head))
    assert result["RAY_AUTH_MODE"] == "token"
    assert result["RAY_AUTH_TOKEN_PATH"] == "/run/token"
    assert "RAY_AUTH_TOKEN" not in result


def test_every_process_carries_the_marks_of_the_run_and_keeps_showing_them():
    result = environment(cluster())
    assert result["LLAMA_OPERATOR_LOCAL_RUN"] == "cafe0123"
    assert result["SPT_NOENV"] == "1"


def test_relative_python_paths_become_absolute():
    result = environment(cluster(), inherited={"PYTHONPATH": "operator:/abs"})
    assert result["PYTHONPATH"] == f"{Path.cwd()}/operator:/abs"


def test_the_serve_config_is_pointed_at_this_machine_and_keeps_its_other_options():
    text = json.dumps({"http_options": {"host": "10.0.0.1", "port": 8000, "request_timeout_s": 60}, "applications": []})
    config = ray_node.serve_config(service(text), http_port=4711)
    assert config["http_options"] == {"host": "127.0.0.1", "port": 4711, "request_timeout_s": 60}


@pytest.mark.parametrize("text", ["a: [", "- 1", "{}", ""])
def test_a_serve_config_that_is_none_names_the_field_and_the_object(text):
    with pytest.raises(InvalidManifestError, match=r"RayService team-a/chat is invalid: spec\.serveConfigV2"):
        ray_node.serve_config(service(text), http_port=1)


def test_a_cluster_without_a_head_container_is_refused():
    with pytest.raises(InvalidManifestError, match=r"headGroupSpec\.template\.spec\.containers"):
        ray_node.cluster_spec(service("", {"headGroupSpec": {"template": {"spec": {}}}}))


@pytest.mark.parametrize("where", ["machine", "manifest"])
def test_traces_are_switched_on_by_the_machine_or_the_manifest(where):
    variable = {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://127.0.0.1:4318"}
    spec = cluster(group(env=[variable])) if where == "manifest" else cluster()
    inherited = {} if where == "manifest" else {variable["name"]: variable["value"]}
    variables = environment(spec, inherited=inherited)
    assert variables["OTEL_SERVICE_NAME"] == "chat-abc01"
    assert variables["RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH"]
    assert "OTEL_SERVICE_NAME" not in environment(cluster())
