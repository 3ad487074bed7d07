"""The steps that pods take: nodes for them, the Ray cluster, the engine. Pure; called by `cli.explain.chain`."""

from collections.abc import Iterable
from typing import TypeVar

from llama_operator.api.meta import ConditionStatus
from llama_operator.api.reasons import ConditionType
from llama_operator.cli.explain.facts import Facts, HeldFacts, PodFacts
from llama_operator.cli.shared.checks import Check, State
from llama_operator.cli.shared.connection import Unknown
from llama_operator.decide.observed import RayClusterFacts, RayServiceFacts
from llama_operator.decide.rollout.rollout import ENGINE_FAILED
from llama_serving.config import CHECKPOINT_REFUSED, LICENSE_FILES_MISSING

_Child = TypeVar("_Child", RayServiceFacts, RayClusterFacts)

_BROKEN_PODS = {
    "ImagePullBackOff": "spec.image, or the operator's default image: name one that the nodes can pull",
    "ErrImagePull": "spec.image, or the operator's default image: name one that the nodes can pull",
    "InvalidImageName": "spec.image: correct it",
    "CreateContainerConfigError": "create what the message names, or correct the manifest",
    "CreateContainerError": "see the pod's events",
    "RunContainerError": "see the pod's events",
    "CrashLoopBackOff": "read why it ended",
}
"""Reasons of a waiting container that do not pass by waiting, and what to do."""

_MOST_NAMED = 3
_NO_REVISION = "no revision was started yet"


def target(facts: Facts) -> str:
    """The revision whose pods matter: the one on its way, else the one that serves, else one that is there at all."""
    revisions = facts.status.revisions
    named = "" if revisions is None else revisions.pending or revisions.active
    there = () if isinstance(facts.services, Unknown) else facts.services
    return named or next((service.name for service in there), "")


def capacity(facts: Facts) -> Check:
    """Whether the pods have, or can get, nodes."""
    name = "capacity"
    plan = facts.status.plan.chosen if facts.status.plan else None
    if plan is None:
        return Check(name, State.SKIPPED, "the plan is not known")
    exist = _exist(facts, plan.accelerator)
    need = f"{plan.gpus_per_replica} {plan.accelerator} on {plan.nodes_per_replica} node(s) per replica"
    if isinstance(facts.pods, Unknown):
        return Check(name, State.UNKNOWN, f"{need}; {exist}; pods: {facts.pods.why}")
    stuck = [pod for pod in facts.pods if pod.unschedulable]
    if not facts.pods:
        lacking = _lacking(facts)
        return Check(name, State.WAITING if lacking else State.PASSED, f"{need}; {lacking or exist}; no pod exists yet")
    if not stuck:
        return Check(name, State.PASSED, f"{need}; {exist}; no pod waits for a node")
    text = f"{_named(stuck)} cannot be placed: {stuck[0].unschedulable} ({need}; {exist}{_free(facts)})"
    return Check(name, State.FAILED, text, _more_nodes(plan.accelerator))


def cluster(facts: Facts) -> Check:
    """Whether KubeRay has made the Ray cluster of the revision."""
    name, revision = "cluster", target(facts)
    if isinstance(facts.services, Unknown):
        return _without_services(name, facts.services)
    if not revision:
        return Check(name, State.SKIPPED, _NO_REVISION)
    service = _of(facts.services, revision)
    if service is None:
        return Check(name, State.WAITING, f"RayService {revision} does not exist yet")
    if (refused := _refused(service)) is not None:
        return refused
    pods = () if isinstance(facts.pods, Unknown) else tuple(p for p in facts.pods if p.revision in {"", revision})
    if (broken := _broken(facts, pods)) is not None:
        return broken
    clusters = () if isinstance(facts.clusters, Unknown) else facts.clusters
    made = _of(clusters, revision)
    if made is None:
        return Check(name, State.WAITING, f"KubeRay has made no RayCluster for {revision} yet", _KUBERAY)
    failure = next((c for c in made.conditions if c.type == "RayClusterReplicaFailure" and c.status == "True"), None)
    if failure is not None:
        return Check(
            name, State.FAILED, f"{made.name}: {failure.reason}: {failure.message}", "change what keeps pods away"
        )
    return _running(facts, made, pods)


_KUBERAY = "nothing, if it is seconds old; else see that KubeRay runs: kubectl llama doctor"


def _without_services(name: str, services: Unknown) -> Check:
    if services.no_such_kind:
        return Check(name, State.FAILED, "KubeRay is not installed: nothing makes Ray clusters here", _KUBERAY_MISSING)
    return Check(name, State.UNKNOWN, services.why)


_KUBERAY_MISSING = "install KubeRay; `kubectl llama doctor` says which version"


def engine(facts: Facts) -> Check:
    """Whether Serve runs the application, in its own words."""
    name, revision = "engine", target(facts)
    if isinstance(facts.services, Unknown):
        return Check(name, State.UNKNOWN, facts.services.why)
    if not revision:
        return Check(name, State.SKIPPED, _NO_REVISION)
    service = _of(facts.services, revision)
    if service is None or not service.application_status:
        said = f"; KubeRay says: {service.message}" if service and service.message else ""
        return Check(name, State.WAITING, f"Serve has not reported yet{said}")
    details = " ".join(f"{part.name} {part.status}: {part.message}".rstrip(": ") for part in service.deployments)
    text = f"Serve says {service.application_status} {service.application_message} {details}".strip()
    if service.application_status in ENGINE_FAILED:
        logs = f"kubectl logs -n {facts.namespace} -l llama-operator.io/revision={revision} --tail 200 --prefix"
        return Check(name, State.FAILED, text, f"{_advice(text)}; whole log: {logs}")
    if service.application_status == "RUNNING":
        return Check(name, State.PASSED, text)
    return Check(name, State.WAITING, text)


