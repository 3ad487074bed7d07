"""CapacityFound: whether the nodes hold what is wanted, what of them is free, and what can never be reached.

Called by `status.conditions`. Ready does not depend on it while the endpoint answers. The number of free accelerators is
told only while pods wait for a node: at any other time it changes with pods of others, and is no reason to write a status.
"""

from dataclasses import dataclass

from llama_operator.api.meta import ConditionStatus
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.llamadeployment_status import ChosenPlan
from llama_operator.decide.bounds import least_replicas, most_replicas
from llama_operator.decide.decision import Decision
from llama_operator.decide.observed import Observed
from llama_operator.status.endpoint import nearest, told
from llama_operator.status.finding import Finding

_KIND = ConditionType.CAPACITY_FOUND


@dataclass(frozen=True, slots=True)
class _Demand:
    """What a number of replicas takes of the nodes."""

    chosen: ChosenPlan
    replicas: int

    @property
    def accelerators(self) -> int:
        return self.chosen.gpus_per_replica * self.replicas

    @property
    def pods(self) -> int:
        return self.chosen.nodes_per_replica * self.replicas

    @property
    def in_one_node(self) -> int:
        """Accelerators that a pod takes of its node: they are never split over two."""
        return -(-self.chosen.gpus_per_replica // max(1, self.chosen.nodes_per_replica))

    def fits(self, amounts: tuple[int, ...]) -> bool:
        """Whether nodes with so many accelerators hold it."""
        return sum(amount // max(1, self.in_one_node) for amount in amounts) >= self.pods


def capacity_found(observed: Observed, decision: Decision) -> Finding:
    """The condition CapacityFound."""
    chosen = decision.chosen
    if chosen is None or observed.nodes is None:
        return Finding(_KIND, ConditionStatus.UNKNOWN, Reason.WAITING, "the plan or the nodes are not known")
    spec = observed.deployment.spec
    least = _Demand(chosen, max(1, least_replicas(spec)))
    most = _Demand(chosen, most_replicas(spec))
    exist = tuple(node.gpus for node in observed.nodes if node.accelerator == chosen.accelerator)
    bound = _bound(least, most, exist)
    cause = nearest(observed, decision.revision.name, _KIND)
    if cause is not None:
        return Finding(
            _KIND, ConditionStatus.FALSE, cause.reason, f"{told(cause)}; {_free(observed, least, exist)}{bound}"
        )
    if least.fits(exist):
        # Without the number that exist: a node more or less is no reason to write a status.
        text = f"{least.accelerators} {chosen.accelerator} are needed and exist{bound}"
        return Finding(_KIND, ConditionStatus.TRUE, Reason.NODES_FOUND, text)
    return Finding(_KIND, ConditionStatus.FALSE, Reason.NODES_MISSING, f"{_missing(observed, least, exist)}{bound}")


def _missing(observed: Observed, least: _Demand, exist: tuple[int, ...]) -> str:
    have, need, accelerator = sum(exist), least.accelerators, least.chosen.accelerator
    whole = "" if have < need else f" with {least.in_one_node} in one node"
    text = f"{have} {accelerator} exist, {need} are needed{whole}; pods wait until nodes are added"
    return f"{text}{_away(observed, accelerator)}"


def _away(observed: Observed, accelerator: str) -> str:
    """Nodes that have the accelerator and take no pods now."""
    nodes = [node for node in observed.away if node.accelerator == accelerator]
    if not nodes:
        return ""
    return "; not counted: " + ", ".join(f"{node.accelerators} on {node.name}, which {node.why}" for node in nodes)


def _free(observed: Observed, least: _Demand, exist: tuple[int, ...]) -> str:
    """What is needed, what exists and what of it no pod holds."""
    accelerator = least.chosen.accelerator
    free = None if observed.free is None else sum(observed.free.get(accelerator, ()))
    of_them = "" if free is None else f", {free} of them free"
    return f"{least.accelerators} {accelerator} are needed, {sum(exist)} exist{of_them}{_away(observed, accelerator)}"


def _bound(least: _Demand, most: _Demand, exist: tuple[int, ...]) -> str:
    """What spec.scaling.maxReplicas would need, and whether that exists."""
    if most.replicas <= least.replicas:
        return ""
    text = f"; maxReplicas {most.replicas} needs {most.accelerators}"
    if most.fits(exist):
        return f"{text}, which exist"
    # Without the number that exist, as above.
    return f"{text}, more than exist: it is not reached until nodes are added"
