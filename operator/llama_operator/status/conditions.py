"""The conditions of a LlamaDeployment, one function each, and what follows from all of them. Called by `status.summary`."""

from collections.abc import Iterator

from llama_operator.api.meta import ConditionStatus
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.catalog.models import Model
from llama_operator.decide.bounds import least_replicas
from llama_operator.decide.decision import Decision
from llama_operator.decide.diagnosis.engine_message import ENGINE_FAILED, engine_message, refusal
from llama_operator.decide.license.running import RevisionVerdict
from llama_operator.decide.observed import Observed, RayServiceFacts
from llama_operator.decide.plan.status import label
from llama_operator.decide.rollout.ending import Ending
from llama_operator.decide.rollout.rollout import Rollout
from llama_operator.status import engine_version, plan_check, replicas
from llama_operator.status.failure import Failure
from llama_operator.status.finding import Finding
from llama_operator.status.repairs import describe_repair
from llama_serving.config import CHECKPOINT_REFUSED

_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
_SERVICE = "Service"
_CLUSTER_STARTS = "the Ray cluster is starting"
"""The same words before and after KubeRay reports: one status less to write."""

_TOLD_ONLY = frozenset({ConditionType.CAPACITY_FOUND, ConditionType.PLAN_ACCURATE, ConditionType.OBJECTS_KEPT})
"""Conditions that Ready does not depend on: neither missing or unknown nodes nor a wrong plan make a serving model unready,
nor does somebody who changes what is set right again."""

SUMS = frozenset({ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED})
"""Conditions that follow from the others."""


def findings(observed: Observed, decision: Decision, failure: Failure | None) -> tuple[Finding, ...]:
    """All conditions, in order; the last three follow from the others.

    Args:
        observed: What this pass knows.
        decision: What it decided.
        failure: Why the pass failed, or None.
    """
    parts = tuple(_parts(observed, decision, failure))
    return (*parts, *_sum(parts, decision, failure))


def invalid(text: str) -> tuple[Finding, ...]:
    """All conditions of a spec that cannot be read; `text` says why."""
    return (
        *_before_a_look("the spec has to become valid first"),
        Finding(ConditionType.READY, _FALSE, Reason.INVALID_SPEC, text),
        Finding(ConditionType.RECONCILING, _FALSE, Reason.SETTLED),
        Finding(ConditionType.STALLED, _TRUE, Reason.BLOCKED, text),
    )


def not_understood(text: str) -> tuple[Finding, ...]:
    """All conditions of a spec that only a newer version understands; `text` says why. Nothing is wrong with it."""
    return (
        *_before_a_look("the spec has to be understood first"),
        Finding(ConditionType.READY, _UNKNOWN, Reason.NOT_UNDERSTOOD, text),
        Finding(ConditionType.RECONCILING, _FALSE, Reason.NOT_UNDERSTOOD),
        Finding(ConditionType.STALLED, _FALSE, Reason.NOT_UNDERSTOOD),
    )


def failed(failure: Failure) -> tuple[Finding, ...]:
    """What is known after a pass that failed before it had found out anything."""
    told = (
        *_before_a_look("the operator has to look without a failure first"),
        Finding(ConditionType.READY, _UNKNOWN, failure.reason, failure.text),
    )
    if failure.refused:
        return *told, *_stalled(failure.reason, failure.text)
    return (
        *told,
        Finding(ConditionType.RECONCILING, _TRUE, Reason.PROGRESSING, failure.text),
        Finding(ConditionType.STALLED, _FALSE, Reason.PROGRESSING),
    )


def _stalled(reason: Reason, text: str) -> tuple[Finding, Finding]:
    """Nothing more happens until a person changes something."""
    return (
        Finding(ConditionType.RECONCILING, _FALSE, Reason.SETTLED),
        Finding(ConditionType.STALLED, _TRUE, reason, text),
    )


