"""What `kubectl llama doctor` knows about a cluster, and how it is read. Judged by `cli.doctor.checks`."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from llama_operator import catalog
from llama_operator.api import crd, readings
from llama_operator.api.manifest import parse_live
from llama_operator.api.readings import mapping
from llama_operator.api.v1alpha1.accelerator import Accelerator
from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicy
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.api.v1alpha1.llamamodel import LlamaModel
from llama_operator.catalog import Catalog
from llama_operator.catalog.accelerators import Accelerator as Card
from llama_operator.catalog.declared import with_declared
from llama_operator.cli.doctor import kinds as foreign_kinds
from llama_operator.cli.doctor.deployments import DeploymentFacts, deployment_facts, kuberays
from llama_operator.cli.doctor.storage import StorageClassFacts, storage_class
from llama_operator.cli.explain.facts import LeaseFacts
from llama_operator.cli.explain.gather import lease_of
from llama_operator.cli.shared.connection import (
    Connection,
    Unknown,
    list_facts,
    read_if_permitted,
    read_if_possible,
    value_or,
)
from llama_operator.decide.placement.cards import tolerations_for
from llama_operator.decide.placement.fit import repels
from llama_operator.decide.placement.shape import Room
from llama_operator.decide.platform import Platform
from llama_operator.desired.naming import MANAGER
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, Kind, NotFoundError, Object, Ref
from llama_operator.observe.children import ray_cluster_facts, ray_service_facts, readable_revision
from llama_operator.observe.jobs.access_check import access_check_facts
from llama_operator.observe.nodes.facts import devices_on, node_facts
from llama_operator.observe.unreadable import LeftOut, Unreadable

KUBERAY = ("rayservices.ray.io", "rayclusters.ray.io")
GATEWAY_API = "httproutes.gateway.networking.k8s.io"
KARPENTER = "nodepools.karpenter.sh"
KUEUE = "clusterqueues.kueue.x-k8s.io"
PROMETHEUS = "podmonitors.monitoring.coreos.com"
METRICS_SERVER = "pods.metrics.k8s.io"
FEATURE_DISCOVERY = "nodefeatures.nfd.k8s-sigs.io"
NETWORK_PLUGINS: Mapping[str, str] = {
    "ciliumnetworkpolicies.cilium.io": "Cilium",
    "felixconfigurations.crd.projectcalico.org": "Calico",
    "antreaagentinfos.crd.antrea.io": "Antrea",
    "policyendpoints.networking.k8s.aws": "the Amazon VPC network policy agent",
}
"""Kinds of network plugins that enforce NetworkPolicies."""
NO_DISCOVERY = "the API server does not tell which kinds it serves"

_PART_OF = {"app.kubernetes.io/part-of": "llama-operator"}
_OPERATOR = _PART_OF | {"app.kubernetes.io/component": "operator"}
_MANAGED = {"app.kubernetes.io/managed-by": MANAGER}
_PRODUCT = "nvidia.com/gpu.product"
_CLUSTER_AUTOSCALER = "cluster-autoscaler-status"


@dataclass(frozen=True, slots=True)
class CrdFacts:
    """A CRD that is there."""

    versions: tuple[str, ...]
    """Served versions."""
    fields: frozenset[str]
    """Paths of the fields of its newest version."""


@dataclass(frozen=True, slots=True)
class NodeSummary:
    """A node, as far as it matters for accelerators."""

    name: str
    accelerator: str
    """Name in the catalog; empty for a node without a card that we know."""
    gpus: int
    product: str = ""
    """What feature discovery calls the card; empty without its label."""
    usable: bool = True
    """Whether it takes new pods."""
    problem: str = ""
    """Why nothing is planned on its accelerators; empty if something is, and for a node without any."""
    room: Room | None = None
    """What it has for pods; None if it takes none."""
    card: Card | None = None
    """The card that `accelerator` names, where one is planned on."""
    runtime: str = ""
    """Its container runtime with its version, as in `containerd://2.1.4`; empty if it does not tell."""


@dataclass(frozen=True, slots=True)
class DoctorFacts:
    """All that the checks rest on."""

    now: datetime
    platform: Platform
    crds: Mapping[str, CrdFacts | Unknown | None]
    """Our own CRDs by name; None for one that is not there."""
    lease: LeaseFacts | Unknown | None
    operators: tuple[DeploymentFacts, ...] | Unknown
    kuberays: tuple[DeploymentFacts, ...] | Unknown
    policies: tuple[str, ...] | Unknown
    bindings: tuple[str, ...] | Unknown
    nodes: tuple[NodeSummary, ...] | Unknown
    node_pools: tuple[str, ...] | Unknown | None
    """Karpenter's NodePools; None without Karpenter."""
    cluster_autoscaler: bool | Unknown
    storage: tuple[StorageClassFacts, ...] | Unknown = ()
    """StorageClasses, one of which may hold copies of weights."""
    unreadable: tuple[LeftOut, ...] | Unknown = ()
    """What the operator leaves out because it cannot be read; Unknown if nothing may be looked at."""


