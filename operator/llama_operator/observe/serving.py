"""Asks the serving pods of a deployment about themselves. Called by `observe.gather`."""

from dataclasses import replace
from typing import Protocol

from llama_operator.decide.observed import Observed
from llama_serving.contract.status import ServingStatus


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
    """Asks no pod."""

    async def read(self, *, namespace: str, service: str, address: str) -> ServingStatus | None:
        """Return None."""
        del namespace, service, address
        return None


async def with_serving(observed: Observed, reader: ServingReader) -> Observed:
    """Add what the pods say, if any serve and the Service is ours; the answer of another deployment is none."""
    if observed.traffic is None or not any(facts.serves for facts in observed.ray_services):
        return observed
    metadata = observed.deployment.metadata
    status = await reader.read(namespace=metadata.namespace, service=metadata.name, address=observed.address)
    identity = None if status is None else status.identity
    if identity is not None and (identity.namespace, identity.name) != (metadata.namespace, metadata.name):
        status = None
    if status is None or status.replicas > 0 or status.target_replicas == 0:
        return replace(observed, serving=status)
    # The pods say themselves that all replicas are gone: what served once starts again.
    gone = status.identity.revision
    services = tuple(
        replace(facts, holds_replicas=False) if facts.name == gone else facts for facts in observed.ray_services
    )
    return replace(observed, serving=status, ray_services=services)
