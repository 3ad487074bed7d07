"""One reconcile of one LlamaDeployment: observe, decide, build, apply, report. Called by `process` and the local mode.

Level-triggered: it takes an address, not an event, and serves create, update, resume, child events and resync alike.
A pass that changes nothing writes nothing. Status is written also when a pass failed, whatever it raised and wherever.
"""

import contextlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from llama_operator.api.meta import API_VERSION
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus
from llama_operator.decide.decision import Decision, decide, decide_ends
from llama_operator.decide.diagnosis.causes import next_look
from llama_operator.decide.observed import Observed, RevisionFacts
from llama_operator.decide.problem import Problem
from llama_operator.decide.rollout.move import begun
from llama_operator.desired import objects
from llama_operator.errors import (
    InvalidManifestError,
    LlamaOperatorError,
    NamespaceEndingError,
    PassTooLongError,
)
from llama_operator.kube import kinds
from llama_operator.kube.port import (
    ConflictError,
    ExpiredError,
    KubeError,
    NotFoundError,
    Object,
    Ref,
    UnavailableError,
)
from llama_operator.observe.ages import moments
from llama_operator.observe.children import traffic_facts
from llama_operator.observe.gather import Observer
from llama_operator.reconcile.deadline import within
from llama_operator.reconcile.orphans import end_orphans
from llama_operator.reconcile.ports import Ports
from llama_operator.reconcile.repairs import Ledger
from llama_operator.reconcile.writes import write
from llama_operator.status import failure, summary
from llama_operator.status.events import Done, EventFacts, changes, deeds, events
from llama_operator.status.failure import Failure, Nature

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
    lasted: timedelta = timedelta(0)
    """For how long passes have failed in a row, this one included."""


async def reconcile(ports: Ports, ref: Ref) -> Outcome:
    """Bring the world nearer to what the deployment at `ref` asks for, and say how far it is.

    Args:
        ports: The outside.
        ref: Address of the deployment, which may be gone.

    Raises:
        KubeError: If Kubernetes failed; the status then says so, unless it could not be written either.
        PassTooLongError: If it took longer than a pass may.
        Exception: If the operator has a defect; the status then says so.
    """
    known = _Known()
    try:
        outcome = await within(ports.pass_seconds, _pass(ports, ref, known))
    except Exception as error:
        # The one way for whatever any stage raises; the caller tries again, later each time.
        ports.failed(known.stage, error)
        known.lasted = ports.failing.failed(ref)
        with contextlib.suppress(PassTooLongError):
            await within(ports.pass_seconds, _report_failure(ports, ref, known, error))
        raise
    ports.failing.ended(ref)
    return outcome


async def _pass(ports: Ports, ref: Ref, known: _Known) -> Outcome:
    checks_access = ports.settings.checks_access and not ports.settings.weights_path
    observer = Observer(
        ports.cluster,
        ports.catalog,
        ports.serving,
        ports.platform(),
        checks_access,
        rights=ports.rights,
        images=ports.settings.card_images,
        remembered=await _remembered(ports, ref),
        ended=ports.endings.of(ref),
        unreadable=ports.unreadable,
        platform_pods=ports.settings.pods,
    )
    try:
        with ports.stage("observe"):
            observed = await observer.observe(ref, ports.now().replace(microsecond=0))
    except InvalidManifestError as error:
        return await _refuse(ports, ref, error, observer)
    if observed is None:
        await ports.evidence.removed(ref, ports.now())
        next_check = await end_orphans(ports, ref)
        if next_check is None:
            _forget(ports, ref)
        return Outcome(None, next_check)
    if observed.deployment.metadata.deletion_timestamp is not None:
        going = Problem(
            ConditionType.READY, Reason.WAITING, "the deployment is being deleted", "metadata.deletionTimestamp"
        )
        return Outcome(None, await _only_ends(ports, ref, observed, going, None))
    observed = _aged(ports, ref, observed)
    known.observed, known.stage = observed, "decide"
    with ports.stage("decide"):
        decision = decide(observed, ports.catalog)
        moving = begun(observed, decision.move)
        if moving is not None:
            observed, decision = moving, decide(moving, ports.catalog)
    known.observed, known.decision, known.stage = observed, decision, "apply"
    # First: what cannot be recorded must not begin.
    await ports.evidence.append(observed, decision)
    with ports.stage("apply"):
        desired = objects.build(observed, decision, ports.settings)
        refused = await write(ports.cluster, ref.namespace, desired, ports.repairs.of(ref))
    known.stage = "report"
    observed = replace(observed, refused=refused)
    if desired.routes or desired.old_routes:
        # Of a route that was just written, nothing is known that was said before.
        observed = await observer.with_routes(observed)
    known.observed = observed
    with ports.stage("report"):
        status = await _report(ports, ref, observed, decision)
    return Outcome(status, _next_check(ports, ref, observed, decision))


