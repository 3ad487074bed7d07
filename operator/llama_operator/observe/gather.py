"""Reads everything that a decision rests on, through ports: one world for the operator and for every command.

Called by `reconcile` and by the CLI. The objects of Kubernetes end here: what leaves this module is typed and frozen.
"""

import asyncio
import contextlib
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from llama_operator.api import readings
from llama_operator.api.manifest import parse_as
from llama_operator.api.meta import LABEL_ACCESS_CHECK, LABEL_DEPLOYMENT
from llama_operator.api.readings import mapping, mappings, text
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.catalog import Catalog
from llama_operator.decide.observed import AccessCheckFacts, Observed
from llama_operator.decide.platform import Platform
from llama_operator.decide.rollout import strategy
from llama_operator.decide.rollout.revision import revision_of
from llama_operator.errors import InvalidManifestError
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, Kind, NotFoundError, Object, Ref
from llama_operator.observe import children
from llama_operator.observe.capacity import free_accelerators, node_facts
from llama_operator.observe.license_records import acceptances_of, models_of, policies_of
from llama_operator.observe.live import parsed
from llama_operator.observe.requester import requester
from llama_operator.observe.rights import Rights
from llama_operator.observe.serving import ServingReader, with_serving
from llama_operator.observe.unreadable import Unreadable

_ADDRESS = ("apiVersion", "kind", "metadata")


