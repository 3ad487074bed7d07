"""What one reconcile knows: the input of every decision. Gathered by `observe`, built by hand in tests and by `plan`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from llama_operator.api.v1alpha1.accelerator import Accelerator as DeclaredAccelerator
from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicy
from llama_operator.api.v1alpha1.llamadeployment import LicenseSpec, LlamaDeployment, RolloutStrategy
from llama_operator.api.v1alpha1.llamadeployment_status import PlanStatus
from llama_operator.api.v1alpha1.llamamodel import LlamaModel
from llama_operator.catalog.accelerators import Accelerator
from llama_operator.decide.conditions import ConditionFacts
from llama_operator.decide.copies.facts import WeightsFacts
from llama_operator.decide.copies.source import Copy
from llama_operator.decide.placement.images import USUAL
from llama_operator.decide.placement.platform_pods import PlatformPods
from llama_operator.decide.placement.pod_settings import PodSettingsByRole
from llama_operator.decide.placement.queue import Queue
from llama_operator.decide.placement.resolve import resolve
from llama_operator.decide.placement.shape import Room
from llama_operator.decide.platform import Platform
from llama_operator.decide.pods import AwayNode, PodFacts
from llama_operator.decide.routes import RefusedWrite, RouteFacts
from llama_serving.config import LiveSettings
from llama_serving.contract.guard import GUARD_DEPLOYMENT
from llama_serving.contract.hub import HUB_ENDPOINT, AccessVerdict
from llama_serving.contract.status import ServingStatus

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""Time of an observation without a date: nothing is overdue then."""
RECORD_FORMAT = 1
"""Format in which revisions are pinned, as `data.format` of their ControllerRevision; one without it has format 1."""
FORMAT_OF_HOSTS = 2
"""Format of those with `numOfHosts` in a worker group: its bounds count replicas. An operator that takes them for pods would ask for
so many times the hardware."""
RECORD_FORMATS = (RECORD_FORMAT, FORMAT_OF_HOSTS)
CONFIRM_SECONDS = 20.0
"""How long a deadline has to be watched before it counts as passed: one look may see a clock that was set wrong."""


@dataclass(frozen=True, slots=True)
class Age:
    """How long ago something happened, on a clock that nobody sets."""

    total: timedelta
    """Since it happened; never negative."""
    watched: timedelta = timedelta.max
    """How long this process has watched it; a reader that looks once takes the clock of the wall at its word."""

    def left(self, seconds: float) -> float:
        """Seconds that are left of `seconds`; 0 or less when they are over, and were watched to be."""
        left = seconds - self.total.total_seconds()
        confirmed = min(CONFIRM_SECONDS, seconds) - self.watched.total_seconds()
        return max(left, confirmed)


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


@dataclass(frozen=True, slots=True)
class LicenseEnd:
    """The end of the right to a revision's model, remembered with the revision.

    It outlives the record that it came from: what has begun to end goes on to end, and a license that has ended is not
    revived by an older acceptance.
    """

    acceptance: str
    """Name of the LicenseAcceptance that was terminated."""
    entity: str
    """Legal entity whose license ended."""
    families: tuple[str, ...]
    """License families that ended."""
    on: str
    """Day on which it ended, `YYYY-MM-DD`."""
    at: datetime | None
    """When the engines began to end, in UTC; None once a newer acceptance has taken over."""
    grant: str = ""
    """Reference of the grant of Meta that ran out; empty for a license that was terminated."""
    drain_seconds: int | None = None
    """Most seconds that its engines may take to finish, as the spec had it when the end began; None if that was not
    remembered."""


@dataclass(frozen=True, slots=True)
class RevisionFacts:
    """A revision as its ControllerRevision pins it.

    What runs is built from here and never planned again: a new version of the operator, a new node or a changed
    estimate must not restart a running model.
    """

    name: str
    number: int
    """Position in the history; the highest is the one asked for last."""
    plan: PlanStatus
    inputs: Mapping[str, Any]
    """Restart fields of the spec as the user wrote them."""
    serve_config: Mapping[str, Any]
    """Serve config of the revision; its live part is replaced by what the spec says now."""
    cluster: Mapping[str, Any]
    """`rayClusterConfig` without the bounds of the worker groups."""
    served_at: str = ""
    """When it first served (RFC 3339); empty if it never did."""
    failed_at: str = ""
    """When it was given up; empty if it was not."""
    failure: str = ""
    """Why it was given up, or did not serve before it was removed: the nearest cause, in the words of the one who knows."""
    strategy: RolloutStrategy | None = None
    """What strategy `Auto` came to for this revision."""
    strategy_reason: str = ""
    admitted_at: str = ""
    """When Kueue had let its pods start (RFC 3339); empty where it holds them back, or none waits for it."""
    takes_over: int = 0
    """Replicas with which it begins under a load that others served before; 0 where it does not, or has done so."""
    weights_checked_at: str = ""
    """When the Hub let its weights be read, before it was made; empty if it was not asked."""
    copies: tuple[Copy, ...] = ()
    """Copies of weights that its pods read from claims."""
    created: datetime | None = None
    """When it was pinned."""
    license: LicenseSpec | None = None
    """What the spec declared about the license while it asked for this revision; None for one of an older operator."""
    license_end: LicenseEnd | None = None
    """Whether the right to its model has ended, and when."""
    families: tuple[str, ...] = ()
    """License families under which it was allowed last; empty where nothing had to be accepted, and for one of an older
    operator."""
    copy_of: str = ""
    """Revision of which it is a second copy on other nodes, and by whose name the spec asks for it; empty if it is none."""
    data: Mapping[str, Any] | None = None
    """What its ControllerRevision holds, every field of it; None before it is written. The API server lets nobody change it."""

    @property
    def model(self) -> str:
        """Name of the model that it pins; empty for a record without one."""
        model = self.inputs.get("model")
        return str(model.get("name", "")) if isinstance(model, Mapping) else ""

    live: LiveSettings | None = None
    """Live settings that it last got from a spec without a problem; None while it shall not run, and for a record of an
    older operator."""