async def _remembered(ports: Ports, ref: Ref) -> tuple[RevisionFacts, ...]:
    """Revisions that the pass before knew, of the same deployment."""
    with contextlib.suppress(NotFoundError):
        repairs = ports.repairs.of(ref)
        repairs.begin((await ports.cluster.get(ref))["metadata"]["uid"])
        return repairs.records
    return ()


def _aged(ports: Ports, ref: Ref, observed: Observed) -> Observed:
    """Add what this process has watched: how long ago things happened; and remember the revisions."""
    ports.repairs.of(ref).remember(observed.revisions)
    return replace(observed, ages=ports.ages.look(ref, tuple(moments(observed)), observed.now))


def _forget(ports: Ports, ref: Ref) -> None:
    ports.ages.forget(ref)
    ports.repairs.forget(ref)


async def _report(ports: Ports, ref: Ref, observed: Observed, decision: Decision) -> LlamaDeploymentStatus:
    before, repairs = observed.deployment.status, ports.repairs.of(ref)
    observed = replace(observed, contested=repairs.contested())
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
    await _tell(ports, named, events(observed, decision, before, status, _done(repairs)))
    return status


def _done(repairs: Ledger) -> Done:
    return Done(repairs.done, repairs.news())


async def _tell(ports: Ports, regarding: Object, happened: Iterable[EventFacts]) -> None:
    for facts in happened:
        await ports.events.record(regarding, facts)


async def _report_failure(ports: Ports, ref: Ref, known: _Known, error: Exception) -> None:
    """Say in the status of this deployment that its pass failed; never raises."""
    try:
        live = await ports.cluster.get(ref)
        if "deletionTimestamp" in live["metadata"]:
            return
        repairs = ports.repairs.of(ref)
        # In a namespace that is being deleted nothing new may be made, an event neither.
        ending = isinstance(error, NamespaceEndingError)
        if not ending and known.observed is not None and known.decision is not None:
            # First, for the status may not be written: what was done before the failure, no later pass sees as a change.
            # And beside what was there before: a Service that was written already looks as if no traffic had moved.
            await _tell(ports, live, deeds(known.observed, known.decision, _done(repairs)))
        if known.observed is not None:
            observed = replace(known.observed, contested=repairs.contested())
            known.observed = await _with_traffic(ports, ref, observed)
        before = summary.previous_of(live)
        why = failure.of(
            error,
            known.stage,
            nature=_nature(error),
            live=live,
            previous=before.conditions,
            lasted=known.lasted,
        )
        status = _failed(live, known, why, ports.now())
        if status != before:
            await ports.cluster.apply_status(kinds.identity(live) | {"status": status.to_api()})
        if not ending:
            await _tell(ports, live, _changed(known, before, status))
    except NotFoundError:
        # It is deleted by now: then it needs no status.
        return
    except Exception as second:  # noqa: BLE001 - the first error is the one to raise
        _LOG.warning("the status of %s cannot say that its pass failed: %s", ref, second)


async def _with_traffic(ports: Ports, ref: Ref, observed: Observed) -> Observed:
    """Take the Service as this pass has left it: it may have been written beside an object that was refused."""
    if (kinds.SERVICE.kind, ref.name) not in ports.repairs.of(ref).done:
        return observed
    service = await ports.cluster.get(Ref(kinds.SERVICE, ref.namespace, ref.name))
    return replace(observed, traffic=ports.unreadable.one(service, partial(traffic_facts, deployment=ref.name)))