async def gather(connection: Connection) -> DoctorFacts:
    """Look at everything; what may not be read becomes Unknown."""
    cluster = connection.cluster
    cards = await list_facts(cluster, kinds.ACCELERATOR, partial(parse_live, Accelerator))
    known = with_declared(catalog.load(), value_or(cards, ()))
    platform, lease = await asyncio.gather(connection.platform(), read_if_possible(lease_of(cluster)))
    operators, ray_operators, ray_clusters = await asyncio.gather(
        list_facts(cluster, foreign_kinds.DEPLOYMENT, deployment_facts, None, _OPERATOR),
        kuberays(connection),
        list_facts(cluster, kinds.RAY_CLUSTER, ray_cluster_facts),
    )
    policies, bindings, nodes = await asyncio.gather(
        list_facts(cluster, foreign_kinds.ADMISSION_POLICY, _name, None, _PART_OF),
        list_facts(cluster, foreign_kinds.ADMISSION_BINDING, _policy_of, None, _PART_OF),
        list_facts(cluster, kinds.NODE, lambda item: _node(item, known)),
    )
    images = [deployment.image.rpartition(":")[2] for deployment in value_or(ray_operators, ())]
    made = [ray_cluster.kuberay for ray_cluster in value_or(ray_clusters, ())]
    return DoctorFacts(
        now=connection.now(),
        platform=platform.seen(images).seen(made),
        crds=await _crds(cluster),
        lease=lease,
        operators=operators,
        kuberays=ray_operators,
        policies=policies,
        bindings=bindings,
        nodes=nodes,
        node_pools=await _node_pools(cluster, platform),
        cluster_autoscaler=await _cluster_autoscaler(cluster),
        storage=await list_facts(cluster, foreign_kinds.STORAGE_CLASS, storage_class),
        unreadable=await _unreadable(cluster, known),
    )


async def _unreadable(cluster: Cluster, known: Catalog) -> tuple[LeftOut, ...] | Unknown:
    """Read each object as the operator does, and keep those that it cannot read; what may not be listed is not looked at."""
    unreadable = Unreadable()
    readers: Mapping[Kind, tuple[Callable[[Object], object], Mapping[str, str]]] = {
        kinds.NODE: (partial(node_facts, catalog=known), {}),
        kinds.LLAMA_DEPLOYMENT: (partial(parse_live, LlamaDeployment), {}),
        kinds.LLAMA_MODEL: (partial(parse_live, LlamaModel), {}),
        kinds.LICENSE_ACCEPTANCE: (partial(parse_live, LicenseAcceptance), {}),
        kinds.LICENSE_POLICY: (partial(parse_live, LicensePolicy), {}),
        kinds.ACCELERATOR: (partial(parse_live, Accelerator), {}),
        kinds.CONTROLLER_REVISION: (readable_revision, _MANAGED),
        kinds.RAY_SERVICE: (ray_service_facts, _MANAGED),
        kinds.RAY_CLUSTER: (ray_cluster_facts, _MANAGED),
        kinds.JOB: (partial(access_check_facts, pods=()), _MANAGED),
    }
    listings = await asyncio.gather(
        *(read_if_possible(cluster.list(kind, labels=labels)) for kind, (_, labels) in readers.items())
    )
    whys = [listing for listing in listings if isinstance(listing, Unknown)]
    for listing, (read, _) in zip(listings, readers.values(), strict=True):
        if not isinstance(listing, Unknown):
            unreadable.all(listing.items, read)
    return whys[0] if len(whys) == len(listings) else unreadable.found


