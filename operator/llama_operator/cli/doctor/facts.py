"""What `kubectl llama doctor` knows about a cluster, and how it is read. Judged by `cli.doctor.checks`."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llama_operator import catalog
from llama_operator.api import crd
from llama_operator.catalog import Catalog
from llama_operator.cli.doctor import kinds as foreign_kinds
from llama_operator.cli.explain.facts import LeaseFacts
from llama_operator.cli.explain.gather import lease_of
from llama_operator.cli.shared.connection import Connection, Unknown, facts_of, permitted, readable
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, NotFoundError, Object, Ref
from llama_operator.observe.capacity import node_facts

KUBERAY = ("rayservices.ray.io", "rayclusters.ray.io")
GATEWAY_API = "httproutes.gateway.networking.k8s.io"
KARPENTER = "nodepools.karpenter.sh"
KUEUE = "clusterqueues.kueue.x-k8s.io"
PROMETHEUS = "podmonitors.monitoring.coreos.com"
NETWORK_PLUGINS: Mapping[str, str] = {
    "ciliumnetworkpolicies.cilium.io": "Cilium",
    "felixconfigurations.crd.projectcalico.org": "Calico",
    "antreaagentinfos.crd.antrea.io": "Antrea",
    "policyendpoints.networking.k8s.aws": "the Amazon VPC network policy agent",
}
"""CRDs that tell a network plugin which enforces NetworkPolicies."""

_PART_OF = {"app.kubernetes.io/part-of": "llama-operator"}
_OPERATOR = _PART_OF | {"app.kubernetes.io/component": "operator"}
_KUBERAY_LABELS = (
    {"app.kubernetes.io/name": "kuberay-operator"},
    {"app.kubernetes.io/component": "kuberay-operator"},
)
"""As KubeRay's chart and its kustomization label it."""
_KUBERAY_VERSION = "ray.io/kuberay-version"
_PRODUCT = "nvidia.com/gpu.product"
_GPU = "nvidia.com/gpu"
_CLUSTER_AUTOSCALER = "cluster-autoscaler-status"


@dataclass(frozen=True, slots=True)
class CrdFacts:
    """A CRD that is there."""

    versions: tuple[str, ...]
    """Served versions."""
    fields: frozenset[str]
    """Paths of the fields of its newest version; of our own CRDs only."""


@dataclass(frozen=True, slots=True)
class DeploymentFacts:
    """A Deployment of an operator."""

    namespace: str
    name: str
    image: str
    ready: int
    wanted: int
    version: str = ""
    """By its label; empty if it has none."""


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


@dataclass(frozen=True, slots=True)
class DoctorFacts:
    """All that the checks rest on."""

    now: datetime
    server_version: str | Unknown
    crds: Mapping[str, CrdFacts | Unknown | None]
    """By name; None for one that is not there."""
    lease: LeaseFacts | Unknown | None
    operators: tuple[DeploymentFacts, ...] | Unknown
    kuberays: tuple[DeploymentFacts, ...] | Unknown
    kuberay_versions: tuple[str, ...] | Unknown
    """Versions of KubeRay that made the RayClusters of today."""
    policies: tuple[str, ...] | Unknown
    bindings: tuple[str, ...] | Unknown
    nodes: tuple[NodeSummary, ...] | Unknown
    node_pools: tuple[str, ...] | Unknown | None
    """Karpenter's NodePools; None without Karpenter."""
    cluster_autoscaler: bool | Unknown


async def gather(connection: Connection) -> DoctorFacts:
    """Look at everything; what may not be read becomes Unknown."""
    cluster, known = connection.cluster, catalog.load()
    version, lease = await asyncio.gather(connection.server_version(), readable(lease_of(cluster)))
    operators, kuberays, versions = await asyncio.gather(
        facts_of(cluster, foreign_kinds.DEPLOYMENT, _deployment, None, _OPERATOR),
        _kuberays(cluster),
        facts_of(
            cluster, kinds.RAY_CLUSTER, lambda item: (item["metadata"].get("annotations") or {}).get(_KUBERAY_VERSION)
        ),
    )
    policies, bindings, nodes = await asyncio.gather(
        facts_of(cluster, foreign_kinds.ADMISSION_POLICY, _name, None, _PART_OF),
        facts_of(cluster, foreign_kinds.ADMISSION_BINDING, _policy_of, None, _PART_OF),
        facts_of(cluster, kinds.NODE, lambda item: _node(item, known)),
    )
    crds = await _crds(cluster)
    return DoctorFacts(
        now=connection.now(),
        server_version=version,
        crds=crds,
        lease=lease,
        operators=operators,
        kuberays=kuberays,
        kuberay_versions=versions,
        policies=policies,
        bindings=bindings,
        nodes=nodes,
        node_pools=await _node_pools(cluster, crds[KARPENTER]),
        cluster_autoscaler=await _cluster_autoscaler(cluster),
    )


