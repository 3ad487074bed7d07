"""Reads everything that a decision rests on, through ports: one world for the operator and for every command.

Called by `reconcile` and by the CLI. The objects of Kubernetes end here: what leaves this module is typed and frozen.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from llama_operator.api.manifest import parse_as
from llama_operator.api.meta import LABEL_DEPLOYMENT, LABEL_PREFLIGHT
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.catalog import Catalog
from llama_operator.decide.observed import AccessCheckFacts, NodeFacts, Observed
from llama_operator.decide.platform import Platform
from llama_operator.decide.rollout import strategy
from llama_operator.decide.rollout.revision import revision_of
from llama_operator.kube import kinds
from llama_operator.kube.port import Kind, NotFoundError, Object, Ref
from llama_operator.observe import children
from llama_operator.observe.capacity import free_accelerators, node_facts
from llama_operator.observe.license_records import acceptances_of, models_of, policies_of
from llama_operator.observe.reads import Reads
from llama_operator.observe.requester import requester
from llama_operator.observe.rights import Rights, Strict
from llama_operator.observe.serving import ServingReader, with_serving

_STRICT = Strict()
_UNKNOWN = Platform()


async def observe(
    cluster: Reads,
    ref: Ref,
    *,
    catalog: Catalog,
    serving: ServingReader,
    now: datetime,
    platform: Platform = _UNKNOWN,
    checks_access: bool = False,
) -> Observed | None:
    """Read the deployment at `ref` and all that matters to it; None when it does not exist.

    Args:
        cluster: Where to read.
        ref: Address of the deployment.
        catalog: Tells what a node offers.
        serving: Asks the serving pods.
        now: Time of the observation, in UTC.
        platform: What the cluster can do.
        checks_access: Whether access to gated weights is checked before a revision starts.

    Raises:
        InvalidManifestError: If the live object breaks a rule that the API server did not check.
        KubeError: If Kubernetes cannot be read.
    """
    try:
        live = await cluster.get(ref)
    except NotFoundError:
        return None
    deployment = parse_as(LlamaDeployment, live)
    observed = await world_of(
        cluster, deployment, catalog=catalog, serving=serving, now=now, platform=platform, checks_access=checks_access
    )
    return replace(observed, requester=requester(live))


async def world_of(
    cluster: Reads,
    deployment: LlamaDeployment,
    *,
    catalog: Catalog,
    serving: ServingReader,
    now: datetime,
    platform: Platform = _UNKNOWN,
    checks_access: bool = False,
    counts_free: bool = True,
    rights: Rights = _STRICT,
) -> Observed:
    """Read all that matters to `deployment`, whose spec need not be applied yet; see `observe`.

    Args:
        cluster: Where to read.
        deployment: The deployment as it is, or as it would be.
        catalog: Tells what a node offers.
        serving: Asks the serving pods.
        now: Time of the observation, in UTC.
        platform: What the cluster can do.
        checks_access: Whether access to gated weights is checked before a revision starts.
        counts_free: Whether free accelerators are counted where the strategy of a rollout rests on them.
        rights: What happens when a part may not be read.

    Raises:
        KubeError: If Kubernetes cannot be read.
    """
    ref = Ref(kinds.LLAMA_DEPLOYMENT, deployment.metadata.namespace, deployment.metadata.name)
    observed, nodes = await _World(cluster, ref, catalog, rights).read(Observed(deployment, now=now, platform=platform))
    wanted = revision_of(deployment).name
    if checks_access and observed.pinned(wanted) is None:
        observed = replace(observed, access_checks=await rights.read(kinds.JOB, access_checks(cluster, ref), None))
    if counts_free and observed.nodes is not None and strategy.needs_count(observed, wanted):
        free = await rights.read(kinds.POD, free_accelerators(cluster, nodes, catalog), None)
        observed = replace(observed, free=free)
    return replace(await with_serving(observed, serving), unknown=rights.unknown)


class _World:
    """Reads what stands around one deployment."""

    def __init__(self, cluster: Reads, ref: Ref, catalog: Catalog, rights: Rights) -> None:
        self._cluster = cluster
        self._ref = ref
        self._catalog = catalog
        self._rights = rights

    async def read(self, observed: Observed) -> tuple[Observed, tuple[Object, ...]]:
        """Add what all passes need; also returns the Nodes, for what only some passes count."""
        cluster, rights = self._cluster, self._rights
        (acceptances, models, policies), (nodes, services, clusters, pinned, service) = await asyncio.gather(
            asyncio.gather(
                rights.read(kinds.LICENSE_ACCEPTANCE, acceptances_of(cluster), None),
                rights.read(kinds.LLAMA_MODEL, models_of(cluster), None),
                rights.read(kinds.LICENSE_POLICY, policies_of(cluster), None),
            ),
            asyncio.gather(
                rights.read(kinds.NODE, self._nodes(), None),
                self._own(kinds.RAY_SERVICE),
                self._own(kinds.RAY_CLUSTER),
                self._own(kinds.CONTROLLER_REVISION),
                rights.read(kinds.SERVICE, self._service(), {}),
            ),
        )
        revisions = tuple(facts for item in pinned if (facts := children.revision_facts(item)) is not None)
        served = {facts.name for facts in revisions if facts.served_at}
        ray_clusters = tuple(map(children.ray_cluster_facts, clusters))
        observed = replace(
            observed,
            acceptances=acceptances,
            models=models,
            policies=policies,
            nodes=None if nodes is None else self._node_facts(nodes),
            ray_services=tuple(
                replace(facts, holds_replicas=facts.name in served)
                for facts in map(children.ray_service_facts, services)
            ),
            ray_clusters=ray_clusters,
            platform=observed.platform.seen(facts.kuberay for facts in ray_clusters),
            revisions=revisions,
            traffic=children.traffic_facts(service, self._ref.name),
            address=_address(service),
        )
        return observed, nodes or ()

    async def _own(self, kind: Kind) -> tuple[Object, ...]:
        reading = self._cluster.list(kind, namespace=self._ref.namespace, labels={LABEL_DEPLOYMENT: self._ref.name})
        listing = await self._rights.read(kind, reading, None)
        return () if listing is None else listing.items

    async def _nodes(self) -> tuple[Object, ...]:
        return (await self._cluster.list(kinds.NODE)).items

    def _node_facts(self, nodes: tuple[Object, ...]) -> tuple[NodeFacts, ...]:
        return tuple(facts for item in nodes if (facts := node_facts(item, self._catalog)) is not None)

    async def _service(self) -> Object:
        try:
            return await self._cluster.get(Ref(kinds.SERVICE, self._ref.namespace, self._ref.name))
        except NotFoundError:
            return {}


async def access_checks(cluster: Reads, ref: Ref) -> tuple[AccessCheckFacts, ...]:
    """Read the Jobs that ask for access to the weights of the deployment at `ref`.

    The verdict stands in the status of a Job's pod: pods are read for it while a question is open, and not watched.
    """
    own = {LABEL_DEPLOYMENT: ref.name}
    checks = []
    for job in (await cluster.list(kinds.JOB, namespace=ref.namespace, labels=own)).items:
        name = (job["metadata"].get("labels") or {}).get(LABEL_PREFLIGHT)
        if name != job["metadata"]["name"]:
            continue
        pods = (await cluster.list(kinds.POD, namespace=ref.namespace, labels={LABEL_PREFLIGHT: name})).items
        checks.append(children.access_check_facts(job, pods))
    return tuple(checks)


def _address(service: Mapping[str, Any]) -> str:
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    for entry in ingress:
        host = entry.get("ip") or entry.get("hostname")
        ports = entry.get("ports") or (service.get("spec") or {}).get("ports") or ()
        if host and ports:
            return f"{host}:{ports[0]['port']}"
    return ""
