"""ModelLoaded, UpToDate and GuardReady: how far the revision is that the spec asks for. Called by `status.conditions`.

UpToDate is about the rollout, not about the endpoint: it stays True in an outage of a revision that was rolled out.
"""

from llama_operator.api.meta import ConditionStatus
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.decide.decision import Decision
from llama_operator.decide.observed import Observed, RayServiceFacts, ServeDeploymentFacts
from llama_operator.decide.rollout.rollout import Rollout
from llama_operator.decide.starts.deadline import progress_deadline
from llama_operator.status import replicas
from llama_operator.status.endpoint import Endpoint, facts_of, going, nearest, told, unanswered
from llama_operator.status.finding import Finding
from llama_serving.contract.guard import GUARD_DEPLOYMENT, GuardFailure, GuardMode

_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
_CLUSTER_STARTS = "the Ray cluster is starting"
"""The same words before and after KubeRay reports: one status less to write."""


def model_loaded(observed: Observed, decision: Decision) -> Finding:
    """The condition ModelLoaded, about the revision that the spec asks for."""
    kind, rollout = ConditionType.MODEL_LOADED, decision.rollout
    wanted = decision.revision.name
    if rollout is not None and rollout.given_up is not None:
        return Finding(kind, _FALSE, Reason.PROGRESS_DEADLINE_EXCEEDED, rollout.given_up.message)
    facts = facts_of(observed, wanted)
    cause = nearest(observed, wanted, kind)
    if cause is not None and (facts is None or not facts.serves):
        return Finding(kind, _FALSE, cause.reason, told(cause))
    if facts is None:
        return Finding(kind, _FALSE if rollout is not None else _UNKNOWN, *waiting(decision))
    if facts.leaving:
        return Finding(kind, _FALSE, waiting(decision)[0], going(facts, decision))
    if not facts.serves and facts.application_status != "RUNNING":
        return Finding(kind, _FALSE, Reason.STARTING, _starting_message(facts))
    if (old := replicas.too_old(observed, wanted)) is not None:
        return Finding(kind, _FALSE, Reason.ENGINE_TOO_OLD, old)
    if (cold := replicas.none_runs(observed, wanted)) is not None:
        return Finding(kind, _FALSE, *cold)
    if replicas.scaled_to_zero(observed, wanted):
        return Finding(kind, _TRUE, Reason.SCALED_TO_ZERO, "no replica runs; the next request starts an engine")
    return Finding(kind, _TRUE, Reason.ENGINE_RUNNING, "the engines that Serve counts on have loaded the model")


def _starting_message(facts: RayServiceFacts) -> str:
    busy = [f"{part.name} {part.status}" for part in facts.deployments if part.status != "HEALTHY"]
    return ", ".join(busy) or facts.message or (unanswered(facts) if facts.endpoints else _CLUSTER_STARTS)


def up_to_date(endpoint: Endpoint, observed: Observed, decision: Decision) -> Finding:
    """The condition UpToDate."""
    kind, rollout = ConditionType.UP_TO_DATE, decision.rollout
    if decision.problem is not None:
        status = _UNKNOWN if decision.problem.unclear else _FALSE
        return Finding(kind, status, decision.problem.reason, decision.problem.text)
    if rollout is None:
        return Finding(kind, _FALSE if observed.ray_services else _UNKNOWN, *waiting(decision))
    facts = facts_of(observed, rollout.wanted)
    if rollout.complete and endpoint.revision == rollout.wanted and facts is not None and facts.serves:
        return Finding(kind, _TRUE, Reason.ROLLED_OUT, f"revision {rollout.wanted} serves")
    if rolled_out(endpoint, observed, decision):
        text = f"revision {rollout.wanted} is rolled out; EndpointReady says why it does not answer"
        return Finding(kind, _TRUE, Reason.ROLLED_OUT, text)
    deadline = progress_deadline(observed, rollout.wanted)
    if rollout.given_up is not None:
        return Finding(
            kind,
            _FALSE,
            Reason.PROGRESS_DEADLINE_EXCEEDED,
            f"revision {rollout.wanted} did not serve within {deadline} s and was removed, {rollout.target} has the "
            f"traffic: {rollout.given_up.message}; correct the spec, or set spec.rollout.restartedAt to try again",
        )
    if rollout.overdue:
        return Finding(kind, _FALSE, Reason.PROGRESS_DEADLINE_EXCEEDED, _overdue(observed, rollout, deadline))
    return Finding(kind, _FALSE, Reason.ROLLING_OUT, _rolling_out(rollout, facts))


