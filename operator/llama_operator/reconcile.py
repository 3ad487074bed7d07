"""One reconcile of one LlamaDeployment: observe, decide, build, apply, report. Called by whoever watches.

Level-triggered: it takes an address, not an event, and serves create, update, resume, child events and resync alike.
A pass that changes nothing writes nothing. Status is written even when a step failed.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from llama_operator.api.meta import API_VERSION
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus
from llama_operator.catalog import Catalog
from llama_operator.decide.decision import Decision, decide
from llama_operator.decide.observed import Observed, Settings
from llama_operator.desired import objects
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, NotFoundError, Ref
from llama_operator.observe.gather import ServingReader, observe
from llama_operator.status import summary


@dataclass(frozen=True, slots=True)
class Ports:
    """What a reconcile needs from outside."""

    cluster: Cluster
    """Writes under field manager `llama-operator`."""
    serving: ServingReader
    catalog: Catalog
    settings: Settings
    now: Callable[[], datetime]


async def reconcile(ports: Ports, ref: Ref) -> LlamaDeploymentStatus | None:
    """Bring the world nearer to what the deployment at `ref` asks for, and say how far it is.

    Returns:
        The status as it stands after the pass; None when the deployment is gone or going: its children follow by
        their owner references.

    Raises:
        InvalidManifestError: If the live object cannot be read as a LlamaDeployment.
        KubeError: If Kubernetes failed; the status then says so, unless it could not be written either.
    """
    observed = await observe(ports.cluster, ref, catalog=ports.catalog, serving=ports.serving)
    if observed is None or observed.deployment.metadata.deletion_timestamp is not None:
        return None
    decision = decide(observed, ports.catalog)
    failure: str | None = None
    try:
        await _apply(ports, observed, decision)
    except asyncio.CancelledError:
        raise
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
        raise
    finally:
        status = await _report(ports, observed, decision, failure)
    return status


async def _apply(ports: Ports, observed: Observed, decision: Decision) -> None:
    desired = objects.build(observed, decision, ports.settings)
    for obj in desired.apply:
        await ports.cluster.apply(obj)
    namespace = observed.deployment.metadata.namespace
    for name in desired.delete:
        with contextlib.suppress(NotFoundError):
            await ports.cluster.delete(Ref(kinds.RAY_SERVICE, namespace, name))


async def _report(ports: Ports, observed: Observed, decision: Decision, failure: str | None) -> LlamaDeploymentStatus:
    status = summary.build(observed, decision, failure=failure, now=ports.now())
    metadata = observed.deployment.metadata
    if status != observed.deployment.status:
        # Deleted meanwhile: there is nobody left to tell.
        with contextlib.suppress(NotFoundError):
            await ports.cluster.apply_status(
                {
                    "apiVersion": API_VERSION,
                    "kind": observed.deployment.kind,
                    "metadata": {"name": metadata.name, "namespace": metadata.namespace},
                    "status": status.to_api(),
                }
            )
    return status
