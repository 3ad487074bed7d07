"""Reads everything that one reconcile may need, through ports. Called by `reconcile` alone.

The objects of Kubernetes end here: what leaves this module is typed and frozen.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol, TypeVar

from llama_operator.api.manifest import parse_as
from llama_operator.api.meta import LABEL_ACCESS_CHECK, LABEL_DEPLOYMENT, ApiModel, ObjectMeta
from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance
from llama_operator.api.v1alpha1.licensepolicy import LicensePolicy, LicensePolicySpec
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.api.v1alpha1.llamamodel import LlamaModel
from llama_operator.catalog import Catalog
from llama_operator.catalog.accelerators import Accelerator
from llama_operator.decide.observed import AccessCheckFacts, NodeFacts, Observed
from llama_operator.decide.rollout import strategy
from llama_operator.decide.rollout.revision import revision_of
from llama_operator.errors import InvalidManifestError
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, Kind, NotFoundError, Object, Ref
from llama_operator.observe import children
from llama_operator.observe.requester import requester
from llama_serving.config import ServingStatus

_T = TypeVar("_T", bound=ApiModel)


class ServingReader(Protocol):
    """Asks the serving pods of a deployment for their status."""

    async def read(self, *, namespace: str, service: str, address: str) -> ServingStatus | None:
        """Return the status, or None when it cannot be had; never raises for that.

        Args:
            namespace: Namespace of the Service.
            service: Name of the Service.
            address: `host:port` from outside the cluster; empty when there is none.
        """
        ...


class NoServingReader:
    """Asks nobody."""

    async def read(self, *, namespace: str, service: str, address: str) -> ServingStatus | None:
        """Return None."""
        del namespace, service, address
        return None


async def observe(
    cluster: Cluster,
    ref: Ref,
    *,
    catalog: Catalog,
    serving: ServingReader,
    now: datetime,
    checks_access: bool = False,
) -> Observed | None:
    """Read the deployment at `ref` and all that matters to it; None when it does not exist.

    `now` is the time of the pass, in UTC. `checks_access` is whether access to gated weights is anybody's concern.

    Raises:
        InvalidManifestError: If the live object breaks a rule that the API server did not check.
        KubeError: If Kubernetes cannot be read.
    """
    try:
        live = await cluster.get(ref)
    except NotFoundError:
        return None
    deployment = parse_as(LlamaDeployment, live)
    own = {LABEL_DEPLOYMENT: ref.name}
    (acceptances, models, policies), (nodes, services, clusters, revisions, service) = await asyncio.gather(
        asyncio.gather(acceptances_of(cluster), models_of(cluster), policies_of(cluster)),
        asyncio.gather(
            cluster.list(kinds.NODE),
            cluster.list(kinds.RAY_SERVICE, namespace=ref.namespace, labels=own),
            cluster.list(kinds.RAY_CLUSTER, namespace=ref.namespace, labels=own),
            cluster.list(kinds.CONTROLLER_REVISION, namespace=ref.namespace, labels=own),
            _service(cluster, ref),
        ),
    )
    records = tuple(found for item in revisions.items if (found := children.revision_facts(item)) is not None)
    served = {record.name for record in records if record.served_at}
    observed = Observed(
        deployment=deployment,
        acceptances=acceptances,
        models=models,
        policies=policies,
        nodes=tuple(facts for item in nodes.items if (facts := node_facts(item, catalog)) is not None),
        ray_services=tuple(
            replace(facts, holds_replicas=facts.name in served)
            for facts in map(children.ray_service_facts, services.items)
        ),
        ray_clusters=tuple(children.ray_cluster_facts(item) for item in clusters.items),
        revisions=records,
        traffic=children.traffic_facts(service, ref.name),
        now=now,
        address=_address(service),
        requester=requester(live),
    )
    if checks_access and observed.record(revision_of(deployment).name) is None:
        observed = replace(observed, access_checks=await access_checks(cluster, ref))
    if strategy.needs_count(observed, revision_of(deployment).name):
        observed = replace(observed, free=await free_accelerators(cluster, nodes.items, catalog))
    if not any(facts.serves for facts in observed.ray_services):
        return observed
    status = await serving.read(namespace=ref.namespace, service=ref.name, address=observed.address)
    if status is None or status.replicas > 0 or status.target_replicas == 0:
        return replace(observed, serving=status)
    # It says itself that all its replicas are gone: what served once is starting anew.
    gone = status.identity.revision
    return replace(
        observed,
        serving=status,
        ray_services=tuple(
            replace(facts, holds_replicas=False) if facts.name == gone else facts for facts in observed.ray_services
        ),
    )


async def access_checks(cluster: Cluster, ref: Ref) -> tuple[AccessCheckFacts, ...]:
    """Read the Jobs that ask for access to the weights of the deployment at `ref`.

    The verdict stands in the status of a Job's pod: pods are read for it while a question is open, and not watched.
    """
    own = {LABEL_DEPLOYMENT: ref.name}
    jobs = (await cluster.list(kinds.JOB, namespace=ref.namespace, labels=own)).items
    found = []
    for job in jobs:
        name = (job["metadata"].get("labels") or {}).get(LABEL_ACCESS_CHECK)
        if name != job["metadata"]["name"]:
            continue
        pods = (await cluster.list(kinds.POD, namespace=ref.namespace, labels={LABEL_ACCESS_CHECK: name})).items
        found.append(children.access_check_facts(job, pods))
    return tuple(found)


def node_facts(node: Object, catalog: Catalog) -> NodeFacts | None:
    """What a Node offers; None when it takes no new pods."""
    spec, status = node.get("spec") or {}, node.get("status") or {}
    if spec.get("unschedulable"):
        return None
    metadata = node["metadata"]
    allocatable: Mapping[str, str] = status.get("allocatable") or {}
    accelerator = catalog.identify(metadata.get("labels") or {})
    if accelerator is None:
        cpu = catalog.accelerator("CPU")
        return NodeFacts(metadata["name"], cpu.name, int(_cpus(allocatable.get("cpu", "0"))))
    return NodeFacts(metadata["name"], accelerator.name, int(allocatable.get(accelerator.resource_name, "0")))


async def free_accelerators(
    cluster: Cluster, nodes: Iterable[Object], catalog: Catalog
) -> Mapping[str, tuple[int, ...]]:
    """Count the accelerators that no pod holds on each node that takes new pods, by accelerator.

    Asked only when a rollout has to choose between a second copy and downtime; pods are not watched for it.
    """
    free: dict[str, int] = {}
    accelerators: dict[str, Accelerator] = {}
    for node in nodes:
        accelerator = catalog.identify(node["metadata"].get("labels") or {})
        if accelerator is None or (node.get("spec") or {}).get("unschedulable"):
            continue
        name = node["metadata"]["name"]
        allocatable = (node.get("status") or {}).get("allocatable") or {}
        accelerators[name], free[name] = accelerator, int(allocatable.get(accelerator.resource_name, "0"))
    # Node by node: a cluster has many more pods than those on GPU nodes, and nobody wants them all in memory.
    for name, accelerator in accelerators.items():
        for pod in (await cluster.list(kinds.POD, fields={"spec.nodeName": name})).items:
            if (pod.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}:
                free[name] -= _requested(pod, accelerator.resource_name)
    found: dict[str, tuple[int, ...]] = {}
    for name, accelerator in accelerators.items():
        found[accelerator.name] = (*found.get(accelerator.name, ()), max(0, free[name]))
    return found


def _requested(pod: Object, resource: str) -> int:
    containers = (pod.get("spec") or {}).get("containers") or ()
    return sum(int(((each.get("resources") or {}).get("requests") or {}).get(resource, 0)) for each in containers)


async def acceptances_of(cluster: Cluster) -> tuple[LicenseAcceptance, ...]:
    """LicenseAcceptances that exist. One that breaks its schema accepts nothing: the chain says that it does not exist."""
    items = await _records(cluster, kinds.LICENSE_ACCEPTANCE)
    return tuple(record for item in items if (record := _parsed(LicenseAcceptance, item)) is not None)


async def models_of(cluster: Cluster) -> tuple[LlamaModel, ...]:
    """LlamaModels that exist. One that breaks its schema adds nothing."""
    items = await _records(cluster, kinds.LLAMA_MODEL)
    return tuple(record for item in items if (record := _parsed(LlamaModel, item)) is not None)


async def policies_of(cluster: Cluster) -> tuple[LicensePolicy, ...]:
    """LicensePolicies that exist. One that breaks its schema allows nothing: it lists no tier."""
    items = await _records(cluster, kinds.LICENSE_POLICY)
    return tuple(
        _parsed(LicensePolicy, item)
        or LicensePolicy(metadata=ObjectMeta(name=item["metadata"]["name"]), spec=LicensePolicySpec())
        for item in items
    )


async def _records(cluster: Cluster, kind: Kind) -> tuple[Object, ...]:
    try:
        return tuple((await cluster.list(kind)).items)
    except NotFoundError:
        # The definition is not installed: there are no such records.
        return ()


def _parsed(model: type[_T], obj: Object) -> _T | None:
    try:
        return parse_as(model, obj)
    except InvalidManifestError:
        return None


async def _service(cluster: Cluster, ref: Ref) -> Object:
    try:
        return await cluster.get(Ref(kinds.SERVICE, ref.namespace, ref.name))
    except NotFoundError:
        return {}


def _address(service: Mapping[str, Any]) -> str:
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    for entry in ingress:
        host = entry.get("ip") or entry.get("hostname")
        ports = entry.get("ports") or (service.get("spec") or {}).get("ports") or ()
        if host and ports:
            return f"{host}:{ports[0]['port']}"
    return ""


def _cpus(quantity: str) -> float:
    return int(quantity.removesuffix("m")) / 1000 if quantity.endswith("m") else float(quantity)
