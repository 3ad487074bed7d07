"""Pure: a RayService's cluster spec -> the `ray start` command line, its environment and its Serve config.

Called by `cluster`. One Ray node on this machine stands for the head and all worker pods, as large as the cluster
may grow, so whatever the real cluster could place is placed here too.
"""

import json
import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import yaml

from llama_operator.errors import FieldProblem, InvalidManifestError
from llama_operator.local.ports import LOOPBACK, RayPorts
from llama_serving.config import NICENESS_VARIABLE
from llama_serving.contract import haproxy
from llama_serving.contract.tracing import variables_beside

_GPU_SUFFIX = "/gpu"  # nvidia.com/gpu, amd.com/gpu
_OBJECT_STORE_BYTES = 256 * 1024**2
_PASSED_THROUGH = ("memory", "object-store-memory", "labels")
"""rayStartParams of the head that mean the same on one machine. Addresses, ports and dashboard stay ours."""


@dataclass(frozen=True, slots=True)
class NodeResources:
    """What the single Ray node offers. `gpus` None lets Ray find the machine's own."""

    cpus: int
    gpus: int | None
    custom: Mapping[str, float] = field(default_factory=dict)


def cluster_spec(ray_service: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `spec.rayClusterConfig`.

    Raises:
        InvalidManifestError: It has no head group with a container.
    """
    config = (ray_service.get("spec") or {}).get("rayClusterConfig") or {}
    head = config.get("headGroupSpec") or {}
    if not _containers(head):
        problem = "must have at least one container"
        path = "spec.rayClusterConfig.headGroupSpec.template.spec.containers"
        raise InvalidManifestError(_subject(ray_service), [FieldProblem(path, problem)])
    return dict(config)


def serve_config(ray_service: Mapping[str, Any], *, http_port: int) -> dict[str, Any]:
    """Parse `spec.serveConfigV2` and point its HTTP options at this machine, as a Service's port mapping would.

    Raises:
        InvalidManifestError: It is not a YAML mapping with applications.
    """
    path = "spec.serveConfigV2"
    try:
        config = yaml.load(ray_service["spec"].get("serveConfigV2") or "", Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise InvalidManifestError(_subject(ray_service), [FieldProblem(path, f"is not YAML: {error}")]) from error
    if not isinstance(config, dict) or not isinstance(config.get("applications"), list):
        problem = FieldProblem(path, "must be a mapping with a list `applications`")
        raise InvalidManifestError(_subject(ray_service), [problem])
    options = config.get("http_options") or {}
    return config | {"http_options": {**options, "host": LOOPBACK, "port": http_port}}


def resources(spec: Mapping[str, Any]) -> NodeResources:
    """Add up the head and every worker group at its `maxReplicas`.

    A group's CPUs are its `num-cpus`, else its container's CPU limit, else its request, rounded up as KubeRay does.
    """
    groups = [(spec["headGroupSpec"], 1), *((group, _pods(group)) for group in spec.get("workerGroupSpecs") or [])]
    custom: dict[str, float] = {}
    wants_gpu = False
    cpus = 0
    for group, pods in groups:
        cpus += _cpus(group) * pods
        wants_gpu = wants_gpu or _gpus(group) > 0
        for name, amount in _custom_resources(group).items():
            custom[name] = custom.get(name, 0.0) + amount * pods
    # Fewer than one CPU would leave Serve's own actors nowhere to run.
    return NodeResources(cpus=max(1, cpus), gpus=None if wants_gpu else 0, custom=custom)


def head_command(spec: Mapping[str, Any], *, python: Path, ports: RayPorts, temp_dir: Path) -> tuple[str, ...]:
    """Build the command line that starts the node in the foreground.

    Args:
        spec: `spec.rayClusterConfig`.
        python: Interpreter of the environment that has Ray.
        ports: All ports of the node.
        temp_dir: Root of Ray's session folders and sockets; at most 40 bytes long.
    """
    node = resources(spec)
    params = spec["headGroupSpec"].get("rayStartParams") or {}
    flags: dict[str, object] = {
        "node-ip-address": LOOPBACK,
        "port": ports.gcs,
        "dashboard-host": LOOPBACK,
        "dashboard-port": ports.dashboard,
        "include-dashboard": "true",
        # Ray offers no way to leave its client server out; the token guards it.
        "ray-client-server-port": ports.client,
        "dashboard-agent-listen-port": ports.agent_http,
        "dashboard-agent-grpc-port": ports.agent_grpc,
        "runtime-env-agent-port": ports.runtime_env_agent,
        "metrics-export-port": ports.metrics_export,
        "node-manager-port": ports.node_manager,
        "object-manager-port": ports.object_manager,
        "min-worker-port": ports.worker_min,
        "max-worker-port": ports.worker_max,
        "temp-dir": temp_dir,
        # Copies logs to drivers; there is none.
        "include-log-monitor": "false",
        "num-cpus": node.cpus,
        "object-store-memory": _OBJECT_STORE_BYTES,
        "log-style": "record",
        "log-color": "false",
    }
    if node.gpus is not None:
        flags["num-gpus"] = node.gpus
    if node.custom:
        flags["resources"] = json.dumps(node.custom)
    flags |= {name: params[name] for name in _PASSED_THROUGH if name in params}
    # The autoscaler's monitor has nothing to scale on one machine.
    switches = ("--head", "--block", "--disable-usage-stats", "--no-monitor")
    return (*_ray(python), "start", *switches, *(f"--{name}={value}" for name, value in flags.items()))


def head_environment(
    spec: Mapping[str, Any],
    *,
    cluster: str,
    inherited: Mapping[str, str],
    marks: Mapping[str, str],
    token_file: Path,
    temp_dir: Path,
    ports: RayPorts,
) -> dict[str, str]:
    """Build the whole environment of the node.

    The machine's variables, without Ray's own (an inherited RAY_ADDRESS would lead to a foreign cluster); then the
    plain `env` values of the worker containers and, stronger, of the head's; then what keeps the run private.

    Args:
        spec: `spec.rayClusterConfig`.
        cluster: Name of the RayCluster, as KubeRay gives it to its pods.
        inherited: Environment of this process.
        marks: Variables that mark the processes of the run.
        token_file: File with the bearer token of the dashboard and of Ray's own connections.
        temp_dir: Where Python's multiprocessing leaves folders when it is killed, and others temporary files.
        ports: All ports of the node.
    """
    environment = {name: value for name, value in inherited.items() if not name.startswith("RAY_")}
    if "PYTHONPATH" in environment:
        # The node runs in another folder.
        entries = (entry for entry in environment["PYTHONPATH"].split(":") if entry)
        environment["PYTHONPATH"] = ":".join(str(Path(entry).absolute()) for entry in entries)
    for group in (*reversed(spec.get("workerGroupSpecs") or []), spec["headGroupSpec"]):
        environment |= _plain_variables(group)
    environment.pop("RAY_AUTH_TOKEN", None)
    # In a pod nobody else computes. On a machine that somebody works at, engines give way, as Ray has it.
    environment.pop(NICENESS_VARIABLE, None)
    # Traces may be switched on by the machine as well.
    environment |= variables_beside(environment, service=cluster)
    return environment | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_file),
        "RAY_USAGE_STATS_ENABLED": "0",
        "TMPDIR": str(temp_dir),
        "RAY_CLUSTER_NAME": cluster,
        # Without a process a core that waits for a driver's tasks: what runs here are actors.
        "RAY_prestart_worker_first_driver": "false",
        # On Linux, Ray replaces a loopback node address by the machine's own unless this is off (its name is odd).
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        # Nothing else will take over the requests: waiting for a drain only delays the end.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "DASHBOARD_METRIC_PORT": str(ports.dashboard_metrics),
        # Ray retitles its processes; without this, that overwrites the environment that the kernel shows for them.
        "SPT_NOENV": "1",
        **haproxy.private_to_one_cluster(
            str(temp_dir),
            metrics_port=ports.haproxy_metrics,
            stats_port=ports.haproxy_stats,
            fallback_port=ports.fallback,
            replica_ports=(ports.replica_min, ports.replica_max),
        ),
        # HAProxy shall join the socket that holds the port for the run (`ports`); by itself it would not start beside it.
        "SERVE_SOCKET_REUSE_PORT_ENABLED": "1",
        **marks,
    }


def _ray(python: Path) -> tuple[str, ...]:
    script = python.with_name("ray")
    return (str(script),) if script.is_file() else (str(python), "-m", "ray.scripts.scripts")


def _containers(group: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(((group.get("template") or {}).get("spec") or {}).get("containers") or [])


def _pods(group: Mapping[str, Any]) -> int:
    replicas = max(int(group.get("maxReplicas") or 0), int(group.get("replicas") or 0))
    return replicas * int(group.get("numOfHosts") or 1)


def _cpus(group: Mapping[str, Any]) -> int:
    return math.ceil(_amount(group, parameter="num-cpus", suffix="cpu"))


def _gpus(group: Mapping[str, Any]) -> int:
    return int(_amount(group, parameter="num-gpus", suffix=_GPU_SUFFIX))


def _amount(group: Mapping[str, Any], *, parameter: str, suffix: str) -> Decimal:
    """One pod's CPUs or GPUs: what `rayStartParams` says, else what the container declares, else 0."""
    parameters = group.get("rayStartParams") or {}
    if parameter in parameters:
        return _quantity(parameters[parameter])
    return next((_quantity(value) for value in _container_amounts(group, suffix)), Decimal(0))


def _container_amounts(group: Mapping[str, Any], suffix: str) -> Iterator[object]:
    """Limits, then requests, of the Ray container (the first) for resources whose name ends in `suffix`."""
    for container in _containers(group)[:1]:
        declared = container.get("resources") or {}
        for kind in ("limits", "requests"):
            yield from (value for name, value in (declared.get(kind) or {}).items() if name.endswith(suffix))


def _quantity(value: object) -> Decimal:
    """A Kubernetes CPU or device quantity: `4`, `500m`."""
    text = str(value)
    try:
        return Decimal(text.removesuffix("m")) / (1000 if text.endswith("m") else 1)
    except InvalidOperation as error:
        raise ValueError(f"{text!r} is not a CPU quantity") from error


def _custom_resources(group: Mapping[str, Any]) -> dict[str, float]:
    """Read `rayStartParams.resources`; manifests quote the JSON once more, because KubeRay's goes through a shell."""
    text = str((group.get("rayStartParams") or {}).get("resources", "")).strip()
    if not text.startswith("{"):
        text = "".join(shlex.split(text))
    if text.startswith('"'):
        text = json.loads(text)
    return {str(name): float(amount) for name, amount in json.loads(text or "{}").items()}


def _plain_variables(group: Mapping[str, Any]) -> dict[str, str]:
    """Variables with a value in the manifest; references to Secrets, pod fields and volumes have no meaning here."""
    variables = {
        variable["name"]: str(variable.get("value") or "")
        for container in _containers(group)[:1]
        for variable in container.get("env") or []
        if "valueFrom" not in variable
    }
    mounts = tuple(
        mount["mountPath"] for container in _containers(group)[:1] for mount in container.get("volumeMounts") or []
    )
    return {name: value for name, value in variables.items() if not (mounts and value.startswith(mounts))}


def _subject(ray_service: Mapping[str, Any]) -> str:
    metadata = ray_service.get("metadata") or {}
    return f"RayService {metadata.get('namespace', '')}/{metadata.get('name', '')}"
