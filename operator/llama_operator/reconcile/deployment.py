"""One reconcile of one LlamaDeployment: observe, decide, build, apply, report. Called by `process` and the local mode.

Level-triggered: it takes an address, not an event, and serves create, update, resume, child events and resync alike.
A pass that changes nothing writes nothing. Status is written also when a pass failed, whatever it raised and wherever.
"""

import contextlib
import logging
from dataclasses import dataclass
from datetime import datetime

from llama_operator.api.meta import API_VERSION
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus
from llama_operator.decide.decision import Decision, decide, decide_ends
from llama_operator.decide.observed import Observed, Settings
from llama_operator.decide.problem import Problem
from llama_operator.desired import objects
from llama_operator.errors import InvalidManifestError, LlamaOperatorError
from llama_operator.kube import kinds
from llama_operator.kube.port import KubeError, NotFoundError, Object, Ref
from llama_operator.observe.gather import Observer
from llama_operator.reconcile.orphans import end_orphans
from llama_operator.reconcile.ports import Ports
from llama_operator.reconcile.writes import write
from llama_operator.status import failure, summary
from llama_operator.status.events import events

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass leaves behind."""

    status: LlamaDeploymentStatus | None
    """Status after the pass; None if the deployment is gone or going: its children follow by their owner references."""
    next_check: float | None = None
    """Seconds until the passing of time changes something; None if only an event can."""


@dataclass(slots=True)
class _Known:
    """What a pass has found out so far: what its status can say if it fails."""

    stage: str = "observe"
    observed: Observed | None = None
    decision: Decision | None = None


async def reconcile(ports: Ports, ref: Ref) -> Outcome:
    """Bring the world nearer to what the deployment at `ref` asks for, and say how far it is.

    Args:
        ports: The outside.
        ref: Address of the deployment, which may be gone.

    Raises:
        KubeError: If Kubernetes failed; the status then says so, unless it could not be written either.
        Exception: If the operator has a defect; the status then says so.
    """
    known = _Known()
    try:
        return await _pass(ports, ref, known)
    except Exception as error:
        # The one way for whatever any stage raises; the caller tries again, later each time.
        ports.failed(known.stage, error)
        await _report_failure(ports, ref, known, error)
        raise


async def _pass(ports: Ports, ref: Ref, known: _Known) -> Outcome:
    checks_access = ports.settings.checks_access and not ports.settings.weights_path
    observer = Observer(
        ports.cluster,
        ports.catalog,
        ports.serving,
        ports.platform(),
        checks_access,
        unreadable=ports.unreadable,
    )
    try:
        with ports.stage("observe"):
            observed = await observer.observe(ref, ports.now().replace(microsecond=0))
    except InvalidManifestError as error:
        return await _refuse(ports, ref, error, observer)
    if observed is None:
        await ports.evidence.removed(ref, ports.now())
        return Outcome(None, await end_orphans(ports, ref))
    if observed.deployment.metadata.deletion_timestamp is not None:
        going = Problem(
            ConditionType.READY, Reason.WAITING, "the deployment is being deleted", "metadata.deletionTimestamp"
        )
        return Outcome(None, await _only_ends(ports, observed, going, None))
    known.observed, known.stage = observed, "decide"
    with ports.stage("decide"):
        decision = decide(observed, ports.catalog)
    known.decision, known.stage = decision, "apply"
    # First: what cannot be recorded must not begin.
    await ports.evidence.append(observed, decision)
    with ports.stage("apply"):
        desired = objects.build(observed, decision, ports.settings)
        await write(ports.cluster, ref.namespace, desired)
    known.stage = "report"
    with ports.stage("report"):
        status = await _report(ports, observed, decision)
    return Outcome(status, _next_check(observed, decision, ports.settings))


async def _report(ports: Ports, observed: Observed, decision: Decision) -> LlamaDeploymentStatus:
    before = observed.deployment.status
    status = summary.build(observed, decision, failure=None, now=observed.now)
    metadata = observed.deployment.metadata
    regarding: Object = {
        "apiVersion": API_VERSION,
        "kind": observed.deployment.kind,
        "metadata": {"name": metadata.name, "namespace": metadata.namespace},
    }
    if status != before:
        # It may be deleted by now: then it needs no status.
        with contextlib.suppress(NotFoundError):
            await ports.cluster.apply_status(regarding | {"status": status.to_api()})
    named = regarding | {"metadata": regarding["metadata"] | {"uid": metadata.uid}}
    for facts in events(observed, decision, before, status):
        await ports.events.record(named, facts)
    return status


async def _report_failure(ports: Ports, ref: Ref, known: _Known, error: Exception) -> None:
    """Say in the status of this deployment that its pass failed; never raises."""
    try:
        live = await ports.cluster.get(ref)
        if "deletionTimestamp" in live["metadata"]:
            return
        defect = not isinstance(error, KubeError | LlamaOperatorError)
        before = summary.previous_of(live)
        text = failure.steady(failure.words(error, known.stage, defect=defect), before.conditions)
        status = _failed(live, known, text, ports.now())
        if status != before:
            await ports.cluster.apply_status(kinds.identity(live) | {"status": status.to_api()})
    except NotFoundError:
        # It is deleted by now: then it needs no status.
        return
    except Exception as second:  # noqa: BLE001 - the first error is the one to raise
        _LOG.warning("the status of %s cannot say that its pass failed: %s", ref, second)


def _failed(live: Object, known: _Known, text: str, now: datetime) -> LlamaDeploymentStatus:
    if known.observed is not None and known.decision is not None:
        # What makes a status may be what failed.
        with contextlib.suppress(Exception):
            return summary.build(known.observed, known.decision, failure=text, now=known.observed.now)
    return summary.failed(live, text, now=now)


async def _refuse(ports: Ports, ref: Ref, error: InvalidManifestError, observer: Observer) -> Outcome:
    """Say that the live object cannot be read, and leave everything that runs as it is, unless its license has ended."""
    live = await ports.cluster.get(ref)
    going = "deletionTimestamp" in live["metadata"]
    status = None if going else summary.invalid(live, error, now=ports.now())
    if status is not None and status.to_api() != live.get("status"):
        await ports.cluster.apply_status(kinds.identity(live) | {"status": status.to_api()})
    observed = await observer.behind(live, ports.now().replace(microsecond=0))
    if observed is None:
        return Outcome(status)
    first = error.problems[0]
    problem = Problem(ConditionType.READY, Reason.INVALID_SPEC, first.problem, first.path)
    return Outcome(status, await _only_ends(ports, observed, problem, status))


async def _only_ends(
    ports: Ports, observed: Observed, problem: Problem, status: LlamaDeploymentStatus | None
) -> float | None:
    """Act only on licenses that have ended: the spec cannot be read, or the deployment is going.

    One that is deleted goes on serving while something else holds it: its children follow only when it is gone.

    Returns:
        Seconds until the next step; None if only an event matters.
    """
    decision = decide_ends(observed, ports.catalog, problem)
    await ports.evidence.append(observed, decision)
    metadata = observed.deployment.metadata
    await write(ports.cluster, metadata.namespace, objects.build(observed, decision, ports.settings))
    regarding = {"apiVersion": API_VERSION, "kind": observed.deployment.kind}
    address = {"name": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid}
    told = status or LlamaDeploymentStatus()
    for facts in events(observed, decision, told, told):
        await ports.events.record(regarding | {"metadata": address}, facts)
    return _next_check(observed, decision, ports.settings)


def _next_check(observed: Observed, decision: Decision, settings: Settings) -> float | None:
    poll = settings.serving_poll_seconds if any(facts.serves for facts in observed.ray_services) else None
    waiting = (decision.ending, decision.rollout, decision.access_check)
    times = (poll, *(part.next_check for part in waiting if part is not None))
    return min((seconds for seconds in times if seconds is not None), default=None)
