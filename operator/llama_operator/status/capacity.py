"""CapacityFound: whether the nodes hold what is wanted, what of them is free, and what can never be reached.

Called by `status.conditions`. Ready does not depend on it while the endpoint answers. What is free is told only while pods wait
for a node: at any other time it changes with pods of others, and is no reason to write a status.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from llama_operator.api.meta import ConditionStatus, rfc3339
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.llamadeployment_status import ChosenPlan, GivenUpStatus
from llama_operator.decide.bounds import least_replicas, most_replicas
from llama_operator.decide.decision import Decision
from llama_operator.decide.diagnosis.leaving_nodes import leaving
from llama_operator.decide.observed import NodeFacts, Observed
from llama_operator.decide.placement.count import Demand
from llama_operator.decide.placement.fit import repels
from llama_operator.decide.placement.shape import PodShapes, Room
from llama_operator.decide.starts.claim import in_force
from llama_operator.status.endpoint import nearest, told
from llama_operator.status.finding import Finding

_KIND = ConditionType.CAPACITY_FOUND
_HEAD, _WORKER = "head", "worker"


@dataclass(frozen=True, slots=True)
class _Demand:
    """What a number of replicas takes of the nodes."""

    chosen: ChosenPlan
    shapes: PodShapes
    replicas: int

    @property
    def accelerators(self) -> int:
        return self.chosen.gpus_per_replica * self.replicas

    @property
    def in_one_node(self) -> int:
        """Accelerators that a pod takes of its node: they are never split over two."""
        return -(-self.chosen.gpus_per_replica // max(1, self.chosen.nodes_per_replica))

    @property
    def pods(self) -> Demand:
        return Demand(self.shapes, self.shapes.per_replica * self.replicas)


@dataclass(frozen=True, slots=True)
class _Supply:
    """What the nodes have for it."""

    observed: Observed
    nodes: tuple[NodeFacts, ...]
    """Nodes with the accelerator that take the workers."""
    repelled: tuple[tuple[NodeFacts, str], ...]
    """Nodes with the accelerator that take none, and the taint that keeps them off."""

    @property
    def accelerators(self) -> int:
        return sum(node.gpus for node in self.nodes)

    @property
    def rooms(self) -> tuple[Room, ...]:
        """All nodes that take pods, those for the head included."""
        return tuple(node.room for node in self.observed.nodes or () if node.room is not None)

    def short(self, demand: _Demand, revision: str) -> str:
        """What is short first, with nothing on the nodes but the head, if it has one; empty if nothing is short."""
        placed = [pod for pod in self.observed.pods or () if pod.revision == revision and pod.node and not pod.leaving]
        if [pod.role for pod in placed].count(_WORKER) >= demand.pods.workers:
            return ""
        head = next((pod.node for pod in placed if pod.role == _HEAD), None)
        asked = demand.shapes.head.asked
        rooms = tuple(room.less(asked) if room.node == head else room for room in self.rooms)
        return replace(demand.pods, head=head is None).short(rooms)


def capacity_found(observed: Observed, decision: Decision) -> Finding:
    """The condition CapacityFound."""
    chosen, shapes = decision.chosen, decision.shapes
    if chosen is None or shapes is None or observed.nodes is None:
        return Finding(_KIND, ConditionStatus.UNKNOWN, Reason.WAITING, "the plan or the nodes are not known")
    if queued := _queued(observed, decision.revision.name):
        return Finding(_KIND, ConditionStatus.UNKNOWN, Reason.QUEUED, queued)
    spec = observed.deployment.spec
    least = _Demand(chosen, shapes, max(1, least_replicas(spec, observed.dated)))
    most = _Demand(chosen, shapes, most_replicas(spec))
    supply = _supply(observed, least)
    bound = _bound(least, most, supply, decision.revision.name) + _bounded(observed)
    given = decision.given_up
    if given is not None and in_force(given, observed):
        return Finding(_KIND, ConditionStatus.FALSE, Reason.SCALE_UP_GIVEN_UP, f"{_given_up(given)}{bound}")
    cause = nearest(observed, decision.revision.name, _KIND)
    if cause is not None:
        text = f"{told(cause)}; {_free(decision, least, supply)}{bound}"
        return Finding(_KIND, ConditionStatus.FALSE, cause.reason, text)
    short = supply.short(least, decision.revision.name)
    if not short:
        if going := _leaving(observed, decision):
            return Finding(_KIND, ConditionStatus.TRUE, Reason.NODES_LEAVING, going)
        # Without the number that exist: a node more or less is no reason to write a status.
        text = f"{least.accelerators} {chosen.accelerator} are needed and exist{bound}"
        return Finding(_KIND, ConditionStatus.TRUE, Reason.NODES_FOUND, text)
    return Finding(_KIND, ConditionStatus.FALSE, Reason.NODES_MISSING, f"{_missing(least, supply, short)}{bound}")


def _leaving(observed: Observed, decision: Decision) -> str:
    """What goes with nodes that are about to be emptied, and what is done about it; empty if nothing goes."""
    rollout, wanted = decision.rollout, decision.revision.name
    holder = wanted if rollout is None else rollout.traffic
    if holder != wanted and observed.pinned(holder) is not None:
        return leaving(observed, holder, f"{wanted} starts beside it, and takes over when it serves")
    return leaving(observed, wanted, "" if decision.move is None else decision.move.why)


def _given_up(given: GivenUpStatus) -> str:
    again = "" if given.tries == 1 else f", for the {given.tries}th time in a row"
    return (
        f"{given.missing} more replicas were wanted and found no node in time: they were given up at {rfc3339(given.at)}{again}, and are "
        f"tried again at {rfc3339(given.retry_at)}, or as soon as the spec changes; {given.replicas} are kept. The scheduler said: "
        f"{given.message}"
    )


def _queued(observed: Observed, revision: str) -> str:
    """That Kueue holds the pods of the revision back; empty if it does not."""
    service = next((one for one in observed.ray_services if one.name == revision and one.waits), None)
    if service is None or service.queue is None:
        return ""
    metadata = observed.deployment.metadata
    return (
        f"RayService {service.name} waits in queue {service.queue.name} until Kueue has quota for it: "
        f"kubectl get workloads -n {metadata.namespace} says what is short; no deadline runs meanwhile"
    )


def _supply(observed: Observed, demand: _Demand) -> _Supply:
    having = [node for node in observed.nodes or () if node.accelerator == demand.chosen.accelerator]
    tolerated = demand.shapes.worker.tolerations
    taints = [None if node.room is None else repels(node.room.taints, tolerated) for node in having]
    pairs = list(zip(having, taints, strict=True))
    return _Supply(
        observed,
        tuple(node for node, taint in pairs if taint is None),
        tuple((node, str(taint)) for node, taint in pairs if taint is not None),
    )


def _missing(least: _Demand, supply: _Supply, short: str) -> str:
    have, need, accelerator = supply.accelerators, least.accelerators, least.chosen.accelerator
    wait = "pods wait until nodes are added"
    if least.pods.fit(supply.rooms).may_hold(least.pods.workers):
        return f"{need} {accelerator} are needed and exist, but {short}{_away(supply, accelerator)}"
    if have < need:
        text = f"{have} {accelerator} exist, {need} are needed; {wait}"
    elif sum(node.gpus // max(1, least.in_one_node) for node in supply.nodes) < least.pods.workers:
        text = f"{have} {accelerator} exist, {need} are needed with {least.in_one_node} in one node; {wait}"
    else:
        text = f"{need} {accelerator} are needed and exist, but {short}; {wait}"
    return f"{text}{_away(supply, accelerator)}"


def _away(supply: _Supply, accelerator: str) -> str:
    """Nodes that have the accelerator and take no pods now, and those that may have it and do not say so."""
    nodes = [node for node in supply.observed.away if node.accelerator == accelerator]
    parts = [f"{node.accelerators} on {node.name}, which {node.why}" for node in nodes]
    parts += [f"{node.gpus} on {node.name}, which has the taint {taint}" for node, taint in supply.repelled]
    parts += _unknown(supply.observed) if accelerator != "CPU" else ()
    return f"; not counted: {', '.join(parts)}" if parts else ""


def _unknown(observed: Observed) -> Iterator[str]:
    """Nodes on whose accelerators nothing is planned: one for each reason, so that one more is no reason to write a status."""
    told: dict[str, list[NodeFacts]] = {}
    for node in sorted(observed.nodes or (), key=lambda one: one.name):
        if node.device_problem:
            told.setdefault(node.device_problem, []).append(node)
    for problem, nodes in list(told.items())[:_MOST_UNKNOWN]:
        others = " and on other nodes" if len(nodes) > 1 else ""
        yield f"{nodes[0].gpus} on {nodes[0].name}{others}, which {problem}"


_MOST_UNKNOWN = 2
"""Reasons that are told: a cluster may have many old cards."""


def _free(decision: Decision, least: _Demand, supply: _Supply) -> str:
    """What is needed, what exists, what of it no pod holds, and what of that is short for the pods that have no node."""
    observed, accelerator, rooms = supply.observed, least.chosen.accelerator, supply.observed.free
    text = f"{least.accelerators} {accelerator} are needed, {supply.accelerators} exist"
    short = ""
    if rooms is not None:
        names = {node.name for node in supply.nodes}
        resource = next(iter(least.shapes.worker.asked.devices), "")
        if resource:
            left = sum(max(0, room.amounts.devices.get(resource, 0)) for room in rooms if room.node in names)
            text = f"{text}, {left} of them free"
        short = _waiting(observed, decision.revision.name, least).short(rooms)
    return f"{text}{_away(supply, accelerator)}{f'; {short}' if short else ''}"


def _waiting(observed: Observed, revision: str, least: _Demand) -> Demand:
    """The pods of the revision that have no node yet."""
    placed = [pod.role for pod in observed.pods or () if pod.revision == revision and pod.node and not pod.leaving]
    whole = least.pods
    return Demand(whole.shapes, max(0, whole.workers - placed.count(_WORKER)), head=_HEAD not in placed)


def _bounded(observed: Observed) -> str:
    """That `maxGPUs` bounds what an autoscaler asks for; empty if it does not."""
    spec, asked = observed.deployment.spec, observed.asked_replicas
    if asked is None:
        return ""
    both = ", of each revision that runs" if len(observed.ray_services) > 1 else ""
    return (
        f"; spec.replicas asks for {asked}, and maxGPUs {spec.hardware.max_gpus} bounds them to {spec.replicas}{both}"
    )


def _bound(least: _Demand, most: _Demand, supply: _Supply, revision: str) -> str:
    """What spec.scaling.maxReplicas would need, and whether that exists."""
    if most.replicas <= least.replicas:
        return ""
    text = f"; maxReplicas {most.replicas} needs {most.accelerators}"
    if not supply.short(most, revision):
        return f"{text}, which exist"
    # Without the number that exist, as above.
    return f"{text}, more than exist: it is not reached until nodes are added"
