"""The operator, KubeRay or the API server stops. Each of these is played by itself."""

import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import yaml

from gameday.incident import Incident, answered, condition, doctor, event, explain, logged, never, once, within
from gameday.stage import Stage

_CHART: Final = Path(__file__).resolve().parents[3] / "charts" / "llama-operator"
_PERSON: Final = "jo"


def _serves(stage: Stage) -> None:
    stage.deploy()
    stage.served()


def _kuberay(stage: Stage, how: signal.Signals) -> None:
    subprocess.run(["kill", f"-{how}", str(stage.plane.processes.pid("ray-operator"))], check=True)


def _without_kuberay(stage: Stage) -> None:
    _kuberay(stage, signal.SIGSTOP)
    stage.deploy()
    stage.revision()
    stage.known()


def _kuberay_goes_on(stage: Stage) -> None:
    _kuberay(stage, signal.SIGCONT)


def _without_operator(stage: Stage) -> None:
    stage.operators.stop()
    stage.change({"context": {"maxModelLength": 512}})
    stage.known()


def _operator_back(stage: Stage) -> None:
    stage.operators.start()


def _short_stall(stage: Stage) -> None:
    stage.pause("kube-apiserver", 6)


def _long_stall(stage: Stage) -> None:
    stage.pause("kube-apiserver", 14)
    stage.until(lambda: not stage.operators.runs(), "the operator ends, because it lost its Lease")
    stage.known()
    stage.operators.start()


def _policies(stage: Stage) -> None:
    with tempfile.TemporaryDirectory() as home:
        rendered = subprocess.run(
            [str(stage.plane.binaries / "helm"), "template", "llama-operator", str(_CHART), "-n", "llama-system"],
            env={"HOME": home, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    objects = [one for one in yaml.safe_load_all(rendered) if one]
    stage.plane.apply(*(one for one in objects if one["kind"].startswith("ValidatingAdmissionPolicy")))
    stage.plane.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": stage.namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": _PERSON}],
        }
    )
    _serves(stage)
    attempt = ("delete", "rayservice", stage.revision(), "-n", stage.namespace, "--dry-run=server", f"--as={_PERSON}")
    stage.until(
        lambda: stage.plane.kubectl(*attempt, check=False).returncode, "the policies are known to the API server"
    )


def _edits(stage: Stage) -> None:
    name, patch = stage.revision(), '{"spec":{"rayClusterConfig":{"rayVersion":"2.1.0"}}}'
    stage.tries("patch", "rayservice", name, "--type=merge", "-p", patch, f"--as={_PERSON}")


def _policies_gone(stage: Stage) -> None:
    for kind in ("validatingadmissionpolicies", "validatingadmissionpolicybindings"):
        for one in stage.plane.api.list(kind):
            stage.plane.api.delete(kind, one["metadata"]["name"])
    stage.plane.api.delete("clusterrolebindings", stage.namespace)


INCIDENTS: Final = (
    Incident(
        name="edit-refused",
        title="Somebody edits a RayService where the admission policies are installed",
        before=_policies,
        cause=_edits,
        after=_policies_gone,
        alone=True,
        says=(never(condition("Ready", "False")), answered(has=("Break the glass",))),
    ),
    Incident(
        name="kuberay-stopped",
        title="KubeRay does nothing any more, and a deployment is created",
        cause=_without_kuberay,
        after=_kuberay_goes_on,
        alone=True,
        reasons=("ClusterNotMade",),
        says=(
            within(45, condition("Ready", "False", "ClusterNotMade")),
            within(45, event("ClusterNotMade")),
            within(45, explain("cluster", "Failed", has=("RayCluster",))),
            explain("rollout", lacks=("rollback",)),
            doctor("kuberay", "Unknown", has=("not seen",)),
        ),
    ),
    Incident(
        name="operator-stopped",
        title="The operator is stopped, and the spec is changed",
        before=_serves,
        cause=_without_operator,
        after=_operator_back,
        alone=True,
        says=(
            explain("operator", "Failed", has=("no operator leads", "the spec is at 2")),
            doctor("operator", "Missing", lacks=("by nobody", "by no process")),
        ),
    ),
    Incident(
        name="api-server-stalls-6s",
        title="The API server does not answer for 6 s",
        before=_serves,
        cause=_short_stall,
        alone=True,
        says=(never(condition("Ready", "False")), never(logged(has=("the Lease was not renewed",)))),
    ),
    Incident(
        name="api-server-stalls-14s",
        title="The API server does not answer for 14 s",
        before=_serves,
        cause=_long_stall,
        alone=True,
        says=(
            never(condition("Ready", "False")),
            once(logged(has=("the Lease",))),
            within(30, logged(has=("standby", "holds Lease", "until"))),
            within(60, explain("operator", "Passed")),
        ),
    ),
)
