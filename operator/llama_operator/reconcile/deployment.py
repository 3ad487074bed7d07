"""One reconcile of one LlamaDeployment: observe, decide, build, apply, report. Called by whoever watches.

Level-triggered: it takes an address, not an event, and serves create, update, resume, child events and resync alike.
A pass that changes nothing writes nothing. Status is written even when a step failed.
"""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from llama_operator.api.meta import API_VERSION, LABEL_DEPLOYMENT
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus
from llama_operator.decide.decision import Decision, decide
from llama_operator.decide.observed import Observed, Settings
from llama_operator.desired import objects
from llama_operator.desired.rayservice import Bounds
from llama_operator.errors import InvalidManifestError
from llama_operator.kube import kinds
from llama_operator.kube.port import (
    Cluster,
    ConflictError,
    JsonPatch,
    Kind,
    NotFoundError,
    Object,
    Preconditions,
    Propagation,
    Ref,
)
from llama_operator.observe.gather import observe
from llama_operator.reconcile.orphans import end_orphans
from llama_operator.reconcile.ports import Ports
from llama_operator.status import summary
from llama_operator.status.events import events


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass leaves behind."""

    status: LlamaDeploymentStatus | None
    """Status after the pass; None when the deployment is gone or going: its children follow by their owner
    references."""
    next_check: float | None = None
    """Seconds until time alone changes something; None when only an event can."""


async def reconcile(ports: Ports, ref: Ref) -> Outcome:
    """Bring the world nearer to what the deployment at `ref` asks for, and say how far it is.

    Raises:
        KubeError: If Kubernetes failed; the status then says so, unless it could not be written either.
    """
    try:
        with ports.stage("observe"):
            observed = await observe(
                ports.cluster,
                ref,
                catalog=ports.catalog,
                serving=ports.serving,
                now=ports.now().replace(microsecond=0),
                checks_access=ports.settings.checks_access and not ports.settings.weights_path,
            )
    except InvalidManifestError as error:
        return await _refuse(ports, ref, error)
    if observed is None:
        await ports.evidence.removed(ref, ports.now())
        return Outcome(None, await end_orphans(ports, ref))
    if observed.deployment.metadata.deletion_timestamp is not None:
        await ports.evidence.removed(ref, ports.now())
        return Outcome(None)
    with ports.stage("decide"):
        decision = decide(observed, ports.catalog)
    failure: str | None = None
    try:
        # First: what cannot be recorded must not begin.
        await ports.evidence.record(observed, decision)
        with ports.stage("apply"):
            await _apply(ports, observed, decision)
    except asyncio.CancelledError:
        raise
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
        raise
    finally:
        with ports.stage("report"):
            status = await _report(ports, observed, decision, failure)
    return Outcome(status, _next_check(observed, decision, ports.settings))


async def _apply(ports: Ports, observed: Observed, decision: Decision) -> None:
    desired = objects.build(observed, decision, ports.settings)
    namespace = observed.deployment.metadata.namespace
    for step in desired.steps:
        await _all(_apply_one(ports.cluster, obj) for obj in step)
    for bounds in desired.bounds:
        # KubeRay replaced the cluster meanwhile, or its groups: the next pass sees what is there now.
        with contextlib.suppress(NotFoundError, ConflictError):
            await ports.cluster.patch(Ref(kinds.RAY_CLUSTER, namespace, bounds.cluster), _bounds_patch(bounds))
    for child in desired.delete:
        with contextlib.suppress(NotFoundError):
            await ports.cluster.delete(
                Ref(_kind(child), namespace, child.name),
                preconditions=Preconditions(uid=child.uid or None),
                # It stays visible until its pods are gone: a successor may have to wait for their hardware.
                propagation=Propagation.FOREGROUND,
            )


async def _apply_one(cluster: Cluster, obj: Object) -> None:
    await cluster.apply(obj, force=await _may_force(cluster, obj))


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of `work` side by side, to its end also where some of it fails; then raise the first failure."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if outcome is not None:
            raise outcome


async def _may_force(cluster: Cluster, obj: Object) -> bool:
    """Whether `obj` may take fields over from others: not before it is ours.

    Names with a revision's hash in them are ours alone. Those named as the deployment may belong to somebody who was
    there first.
    """
    kind = kinds.find(obj["apiVersion"], obj["kind"])
    if kind not in {kinds.SERVICE, kinds.NETWORK_POLICY}:
        return True
    metadata = obj["metadata"]
    try:
        live = await cluster.get(Ref(kind, metadata["namespace"], metadata["name"]))
    except NotFoundError:
        return False
    labels: dict[str, str] = live["metadata"].get("labels") or {}
    owner: str = metadata["labels"][LABEL_DEPLOYMENT]
    return labels.get(LABEL_DEPLOYMENT) == owner


def _kind(child: objects.Deletion) -> Kind:
    found = kinds.find(child.api_version, child.kind)
    if found is None:
        raise ValueError(f"{child.kind} is not a kind of ours")
    return found


def _bounds_patch(bounds: Bounds) -> tuple[JsonPatch, ...]:
    group = f"/spec/workerGroupSpecs/{bounds.index}"
    return (
        JsonPatch("test", f"{group}/groupName", bounds.group),
        JsonPatch("add", f"{group}/minReplicas", bounds.min_pods),
        JsonPatch("add", f"{group}/maxReplicas", bounds.max_pods),
    )


async def _report(ports: Ports, observed: Observed, decision: Decision, failure: str | None) -> LlamaDeploymentStatus:
    before = observed.deployment.status
    status = summary.build(observed, decision, failure=failure, now=observed.now)
    metadata = observed.deployment.metadata
    regarding: Object = {
        "apiVersion": API_VERSION,
        "kind": observed.deployment.kind,
        "metadata": {"name": metadata.name, "namespace": metadata.namespace},
    }
    if status != before:
        # Deleted meanwhile: there is nobody left to tell.
        with contextlib.suppress(NotFoundError):
            await ports.cluster.apply_status(regarding | {"status": status.to_api()})
    if failure is None:
        named = regarding | {"metadata": regarding["metadata"] | {"uid": metadata.uid}}
        for facts in events(observed, decision, before, status):
            await ports.events.record(named, facts)
    return status


async def _refuse(ports: Ports, ref: Ref, error: InvalidManifestError) -> Outcome:
    """Say that the live object cannot be read, and leave everything that runs as it is."""
    live = await ports.cluster.get(ref)
    if "deletionTimestamp" in live["metadata"]:
        return Outcome(None)
    status = summary.invalid(live, error, now=ports.now())
    if status.to_api() != live.get("status"):
        await ports.cluster.apply_status({key: live[key] for key in ("apiVersion", "kind")} | _named(ref, status))
    return Outcome(status)


def _named(ref: Ref, status: LlamaDeploymentStatus) -> Object:
    return {"metadata": {"name": ref.name, "namespace": ref.namespace}, "status": status.to_api()}


def _next_check(observed: Observed, decision: Decision, settings: Settings) -> float | None:
    times = [settings.serving_poll_seconds] if any(facts.serves for facts in observed.ray_services) else []
    if decision.ending is not None and decision.ending.next_check is not None:
        times.append(decision.ending.next_check)
    if decision.rollout is not None and decision.rollout.next_check is not None:
        times.append(decision.rollout.next_check)
    if decision.preflight is not None and decision.preflight.next_check is not None:
        times.append(decision.preflight.next_check)
    return min(times, default=None)