def _before_a_look(text: str) -> Iterator[Finding]:
    return (Finding(kind, _UNKNOWN, Reason.WAITING, text) for kind in ConditionType if kind not in SUMS)


def _parts(observed: Observed, decision: Decision, failure: Failure | None) -> Iterator[Finding]:
    yield _license_accepted(observed, decision)
    yield _model_resolved(decision)
    yield _planned(decision)
    yield _weights_accessible(decision)
    if decision.stopped:
        for kind in (
            ConditionType.CAPACITY_FOUND,
            ConditionType.MODEL_LOADED,
            ConditionType.ENDPOINT_READY,
            ConditionType.UP_TO_DATE,
        ):
            yield Finding(kind, _FALSE, Reason.SUSPENDED, "no hardware is held")
        yield Finding(ConditionType.PLAN_ACCURATE, _UNKNOWN, Reason.SUSPENDED, "no engine runs to measure")
        yield _objects_kept(observed)
        return
    yield _capacity_found(observed, decision)
    yield _model_loaded(observed, decision)
    yield _endpoint_ready(observed, decision, failure)
    yield _up_to_date(observed, decision)
    yield _plan_accurate(observed, decision)
    yield _objects_kept(observed)


def _license_accepted(observed: Observed, decision: Decision) -> Finding:
    kind, verdict = ConditionType.LICENSE_ACCEPTED, decision.license
    running = _refused_revision(observed, decision)
    if running is not None and (verdict is None or verdict.allowed):
        return Finding(kind, _refused(running.verdict.reason), running.verdict.reason, _of_revision(running))
    if verdict is None:
        return Finding(kind, _UNKNOWN, Reason.WAITING, "the license follows from the model")
    return Finding(kind, _TRUE if verdict.allowed else _refused(verdict.reason), verdict.reason, verdict.message)


def _refused(reason: Reason) -> ConditionStatus:
    """Status of a condition that does not hold: what is not understood may well hold."""
    return _UNKNOWN if reason is Reason.NOT_UNDERSTOOD else _FALSE


def _refused_revision(observed: Observed, decision: Decision) -> RevisionVerdict | None:
    """A revision in the cluster, other than the wanted one, that its license does not allow; first the one with the traffic."""
    here = {service.name for service in observed.ray_services if not service.leaving} - {decision.revision.name}
    traffic = observed.traffic.revision if observed.traffic else ""
    refused = [judged for judged in decision.verdicts if judged.revision in here and not judged.verdict.allowed]
    return min(refused, key=lambda judged: judged.revision != traffic, default=None)


def _of_revision(judged: RevisionVerdict) -> str:
    return f"revision {judged.revision} ({judged.model}): {judged.verdict.message}"


def _model_resolved(decision: Decision) -> Finding:
    kind = ConditionType.MODEL_RESOLVED
    if (broken := _problem_of(decision, kind)) is not None:
        return broken
    if decision.model is None:
        return Finding(kind, _UNKNOWN, Reason.WAITING)
    return Finding(kind, _TRUE, Reason.MODEL_FOUND, _where(decision.model))


def _where(model: Model) -> str:
    return f"{model.id} is an added LlamaModel" if model.added else f"{model.id} is in the catalog"


def _planned(decision: Decision) -> Finding:
    kind = ConditionType.PLANNED
    if (broken := _problem_of(decision, kind)) is not None:
        return broken
    chosen = decision.chosen
    if chosen is None:
        return Finding(kind, _UNKNOWN, Reason.WAITING, "an earlier condition has to become True first")
    return Finding(
        kind,
        _TRUE,
        Reason.PLAN_FOUND,
        f"{label(chosen)}: {chosen.gpus_per_replica} per replica, {chosen.nodes_per_replica} node(s)",
    )


