"""ControllerRevisions: the memory of a deployment. Called by `desired.objects`.

One for each revision, with everything that was decided when it was made: what the user wrote, the plan, the Serve
config and the cluster. The API server refuses to change `data`; annotations say what happens to the revision later.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from llama_operator.api.meta import (
    ANNOTATION_ADMITTED_AT,
    ANNOTATION_COPY_OF,
    ANNOTATION_FAILED_AT,
    ANNOTATION_FAILURE,
    ANNOTATION_LICENSE,
    ANNOTATION_LICENSE_END,
    ANNOTATION_LICENSE_FAMILIES,
    ANNOTATION_LIVE,
    ANNOTATION_SERVED_AT,
    ANNOTATION_STRATEGY,
    ANNOTATION_STRATEGY_REASON,
    ANNOTATION_TAKES_OVER,
    ANNOTATION_WEIGHTS_CHECKED_AT,
    rfc3339,
)
from llama_operator.api.reasons import Reason
from llama_operator.api.v1alpha1.llamadeployment import LicenseSpec, LlamaDeployment
from llama_operator.decide.bounds import desk_settings
from llama_operator.decide.copies.source import Role, read_from, to_json
from llama_operator.decide.decision import Decision
from llama_operator.decide.observed import (
    FORMAT_OF_HOSTS,
    RECORD_FORMAT,
    LicenseEnd,
    Observed,
    RayServiceFacts,
    RevisionFacts,
    Settings,
)
from llama_operator.decide.rollout.rollout import Rollout
from llama_operator.decide.rollout.why import why_not_serving
from llama_operator.decide.serve_application import arguments
from llama_operator.desired import naming, rayservice
from llama_operator.desired.guard import beside_guard, guarded
from llama_operator.desired.serve_config import serve_config, serving_config
from llama_serving.config import LiveSettings, RequestPath
from llama_serving.contract.door import Access
from llama_serving.contract.tenants import DeskSettings

API_VERSION = "apps/v1"
KIND = "ControllerRevision"

_FAILURE_LIMIT = 1024
_PLACEHOLDER = LiveSettings(
    min_replicas=0,
    max_replicas=1,
    target_queue_depth=1,
    max_ongoing_requests=1,
    max_queued_requests=-1,
    desk=DeskSettings(),
)
"""Live numbers in a pinned Serve config: never used, always replaced by those of the spec."""


def new(observed: Observed, decision: Decision, settings: Settings) -> RevisionFacts:
    """Pin what `decision` says, for a revision that does not exist yet."""
    deployment, plan, model = observed.deployment, decision.plan, decision.model
    verdict, status = decision.license, decision.plan_status
    chosen, shapes, door = decision.chosen, decision.shapes, decision.door
    if plan is None or plan.chosen is None or model is None or verdict is None or status is None:
        raise ValueError("a decision without a problem and without a pinned revision has a plan")
    if chosen is None or shapes is None or door is None:
        raise ValueError("a decision without a problem and without a pinned revision has a plan")
    copies = () if decision.copying is None else tuple(state.copy for state in decision.copying.states)
    best = replace(plan.chosen, variant=read_from(copies, Role.MODEL, plan.chosen.variant))
    guard = decision.guard
    if guard is not None:
        own = read_from(copies, Role.GUARD, guard.best.variant)
        guard = replace(guard, best=replace(guard.best, variant=own))
    if settings.local:
        # Nobody but this machine reaches it, and nothing mounts keys into its processes.
        door = replace(door, access=Access.KEYS if settings.keys_path else Access.OPEN, keys=None)
    config = serving_config(
        deployment,
        model,
        best,
        verdict,
        door=door,
        revision=decision.revision.name,
        max_model_length=chosen.max_model_length,
        max_num_seqs=plan.max_num_seqs,
        settings=settings,
        copies=copies,
    )
    if guard is not None:
        config = beside_guard(config, best) if guard.shared else config
        config = guarded(config, guard, verdict, settings)
    return RevisionFacts(
        name=decision.revision.name,
        number=observed.newest(besides=decision.revision.name) + 1,
        plan=status,
        inputs=decision.revision.inputs,
        serve_config=serve_config(config, _PLACEHOLDER),
        cluster=rayservice.cluster_template(
            deployment,
            best,
            shapes,
            config,
            keys_object=door.keys,
            settings=settings,
            guard=guard,
            copies=copies,
        ),
        weights_checked_at=_checked_at(observed, decision),
        copies=copies,
    )


def _checked_at(observed: Observed, decision: Decision) -> str:
    check = decision.access_check
    return rfc3339(observed.now) if check is not None and check.reason is Reason.ACCESSIBLE else ""


def brought_up_to_date(pinned: RevisionFacts, observed: Observed, rollout: Rollout) -> RevisionFacts:
    """The revision with what has happened to it until now."""
    strategy = rollout.strategy
    if pinned.name == rollout.wanted:
        newest = observed.newest(besides=pinned.name)
        if pinned.number <= newest:
            # The spec asks for it again: as with `kubectl rollout undo`, it becomes the newest of the history. One that was
            # given up is tried anew.
            pinned = replace(pinned, number=newest + 1, failed_at="", failure="")
        if strategy.pinned and pinned.strategy is None:
            pinned = replace(pinned, strategy=strategy.kind, strategy_reason=strategy.reason)
        if rollout.given_up is not None and rollout.given_up.now:
            pinned = replace(pinned, failed_at=rfc3339(observed.now), failure=_cut(rollout.given_up.message))
        elif not pinned.failed_at:
            pinned = replace(pinned, failure="")
    return with_admission(with_service(with_last_words(pinned, observed, rollout.obsolete), observed), observed)


def with_admission(pinned: RevisionFacts, observed: Observed) -> RevisionFacts:
    """The record with the time since when its pods may start, where they are in a queue."""
    service = next((one for one in observed.ray_services if one.name == pinned.name), None)
    if service is None or service.queue is None or service.waits:
        return replace(pinned, admitted_at="") if pinned.admitted_at else pinned
    return pinned if pinned.admitted_at else replace(pinned, admitted_at=rfc3339(observed.now))


def with_last_words(pinned: RevisionFacts, observed: Observed, obsolete: Iterable[RayServiceFacts]) -> RevisionFacts:
    """The record with why the revision never served, if its RayService, one of `obsolete`, is deleted now."""
    service = next((each for each in obsolete if each.name == pinned.name), None)
    if service is None or service.serves or pinned.served_at or pinned.failed_at:
        return pinned
    return replace(pinned, failure=_cut(why_not_serving(observed, service)))


def _cut(message: str) -> str:
    """The end of a message that is too long for a record: of a trace it says most."""
    return message[-_FAILURE_LIMIT:]


def with_service(pinned: RevisionFacts, observed: Observed) -> RevisionFacts:
    """The record with the time at which the revision first served."""
    serves = any(service.name == pinned.name and service.serves for service in observed.ray_services)
    return replace(pinned, served_at=rfc3339(observed.now)) if serves and not pinned.served_at else pinned


def with_live(
    record: RevisionFacts,
    deployment: LlamaDeployment,
    decision: Decision,
    *,
    runs: bool,
    now: datetime | None = None,
    most: int | None = None,
    least: int | None = None,
) -> RevisionFacts:
    """The record with the live settings of the spec.

    Args:
        record: The revision.
        deployment: Its spec has no problem.
        decision: Says whether the license of the revision lets it be given more hardware, and what house policy allows.
        runs: Whether the revision shall run; else the record keeps none, so that nothing brings it back by itself.
        now: The time, in UTC, by which a schedule has bounds; None for the hours that it does not name.
        most: Replicas that have a place, where more were given up; None where only the spec bounds them.
        least: Replicas that it has while it takes over; None where only the spec bounds them.
    """
    if runs and not decision.may_start(record.name):
        return with_desk(record, deployment, decision)
    if not runs:
        return replace(record, live=None)
    house = decision.house_limits(record.name)
    return replace(record, live=rayservice.live_of(deployment, record, house, now, most, least))


_LIMITS: Final = ("tenants", "others", "max_waiting_requests", "house", "revoked_keys")
"""Fields of the desk's settings that take something from clients. Names, adapters and the guard may be what a license refuses."""


