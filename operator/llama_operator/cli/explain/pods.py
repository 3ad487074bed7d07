"""The steps that pods take: nodes for them, the Ray cluster, the engine, an answer. Pure; called by `cli.explain.chain`.

What is wrong is found by `decide.diagnosis`, as for conditions and events; here it stands beside what there is.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from llama_operator.api.meta import LABEL_REVISION, Condition, ConditionStatus
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.cli.explain.facts import Facts, HeldFacts
from llama_operator.cli.shared.checks import Check, State
from llama_operator.cli.shared.connection import Unknown, value_or
from llama_operator.decide.diagnosis.cause import BEFORE_HINT, Cause
from llama_operator.decide.diagnosis.causes import causes, none_left
from llama_operator.decide.diagnosis.pods import away_text
from llama_operator.decide.observed import Observed, RayClusterFacts, RayServiceFacts, Unread
from llama_operator.decide.placement.count import Demand
from llama_operator.decide.placement.fit import repels
from llama_operator.decide.placement.pod_spec import shapes_of
from llama_operator.decide.placement.shape import PodShapes
from llama_operator.decide.pods import AwayNode, PodFacts
from llama_operator.kube import kinds

_Child = TypeVar("_Child", RayServiceFacts, RayClusterFacts)

_OF_CLUSTER = frozenset(
    {
        Reason.CLUSTER_NOT_MADE,
        Reason.PODS_REFUSED,
        Reason.IMAGE_NOT_PULLED,
        Reason.CONTAINER_FAILED,
        Reason.PROBE_FAILED,
    }
)
_OF_CAPACITY = frozenset({Reason.NODES_LOST, Reason.PODS_UNSCHEDULABLE})
_OF_ENGINE = frozenset({Reason.ENGINE_FAILED, Reason.LICENSE_FILES_MISSING, Reason.CHECKPOINT_REFUSED})
"""Reasons of causes, by the step that tells them."""

_MOST_NAMED = 3
_NO_REVISION = "no revision was started yet"


def target(facts: Facts) -> str:
    """The revision whose pods matter: the one on its way, else the one that serves, else one that is there at all."""
    revisions = facts.status.revisions
    named = "" if revisions is None else revisions.pending or revisions.active
    there = () if isinstance(facts.services, Unknown) else facts.services
    return named or next((service.name for service in there), "")


def found(facts: Facts) -> tuple[Cause, ...]:
    """What is wrong with the revision whose pods matter, as far as it could be read."""
    observed = _observed(facts)
    return () if observed is None else causes(observed, target(facts))


def _observed(facts: Facts) -> Observed | None:
    """What was read, as the operator would know it."""
    if facts.deployment is None:
        return None
    unread = {
        kinds.RAY_SERVICE: facts.services,
        kinds.RAY_CLUSTER: facts.clusters,
        kinds.POD: facts.pods,
        kinds.NODE: facts.nodes,
    }
    return Observed(
        facts.deployment.model_copy(update={"status": facts.status}),
        nodes=value_or(facts.nodes, None),
        away=facts.away,
        pods=value_or(facts.pods, None),
        ray_services=value_or(facts.services, ()),
        ray_clusters=value_or(facts.clusters, ()),
        revisions=value_or(facts.revisions, ()),
        now=facts.now,
        unknown=tuple(Unread(kind.plural, part.why) for kind, part in unread.items() if isinstance(part, Unknown)),
    )


def capacity(facts: Facts) -> Check:
    """Whether the pods have, or can get, nodes."""
    name = "capacity"
    plan = facts.status.plan.chosen if facts.status.plan else None
    if plan is None:
        return Check(name, State.SKIPPED, "the plan is not known")
    exist = _exist(facts, plan.accelerator)
    need = f"{plan.gpus_per_replica} {plan.accelerator} on {plan.nodes_per_replica} node(s) per replica"
    wrong = [cause for cause in found(facts) if cause.reason in _OF_CAPACITY]
    if wrong:
        stuck = () if isinstance(facts.pods, Unknown) else [pod for pod in facts.pods if pod.unschedulable]
        which = f"{_named(stuck)}; " if stuck else ""
        said = "; ".join(cause.message for cause in wrong)
        return Check(name, State.FAILED, f"{said} ({which}{need}; {exist}{_free(facts)})", _hints(wrong))
    if isinstance(facts.pods, Unknown):
        return Check(name, State.UNKNOWN, f"{need}; {exist}; pods: {facts.pods.why}")
    lacking, waits = _lacking(facts), "no pod waits for a node" if facts.pods else "no pod exists yet"
    return Check(name, State.WAITING if lacking else State.PASSED, f"{need}; {lacking or exist}; {waits}")


def cluster(facts: Facts) -> Check:
    """Whether KubeRay has made the Ray cluster of the revision, and its pods run.

    KubeRay deletes a pod that broke and makes another one: what is here then only starts, and the operator knows why.
    """
    seen = _cluster(facts)
    told = None if seen.state in {State.PASSED, State.SKIPPED, State.FAILED} else _told_by_operator(facts)
    if told is None:
        return seen
    said, _, hint = told.message.partition(BEFORE_HINT)
    return Check(seen.name, State.FAILED, f"{said} (as the operator saw it; now: {seen.evidence})", hint)


def _told_by_operator(facts: Facts) -> Condition | None:
    """The condition about the current spec with what is wrong with the pods of the revision; None if none says that."""
    revisions = facts.status.revisions
    # With a revision on its way Ready is about the one that it shall replace.
    pending = revisions is not None and revisions.pending
    kinds_told = {ConditionType.MODEL_LOADED} if pending else {ConditionType.MODEL_LOADED, ConditionType.READY}
    return next(
        (
            one
            for one in facts.status.conditions
            if one.type in kinds_told
            and one.status is ConditionStatus.FALSE
            and one.reason in _OF_CLUSTER
            and one.observed_generation == facts.generation
        ),
        None,
    )


def _cluster(facts: Facts) -> Check:
    """What of it can be seen now."""
    name, revision = "cluster", target(facts)
    if isinstance(facts.services, Unknown):
        return _without_services(name, facts.services)
    if not revision:
        return Check(name, State.SKIPPED, _NO_REVISION)
    pods = () if isinstance(facts.pods, Unknown) else tuple(p for p in facts.pods if p.revision in {"", revision})
    wrong = [cause for cause in found(facts) if cause.reason in _OF_CLUSTER]
    if wrong:
        return _broken(facts, wrong, [pod for pod in pods if not (pod.ready or pod.unschedulable or pod.leaving)])
    service = _of(facts.services, revision)
    if service is None:
        return Check(name, State.WAITING, f"RayService {revision} does not exist yet")
    if service.leaving:
        return _going(facts, name, service)
    made = _of(() if isinstance(facts.clusters, Unknown) else facts.clusters, revision)
    if made is None:
        return Check(name, State.WAITING, f"KubeRay has made no RayCluster for {revision} yet", _KUBERAY)
    return _running(facts, made, pods, service)


def _going(facts: Facts, name: str, service: RayServiceFacts) -> Check:
    """A RayService that is being deleted, and what is left below it: what it says is no word about the next one."""
    clusters = () if isinstance(facts.clusters, Unknown) else facts.clusters
    left = [f"RayCluster {one.name}" for one in clusters if service.name in {one.name, one.revision}]
    pods = () if isinstance(facts.pods, Unknown) else facts.pods
    left += [f"pod {one.name}" for one in pods if one.revision == service.name]
    text = f"RayService {service.name} is being deleted" + (f"; still there: {', '.join(left)}" if left else "")
    hold = f"kubectl get rayservices,rayclusters -n {facts.namespace} -l {LABEL_REVISION}={service.name} -o yaml"
    return Check(name, State.WAITING, text, f"nothing, if it is minutes old; else see which finalizer keeps it: {hold}")


def _broken(facts: Facts, wrong: Sequence[Cause], pods: Sequence[PodFacts]) -> Check:
    """What is wrong, with the pods that it is about and the command that shows more of the first."""
    said, hints = "; ".join(cause.message for cause in wrong), _hints(wrong)
    if not pods:
        return Check("cluster", State.FAILED, said, hints)
    which = f"{_named(pods)}: {pods[0].waiting or pods[0].last_exit or _phase(pods[0])}"
    return Check("cluster", State.FAILED, f"{said} ({which})", f"{hints}; {_look(facts, pods[0])}")


def _look(facts: Facts, pod: PodFacts) -> str:
    """The command that shows more of a pod."""
    if pod.last_exit:
        return f"kubectl logs -n {facts.namespace} {pod.name} --previous"
    return f"kubectl describe pod -n {facts.namespace} {pod.name}"


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
    if service is not None and service.leaving:
        return Check(name, State.SKIPPED, "cluster has to pass first")
    if service is None or not service.application_status:
        said = f"; KubeRay says: {service.message}" if service and service.message else ""
        return Check(name, State.WAITING, f"Serve has not reported yet{said}")
    text = _told(service)
    wrong = [cause for cause in found(facts) if cause.reason in _OF_ENGINE]
    if wrong:
        logs = f"kubectl logs -n {facts.namespace} -l llama-operator.io/revision={revision} --tail 200 --prefix"
        hints = _hints(wrong)
        return Check(name, State.FAILED, text, hints if logs in hints else f"{hints}; whole log: {logs}")
    return Check(name, State.PASSED if service.application_status == "RUNNING" else State.WAITING, text)


def _told(service: RayServiceFacts) -> str:
    """What Serve says, each message once: it often says the same of the application and of its deployments."""
    said = service.application_message.strip()
    parts = [
        f"{part.name} {part.status}" + (f": {part.message.strip()}" if part.message.strip() not in said else "")
        for part in service.deployments
    ]
    return " ".join(part for part in (f"Serve says {service.application_status}", said, *parts) if part)


def endpoint(facts: Facts, condition_says: Check) -> Check:
    """What the operator says about the endpoint, unless no pod that could answer is left: the operator learns that later.

    Args:
        facts: What is known.
        condition_says: The check by the condition alone.
    """
    observed = _observed(facts)
    if condition_says.state is not State.PASSED or observed is None or not none_left(observed, target(facts)):
        return condition_says
    lost = [cause for cause in found(facts) if cause.reason is Reason.NODES_LOST]
    text = f"no pod that could answer is left: {'; '.join(cause.message for cause in lost)}"
    return Check(condition_says.name, State.FAILED, text, _hints(lost))


def _hints(wrong: Iterable[Cause]) -> str:
    """What to do about causes, each once."""
    return "; ".join(dict.fromkeys(cause.hint for cause in wrong if cause.hint))


def _lacking(facts: Facts) -> str:
    """What the operator says about missing nodes; empty if none are missing, or it has not said."""
    lacking = next((c for c in facts.status.conditions if c.type == ConditionType.CAPACITY_FOUND), None)
    return lacking.message if lacking is not None and lacking.status is ConditionStatus.FALSE else ""


def _exist(facts: Facts, accelerator: str) -> str:
    if isinstance(facts.nodes, Unknown):
        return f"nodes: {facts.nodes.why}"
    shapes = _shapes(facts)
    tolerated = () if shapes is None else shapes.worker.tolerations
    of_it = [node for node in facts.nodes if node.accelerator == accelerator]
    taints = [None if node.room is None or shapes is None else repels(node.room.taints, tolerated) for node in of_it]
    having = [node for node, taint in zip(of_it, taints, strict=True) if taint is None]
    repelled = [
        AwayNode(node.name, node.accelerator, node.gpus, f"has the taint {taint}")
        for node, taint in zip(of_it, taints, strict=True)
        if taint is not None
    ]
    away = away_text((*(node for node in facts.away if node.accelerator == accelerator), *repelled))
    return f"the cluster has {sum(node.gpus for node in having)} on {len(having)} node(s)" + (
        f"; {away}" if away else ""
    )


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
    text = f", {free} free" + (f"; held by {holders}" if holders else "")
    return f"{text}; {short}" if (short := _short(facts, facts.held)) else text


def _short(facts: Facts, held: HeldFacts) -> str:
    """What is short first for the pods of the revision that have no node, after what runs; empty if nothing is."""
    shapes = _shapes(facts)
    if shapes is None or isinstance(facts.pods, Unknown) or isinstance(facts.nodes, Unknown):
        return ""
    waiting = [pod.role for pod in facts.pods if pod.revision == target(facts) and not pod.node and not pod.leaving]
    rooms = [held.left(node.room) for node in facts.nodes if node.room is not None]
    return Demand(shapes, waiting.count("worker"), head="head" in waiting).short(rooms)


def _shapes(facts: Facts) -> PodShapes | None:
    """Pods of the revision, as they are pinned."""
    name = target(facts)
    record = next((one for one in value_or(facts.revisions, ()) if one.name == name), None)
    chosen = None if record is None else record.plan.chosen
    return None if record is None or chosen is None else shapes_of(record.cluster, chosen.nodes_per_replica)


def _of(children: Iterable[_Child], revision: str) -> _Child | None:
    return next((child for child in children if revision in {child.name, child.revision}), None)


def _running(facts: Facts, made: RayClusterFacts, pods: tuple[PodFacts, ...], service: RayServiceFacts) -> Check:
    if isinstance(facts.pods, Unknown):
        return Check("cluster", State.UNKNOWN, f"RayCluster {made.name} exists; its pods: {facts.pods.why}")
    here = [pod for pod in pods if not pod.leaving]
    ready = [pod for pod in here if pod.ready]
    # A worker that holds no replica of its own, as one of several of an engine, is not ready and serves.
    well = [pod for pod in here if pod.ready or (service.serves and pod.phase == "Running")]
    heads = sum(pod.role == "head" for pod in well)
    wanted = max(len(here), 1 + sum(group.least * group.hosts for group in made.groups))
    text = f"RayCluster {made.name}: {len(ready)} of {wanted} pods are ready, {sum(p.role == 'head' for p in ready)} of them the head"
    if heads and len(well) == wanted:
        return Check("cluster", State.PASSED, text)
    waiting = [pod for pod in here if pod not in well]
    because = f"; {_named(waiting)}: {waiting[0].waiting or _phase(waiting[0])}" if waiting else ""
    return Check("cluster", State.WAITING, text + because)


def _phase(pod: PodFacts) -> str:
    return "not ready" if pod.phase == "Running" else pod.phase


def _named(pods: Sequence[PodFacts]) -> str:
    names = ", ".join(pod.name for pod in pods[:_MOST_NAMED])
    more = f" and {len(pods) - _MOST_NAMED} more" if len(pods) > _MOST_NAMED else ""
    return names + more