def expected_fields() -> Mapping[str, frozenset[str]]:
    """Fields of our own CRDs, by the name of the CRD, as this version has them."""
    built = [crd.build(resource) for resource in crd.RESOURCES]
    return {found["metadata"]["name"]: frozenset(_fields(_newest_schema(found))) for found in built}


async def _crds(cluster: Cluster) -> Mapping[str, CrdFacts | Unknown | None]:
    ours = list(expected_fields())
    names = [*ours, *KUBERAY, GATEWAY_API, KARPENTER, KUEUE, PROMETHEUS, *NETWORK_PLUGINS]
    found = await asyncio.gather(*(_existing(cluster, Ref(foreign_kinds.CRD, "", name)) for name in names))
    return {
        name: _crd(item, deep=name in ours) if isinstance(item, dict) else item
        for name, item in zip(names, found, strict=True)
    }


async def _existing(cluster: Cluster, ref: Ref) -> Object | Unknown | None:
    """Read one object; None says that it does not exist, Unknown that nobody knows."""
    try:
        return await permitted(cluster.get(ref))
    except NotFoundError:
        return None


async def _kuberays(cluster: Cluster) -> tuple[DeploymentFacts, ...] | Unknown:
    found: tuple[DeploymentFacts, ...] | Unknown = ()
    for labels in _KUBERAY_LABELS:
        found = await facts_of(cluster, foreign_kinds.DEPLOYMENT, _deployment, None, labels)
        if found:
            return found
    return found


async def _node_pools(cluster: Cluster, karpenter: CrdFacts | Unknown | None) -> tuple[str, ...] | Unknown | None:
    if not isinstance(karpenter, CrdFacts):
        return karpenter
    return await facts_of(cluster, foreign_kinds.NODE_POOL, _name)


async def _cluster_autoscaler(cluster: Cluster) -> bool | Unknown:
    found = await _existing(cluster, Ref(foreign_kinds.CONFIG_MAP, "kube-system", _CLUSTER_AUTOSCALER))
    return found if isinstance(found, Unknown) else found is not None


def _crd(obj: Object, *, deep: bool) -> CrdFacts:
    versions = tuple(found["name"] for found in obj["spec"]["versions"] if found.get("served", True))
    return CrdFacts(versions, frozenset(_fields(_newest_schema(obj))) if deep else frozenset())


def _newest_schema(obj: Object) -> Mapping[str, Any]:
    schema: Mapping[str, Any] = (obj["spec"]["versions"][-1].get("schema") or {}).get("openAPIV3Schema") or {}
    return schema


def _fields(schema: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, below in (schema.get("properties") or {}).items():
        yield f"{prefix}{name}"
        yield from _fields(below, f"{prefix}{name}.")
    if isinstance(items := schema.get("items"), Mapping):
        yield from _fields(items, f"{prefix.removesuffix('.')}[].")


def _deployment(obj: Object) -> DeploymentFacts:
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    containers: Sequence[Object] = ((spec.get("template") or {}).get("spec") or {}).get("containers") or ({},)
    return DeploymentFacts(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        image=containers[0].get("image", ""),
        ready=int(status.get("readyReplicas") or 0),
        wanted=int(spec.get("replicas", 1)),
        version=(metadata.get("labels") or {}).get("app.kubernetes.io/version", ""),
    )


def _name(obj: Object) -> str:
    name: str = obj["metadata"]["name"]
    return name


def _policy_of(obj: Object) -> str:
    return str((obj.get("spec") or {}).get("policyName", ""))


def _node(obj: Object, known: Catalog) -> NodeSummary:
    metadata, status = obj["metadata"], obj.get("status") or {}
    labels: Mapping[str, str] = metadata.get("labels") or {}
    facts = node_facts(obj, known)
    accelerator = known.identify(labels)
    plain = int((status.get("allocatable") or {}).get(_GPU, "0"))
    return NodeSummary(
        name=metadata["name"],
        accelerator=accelerator.name if accelerator else "",
        gpus=facts.gpus if facts and accelerator else plain,
        product=labels.get(_PRODUCT, ""),
        usable=facts is not None,
    )