def with_desk(record: RevisionFacts, deployment: LlamaDeployment, decision: Decision) -> RevisionFacts:
    """The record with the limits and the revoked keys of the spec, and all else as it was: no hardware comes with them.

    So what only goes on still refuses a key that was revoked.
    """
    problem = decision.problem
    direct = arguments(record.serve_config).get("path") == RequestPath.DIRECT
    if not direct or record.live is None or record.live.desk is None or not decision.revision.name:
        return record
    if problem is not None and problem.invalid:
        # What the spec says may be what is wrong with it.
        return record
    wanted = desk_settings(deployment.spec, decision.house_limits(record.name))
    desk = record.live.desk.model_copy(update={name: getattr(wanted, name) for name in _LIMITS})
    return replace(record, live=record.live.model_copy(update={"desk": desk}))


def with_license(record: RevisionFacts, observed: Observed, decision: Decision) -> RevisionFacts:
    """The record with what the spec declares while it asks for the revision, and with the end of its license."""
    judged = decision.verdict_of(record.name)
    if judged is not None and judged.verdict.allowed and record.name == decision.revision.name:
        families = dict.fromkeys(used.family for used in judged.verdict.evidence.acceptances)
        record = replace(record, license=observed.deployment.spec.license, families=tuple(families))
    return with_license_end(record, decision)


