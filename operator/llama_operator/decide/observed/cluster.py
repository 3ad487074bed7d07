"""What the cluster runs of a deployment: nodes, RayServices, RayClusters. Part of `decide.observed`."""

from dataclasses import dataclass
from datetime import datetime

from llama_operator.catalog.accelerators import Accelerator
from llama_operator.decide.conditions import ConditionFacts
from llama_operator.decide.placement.queue import Queue
from llama_operator.decide.placement.shape import Room
from llama_serving.contract.guard import GUARD_DEPLOYMENT


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A node that can take pods."""

    name: str
    accelerator: str
    """Name in the catalog, or of `card`; `CPU` for a node without accelerators; their resource where nothing is planned on
    them."""
    gpus: int
    """Allocatable accelerators; for CPU, ranks that the node can hold."""
    card: Accelerator | None = None
    """The card, where only labels of the node tell what it is; None where the catalog has it."""
    device_problem: str = ""
    """Why nothing is planned on its accelerators, for people, as what the node does; empty if something is."""
    room: Room | None = None
    """All that it has for pods; None where only its accelerators are known."""


@dataclass(frozen=True, slots=True)
class ServeDeploymentFacts:
    """One Serve deployment as the RayService reports it."""

    name: str
    status: str
    message: str


@dataclass(frozen=True, slots=True)
class RayServiceFacts:
    """A RayService of ours, with what KubeRay reports about it."""

    name: str
    revision: str
    endpoints: int
    """Ready endpoints of its serve Service."""
    application_status: str
    """Serve's own word: NOT_STARTED, DEPLOYING, RUNNING, DEPLOY_FAILED, UNHEALTHY, DELETING, or empty if unknown."""
    application_message: str
    deployments: tuple[ServeDeploymentFacts, ...]
    message: str = ""
    """Message of KubeRay's own Ready condition, when it is not True."""
    uid: str = ""
    created: datetime | None = None
    leaving: bool = False
    """Being deleted: it stays until its pods have freed their hardware."""
    board_status: str = ""
    """Serve's word for the second application, which has no engine; empty if there is none, or none was reported."""
    board_message: str = ""
    holds_replicas: bool = False
    """It has served before, and nothing says that its replicas are gone."""
    conditions: tuple[ConditionFacts, ...] = ()
    queue: Queue | None = None
    """The queue of Kueue that it is in, by its labels; None for none."""
    suspended: bool = False
    """Somebody holds it back: it has no pods. Kueue does, until there is quota."""

    @property
    def waits(self) -> bool:
        """Whether Kueue holds it back."""
        return self.queue is not None and self.suspended

    @property
    def serves(self) -> bool:
        """Whether requests can be answered: KubeRay's Ready alone does not say so.

        Serve calls an application DEPLOYING again after every change of its bounds, until the last new replica is up;
        those that it has go on answering.
        """
        # KubeRay goes on to count the endpoints of pods that Kueue has ended.
        if self.endpoints == 0 or self.leaving or self.waits:
            return False
        if self.application_status == "RUNNING":
            return True
        return self.holds_replicas and (self.application_status == "DEPLOYING" or self._lacks_only_the_guard)

    @property
    def _lacks_only_the_guard(self) -> bool:
        """Whether the application is unhealthy because of its guard alone: the model goes on answering, as spec.guard says."""
        others = [one.status for one in self.deployments if one.name != GUARD_DEPLOYMENT]
        guarded = len(others) < len(self.deployments)
        return guarded and bool(others) and all(status == "HEALTHY" for status in others)


@dataclass(frozen=True, slots=True)
class WorkerGroupFacts:
    """One worker group of a RayCluster: its bounds, and how many are wanted now.

    KubeRay counts groups of `hosts` pods, which come and go together.
    """

    name: str
    least: int
    most: int
    wanted: int = 0
    """What Ray's autoscaler asks for now."""
    hosts: int = 1
    """Pods that make one."""


@dataclass(frozen=True, slots=True)
class RayClusterFacts:
    """A RayCluster that KubeRay made for a revision: it takes changed bounds only from there."""

    name: str
    revision: str
    groups: tuple[WorkerGroupFacts, ...] = ()
    conditions: tuple[ConditionFacts, ...] = ()
    kuberay: str = ""
    """Version of the KubeRay that made it."""
    created: datetime | None = None
    leaving: bool = False
