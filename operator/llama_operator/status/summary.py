"""The whole status of a LlamaDeployment. Called by the reconcile at the end of every pass, also of a failed one."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from math import floor, log10
from typing import Any

from llama_operator.api import readings
from llama_operator.api.meta import Condition
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.llamadeployment_status import (
    KVCacheStatus,
    LlamaDeploymentStatus,
    RevisionStatus,
)
from llama_operator.decide.copies.facts import CopiedFacts
from llama_operator.decide.decision import Decision
from llama_operator.decide.observed import Observed
from llama_operator.decide.problem import Problem
from llama_operator.decide.starts.measured import cold_start
from llama_operator.errors import InvalidManifestError, NotUnderstoodError
from llama_operator.status import access, adapters, conditions, exposure, plan_check, scaling, sums
from llama_operator.status.endpoint import Endpoint, look
from llama_operator.status.failure import Failure
from llama_operator.status.finding import Finding
from llama_operator.status.finding import conditions as dated
from llama_operator.status.weights.copies import copies
from llama_serving.config import HTTP_PORT

_TEXT_LIMIT = 1024
_UPGRADE = (
    "this version of the operator does not understand {}; upgrade it to the version of its CustomResourceDefinitions, or "
    "change the field; what runs goes on"
)
_MESSAGE_LIMIT = 4096
"""Bytes of a message: that of an engine may be a whole trace."""


def build(observed: Observed, decision: Decision, *, failure: Failure | None, now: datetime) -> LlamaDeploymentStatus:
    """Say what is, for the generation that `observed` holds.

    Args:
        observed: What this reconcile knew.
        decision: What it decided.
        failure: Why the pass failed, or None.
        now: Time of the pass, in UTC.
    """
    deployment = observed.deployment
    previous = deployment.status or LlamaDeploymentStatus()
    findings = conditions.findings(observed, decision, failure)
    counted, told = scaling.scaling(observed, decision, previous, now), scaling.answer(observed, decision)
    silent = told is None and _kept_answer(observed, decision, previous)
    kv_cache = plan_check.compare(observed, decision)
    endpoint = look(observed, decision, written=failure is None)
    return LlamaDeploymentStatus(
        observed_generation=deployment.metadata.generation,
        conditions=_conditions(findings, previous, deployment.metadata.generation, now),
        plan=decision.plan_status,
        revisions=_revisions(endpoint, observed, decision, previous),
        down_since=endpoint.down_since,
        replicas=counted.wanted,
        ready_replicas=counted.ready,
        selector=scaling.selector(observed, decision),
        queue_depth=rounded(told.queue_depth) if told is not None else previous.queue_depth if silent else None,
        serving_silent_since=previous.serving_silent_since or now.replace(microsecond=0) if silent else None,
        kv_cache_tokens=_kv_cache_tokens(observed, decision, previous, kv_cache),
        kv_cache=kv_cache,
        scaling_history=counted.history,
        cold_start=cold_start(
            observed, decision.chosen, decision.cold_start, told, previous.cold_start, _copied(decision)
        )
        or previous.cold_start,
        given_up=decision.given_up,
        access=access.access(endpoint, observed, decision),
        adapters=adapters.adapters(observed, decision),
        weights=copies(decision, previous.weights),
        url=_url(observed, decision),
        urls=exposure.urls(observed, decision),
    )


def _copied(decision: Decision) -> tuple[CopiedFacts | None, ...]:
    return () if decision.copying is None else tuple(state.copied for state in decision.copying.states)


def unreadable(error: InvalidManifestError) -> Problem:
    """What is wrong with an object that the API server accepted and this version does not: its CRD is another one.

    Under an older one it may break one of our rules; under a newer one it may have a value that is not known here.
    """
    if isinstance(error, NotUnderstoodError):
        text = "; ".join(f"{problem.path}: {problem.problem}" for problem in error.problems)
        return Problem(ConditionType.READY, Reason.NOT_UNDERSTOOD, _UPGRADE.format(text))
    return Problem(ConditionType.READY, Reason.INVALID_SPEC, "; ".join(map(str, error.problems)))


def invalid(
    live: Mapping[str, Any],
    problem: Problem,
    *,
    now: datetime,
    observed: Observed | None = None,
    decision: Decision | None = None,
) -> LlamaDeploymentStatus:
    """Status of an object that cannot be read.

    What serves goes on serving, and the status keeps what was known of it; the conditions are those of this generation.

    Args:
        live: The object as it stands.
        problem: Why it cannot be read.
        now: Time of the pass, in UTC.
        observed: What is known of what runs; None if no revision was ever made.
        decision: What is kept of it, and is not written yet.
    """
    previous = previous_of(live)
    generation = _generation(live)
    changes: dict[str, Any] = {"observed_generation": generation}
    if observed is not None and decision is not None:
        # It was built without the status of the object.
        observed = replace(observed, deployment=observed.deployment.model_copy(update={"status": previous}))
        endpoint = look(observed, decision, written=False)
        changes |= {
            "revisions": _revisions(endpoint, observed, decision, previous),
            "down_since": endpoint.down_since,
        }
    findings = conditions.unread(problem, observed, decision)
    changes["conditions"] = _conditions(findings, previous, generation, now)
    return previous.model_copy(update=changes)


def failed(live: Mapping[str, Any], failure: Failure, *, now: datetime) -> LlamaDeploymentStatus:
    """Status after a pass that failed before it could make one.

    What the pass before found out stands, with the generation that it was found out for.

    Args:
        live: The object as it stands.
        failure: Why the pass failed.
        now: Time of the pass, in UTC.
    """
    previous = previous_of(live)
    generation = _generation(live)
    before = {condition.type: condition for condition in previous.conditions}
    dated = _conditions(conditions.failed(failure), previous, generation, now)
    kept = [each for each in dated if each.type not in sums.SUMS]
    kept = [before.get(each.type, each) for each in kept]
    kept += [before[kind] for kind in sorted(conditions.OPTIONAL & before.keys())]
    found = (*kept, *(each for each in dated if each.type in sums.SUMS))
    return previous.model_copy(update={"observed_generation": generation, "conditions": found})


def _conditions(
    findings: Iterable[Finding], previous: LlamaDeploymentStatus, generation: int, now: datetime
) -> tuple[Condition, ...]:
    return dated(findings, previous.conditions, generation=generation, now=now, limit=_MESSAGE_LIMIT)


def previous_of(live: Mapping[str, Any]) -> LlamaDeploymentStatus:
    """The status of an object, as far as it can be read; a default one if there is none."""
    return readings.status(LlamaDeploymentStatus, live.get("status"))


def _generation(live: Mapping[str, Any]) -> int:
    return readings.whole(readings.mapping(live.get("metadata")).get("generation")) or 0


def rounded(queue_depth: int) -> int:
    """Round a number of requests to two digits: status is no metric, and must not be written for every request."""
    if queue_depth < 100:  # noqa: PLR2004 - two digits
        return queue_depth
    return round(queue_depth, 1 - floor(log10(queue_depth)))


def _revisions(
    endpoint: Endpoint, observed: Observed, decision: Decision, previous: LlamaDeploymentStatus
) -> RevisionStatus | None:
    before, rollout = previous.revisions or RevisionStatus(), decision.rollout
    active = _active(endpoint, observed, decision, before.active)
    if rollout is None:
        known = before.model_copy(update={"active": active, "pending": ""})
        return known if known != RevisionStatus() else None
    if rollout.given_up is not None:
        before = RevisionStatus(last_failed=rollout.wanted, last_failed_reason=rollout.given_up.message[-_TEXT_LIMIT:])
    done = active == rollout.target or decision.stopped
    return before.model_copy(update={"active": active, "pending": "" if done else rollout.target})


def _active(endpoint: Endpoint, observed: Observed, decision: Decision, before: str) -> str:
    """The revision that answers; in an outage the one that did, while it has the traffic."""
    serving = [facts.name for facts in observed.ray_services if facts.serves]
    traffic = endpoint.revision or decision.traffic
    if traffic in serving or (endpoint.down_since is not None and (traffic == before or endpoint.has_answered)):
        return traffic or ""
    return next(iter(serving), "")


def _kept_answer(observed: Observed, decision: Decision, previous: LlamaDeploymentStatus) -> bool:
    """Whether the last answer of the pods still says something: the same revision serves, and does not answer now."""
    serves = any(facts.serves and facts.name == decision.traffic for facts in observed.ray_services)
    same = previous.selector in {"", scaling.selector(observed, decision)}
    return previous.queue_depth is not None and serves and same and not decision.stopped


def _kv_cache_tokens(
    observed: Observed, decision: Decision, previous: LlamaDeploymentStatus, measured: KVCacheStatus | None
) -> int | None:
    if observed.serving is not None:
        # One number for one thing: the comparison does not follow every replica that comes and goes.
        same = measured is not None and measured.revision == observed.serving.identity.revision
        return measured.measured_tokens if measured is not None and same else observed.serving.kv_cache_tokens
    serves = any(facts.serves for facts in observed.ray_services)
    return previous.kv_cache_tokens if serves and not decision.stopped else None


def _url(observed: Observed, decision: Decision) -> str:
    metadata = observed.deployment.metadata
    if decision.rollout is None and not observed.ray_services:
        return ""
    host = observed.address or f"{metadata.name}.{metadata.namespace}.svc:{HTTP_PORT}"
    return f"http://{host}/v1"
