"""Reads everything that one reconcile may need, through ports. Called by `reconcile` alone.

The objects of Kubernetes end here: what leaves this module is typed and frozen.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from llama_operator.api.manifest import parse_as
from llama_operator.api.meta import LABEL_DEPLOYMENT, LABEL_REVISION
from llama_operator.api.v1alpha1.licenseacceptance import LicenseAcceptance
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.catalog import Catalog
from llama_operator.decide.observed import NodeFacts, Observed, RayServiceFacts, ServeDeploymentFacts
from llama_operator.errors import InvalidManifestError
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, NotFoundError, Object, Ref
from llama_serving.config import APPLICATION_NAME, ServingStatus


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


async def observe(cluster: Cluster, ref: Ref, *, catalog: Catalog, serving: ServingReader) -> Observed | None:
    """Read the deployment at `ref` and all that matters to it; None when it does not exist.

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
    acceptances, nodes, services, service = await asyncio.gather(
        cluster.list(kinds.LICENSE_ACCEPTANCE),
        cluster.list(kinds.NODE),
        cluster.list(kinds.RAY_SERVICE, namespace=ref.namespace, labels=own),
        _service(cluster, ref),
    )
    observed = Observed(
        deployment=deployment,
        acceptances=tuple(found for item in acceptances.items if (found := _acceptance(item)) is not None),
        nodes=tuple(facts for item in nodes.items if (facts := node_facts(item, catalog)) is not None),
        ray_services=tuple(ray_service_facts(item) for item in services.items),
        address=_address(service),
    )
    if not any(facts.serves for facts in observed.ray_services):
        return observed
    status = await serving.read(namespace=ref.namespace, service=ref.name, address=observed.address)
    return replace(observed, serving=status)


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


def ray_service_facts(obj: Object) -> RayServiceFacts:
    """What KubeRay reports about a RayService. Its own Ready means one endpoint, so the application is read too."""
    metadata, status = obj["metadata"], obj.get("status") or {}
    application = _application(status, "activeServiceStatus") or _application(status, "pendingServiceStatus")
    deployments = application.get("serveDeploymentStatuses") or {}
    conditions: list[Object] = status.get("conditions") or []
    ready = next((found for found in conditions if found.get("type") == "Ready"), {})
    return RayServiceFacts(
        name=metadata["name"],
        revision=(metadata.get("labels") or {}).get(LABEL_REVISION, ""),
        endpoints=int(status.get("numServeEndpoints") or 0),
        application_status=application.get("status", ""),
        application_message=application.get("message", ""),
        deployments=tuple(
            ServeDeploymentFacts(name, found.get("status", ""), found.get("message", ""))
            for name, found in sorted(deployments.items())
        ),
        message="" if ready.get("status") == "True" else ready.get("message", ""),
    )


def _application(status: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    """State of our application; KubeRay calls a new cluster pending until its applications have run once."""
    found: Mapping[str, Any] = ((status.get(part) or {}).get("applicationStatuses") or {}).get(APPLICATION_NAME) or {}
    return found


def _acceptance(obj: Object) -> LicenseAcceptance | None:
    try:
        return parse_as(LicenseAcceptance, obj)
    except InvalidManifestError:
        # A record that breaks its schema accepts nothing: the chain then says that it does not exist.
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
