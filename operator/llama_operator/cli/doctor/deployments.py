"""Deployments of operators as `kubectl llama doctor` sees them: KubeRay's with its pods, and with what these wrote last.

Called by `cli.doctor.facts`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from llama_operator.api.readings import mapping, mappings, text
from llama_operator.api.said import said, shortened
from llama_operator.cli.doctor import kinds as foreign_kinds
from llama_operator.cli.doctor.log_errors import LogError, last_error, latest
from llama_operator.cli.shared.connection import Connection, Unknown, list_facts, read_if_permitted
from llama_operator.kube import kinds
from llama_operator.kube.port import KubeError, Object, PodLogs, Ref

LOG_LINES: Final = 500
"""How many lines of a log are looked through; KubeRay writes a line or two for each pass over an object."""
_MOST_LOGS: Final = 3
"""Pods of one Deployment whose logs are read: one leads, the others wait."""
_WHY: Final = 200
"""Bytes of why a log cannot be read."""
_KUBERAY_LABELS = (
    {"app.kubernetes.io/name": "kuberay-operator"},
    {"app.kubernetes.io/component": "kuberay-operator"},
)
"""As KubeRay's chart and its kustomization label it."""
_NO_TROUBLE = frozenset({"ContainerCreating", "PodInitializing", "Completed"})


@dataclass(frozen=True, slots=True)
class DeploymentFacts:
    """A Deployment of an operator."""

    namespace: str
    name: str
    image: str
    ready: int
    wanted: int
    version: str = ""
    """By its label; empty if it has none."""
    trouble: str = ""
    """What its pods, or else the Deployment itself, say went wrong last; empty if nothing did."""
    last_error: LogError | Unknown | None = None
    """The last error in the logs of its pods; None if there is none in what was read."""
    looked_at_log: bool = False
    """Whether there was a pod that has a log, or may have one."""


@dataclass(frozen=True, slots=True)
class _Pod:
    ref: Ref
    trouble: str
    """What its containers wait for, or how they ended last; empty if nothing is wrong."""


async def kuberays(connection: Connection) -> tuple[DeploymentFacts, ...] | Unknown:
    """Read KubeRay's Deployments."""
    cluster = connection.cluster
    deployments: tuple[DeploymentFacts, ...] | Unknown = ()
    for labels in _KUBERAY_LABELS:
        deployments = await list_facts(cluster, foreign_kinds.DEPLOYMENT, deployment_facts, None, labels)
        if not deployments or isinstance(deployments, Unknown):
            continue
        pods = await list_facts(cluster, kinds.POD, _pod, None, labels)
        return tuple([await _with_pods(connection.logs, one, pods) for one in deployments])
    return deployments


async def _with_pods(logs: PodLogs, deployment: DeploymentFacts, pods: tuple[_Pod, ...] | Unknown) -> DeploymentFacts:
    """Add what the pods of a Deployment say: what they wait for, and what they wrote."""
    if isinstance(pods, Unknown):
        return replace(deployment, last_error=pods, looked_at_log=True)
    own = [pod for pod in pods if pod.ref.namespace == deployment.namespace]
    trouble = next((pod.trouble for pod in own if pod.trouble), deployment.trouble)
    read = [await _log_of(logs, pod.ref) for pod in own[:_MOST_LOGS]]
    errors = [error for text in read if isinstance(text, str) and (error := last_error(text)) is not None]
    unknown = next((text for text in read if isinstance(text, Unknown)), None)
    return replace(deployment, trouble=trouble, last_error=latest(errors) or unknown, looked_at_log=any(read))


async def _log_of(logs: PodLogs, pod: Ref) -> str | Unknown:
    """The end of a pod's log, or why it is not known: no right, no container yet, or a node that does not answer."""
    try:
        return await read_if_permitted(logs.log(pod, lines=LOG_LINES))
    except KubeError as error:
        return Unknown(shortened(" ".join(said(str(error)).split()), _WHY))


def _pod(pod: Object) -> _Pod:
    metadata = pod["metadata"]
    return _Pod(Ref(kinds.POD, metadata["namespace"], metadata["name"]), _last_trouble(pod))


def _last_trouble(pod: Object) -> str:
    """What the containers of a pod wait for, or how they ended last; empty if nothing is wrong."""
    for container in mappings(mapping(pod.get("status")).get("containerStatuses")):
        now, before = mapping(container.get("state")), mapping(container.get("lastState"))
        states = (now.get("waiting"), now.get("terminated"), before.get("terminated"))
        for state in map(mapping, states):
            words = ": ".join(word for word in (text(state.get("reason")), said(state.get("message"))) if word)
            if words and words not in _NO_TROUBLE:
                return words
    return ""


def deployment_facts(obj: Object) -> DeploymentFacts:
    """Read a Deployment."""
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    containers: Sequence[Object] = ((spec.get("template") or {}).get("spec") or {}).get("containers") or ({},)
    return DeploymentFacts(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        image=containers[0].get("image", ""),
        ready=int(status.get("readyReplicas") or 0),
        wanted=int(spec.get("replicas", 1)),
        version=(metadata.get("labels") or {}).get("app.kubernetes.io/version", ""),
        # Of a quota, say, or of a ServiceAccount that is missing: then there is no pod to ask.
        trouble=next((text(one.get("message")) for one in mappings(status.get("conditions")) if _failed(one)), ""),
    )


def _failed(condition: Mapping[str, Any]) -> bool:
    return (condition.get("type"), condition.get("status")) == ("ReplicaFailure", "True")
