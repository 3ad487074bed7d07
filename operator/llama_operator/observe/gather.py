"""Reads everything that a decision rests on, through ports: one world for the operator and for every command.

Called by `reconcile` and by the CLI. The objects of Kubernetes end here: what leaves this module is typed and frozen.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from llama_operator.api import paths, readings
from llama_operator.api.manifest import parse_live
from llama_operator.api.meta import LABEL_DEPLOYMENT
from llama_operator.api.readings import mapping, mappings, text
from llama_operator.api.v1alpha1.accelerator import Accelerator
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.catalog import Catalog
from llama_operator.catalog.accelerators import Accelerator as Card
from llama_operator.catalog.declared import with_declared
from llama_operator.decide.copies.facts import WeightsFacts
from llama_operator.decide.copies.needed import caches
from llama_operator.decide.diagnosis.cluster import bereft
from llama_operator.decide.exposure import lacks
from llama_operator.decide.number import with_number
from llama_operator.decide.observed import Observed, RayClusterFacts, RevisionFacts, UnreadRevision
from llama_operator.decide.placement import requests
from llama_operator.decide.placement.platform_pods import PlatformPods
from llama_operator.decide.placement.queue import DEFAULT_QUEUE
from llama_operator.decide.platform import Platform
from llama_operator.decide.pods import PodFacts
from llama_operator.decide.rollout import strategy
from llama_operator.decide.rollout.fields import FIELDS
from llama_operator.decide.rollout.revision import revision_of
from llama_operator.decide.routes import ROUTE_KINDS
from llama_operator.errors import InvalidManifestError
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, Kind, NotFoundError, Object, Ref
from llama_operator.observe import children
from llama_operator.observe.jobs.access_check import access_checks
from llama_operator.observe.jobs.weights import weights_facts
from llama_operator.observe.license_records import accelerators_of, acceptances_of, models_of, policies_of
from llama_operator.observe.nodes.facts import away_node, node_facts
from llama_operator.observe.nodes.free import free_rooms
from llama_operator.observe.pods import pod_facts
from llama_operator.observe.requester import requester
from llama_operator.observe.rights import Lenient, Rights
from llama_operator.observe.routes import route_facts
from llama_operator.observe.serving import ServingReader, with_serving
from llama_operator.observe.unreadable import Unreadable

_ADDRESS = ("apiVersion", "kind", "metadata")
_TRIES = 3
"""A field that is left out may put another one in the wrong; more than that is no field of the spec."""


@dataclass(frozen=True, slots=True)
class Observer:
    """Reads the world of one deployment after the other.

    Attributes:
        cluster: Where to read.
        catalog: Tells what a node offers.
        serving: Asks the serving pods.
        platform: What the cluster can do.
        checks_access: Whether access to gated weights is checked before a revision starts.
        declared: Accelerators that count before those of the cluster, as if they were applied.
        images: The operator's serving images for cards that need another one; None where they are not known.
        counts_free: Whether it is counted what pods leave of nodes: where the strategy of a rollout rests on it, or pods wait
            for a node.
        looks_at_pods: Whether pods are read, which tell why a revision does not answer.
        rights: What happens when a part may not be read.
        remembered: Revisions that an earlier look read, in case somebody has deleted their record since.
        ended: Pods of the deployment that were seen to end badly.
        unreadable: Takes what cannot be read because of what it is.
        platform_pods: What the platform owner says about pods; None if that is not known.
    """

    cluster: Cluster
    catalog: Catalog
    serving: ServingReader
    platform: Platform = field(default_factory=Platform)
    checks_access: bool = False
    images: Mapping[str, str] | None = None
    declared: tuple[Accelerator, ...] = ()
    counts_free: bool = True
    looks_at_pods: bool = True
    rights: Rights = field(default_factory=Rights)
    remembered: Collection[RevisionFacts] = ()
    ended: tuple[PodFacts, ...] = ()
    unreadable: Unreadable = field(default_factory=Unreadable)
    platform_pods: PlatformPods | None = None

    async def observe(self, ref: Ref, now: datetime) -> Observed | None:
        """Read the deployment at `ref` and all that matters to it; None when it does not exist.

        Raises:
            NotUnderstoodError: If the live object has a value that this version does not know.
            InvalidManifestError: If the live object breaks a rule that the API server did not check.
            KubeError: If Kubernetes cannot be read.
        """
        try:
            live = await self.cluster.get(ref)
        except NotFoundError:
            return None
        return replace(await self.around(parse_live(LlamaDeployment, live), now), requester=requester(live))

    async def around(self, deployment: LlamaDeployment, now: datetime) -> Observed:
        """Read all that matters to `deployment`, whose spec need not be applied yet.

        Args:
            deployment: The deployment as it is, or as it would be.
            now: Time of the observation, in UTC.

        Raises:
            KubeError: If Kubernetes cannot be read.
        """
        read, unreadable = self.rights.read, self.unreadable
        ref = Ref(kinds.LLAMA_DEPLOYMENT, deployment.metadata.namespace, deployment.metadata.name)
        observed = await self.with_routes(await self._always(self._empty(deployment, now), ref))
        wanted = revision_of(deployment, observed.revisions).name
        if all(one.name != wanted for one in observed.ray_services):
            observed = replace(observed, default_queue=await self._default_queue(ref))
        if self.checks_access:
            # Of a revision that exists the Hub is not asked again.
            asks = observed.pinned(wanted) is None
            checks = await read(kinds.JOB, access_checks(self.cluster, ref, unreadable), None) if asks else ()
            observed = replace(observed, access_checks=checks)
        if caches(deployment) or any(copy.claim for record in observed.revisions for copy in record.copies):
            facts = await read(
                kinds.PERSISTENT_VOLUME_CLAIM,
                weights_facts(self.cluster, ref.namespace, unreadable),
                WeightsFacts(refused=True),
            )
            observed = replace(observed, weights=facts)
        # At the end of a license nothing is erased while a pod may read it.
        if self.looks_at_pods or observed.weights is not None:
            observed = replace(observed, pods=await self._pods(ref), ended=self.ended)
            if bereft(observed):
                observed = replace(observed, ray_clusters=await self._ray_clusters(ref))
        if self.counts_free and observed.nodes is not None and _asks_for_free(observed, wanted):
            head = requests.head_shape(observed.pod_settings(self._card(observed)).head)
            on_cpu = deployment.spec.hardware.accelerator == "CPU"
            counting = free_rooms(self.cluster, observed.nodes, head, unreadable, on_cpu=on_cpu)
            observed = replace(observed, free=await read(kinds.POD, counting, None))
        observed = replace(await with_serving(observed, self.serving), unknown=self.rights.unknown)
        return with_number(observed, wanted)

    async def _default_queue(self, ref: Ref) -> bool:
        """Whether Kueue takes every RayService of the namespace; no where that may not be read."""
        kind = kinds.LOCAL_QUEUE
        if not self.platform.has(f"{kind.plural}.{kind.api_version.partition('/')[0]}"):
            return False
        # Who has no queue is not told that queues may not be read.
        return bool(await Lenient(str).read(kind, _find(self.cluster, Ref(kind, ref.namespace, DEFAULT_QUEUE)), {}))

    def _card(self, observed: Observed) -> Card | None:
        """A card whose image the pods need, if all that may be planned on need the same."""
        named = observed.deployment.spec.hardware.accelerator
        names = {node.accelerator for node in observed.nodes or ()} if named == "Auto" else {named}
        known = with_declared(self.catalog, observed.accelerators)
        cards = [card for card in known.accelerators if card.name in names and card.device == "GPU"]
        return cards[0] if len({card.image for card in cards}) == 1 else None

    def _empty(self, deployment: LlamaDeployment, now: datetime) -> Observed:
        return Observed(
            deployment, now=now, platform=self.platform, images=self.images, platform_pods=self.platform_pods
        )

    async def behind(self, live: Object, now: datetime) -> Observed | None:
        """Read what runs behind an object that cannot be understood, as its newest revision pins it.

        Fields that change in place are those of the object, as far as they can be read.

        Args:
            live: The object.
            now: Time of the observation, in UTC.

        Returns:
            None if no revision is pinned.

        Raises:
            KubeError: If Kubernetes cannot be read.
        """
        metadata = live["metadata"]
        own = await self._own(
            kinds.CONTROLLER_REVISION, Ref(kinds.LLAMA_DEPLOYMENT, metadata["namespace"], metadata["name"])
        )
        read, _ = children.revisions(own)
        revisions = [*read, *(facts for facts in self.remembered if all(other.name != facts.name for other in read))]
        for pinned in sorted(revisions, key=lambda facts: facts.number, reverse=True):
            deployment = _as_pinned(live, pinned)
            if deployment is not None:
                return await self.around(deployment, now)
        return None

    async def _always(self, observed: Observed, ref: Ref) -> Observed:
        """Add what every decision needs."""
        cluster, read, unreadable = self.cluster, self.rights.read, self.unreadable
        (acceptances, models, policies, cards), (nodes, services, ray_clusters, pinned, service) = await asyncio.gather(
            asyncio.gather(
                read(kinds.LICENSE_ACCEPTANCE, acceptances_of(cluster, unreadable), None),
                read(kinds.LLAMA_MODEL, models_of(cluster, unreadable), None),
                read(kinds.LICENSE_POLICY, policies_of(cluster, unreadable), None),
                read(kinds.ACCELERATOR, accelerators_of(cluster, unreadable), None),
            ),
            asyncio.gather(
                read(kinds.NODE, cluster.list(kinds.NODE), None),
                self._own(kinds.RAY_SERVICE, ref),
                self._ray_clusters(ref),
                self._own(kinds.CONTROLLER_REVISION, ref),
                read(kinds.SERVICE, _find(cluster, Ref(kinds.SERVICE, ref.namespace, ref.name)), {}),
            ),
        )
        # A Service of somebody else by that name says nothing about this deployment, and is not asked.
        traffic = unreadable.one(service, partial(children.traffic_facts, deployment=ref.name))
        read_now, unread = children.revisions(pinned)
        for record in unread:
            unreadable.leave_out(kinds.CONTROLLER_REVISION.kind, f"{ref.namespace}/{record.name}", record.why)
        named = {"" if traffic is None else traffic.revision, revision_of(observed.deployment, read_now).name}
        services = (*services, *await self._unlabeled(services, (*read_now, *self.remembered), observed.deployment))
        lost = self._lost((*read_now, *unread), named | {item["metadata"]["name"] for item in services})
        revisions = (*read_now, *lost)
        served = {facts.name for facts in revisions if facts.served_at}
        ray_services = unreadable.all(services, children.ray_service_facts)
        items = () if nodes is None else nodes.items
        declared = _first(self.declared, None if cards is None else cards.read)
        known = with_declared(self.catalog, declared)
        capacity = unreadable.all(items, partial(node_facts, catalog=known))
        return replace(
            observed,
            acceptances=None if acceptances is None else acceptances.read,
            models=None if models is None else models.read,
            policies=None if policies is None else policies.read,
            accelerators=declared,
            unread_records=tuple(
                record
                for records in (acceptances, models, policies, cards)
                if records is not None
                for record in records.unread
            ),
            nodes=None if nodes is None else capacity,
            away=unreadable.all(items, partial(away_node, catalog=known)),
            ray_services=tuple(replace(facts, holds_replicas=facts.name in served) for facts in ray_services),
            ray_clusters=ray_clusters,
            revisions=revisions,
            unread_revisions=unread,
            lost=frozenset(facts.name for facts in lost),
            traffic=traffic,
            address="" if traffic is None else unreadable.one(service, _address) or "",
            platform=observed.platform.seen(facts.kuberay for facts in ray_clusters),
        )

    async def with_routes(self, observed: Observed) -> Observed:
        """Add the routes of the deployment as they are now."""
        metadata, spec = observed.deployment.metadata, observed.deployment.spec
        labels = {LABEL_DEPLOYMENT: metadata.name}
        # Who asks for no route is not told that routes may not be read.
        rights = Lenient(str) if spec.endpoint.expose is None else self.rights
        served = [kinds.find(one.api_version, one.kind) for one in ROUTE_KINDS if not lacks(observed.platform, one)]
        listings = await asyncio.gather(
            *(
                rights.read(kind, self.cluster.list(kind, namespace=metadata.namespace, labels=labels), None)
                for kind in served
                if kind is not None
            )
        )
        items = [item for listing in listings if listing is not None for item in listing.items]
        named = (item for item in items if item["metadata"]["name"] == metadata.name)
        return replace(observed, routes=self.unreadable.all(named, route_facts))

    async def _ray_clusters(self, ref: Ref) -> tuple[RayClusterFacts, ...]:
        return self.unreadable.all(await self._own(kinds.RAY_CLUSTER, ref), children.ray_cluster_facts)

    async def _pods(self, ref: Ref) -> tuple[PodFacts, ...] | None:
        """Pods of the deployment; None where they may not be read."""
        reading = self.cluster.list(kinds.POD, namespace=ref.namespace, labels={LABEL_DEPLOYMENT: ref.name})
        listing = await self.rights.read(kinds.POD, reading, None)
        return None if listing is None else self.unreadable.all(listing.items, pod_facts)

    def _lost(
        self, recorded: Collection[RevisionFacts | UnreadRevision], needed: Collection[str]
    ) -> tuple[RevisionFacts, ...]:
        """Remembered revisions without a record that are asked for, shall run, have the traffic or ended by their license."""
        known = {facts.name for facts in recorded}
        return tuple(
            facts
            for facts in self.remembered
            if facts.name not in known
            and (facts.name in needed or facts.live is not None or facts.license_end is not None)
        )

    async def _unlabeled(
        self, services: Collection[Object], records: Collection[RevisionFacts], deployment: LlamaDeployment
    ) -> tuple[Object, ...]:
        """RayServices of known revisions that the deployment owns, and from which somebody took the label."""
        listed = {item["metadata"]["name"] for item in services}
        missing = sorted({record.name for record in records} - listed)
        refs = [Ref(kinds.RAY_SERVICE, deployment.metadata.namespace, name) for name in missing]
        found = await asyncio.gather(*(self.rights.read(ref.kind, _find(self.cluster, ref), {}) for ref in refs))
        return tuple(item for item in found if item and _owned(item, deployment.metadata.uid))

    async def _own(self, kind: Kind, ref: Ref) -> tuple[Object, ...]:
        reading = self.cluster.list(kind, namespace=ref.namespace, labels={LABEL_DEPLOYMENT: ref.name})
        listing = await self.rights.read(kind, reading, None)
        return () if listing is None else listing.items


def _asks_for_free(observed: Observed, wanted: str) -> bool:
    """Whether it has to be counted what is free: that reads the pods of every node with accelerators."""
    waits = any(pod.unschedulable and pod.revision == wanted for pod in observed.pods or ())
    return waits or strategy.needs_count(observed, wanted) or _chooses(observed, wanted)


def _chooses(observed: Observed, wanted: str) -> bool:
    """Whether `Auto` has a choice between accelerators, for a revision that does not exist yet."""
    if observed.deployment.spec.hardware.accelerator != "Auto" or observed.pinned(wanted) is not None:
        return False
    cards = {node.accelerator for node in observed.nodes or () if node.gpus and not node.device_problem}
    return len(cards - {"CPU"}) > 1


def _as_pinned(live: Object, pinned: RevisionFacts) -> LlamaDeployment | None:
    """The deployment with the pinned fields in place of its own, and of the others those that can be read."""
    written = live.get("spec")
    spec = FIELDS.rolled_back(written if isinstance(written, Mapping) else {}, pinned.inputs)
    if pinned.license is not None:
        spec["license"] = pinned.license.to_api()
    for _ in range(_TRIES):
        try:
            return parse_live(LlamaDeployment, {key: live[key] for key in _ADDRESS} | {"spec": spec})
        except InvalidManifestError as error:
            for problem in error.problems:
                spec = paths.without(spec, problem.path.removeprefix("spec."))
    return None


def _first(beside: tuple[Accelerator, ...], live: tuple[Accelerator, ...] | None) -> tuple[Accelerator, ...] | None:
    """Accelerators as they would be; None when they may not be read and there are none beside."""
    names = {card.metadata.name for card in beside}
    kept = tuple(card for card in live or () if card.metadata.name not in names)
    return None if live is None and not beside else (*beside, *kept)


async def _find(cluster: Cluster, ref: Ref) -> Object:
    """Return an object; empty if there is none."""
    try:
        return await cluster.get(ref)
    except NotFoundError:
        return {}


def _owned(item: Object, uid: str) -> bool:
    owners = mappings(item["metadata"].get("ownerReferences"))
    return bool(uid) and any(owner.get("uid") == uid and owner.get("controller") for owner in owners)


def _address(service: Object) -> str:
    spec, balancer = mapping(service.get("spec")), mapping(mapping(service.get("status")).get("loadBalancer"))
    for entry in mappings(balancer.get("ingress")):
        host = text(entry.get("ip")) or text(entry.get("hostname"))
        ports = mappings(entry.get("ports")) or mappings(spec.get("ports"))
        port = readings.whole(ports[0].get("port"), least=1, most=65535) if ports else None
        if host and port is not None:
            return f"{host}:{port}"
    return ""