def with_license_end(record: RevisionFacts, decision: Decision) -> RevisionFacts:
    """The record with the end of its license, or without one that a newer acceptance has stopped."""
    judged = decision.verdict_of(record.name)
    return record if judged is None else replace(record, license_end=judged.end)


def over(observed: Observed, rollout: Rollout) -> tuple[str, ...]:
    """Names of revisions to forget: history beyond its limit.

    Those that never served are counted by themselves: however many fail, as many that served remain to go back to.
    """
    busy = {rollout.wanted, rollout.target, rollout.traffic, *(service.name for service in observed.ray_services)}
    idle = [pinned for pinned in observed.revisions if pinned.name not in busy]
    history = sorted(idle, key=lambda pinned: pinned.number, reverse=True)
    limit = observed.deployment.spec.rollout.revision_history_limit
    # The newest record of each end is kept: with it the end itself would be forgotten.
    ends: dict[tuple[str, str], RevisionFacts] = {}
    for pinned in history:
        if pinned.license_end is not None:
            ends.setdefault((pinned.license_end.acceptance, pinned.model), pinned)
    served = [pinned for pinned in history if pinned.served_at]
    others = [pinned for pinned in history if not pinned.served_at]
    beyond = (*served[limit:], *others[limit:])
    return tuple(pinned.name for pinned in beyond if pinned not in ends.values())


def build(observed: Observed, pinned: RevisionFacts) -> dict[str, Any]:
    """Build the ControllerRevision that pins a revision."""
    metadata = naming.metadata(observed.deployment, pinned.name, pinned.name)
    annotations = {
        ANNOTATION_SERVED_AT: pinned.served_at,
        ANNOTATION_ADMITTED_AT: pinned.admitted_at,
        ANNOTATION_TAKES_OVER: str(pinned.takes_over) if pinned.takes_over else "",
        ANNOTATION_COPY_OF: pinned.copy_of,
        ANNOTATION_FAILED_AT: pinned.failed_at,
        ANNOTATION_FAILURE: pinned.failure,
        ANNOTATION_STRATEGY: pinned.strategy.value if pinned.strategy else "",
        ANNOTATION_STRATEGY_REASON: pinned.strategy_reason,
        ANNOTATION_WEIGHTS_CHECKED_AT: pinned.weights_checked_at,
        ANNOTATION_LICENSE: _json(_written(pinned.license)) if pinned.license is not None else "",
        ANNOTATION_LICENSE_FAMILIES: " ".join(pinned.families),
        ANNOTATION_LICENSE_END: _json(_end_to_json(pinned.license_end)) if pinned.license_end is not None else "",
        ANNOTATION_LIVE: _json(pinned.live.model_dump(mode="json", exclude_none=True))
        if pinned.live is not None
        else "",
    }
    known = {name: value for name, value in annotations.items() if value}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": metadata | ({"annotations": known} if known else {}),
        "revision": pinned.number,
        "data": _new_data(pinned) if pinned.data is None else dict(pinned.data),
    }


def _new_data(pinned: RevisionFacts) -> dict[str, Any]:
    hosts = any("numOfHosts" in group for group in pinned.cluster["workerGroupSpecs"])
    return {
        "format": FORMAT_OF_HOSTS if hosts else RECORD_FORMAT,
        "inputs": dict(pinned.inputs),
        "plan": pinned.plan.to_api(),
        "serveConfig": dict(pinned.serve_config),
        "cluster": dict(pinned.cluster),
    } | ({"copies": [to_json(copy) for copy in pinned.copies]} if pinned.copies else {})


def _end_to_json(end: LicenseEnd) -> dict[str, Any]:
    known = {"grant": end.grant or None, "drainSeconds": end.drain_seconds}
    return {
        "acceptance": end.acceptance,
        "entity": end.entity,
        "families": list(end.families),
        "on": end.on,
        "at": rfc3339(end.at) if end.at is not None else None,
    } | {name: value for name, value in known.items() if value is not None}


def _written(license_spec: LicenseSpec) -> dict[str, Any]:
    """What differs from the defaults."""
    return license_spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)