@dataclass(frozen=True, slots=True)
class UnreadRevision:
    """A revision whose ControllerRevision this version cannot read. Nothing is built from it, and nothing is planned over it."""

    name: str
    number: int
    """Position in the history; 0 if not even that can be read."""
    why: str
    """What cannot be read, for people."""


@dataclass(frozen=True, slots=True)
class UnreadRecord:
    """A record of an administrator that this version does not understand."""

    kind: str
    """`LicenseAcceptance`, `LicensePolicy`, `LlamaModel` or `Accelerator`."""
    name: str
    why: str
    """Field and value, for people."""


@dataclass(frozen=True, slots=True)
class AccessCheckFacts:
    """A Job that asks the Hub for access to weights, with what came of it."""

    name: str
    subject: str
    """Digest of what it asks; see `decide.access_check.Subject`."""
    attempt: int
    """1 for the first Job of its subject."""
    finished: datetime | None = None
    """When it ended; None while it runs."""
    succeeded: bool = False
    """Whether it ended well: the probe does so only for an accessible repository."""
    verdict: AccessVerdict | None = None
    """What the probe wrote; None while there is nothing, or where the pod is gone or wrote something else."""
    detail: str = ""
    """Why its pod waits, or how it ended without a verdict."""
    uid: str = ""
    leaving: bool = False
    """Being deleted."""


@dataclass(frozen=True, slots=True)
class TrafficFacts:
    """Where the Service sends requests."""

    revision: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class RepairFacts:
    """An object of ours that somebody changed or deleted, and that the operator sets right."""

    kind: str
    name: str
    fields: tuple[str, ...]
    """Paths of the fields that were changed; empty if the object was deleted."""
    writer: str = ""
    """Field manager that wrote last; empty if the object does not tell."""
    held: bool = False
    """Whether it is left as it is for now, because somebody keeps changing it."""

    @property
    def words(self) -> str:
        """What was done, for people: `Service chat was changed (spec.selector) by kubectl-edit`."""
        what = f"changed ({', '.join(self.fields)})" if self.fields else "deleted"
        return f"{self.kind} {self.name} was {what}" + (f" by {self.writer}" if self.writer and self.fields else "")


@dataclass(frozen=True, slots=True)
class Requester:
    """Who last wrote the spec, as far as the object itself tells."""

    user: str = ""
    """What the annotation `llama-operator.io/requested-by` says; empty if there is none."""
    manager: str = ""
    """Field manager that wrote the spec last, for example `kubectl-client-side-apply`: a program, not a person."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A kind that was not read, or not fully, because a right is missing."""

    kind: str
    """Its plural, as in `nodes`."""
    why: str
    """Who lacks which right."""


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


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the operator that decisions and objects depend on."""

    image: str = "llama-operator/llama-serving:0.1.0"
    """Container image of Ray pods: Ray, vLLM and llama_serving."""
    card_images: Mapping[str, str] = field(default_factory=dict)
    """Images for cards that need another one, by what they are built for, as `rocm`."""
    ray_version: str = "2.60.0"
    """Ray in that image; KubeRay chooses probes and flags by it."""
    kuberay_namespace: str = "kuberay-system"
    """Namespace of KubeRay's operator, the only one that may reach the Ray dashboards."""
    monitoring_namespaces: tuple[str, ...] = ()
    """Namespaces whose pods may read the metrics of Ray and HAProxy; none but the deployment's own pods if it is empty."""
    gateway_namespaces: tuple[str, ...] = ()
    """Namespaces of Gateways and Ingress controllers. Empty: they are not known, so whoever comes from anywhere reaches an endpoint
    that is exposed."""
    operator_namespace: str = ""
    """Namespace of the operator, which asks the endpoints for their status; empty where it runs in no pod."""
    bounds_egress: bool = True
    """Whether Ray pods reach only what they were told of."""
    api_server_ports: tuple[int, ...] = (443, 6443, 8443, 16443)
    """Ports on which the API server may listen; Ray's autoscaler beside the head needs it."""
    serving_poll_seconds: float = 15.0
    """How often the status endpoint of a deployment that serves is asked: it sends no events."""
    hub_endpoint: str = HUB_ENDPOINT
    """Address of the Hugging Face Hub, or of a mirror of it."""
    checks_access: bool = True
    """Whether access to gated weights is checked before a revision starts."""
    pods: PlatformPods = field(default_factory=PlatformPods)
    """What the platform owner says about pods."""
    local: bool = False
    """Whether processes of this machine stand for pods: then nothing is mounted into them."""
    keys_path: str = ""
    """Folder with API keys; in local mode only an endpoint that has one asks for keys."""
    weights_path: str = ""
    """Folder with the weights on every pod; overrides the model's own source. Used by the local mode."""