def _weights_accessible(decision: Decision) -> Finding:
    kind, check = ConditionType.WEIGHTS_ACCESSIBLE, decision.access_check
    if check is None:
        # The question comes when nothing else stands in the way, and not before hardware is wanted.
        return Finding(kind, _UNKNOWN, Reason.WAITING, "it is asked before a revision starts")
    if check.reason is Reason.ACCESS_CHECKING:
        return Finding(kind, _UNKNOWN, check.reason, check.message)
    status = _TRUE if check.passed else _FALSE
    return Finding(kind, status, check.reason, check.problem.text if check.problem else check.message)


def _capacity_found(observed: Observed, decision: Decision) -> Finding:
    kind, chosen = ConditionType.CAPACITY_FOUND, decision.chosen
    if chosen is None or observed.nodes is None:
        return Finding(kind, _UNKNOWN, Reason.WAITING, "the plan or the nodes are not known")
    inside = -(-chosen.gpus_per_replica // max(1, chosen.nodes_per_replica))
    replicas = max(1, least_replicas(observed.deployment.spec))
    fitting = [node.gpus for node in observed.nodes if node.accelerator == chosen.accelerator]
    have, need = sum(fitting), chosen.gpus_per_replica * replicas
    # What a replica takes of one node is never split over two.
    if sum(gpus // max(1, inside) for gpus in fitting) >= chosen.nodes_per_replica * replicas:
        # Without the number that exist: a node more or less is no reason to write a status.
        return Finding(kind, _TRUE, Reason.NODES_FOUND, f"{need} {chosen.accelerator} are needed and exist")
    whole = "" if have < need else f" with {inside} in one node"
    return Finding(
        kind,
        _FALSE,
        Reason.NODES_MISSING,
        f"{have} {chosen.accelerator} exist, {need} are needed{whole}; pods wait until nodes are added",
    )


def _model_loaded(observed: Observed, decision: Decision) -> Finding:
    kind = ConditionType.MODEL_LOADED
    rollout = decision.rollout
    if rollout is not None and rollout.given_up is not None:
        return Finding(kind, _FALSE, Reason.PROGRESS_DEADLINE_EXCEEDED, rollout.given_up.message)
    facts = _facts(observed, rollout.wanted if rollout else None)
    if facts is None:
        return Finding(kind, _FALSE if decision.rollout else _UNKNOWN, *_waiting(decision))
    refused = refusal(facts)
    if refused and not facts.serves:
        reason = Reason.CHECKPOINT_REFUSED if refused.startswith(CHECKPOINT_REFUSED) else Reason.LICENSE_FILES_MISSING
        return Finding(kind, _FALSE, reason, refused)
    if facts.application_status in ENGINE_FAILED:
        message = engine_message(facts) or f"Serve reports {facts.application_status}"
        return Finding(kind, _FALSE, Reason.ENGINE_FAILED, message)
    if not facts.serves and facts.application_status != "RUNNING":
        return Finding(kind, _FALSE, Reason.STARTING, _starting_message(facts))
    if (old := engine_version.too_old(observed, rollout.wanted if rollout else "")) is not None:
        return Finding(kind, _FALSE, Reason.ENGINE_TOO_OLD, old)
    if (cold := replicas.none_runs(observed, rollout.wanted if rollout else "")) is not None:
        return Finding(kind, _FALSE, *cold)
    if observed.serving is not None and observed.serving.replicas == 0 and observed.serving.target_replicas == 0:
        return Finding(kind, _TRUE, Reason.SCALED_TO_ZERO, "no load; the next request starts an engine")
    return Finding(kind, _TRUE, Reason.ENGINE_RUNNING, "the engines that Serve counts on have loaded the model")


def _endpoint_ready(observed: Observed, decision: Decision, failure: Failure | None) -> Finding:
    kind = ConditionType.ENDPOINT_READY
    if decision.ending is not None and _ended_what_served(observed, decision.ending):
        ended = ", ".join(decision.ending.revisions)
        text = f"the license of {decision.ending.acceptance} has ended: no request is sent to {ended} any more"
        return Finding(kind, _FALSE, Reason.ACCEPTANCE_TERMINATED, text)
    selected = _selected(observed, decision, failure)
    if selected is None:
        return Finding(
            kind, _FALSE, Reason.NO_ENDPOINT, f"there is no Service {observed.deployment.metadata.name} of ours"
        )
    facts = _facts(observed, selected)
    if facts is None or not facts.serves:
        wrong = bool(selected) and facts is None and selected != decision.traffic
        text = (
            f"the Service selects {selected}, which is no revision"
            if wrong
            else "no pod is ready to answer requests yet"
        )
        return Finding(kind, _FALSE, Reason.NO_ENDPOINT, text)
    if (cold := replicas.none_runs(observed, selected)) is not None:
        return Finding(kind, _FALSE, Reason.NO_ENDPOINT, f"requests wait: {cold[1]}")
    return Finding(kind, _TRUE, Reason.ENDPOINT_SERVING, "requests are answered")


def _selected(observed: Observed, decision: Decision, failure: Failure | None) -> str | None:
    """Revision that the Service selects after this pass; None if there is no Service of ours.

    A pass that failed may not have written it, and one that somebody keeps changing is left alone for a while.
    """
    held = any(one.kind == _SERVICE and one.held for one in observed.contested)
    if failure is None and not held and decision.traffic is not None:
        return decision.traffic
    return None if observed.traffic is None else observed.traffic.revision


def _ended_what_served(observed: Observed, ending: Ending) -> bool:
    """Whether no revision but those that ended could answer."""
    return not any(facts.serves and facts.name not in ending.revisions for facts in observed.ray_services)


def _up_to_date(observed: Observed, decision: Decision) -> Finding:
    kind, rollout = ConditionType.UP_TO_DATE, decision.rollout
    if rollout is None:
        reason, message = _waiting(decision)
        return Finding(kind, _FALSE if observed.ray_services else _UNKNOWN, reason, message)
    wanted = _facts(observed, rollout.wanted)
    if rollout.complete and wanted is not None and wanted.serves:
        return Finding(kind, _TRUE, Reason.ROLLED_OUT, f"revision {rollout.wanted} serves")
    deadline = observed.deployment.spec.rollout.progress_deadline_seconds
    if rollout.given_up is not None:
        return Finding(
            kind,
            _FALSE,
            Reason.PROGRESS_DEADLINE_EXCEEDED,
            f"revision {rollout.wanted} did not serve within {deadline} s and was removed, {rollout.target} has the "
            f"traffic: {rollout.given_up.message}; correct the spec, or set spec.rollout.restartedAt to try again",
        )
    if rollout.overdue:
        return Finding(
            kind,
            _FALSE,
            Reason.PROGRESS_DEADLINE_EXCEEDED,
            f"revision {rollout.wanted} did not serve within {deadline} s; there is none to go back to, so it is tried on",
        )
    return Finding(kind, _FALSE, Reason.ROLLING_OUT, _rolling_out_message(rollout))


def _plan_accurate(observed: Observed, decision: Decision) -> Finding:
    kind = ConditionType.PLAN_ACCURATE
    if decision.rollout is None:
        return Finding(kind, _UNKNOWN, *_waiting(decision))
    return Finding(kind, *plan_check.judge(plan_check.compare(observed, decision), observed))


def _objects_kept(observed: Observed) -> Finding:
    kind = ConditionType.OBJECTS_KEPT
    if not observed.contested:
        return Finding(kind, _TRUE, Reason.KEPT, "nobody keeps changing what the operator made")
    done = "; ".join(map(describe_repair, observed.contested))
    return Finding(
        kind,
        _FALSE,
        Reason.CHANGED_BY_OTHERS,
        f"{done}, again and again: it is set right at most once a minute. Stop what does so, or leave these fields to the "
        "LlamaDeployment; the audit log of the API server says who it is",
    )


def _rolling_out_message(rollout: Rollout) -> str:
    if rollout.waiting_for:
        how = f"waits until {', '.join(rollout.waiting_for)} has freed its hardware"
    elif rollout.traffic != rollout.wanted:
        how = f"is being started beside {rollout.traffic}"
    else:
        return f"revision {rollout.wanted} is being started"
    return f"revision {rollout.wanted} {how} ({rollout.strategy.kind}: {rollout.strategy.reason})"


def _sum(parts: tuple[Finding, ...], decision: Decision, failure: Failure | None) -> Iterator[Finding]:
    ready = _ready(parts, decision, failure)
    given_up = decision.rollout is not None and decision.rollout.given_up is not None and not decision.stopped
    unclear = decision.problem is not None and decision.problem.unclear and failure is None
    blocked = (decision.problem is not None or given_up) and failure is None and not unclear
    idle = failure is None and (blocked or decision.stopped or ready.status is _TRUE)
    reconciling, stalled = ConditionType.RECONCILING, ConditionType.STALLED
    yield ready
    if failure is not None and failure.refused:
        yield from _stalled(failure.reason, failure.text)
        return
    if unclear:
        yield Finding(reconciling, _FALSE, Reason.NOT_UNDERSTOOD)
        yield Finding(stalled, _FALSE, Reason.NOT_UNDERSTOOD)
        return
    if not idle:
        yield Finding(reconciling, _TRUE, Reason.PROGRESSING, ready.message)
        yield Finding(stalled, _FALSE, Reason.PROGRESSING)
        return
    if blocked:
        yield from _stalled(Reason.BLOCKED, decision.problem.text if decision.problem else ready.message)
        return
    yield Finding(reconciling, _FALSE, Reason.SETTLED)
    yield Finding(stalled, _FALSE, Reason.SETTLED)


def _ready(parts: tuple[Finding, ...], decision: Decision, failure: Failure | None) -> Finding:
    kind = ConditionType.READY
    if failure is not None and not failure.refused:
        return Finding(kind, _UNKNOWN, failure.reason, failure.text)
    answers = any(part.type is ConditionType.ENDPOINT_READY and part.status is _TRUE for part in parts)
    if failure is not None and not answers:
        return Finding(kind, _FALSE, failure.reason, failure.text)
    if decision.problem is not None:
        return Finding(kind, _refused(decision.problem.reason), decision.problem.reason, decision.problem.text)
    if decision.stopped:
        return Finding(kind, _FALSE, Reason.SUSPENDED, "no hardware is held")
    needed = [part for part in parts if part.type not in _TOLD_ONLY]
    lacking = next((part for part in needed if part.status is not _TRUE), None)
    if lacking is None:
        return Finding(kind, _TRUE, Reason.SERVING, "the endpoint answers with the model asked for")
    return Finding(kind, _FALSE, lacking.reason, lacking.message)


def _problem_of(decision: Decision, kind: ConditionType) -> Finding | None:
    problem = decision.problem
    if problem is None or problem.condition is not kind:
        return None
    return Finding(kind, _refused(problem.reason), problem.reason, problem.text)


def _waiting(decision: Decision) -> tuple[Reason, str]:
    if decision.problem is not None:
        return Reason.WAITING, f"{decision.problem.condition} has to become True first"
    if decision.access_check is not None and not decision.access_check.passed:
        return Reason.WAITING, f"{ConditionType.WEIGHTS_ACCESSIBLE} has to become True first"
    return Reason.STARTING, _CLUSTER_STARTS


def _facts(observed: Observed, revision: str | None) -> RayServiceFacts | None:
    return next((facts for facts in observed.ray_services if facts.name == revision), None)


def _starting_message(facts: RayServiceFacts) -> str:
    busy = [f"{part.name} {part.status}" for part in facts.deployments if part.status != "HEALTHY"]
    return ", ".join(busy) or facts.message or _CLUSTER_STARTS