def _nature(error: Exception) -> Nature:
    if isinstance(error, UnavailableError | ConflictError | ExpiredError):
        return Nature.TRANSIENT
    if isinstance(error, KubeError):
        return Nature.KUBERNETES
    return Nature.OWN if isinstance(error, LlamaOperatorError) else Nature.DEFECT


def _changed(known: _Known, before: LlamaDeploymentStatus, after: LlamaDeploymentStatus) -> tuple[EventFacts, ...]:
    if known.observed is not None and known.decision is not None:
        return events(known.observed, known.decision, before, after, Done())
    return changes(before, after)


def _failed(live: Object, known: _Known, why: Failure, now: datetime) -> LlamaDeploymentStatus:
    before = summary.previous_of(live)
    if known.observed is not None and known.decision is not None:
        # What makes a status may be what failed.
        with contextlib.suppress(Exception):
            status = summary.build(known.observed, known.decision, failure=why, now=known.observed.now)
            return before if why.brief and _not_done(before, status) else status
    return before if why.brief else summary.failed(live, why, now=now)


def _not_done(before: LlamaDeploymentStatus, status: LlamaDeploymentStatus) -> bool:
    """Whether a status would tell of a change of the spec that this pass may not have carried out, and of no outage."""
    outage = status.down_since is not None and before.down_since is None
    return before.observed_generation != status.observed_generation and not outage


async def _refuse(ports: Ports, ref: Ref, error: InvalidManifestError, observer: Observer) -> Outcome:
    """Say that the live object cannot be read, and leave everything that runs as it is, unless its license has ended."""
    live, now = await ports.cluster.get(ref), ports.now().replace(microsecond=0)
    observed, problem = await observer.behind(live, now), summary.unreadable(error)
    decision = None if observed is None else decide_ends(observed, ports.catalog, problem)
    going = "deletionTimestamp" in live["metadata"]
    status = None if going else summary.invalid(live, problem, now=now, observed=observed, decision=decision)
    if status is not None and status.to_api() != live.get("status"):
        await ports.cluster.apply_status(kinds.identity(live) | {"status": status.to_api()})
    if observed is None:
        return Outcome(status)
    return Outcome(status, await _only_ends(ports, ref, observed, problem, status))


async def _only_ends(
    ports: Ports, ref: Ref, observed: Observed, problem: Problem, status: LlamaDeploymentStatus | None
) -> float | None:
    """Start nothing: the spec cannot be read, so what serves is kept; or the deployment is going, and only licenses end.

    One that is deleted goes on serving while something else holds it: its children follow only when it is gone, and nothing
    makes them again.

    Returns:
        Seconds until the next step; None if only an event matters.
    """
    observed, repairs = _aged(ports, ref, observed), ports.repairs.of(ref)
    decision = decide_ends(observed, ports.catalog, problem)
    await ports.evidence.append(observed, decision)
    await write(ports.cluster, ref.namespace, objects.build(observed, decision, ports.settings), repairs)
    regarding = {"apiVersion": API_VERSION, "kind": observed.deployment.kind}
    address = {"name": ref.name, "namespace": ref.namespace, "uid": observed.deployment.metadata.uid}
    told = status or LlamaDeploymentStatus()
    await _tell(ports, regarding | {"metadata": address}, events(observed, decision, told, told, _done(repairs)))
    return _next_check(ports, ref, observed, decision)


def _next_check(ports: Ports, ref: Ref, observed: Observed, decision: Decision) -> float | None:
    poll = ports.settings.serving_poll_seconds if any(facts.serves for facts in observed.ray_services) else None
    waiting = (
        decision.ending,
        decision.rollout,
        decision.upkeep,
        decision.access_check,
        decision.copying,
        decision.erasing,
    )
    parts = (part.next_check for part in waiting if part is not None)
    times = (poll, decision.next_bounds, ports.repairs.of(ref).next_check(), next_look(observed), *parts)
    return min((seconds for seconds in times if seconds is not None), default=None)
