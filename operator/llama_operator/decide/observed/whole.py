"""All that one reconcile knows. Part of `decide.observed`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from llama_operator.api.v1alpha1.accelerator import Accelerator as DeclaredAccelerator
from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicy
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.api.v1alpha1.llamamodel import LlamaModel
from llama_operator.catalog.accelerators import Accelerator
from llama_operator.decide.copies.facts import WeightsFacts
from llama_operator.decide.observed.cluster import NodeFacts, RayClusterFacts, RayServiceFacts
from llama_operator.decide.observed.events import (
    AccessCheckFacts,
    RepairFacts,
    Requester,
    TrafficFacts,
    Unread,
    UnreadRecord,
)
from llama_operator.decide.observed.revisions import RevisionFacts, UnreadRevision
from llama_operator.decide.observed.times import LONG_AGO, Age
from llama_operator.decide.placement.images import USUAL
from llama_operator.decide.placement.platform_pods import PlatformPods
from llama_operator.decide.placement.pod_settings import PodSettingsByRole
from llama_operator.decide.placement.resolve import resolve
from llama_operator.decide.placement.shape import Room
from llama_operator.decide.platform import Platform
from llama_operator.decide.pods import AwayNode, PodFacts
from llama_operator.decide.routes import RefusedWrite, RouteFacts
from llama_serving.contract.status import ServingStatus


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that a decision may rest on."""

    deployment: LlamaDeployment
    acceptances: tuple[LicenseAcceptance, ...] | None = ()
    """LicenseAcceptances that exist; None when they were not read (a plan without a cluster)."""
    models: tuple[LlamaModel, ...] | None = ()
    """LlamaModels that exist, which add to the catalog; None when they were not read."""
    policies: tuple[LicensePolicy, ...] | None = ()
    """LicensePolicies that exist: all of them apply; None when they were not read."""
    accelerators: tuple[DeclaredAccelerator, ...] | None = ()
    """Accelerators that exist, which add cards to the catalog; None when they were not read."""
    nodes: tuple[NodeFacts, ...] | None = None
    """Nodes that take pods which tolerate their taints; None when they were not read."""
    away: tuple[AwayNode, ...] = ()
    """Nodes that take none."""
    pods: tuple[PodFacts, ...] | None = None
    """Pods of the deployment; None when they were not read."""
    ended: tuple[PodFacts, ...] = ()
    """Pods that ended badly, of each revision and role the last, as far as this process saw it; they may be gone."""
    ray_services: tuple[RayServiceFacts, ...] = ()
    """RayServices that belong to the deployment."""
    unread_records: tuple[UnreadRecord, ...] = ()
    """Records of administrators that exist and are not understood; they are in none of the four above."""
    revisions: tuple[RevisionFacts, ...] = ()
    """Pinned revisions of the deployment."""
    lost: frozenset[str] = frozenset()
    """Those of `revisions` whose ControllerRevision somebody deleted; the operator still knows what it pinned."""
    unread_revisions: tuple[UnreadRevision, ...] = ()
    """Pinned revisions that cannot be read; they are not among `revisions`."""
    ray_clusters: tuple[RayClusterFacts, ...] = ()
    """RayClusters of those RayServices."""
    access_checks: tuple[AccessCheckFacts, ...] | None = None
    """Jobs that ask the Hub for access; None when access is not checked: weights are local, or the check is switched off."""
    weights: WeightsFacts | None = None
    """Claims and Jobs of copies of weights; None where nothing asks for any."""
    traffic: TrafficFacts | None = None
    """Where the Service points; None while there is no Service."""
    free: tuple[Room, ...] | None = None
    """What no pod holds of nodes that take new pods; None when it was not counted."""
    now: datetime = LONG_AGO
    """Time of the observation, in UTC."""
    ages: Mapping[datetime, Age] = field(default_factory=dict)
    """How long ago moments were that decisions measure from, as far as it was watched; `age` reads it."""
    images: Mapping[str, str] | None = None
    """The operator's serving images for cards that need another one; None where they are not known (a plan on a laptop)."""
    contested: tuple[RepairFacts, ...] = ()
    """Objects of the deployment that somebody keeps changing; no decision rests on them, the status tells them."""
    refused: tuple[RefusedWrite, ...] = ()
    """Objects that this pass could not write, and that nothing else waits for; the status tells them."""
    routes: tuple[RouteFacts, ...] = ()
    """Routes of the deployment, which let requests in from outside; without those of kinds that may not be read."""
    default_queue: bool = False
    """Whether Kueue takes every RayService of the namespace, by a LocalQueue named `default`; only read while one is to be made."""
    address: str = ""
    """`host:port` at which the Service can be reached from outside, where there is such an address."""
    serving: ServingStatus | None = None
    """What the serving pods say about themselves; None when they could not be asked."""
    requester: Requester = field(default_factory=Requester)
    """Who asks for it; only the evidence has it, no decision rests on it."""
    platform: Platform = field(default_factory=Platform)
    """Versions and kinds of the cluster."""
    platform_pods: PlatformPods | None = None
    """What the platform owner says about pods; None where that is not known (a plan without the operator's settings)."""
    unknown: tuple[Unread, ...] = ()
    """What the asker may not read; empty in the operator, which fails instead."""

    asked_replicas: int | None = None
    """Replicas that an autoscaler of others asked for, where `maxGPUs` bounds them: `deployment` has the bounded number then."""

    def pod_settings(self, card: Accelerator | None) -> PodSettingsByRole:
        """What platform and team want of the deployment's pods.

        Args:
            card: The card of the plan, which may need another image than the usual one; None while there is no plan.
        """
        return resolve(self.deployment.spec, self.platform_pods, USUAL if card is None else card.image)

    def age(self, moment: datetime) -> Age:
        """How long ago `moment` was. A clock that is set forward or back changes it as little as can be."""
        known = self.ages.get(moment)
        return known if known is not None else Age(max(timedelta(0), self.now - moment))

    @property
    def dated(self) -> datetime | None:
        """`now`; None for an observation without a date, as for a plan on a laptop."""
        return None if self.now == LONG_AGO else self.now

    def newest(self, *, besides: str) -> int:
        """Highest number in the history without the revision `besides`, also among records that cannot be read; 0 for none."""
        read = [(record.name, record.number) for record in self.revisions]
        unread = [(record.name, record.number) for record in self.unread_revisions]
        return max((number for name, number in (*read, *unread) if name != besides), default=0)

    @property
    def refused_route(self) -> RefusedWrite | None:
        """A route that this pass could not write; None if there is none."""
        return next((one for one in self.refused if one.is_route), None)

    @property
    def refused_object(self) -> RefusedWrite | None:
        """An object that is no route, that this pass could not write and that nothing else waits for; None if there is none."""
        return next((one for one in self.refused if not one.is_route), None)

    def pinned(self, revision: str) -> RevisionFacts | None:
        """What is pinned of `revision`; None if it was never made, or is forgotten."""
        return next((facts for facts in self.revisions if facts.name == revision), None)