@dataclass(frozen=True, slots=True)
class Observer:
    """Reads the world of one deployment after the other.

    Attributes:
        cluster: Where to read.
        catalog: Tells what a node offers.
        serving: Asks the serving pods.
        platform: What the cluster can do.
        checks_access: Whether access to gated weights is checked before a revision starts.
        counts_free: Whether free accelerators are counted where the strategy of a rollout rests on them.
        rights: What happens when a part may not be read.
        unreadable: Takes what cannot be read because of what it is.
    """

    cluster: Cluster
    catalog: Catalog
    serving: ServingReader
    platform: Platform = field(default_factory=Platform)
    checks_access: bool = False
    counts_free: bool = True
    rights: Rights = field(default_factory=Rights)
    unreadable: Unreadable = field(default_factory=Unreadable)

    async def observe(self, ref: Ref, now: datetime) -> Observed | None:
        """Read the deployment at `ref` and all that matters to it; None when it does not exist.

        Raises:
            InvalidManifestError: If the live object breaks a rule that the API server did not check.
            KubeError: If Kubernetes cannot be read.
        """
        try:
            live = await self.cluster.get(ref)
        except NotFoundError:
            return None
        return replace(await self.around(parsed(LlamaDeployment, live), now), requester=requester(live))

    async def around(self, deployment: LlamaDeployment, now: datetime) -> Observed:
        """Read all that matters to `deployment`, whose spec need not be applied yet.

        Args:
            deployment: The deployment as it is, or as it would be.
            now: Time of the observation, in UTC.

        Raises:
            KubeError: If Kubernetes cannot be read.
        """
        read, wanted = self.rights.read, revision_of(deployment).name
        ref = Ref(kinds.LLAMA_DEPLOYMENT, deployment.metadata.namespace, deployment.metadata.name)
        observed, nodes = await self._always(Observed(deployment, now=now, platform=self.platform), ref)
        if self.checks_access and observed.pinned(wanted) is None:
            checks = await read(kinds.JOB, access_checks(self.cluster, ref, self.unreadable), None)
            observed = replace(observed, access_checks=checks)
        if self.counts_free and observed.nodes is not None and strategy.needs_count(observed, wanted):
            free = await read(kinds.POD, free_accelerators(self.cluster, nodes, self.catalog, self.unreadable), None)
            observed = replace(observed, free=free)
        return replace(await with_serving(observed, self.serving), unknown=self.rights.unknown)

    async def behind(self, live: Object, now: datetime) -> Observed | None:
        """Read what runs behind an object that cannot be understood, with the newest pinned spec in place of its own.

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
        revisions = self.unreadable.all(own, children.runnable_revision)
        for pinned in sorted(revisions, key=lambda facts: facts.number, reverse=True):
            spec = dict(pinned.inputs) | ({"license": pinned.license.to_api()} if pinned.license else {})
            with contextlib.suppress(InvalidManifestError):
                deployment = parse_as(LlamaDeployment, {key: live[key] for key in _ADDRESS} | {"spec": spec})
                return await self.around(deployment, now)
        return None

    async def _always(self, observed: Observed, ref: Ref) -> tuple[Observed, tuple[Object, ...]]:
        """Add what every decision needs; also returns the Nodes, for what only some decisions count."""
        cluster, read, unreadable = self.cluster, self.rights.read, self.unreadable
        (acceptances, models, policies), (nodes, services, clusters, pinned, service) = await asyncio.gather(
            asyncio.gather(
                read(kinds.LICENSE_ACCEPTANCE, acceptances_of(cluster, unreadable), None),
                read(kinds.LLAMA_MODEL, models_of(cluster, unreadable), None),
                read(kinds.LICENSE_POLICY, policies_of(cluster, unreadable), None),
            ),
            asyncio.gather(
                read(kinds.NODE, cluster.list(kinds.NODE), None),
                self._own(kinds.RAY_SERVICE, ref),
                self._own(kinds.RAY_CLUSTER, ref),
                self._own(kinds.CONTROLLER_REVISION, ref),
                read(kinds.SERVICE, _service(cluster, ref), {}),
            ),
        )
        revisions = unreadable.all(pinned, children.runnable_revision)
        served = {facts.name for facts in revisions if facts.served_at}
        ray_services = unreadable.all(services, children.ray_service_facts)
        ray_clusters = unreadable.all(clusters, children.ray_cluster_facts)
        items = () if nodes is None else nodes.items
        capacity = unreadable.all(items, partial(node_facts, catalog=self.catalog))
        now = observed.now
        observed = replace(
            observed,
            acceptances=acceptances,
            models=models,
            policies=policies,
            nodes=None if nodes is None else capacity,
            ray_services=tuple(replace(facts, holds_replicas=facts.name in served) for facts in ray_services),
            ray_clusters=ray_clusters,
            revisions=revisions,
            traffic=unreadable.one(service, partial(children.traffic_facts, deployment=ref.name, now=now)),
            address=unreadable.one(service, _address) or "",
            platform=observed.platform.seen(facts.kuberay for facts in ray_clusters),
        )
        return observed, items

    async def _own(self, kind: Kind, ref: Ref) -> tuple[Object, ...]:
        reading = self.cluster.list(kind, namespace=ref.namespace, labels={LABEL_DEPLOYMENT: ref.name})
        listing = await self.rights.read(kind, reading, None)
        return () if listing is None else listing.items


async def access_checks(cluster: Cluster, ref: Ref, unreadable: Unreadable) -> tuple[AccessCheckFacts, ...]:
    """Read the Jobs that ask for access to the weights of the deployment at `ref`.

    The verdict stands in the status of a Job's pod: pods are read for it while a question is open, and not watched.
    """
    own = {LABEL_DEPLOYMENT: ref.name}
    checks: list[AccessCheckFacts] = []
    for job in (await cluster.list(kinds.JOB, namespace=ref.namespace, labels=own)).items:
        name: str = job["metadata"]["name"]
        if readings.labels(job).get(LABEL_ACCESS_CHECK) != name:
            continue
        pods = (await cluster.list(kinds.POD, namespace=ref.namespace, labels={LABEL_ACCESS_CHECK: name})).items
        checks += unreadable.all((job,), partial(children.access_check_facts, pods=pods))
    return tuple(checks)


async def _service(cluster: Cluster, ref: Ref) -> Object:
    try:
        return await cluster.get(Ref(kinds.SERVICE, ref.namespace, ref.name))
    except NotFoundError:
        return {}


def _address(service: Object) -> str:
    spec, balancer = mapping(service.get("spec")), mapping(mapping(service.get("status")).get("loadBalancer"))
    for entry in mappings(balancer.get("ingress")):
        host = text(entry.get("ip")) or text(entry.get("hostname"))
        ports = mappings(entry.get("ports")) or mappings(spec.get("ports"))
        port = readings.whole(ports[0].get("port"), least=1, most=65535) if ports else None
        if host and port is not None:
            return f"{host}:{port}"
    return ""