def rolled_out(endpoint: Endpoint, observed: Observed, decision: Decision) -> bool:
    """Whether the revision that the spec asks for has served since it has the traffic, and merely does not answer now."""
    rollout, before = decision.rollout, observed.deployment.status
    if rollout is None or not rollout.complete or endpoint.down_since is None:
        return False
    if endpoint.has_answered and endpoint.revision == rollout.wanted:
        return True
    return before is not None and before.revisions is not None and before.revisions.active == rollout.wanted


def _overdue(observed: Observed, rollout: Rollout, deadline: int) -> str:
    text = (
        f"revision {rollout.wanted} did not serve within {deadline} s; there is none to go back to, so it is tried on"
    )
    why = told(nearest(observed, rollout.wanted))
    return f"{text}: {why}" if why else text


def _rolling_out(rollout: Rollout, facts: RayServiceFacts | None) -> str:
    if rollout.waiting_for:
        how = f"waits until {', '.join(rollout.waiting_for)} has freed its hardware"
    elif facts is not None and facts.leaving:
        return f"revision {rollout.wanted} waits until its RayService of before is gone, which is being deleted"
    elif rollout.traffic != rollout.wanted:
        how = f"is being started beside {rollout.traffic}"
    else:
        return f"revision {rollout.wanted} is being started"
    return f"revision {rollout.wanted} {how} ({rollout.strategy.kind}: {rollout.strategy.reason})"


def guard_ready(observed: Observed, decision: Decision) -> Finding | None:
    """The condition GuardReady; None where the spec asks for no guard."""
    kind, guard = ConditionType.GUARD_READY, observed.deployment.spec.guard
    if guard is None:
        return None
    if decision.stopped:
        return Finding(kind, _FALSE, Reason.SUSPENDED, "no hardware is held")
    facts = facts_of(observed, decision.revision.name)
    if facts is None:
        return Finding(kind, _UNKNOWN, *waiting(decision))
    found = _deployment(facts)
    if found is None or found.status in _STARTING:
        return Finding(kind, _FALSE, Reason.STARTING, f"the guard {guard.model.name} is starting")
    opens = guard.mode is GuardMode.BLOCK and guard.failure is GuardFailure.OPEN
    if found.status != "HEALTHY":
        what = {
            GuardMode.BLOCK: "requests pass unchecked" if opens else "requests are refused with 503 guard_unavailable",
        }.get(guard.mode, "nothing tells what is unsafe")
        said = f": {found.message}" if found.message else ""
        return Finding(kind, _FALSE, Reason.GUARD_DOWN, f"the guard {guard.model.name} does not run, so {what}{said}")
    if opens:
        text = f"the guard {guard.model.name} runs; what it cannot judge passes, because: {guard.reason}"
        return Finding(kind, _TRUE, Reason.GUARD_FAILS_OPEN, text)
    return Finding(kind, _TRUE, Reason.GUARD_RUNNING, f"the guard {guard.model.name} runs in mode {guard.mode}")


_STARTING = frozenset({"", "UPDATING", "UPSCALING"})
"""Serve's words for a deployment that is on its way."""


def _deployment(facts: RayServiceFacts) -> ServeDeploymentFacts | None:
    return next((one for one in facts.deployments if one.name == GUARD_DEPLOYMENT), None)


def waiting(decision: Decision) -> tuple[Reason, str]:
    """Reason and words for what an earlier condition holds up; else the cluster is starting."""
    if decision.problem is not None:
        return Reason.WAITING, f"{decision.problem.condition} has to become True first"
    if decision.access_check is not None and not decision.access_check.passed:
        return Reason.WAITING, f"{ConditionType.WEIGHTS_ACCESSIBLE} has to become True first"
    if decision.copying is not None and not decision.copying.passed and decision.rollout is None:
        return Reason.WAITING, f"{ConditionType.WEIGHTS_COPIED} has to become True first"
    return Reason.STARTING, _CLUSTER_STARTS
