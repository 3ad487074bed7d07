"""Incidents that API server, scheduler, node controller and KubeRay tell of, on simulated nodes. Called by `recordings`."""

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from control_plane import kuberay, nodes, saved_planes
from control_plane.plane import ControlPlane
from llama_operator import catalog
from llama_operator.cli.shared.documents import documents
from llama_operator.decide.observed import Settings
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, KubeError, Ref
from llama_operator.kube.server.client import connect
from llama_operator.observe.serving import NoServingReader
from llama_operator.reconcile.deployment import reconcile
from llama_operator.reconcile.ports import Ports

Object = Mapping[str, Any]
Write = Callable[[str, Iterable[Object]], None]

_SAMPLES: Final = Path(__file__).resolve().parents[2] / "manifests" / "samples"
_NAME: Final = "chat"
_FAMILY: Final = 1
"""Place of the model's license among the samples."""
_PATIENCE: Final = 120.0
_WEBHOOK: Final = "pods.acme.example"
_LABEL: Final = "kubernetes.io/metadata.name"
_KINDS: Final = "rayservices.ray.io,rayclusters.ray.io,pods"


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident in a namespace of its own.

    Attributes:
        name: Name of the recording.
        seen: Whether the cluster tells of it, from the objects of the namespace.
        before: Objects that keep pods away, for a namespace.
        spec: What the deployment asks for beyond the sample.
        nodes: Whether the Nodes are part of the recording.
    """

    name: str
    seen: Callable[[Sequence[Object]], bool]
    before: Callable[[str], Sequence[Object]] = lambda _: ()
    spec: Mapping[str, Any] = field(default_factory=dict)
    nodes: bool = False


def _condition(obj: Object, kind: str) -> Mapping[str, Any]:
    found = (obj.get("status") or {}).get("conditions") or ()
    return next((one for one in found if one["type"] == kind), {})


def _refused(objects: Sequence[Object]) -> bool:
    return any(
        _condition(one, "ReplicaFailure").get("status") == "True" for one in objects if one["kind"] == "RayCluster"
    )


def _waits_for(word: str) -> Callable[[Sequence[Object]], bool]:
    def seen(objects: Sequence[Object]) -> bool:
        said = (_condition(one, "PodScheduled").get("message", "") for one in objects if one["kind"] == "Pod")
        return any(word in one for one in said)

    return seen


def _runs(objects: Sequence[Object]) -> bool:
    pods = [one for one in objects if one["kind"] == "Pod"]
    return len(pods) > 1 and all(_condition(one, "Ready").get("status") == "True" for one in pods)


def _quota(namespace: str) -> Sequence[Object]:
    hard = {"requests.nvidia.com/gpu": "0"}
    return ({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": _in(namespace), "spec": {"hard": hard}},)


def _limit_range(namespace: str) -> Sequence[Object]:
    limits = [{"type": "Container", "max": {"memory": "8Gi"}}]
    return ({"apiVersion": "v1", "kind": "LimitRange", "metadata": _in(namespace), "spec": {"limits": limits}},)


def _webhook_down(namespace: str) -> Sequence[Object]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    webhook = {
        "name": _WEBHOOK,
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 1,
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {_LABEL: namespace}},
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    return ({**kind, "metadata": {"name": "acme"}, "webhooks": [webhook]},)


def _policy(namespace: str) -> Sequence[Object]:
    group = "admissionregistration.k8s.io/v1"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    policy = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "false", "message": "pods of acme need a cost center"}],
    }
    selector = {"namespaceSelector": {"matchLabels": {_LABEL: namespace}}}
    binding = {"policyName": "acme", "validationActions": ["Deny"], "matchResources": selector}
    return (
        {"apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "acme"}, "spec": policy},
        {
            "apiVersion": group,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": "acme"},
            "spec": binding,
        },
    )


def _in(namespace: str) -> Mapping[str, Any]:
    return {"name": "acme", "namespace": namespace}


_TWO = {"scaling": {"minReplicas": 2, "maxReplicas": 2}}
_FIVE = {"scaling": {"minReplicas": 5, "maxReplicas": 5}, "hardware": {"accelerator": "H100-80GB"}}
_H200 = {"hardware": {"accelerator": "H200-141GB"}}
_A100 = {"hardware": {"accelerator": "A100-80GB"}, "model": {"name": "llama-3.3-70b-instruct", "precision": "BF16"}}

INCIDENTS: Final = (
    Incident("quota", _refused, _quota),
    Incident("limit-range", _refused, _limit_range),
    Incident("webhook-down", _refused, _webhook_down),
    Incident("policy-denies", _refused, _policy),
    Incident("gpus-taken", _waits_for("Insufficient nvidia.com/gpu"), spec=_FIVE),
    Incident("tainted", _waits_for("untolerated taint"), spec=_A100),
    Incident("node-gone", _runs, spec=_H200 | _TWO, nodes=True),
    Incident("node-silent", _runs, spec=_H200 | _TWO, nodes=True),
)


async def play(folder: Path, write: Write, chosen: Callable[[str], bool]) -> None:
    """Play the chosen incidents on one control plane."""
    incidents = [one for one in INCIDENTS if chosen(one.name)]
    copies = [one for one in COPIES if chosen(one)]
    if copies and _COPIED not in incidents:
        incidents.append(_COPIED)
    if not incidents:
        return
    with saved_planes.control_plane(folder / "plane") as plane:
        nodes.start_kwok(plane)
        kuberay.start(plane)
        nodes.add_nodes(plane, "cpu", 1)
        nodes.add_nodes(plane, "h100-8", 2)
        nodes.add_nodes(plane, "h200-8", 2)
        (tainted,) = nodes.add_nodes(plane, "a100-4", 1)
        plane.kubectl("taint", "node", tainted, "maintenance=true:NoSchedule")
        async with connect(kubeconfig=plane.kubeconfig) as cluster:
            for incident in incidents:
                _begin(plane, incident)
            for incident in incidents:
                await _until(plane, cluster, incident, incident.seen)
                if not incident.nodes and chosen(incident.name):
                    write(incident.name, _objects(plane, incident))
            for name in copies:
                await _copy(plane, name, write)
            if any(one.nodes for one in incidents):
                await _lose_nodes(plane, cluster, write)


async def _copy(plane: ControlPlane, name: str, write: Write) -> None:
    """Give KubeRay a RayService that the operator would not make, in a namespace of its own."""
    change, labels, seen = COPIES[name]
    (made,) = plane.api.list("rayservices.ray.io", namespace=_COPIED.name)
    spec = json.loads(json.dumps(made["spec"]))
    change(spec["rayClusterConfig"])
    metadata = {"name": made["metadata"]["name"], "namespace": name, "labels": made["metadata"]["labels"]}
    plane.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}},
        {"apiVersion": made["apiVersion"], "kind": made["kind"], "metadata": metadata, "spec": spec},
    )
    end = time.monotonic() + _PATIENCE
    while not seen(found := plane.api.list(_KINDS, namespace=name)):
        if time.monotonic() > end:
            raise TimeoutError(f"{name}: nothing is refused: {found}")
        await asyncio.sleep(0.5)
    write(name, found)


def _contradict(cluster: dict[str, Any]) -> None:
    cluster["workerGroupSpecs"][0] |= {"minReplicas": 4, "maxReplicas": 1}


def _may_do_all(cluster: dict[str, Any]) -> None:
    """As KubeRay makes the container of its autoscaler if nobody tells it otherwise."""
    del cluster["autoscalerOptions"]["securityContext"]


def _invalid(objects: Sequence[Object]) -> bool:
    return any(_condition(one, "Ready").get("reason") == "ValidationFailed" for one in objects)


_COPIED: Final = next(one for one in INCIDENTS if one.name == "quota")
COPIES: Final[Mapping[str, tuple[Callable[[dict[str, Any]], None], Mapping[str, str], Callable[..., bool]]]] = {
    "refused-by-kuberay": (_contradict, {}, _invalid),
    "pod-security": (_may_do_all, {"pod-security.kubernetes.io/enforce": "restricted"}, _refused),
}
"""What is changed of a cluster that the operator made, labels of the namespace, and what is waited for."""


async def _lose_nodes(plane: ControlPlane, cluster: Cluster, write: Write) -> None:
    """Delete a node of one deployment, then silence all that are left."""
    gone, silent = (one for one in INCIDENTS if one.nodes)
    plane.kubectl("delete", "node", _node_of(plane, gone))
    write(gone.name, _objects(plane, gone))
    plane.processes.stop("kwok")

    def unready(objects: Sequence[Object]) -> bool:
        return not any(_condition(one, "Ready").get("status") == "True" for one in objects if one["kind"] == "Pod")

    await _until(plane, cluster, silent, unready)
    write(silent.name, _objects(plane, silent))


def _node_of(plane: ControlPlane, incident: Incident) -> str:
    workers = plane.api.list("pods", namespace=incident.name, labels="ray.io/node-type=worker")
    return str(workers[0]["spec"]["nodeName"])


def _begin(plane: ControlPlane, incident: Incident) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": incident.name}}
    plane.apply(namespace, *incident.before(incident.name))
    for number, record in enumerate(documents(_SAMPLES / "license-acceptance.yaml")):
        spec = record["spec"] | {"namespaces": [incident.name]}
        plane.apply(record | {"metadata": {"name": f"{incident.name}-{number}"}, "spec": spec})
    (sample,) = documents(_SAMPLES / "llama-3.3-70b-fp8-h100.yaml")
    sample["metadata"] = {"name": _NAME, "namespace": incident.name}
    sample["spec"] |= json.loads(json.dumps(incident.spec))
    sample["spec"]["license"]["acceptance"] = f"{incident.name}-{_FAMILY}"
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(sample, default=str))


async def _until(
    plane: ControlPlane, cluster: Cluster, incident: Incident, seen: Callable[[Sequence[Object]], bool]
) -> None:
    """Look after the deployment, as the operator does, until the cluster tells of the incident."""
    ports = Ports(cluster, NoServingReader(), catalog.load(), Settings(checks_access=False), lambda: datetime.now(UTC))
    end = time.monotonic() + _PATIENCE
    while not seen(_objects(plane, incident)):
        if time.monotonic() > end:
            live = plane.api.find("lld", _NAME, namespace=incident.name) or {}
            raise TimeoutError(f"{incident.name}: {live.get('status')}, {_objects(plane, incident)}")
        with suppress(KubeError):
            await reconcile(ports, Ref(kinds.LLAMA_DEPLOYMENT, incident.name, _NAME))
        await asyncio.sleep(0.5)


def _objects(plane: ControlPlane, incident: Incident) -> Sequence[Object]:
    found = plane.api.list(_KINDS, namespace=incident.name)
    return [*found, *(plane.api.list("nodes") if incident.nodes else ())]