def expected_fields() -> Mapping[str, frozenset[str]]:
    """Fields of our own CRDs, by the name of the CRD, as this version has them."""
    built = [crd.build(resource) for resource in crd.RESOURCES]
    return {definition["metadata"]["name"]: frozenset(_fields(_newest_schema(definition))) for definition in built}


async def _crds(cluster: Cluster) -> Mapping[str, CrdFacts | Unknown | None]:
    names = list(expected_fields())
    live = await asyncio.gather(*(_existing(cluster, Ref(foreign_kinds.CRD, "", name)) for name in names))
    return {name: _crd(item) if isinstance(item, dict) else item for name, item in zip(names, live, strict=True)}


async def _existing(cluster: Cluster, ref: Ref) -> Object | Unknown | None:
    """Read one object; None if it does not exist, Unknown if it may not be read."""
    try:
        return await read_if_permitted(cluster.get(ref))
    except NotFoundError:
        return None


async def _node_pools(cluster: Cluster, platform: Platform) -> tuple[str, ...] | Unknown | None:
    if platform.kinds is None:
        return Unknown(NO_DISCOVERY)
    if not platform.has(KARPENTER):
        return None
    return await list_facts(cluster, foreign_kinds.NODE_POOL, _name)


async def _cluster_autoscaler(cluster: Cluster) -> bool | Unknown:
    status = await _existing(cluster, Ref(kinds.CONFIG_MAP, "kube-system", _CLUSTER_AUTOSCALER))
    return status if isinstance(status, Unknown) else status is not None


def _crd(obj: Object) -> CrdFacts:
    versions = tuple(version["name"] for version in obj["spec"]["versions"] if version.get("served", True))
    return CrdFacts(versions, frozenset(_fields(_newest_schema(obj))))


def _newest_schema(obj: Object) -> Mapping[str, Any]:
    schema: Mapping[str, Any] = (obj["spec"]["versions"][-1].get("schema") or {}).get("openAPIV3Schema") or {}
    return schema


def _fields(schema: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, below in (schema.get("properties") or {}).items():
        yield f"{prefix}{name}"
        yield from _fields(below, f"{prefix}{name}.")
    if isinstance(items := schema.get("items"), Mapping):
        yield from _fields(items, f"{prefix.removesuffix('.')}[].")


def _name(obj: Object) -> str:
    name: str = obj["metadata"]["name"]
    return name


def _policy_of(obj: Object) -> str:
    return str((obj.get("spec") or {}).get("policyName", ""))


def _node(obj: Object, known: Catalog) -> NodeSummary:
    metadata, status = obj["metadata"], mapping(obj.get("status"))
    facts, devices = node_facts(obj, known), devices_on(obj, known)
    card = None if devices is None else devices.accelerator
    tolerated = () if card is None else tolerations_for(card)
    room = None if facts is None else facts.room
    return NodeSummary(
        name=metadata["name"],
        accelerator="" if card is None else card.name,
        gpus=0 if devices is None else readings.units(mapping(status.get("allocatable")).get(devices.resource)) or 0,
        product=readings.labels(obj).get(_PRODUCT, ""),
        usable=room is not None and repels(room.taints, tolerated) is None,
        room=room,
        problem="" if devices is None else devices.problem,
        card=card,
        runtime=readings.text(mapping(status.get("nodeInfo")).get("containerRuntimeVersion")),
    )
