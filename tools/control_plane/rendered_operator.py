"""What a rendered Deployment of the operator starts, for tests that run it as a process beside a control plane.

Called by tests/chart and tests/control_plane. A pod gets its arguments and environment from the Deployment, its identity from a
projected token and its own network; a process gets the same arguments and environment, and for the rest what it is told.
"""

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PROGRAM: Final = "llama-operator"


@dataclass(frozen=True, slots=True)
class OperatorCommand:
    """A process to start.

    Attributes:
        arguments: Program and arguments.
        environment: All variables that the Deployment sets, fields of the pod filled in.
        grace_seconds: Seconds between SIGTERM and SIGKILL.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    grace_seconds: int


def rendered_operator_command(
    deployment: Mapping[str, Any], *, pod_name: str = "llama-operator-0", outside: Mapping[str, str] | None = None
) -> OperatorCommand:
    """Command of the Deployment's one container.

    Args:
        deployment: The rendered Deployment.
        pod_name: Name that the pod would have.
        outside: What differs outside of a pod, added last: LLAMA_OPERATOR_KUBECONFIG, a free LLAMA_OPERATOR_PROBE_PORT.

    Raises:
        ValueError: If the container starts something else, or takes a variable from a source that a process lacks.
    """
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    arguments: list[str] = [*container["command"], *container.get("args", [])]
    if arguments[0] != PROGRAM:
        raise ValueError(f"the container starts {arguments[0]!r}, expected {PROGRAM!r}")
    fields = {"metadata.name": pod_name, "metadata.namespace": deployment["metadata"]["namespace"]}
    environment: dict[str, str] = {}
    for variable in container.get("env", []):
        path = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        if "value" not in variable and path not in fields:
            raise ValueError(f"{variable['name']} comes from a source that only a pod has: {variable}")
        environment[variable["name"]] = variable["value"] if "value" in variable else fields[path]
    return OperatorCommand(
        arguments=(*_program(), *arguments[1:]),
        environment=environment | dict(outside or {}),
        grace_seconds=pod["terminationGracePeriodSeconds"],
    )


def token_kubeconfig(path: Path, *, cluster: Mapping[str, str], token: str, namespace: str) -> Path:
    """Write a kubeconfig that has no right but those of `token`, readable by its owner alone; returns its path.

    Args:
        path: Where.
        cluster: Server and certificate authority, as in another kubeconfig.
        token: Token of the service account.
        namespace: Namespace of the service account.
    """
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "operator",
        "clusters": [{"name": "plane", "cluster": dict(cluster)}],
        "users": [{"name": "operator", "user": {"token": token}}],
        "contexts": [{"name": "operator", "context": {"cluster": "plane", "user": "operator", "namespace": namespace}}],
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _program() -> tuple[str, ...]:
    installed = Path(sys.executable).with_name(PROGRAM)
    found = str(installed) if installed.exists() else shutil.which(PROGRAM)
    return (found,) if found else (sys.executable, "-m", "llama_operator.main")