_ADVICE = (
    (LICENSE_FILES_MISSING, "put the license texts beside the weights, or ask the platform owner (LicensePolicy)"),
    (CHECKPOINT_REFUSED, "put the declared weights there, or have them declared as what they are (LlamaModel)"),
    ("out of memory", "give the engine less to hold: lower spec.context or spec.engine.gpuMemoryUtilizationPercent"),
    ("KV cache", "lower spec.context.maxModelLength, or take more GPUs by spec.parallelism"),
    ("No space left", "give the pods more ephemeral storage, or weights on a volume"),
    ("gated", "the Hub does not give the weights to the token of spec.weights.tokenSecret: see docs/access-check.md"),
    ("401", "the Hub does not give the weights to the token of spec.weights.tokenSecret: see docs/access-check.md"),
    ("No module named", "the image lacks what the engine needs: correct spec.image"),
)
"""What an engine's message usually comes from. The first whose words are in it is shown."""


def _advice(text: str) -> str:
    lowered = text.lower()
    return next((advice for words, advice in _ADVICE if words.lower() in lowered), "change what the message names")


def _lacking(facts: Facts) -> str:
    """What the operator says about missing nodes; empty if none are missing, or it has not said."""
    lacking = next((c for c in facts.status.conditions if c.type == ConditionType.CAPACITY_FOUND), None)
    return lacking.message if lacking is not None and lacking.status is ConditionStatus.FALSE else ""


def _exist(facts: Facts, accelerator: str) -> str:
    if isinstance(facts.nodes, Unknown):
        return f"nodes: {facts.nodes.why}"
    having = [node for node in facts.nodes if node.accelerator == accelerator]
    return f"the cluster has {sum(node.gpus for node in having)} on {len(having)} node(s)"


def _free(facts: Facts) -> str:
    """How many accelerators are free, and who holds the others."""
    plan = facts.status.plan.chosen if facts.status.plan else None
    if not isinstance(facts.held, HeldFacts):
        return "" if facts.held is None else f"; who holds them: {facts.held.why}"
    if isinstance(facts.nodes, Unknown) or plan is None:
        return ""
    having = [node for node in facts.nodes if node.accelerator == plan.accelerator]
    free = sum(max(0, node.gpus - facts.held.by_node.get(node.name, 0)) for node in having)
    most = sorted(facts.held.by_namespace.items(), key=lambda item: (-item[1], item[0]))[:_MOST_NAMED]
    holders = ", ".join(f"{namespace} {count}" for namespace, count in most)
    return f", {free} free" + (f"; held by {holders}" if holders else "")


def _more_nodes(accelerator: str) -> str:
    return (
        f"free or add {accelerator} nodes (a cluster autoscaler may be at it: kubectl get events -A), lower "
        "spec.scaling.minReplicas, or ask for less by spec.model.precision or spec.hardware"
    )


def _of(children: Iterable[_Child], revision: str) -> _Child | None:
    return next((child for child in children if revision in {child.name, child.revision}), None)


def _refused(service: RayServiceFacts) -> Check | None:
    ready = next((c for c in service.conditions if c.type == "Ready"), None)
    if ready is None or ready.reason not in {"ValidationFailed", "InitializingTimeout"}:
        return None
    return Check(
        "cluster",
        State.FAILED,
        f"KubeRay refuses RayService {service.name}: {ready.reason}: {ready.message}",
        "see that KubeRay is a supported version: kubectl llama doctor",
    )


def _broken(facts: Facts, pods: Iterable[PodFacts]) -> Check | None:
    pod = next((pod for pod in pods if pod.waiting in _BROKEN_PODS), None)
    if pod is None:
        return None
    ended = f", ended by {pod.last_exit}" if pod.last_exit else ""
    cure = _BROKEN_PODS[pod.waiting]
    if pod.last_exit == "OOMKilled":
        cure = "the pod needs more memory than its limit: take a smaller model or context"
    look = (
        f"kubectl logs -n {facts.namespace} {pod.name} --previous"
        if pod.waiting == "CrashLoopBackOff"
        else f"kubectl describe pod -n {facts.namespace} {pod.name}"
    )
    return Check("cluster", State.FAILED, f"{pod.name}: {pod.waiting}{ended}: {pod.waiting_message}", f"{cure}; {look}")


def _running(facts: Facts, made: RayClusterFacts, pods: tuple[PodFacts, ...]) -> Check:
    if isinstance(facts.pods, Unknown):
        return Check("cluster", State.UNKNOWN, f"RayCluster {made.name} exists; its pods: {facts.pods.why}")
    running = [pod for pod in pods if pod.phase == "Running"]
    heads = sum(pod.role == "head" for pod in running)
    text = f"RayCluster {made.name}: {len(running)} of {len(pods)} pods run, {heads} of them the head"
    if heads and len(running) == len(pods):
        return Check("cluster", State.PASSED, text)
    waiting = [pod for pod in pods if pod.phase != "Running"]
    because = f"; {_named(waiting)}: {waiting[0].waiting or waiting[0].phase}" if waiting else ""
    return Check("cluster", State.WAITING, text + because)


def _named(pods: list[PodFacts]) -> str:
    names = ", ".join(pod.name for pod in pods[:_MOST_NAMED])
    more = f" and {len(pods) - _MOST_NAMED} more" if len(pods) > _MOST_NAMED else ""
    return names + more
