"""The endpoint: which revision answers it, with how many replicas, and since when none does. EndpointReady follows from it.

Called by `status.conditions`, `status.sums` and `status.summary`. A start and an outage look the same in the cluster. What
tells them apart is what the status before said: an endpoint that answered and does not any more is down, and stays down until
it answers again or nobody wants it to.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from llama_operator.api import readings
from llama_operator.api.meta import Condition, ConditionStatus, rfc3339
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus
from llama_operator.decide.decision import Decision
from llama_operator.decide.diagnosis import cluster
from llama_operator.decide.diagnosis.cause import BEFORE_HINT, Cause
from llama_operator.decide.diagnosis.causes import causes, none_left
from llama_operator.decide.observed import Observed, RayServiceFacts
from llama_operator.decide.rollout.ending import NO_REVISION, Ending
from llama_operator.status import replicas
from llama_operator.status.finding import Finding

_TRUE, _FALSE = ConditionStatus.TRUE, ConditionStatus.FALSE
_SERVICE = "Service"
_NO_POD = "no pod is ready to answer requests"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a pass finds behind the Service."""

    revision: str | None
    """Revision that the Service selects; None if there is no Service of ours."""
    facts: RayServiceFacts | None = None
    """Its RayService; None if there is none."""
    cold: tuple[Reason, str] | None = None
    """Why it answers nothing although its RayService serves: replicas are wanted, and none runs."""
    lost: bool = False
    """Whether its nodes are lost, and no pod is left that could answer; KubeRay learns that a minute later."""
    zero: bool = False
    """Whether no replica runs because there is no load."""
    short: str = ""
    """How many of the wanted replicas answer, where some of them were lost; empty if none was."""
    cause: Cause | None = None
    """What is known to be wrong with it."""
    clusterless: bool = False
    """Whether there is no RayCluster of it, although its RayService is there."""
    has_answered: bool = False
    """Whether this RayService of the revision is known to have answered."""
    down_since: datetime | None = None
    """When it stopped to answer without being asked to; None while it answers, and before it first did."""

    @property
    def answers(self) -> bool:
        """Whether requests are answered; also while it is scaled to zero, when the next one starts an engine."""
        return self.facts is not None and self.facts.serves and self.cold is None and not self.lost

    @property
    def degraded(self) -> str:
        """Why fewer replicas answer than are wanted; empty if none is missed."""
        if not self.answers or self.zero:
            return ""
        return ": ".join(part for part in (self.short, told(self.cause)) if part)

    @property
    def served_until(self) -> str:
        """When it answered last, for people; empty unless it is down. A day is named: an outage may last longer than one."""
        if self.down_since is None:
            return ""
        day, _, time = rfc3339(self.down_since).partition("T")
        return f"served until {time} on {day}"


def look(observed: Observed, decision: Decision, *, written: bool) -> Endpoint:
    """Find out what is behind the Service.

    Args:
        observed: What this pass knows.
        decision: What it decided.
        written: Whether this pass has written the Service as decided; a pass that failed may not have done so.
    """
    revision = _selected(observed, decision, written=written)
    facts = facts_of(observed, revision)
    if revision is None:
        return Endpoint(None, down_since=_down_since(observed, decision, revision, cold=False))
    endpoint = Endpoint(
        revision=revision,
        facts=facts,
        cold=replicas.none_runs(observed, revision),
        lost=none_left(observed, revision),
        cause=nearest(observed, revision),
        has_answered=_served_in_its_life(observed, revision) is not None,
        clusterless=facts is not None and cluster.are_seen(observed) and not cluster.clusters_of(observed, facts),
    )
    if endpoint.answers:
        return replace(
            endpoint, zero=replicas.scaled_to_zero(observed, revision), short=replicas.lost(observed, revision)
        )
    return replace(endpoint, down_since=_down_since(observed, decision, revision, cold=endpoint.cold is not None))


def facts_of(observed: Observed, revision: str | None) -> RayServiceFacts | None:
    """The RayService of a revision; None if there is none."""
    return next((facts for facts in observed.ray_services if facts.name == revision), None)


def nearest(observed: Observed, revision: str | None, kind: ConditionType | None = None) -> Cause | None:
    """The nearest cause that keeps a revision from answering, of those that concern condition `kind`, if that is given."""
    found = causes(observed, revision) if revision else ()
    return next((cause for cause in found if kind in {None, cause.condition}), None)


def told(cause: Cause | None) -> str:
    """A cause with what a person can do about it; empty for none."""
    if cause is None:
        return ""
    return f"{cause.message}{BEFORE_HINT}{cause.hint}" if cause.hint else cause.message


def endpoint_ready(endpoint: Endpoint, observed: Observed, decision: Decision) -> Finding:
    """The condition EndpointReady."""
    kind = ConditionType.ENDPOINT_READY
    if decision.ending is not None and _ended_what_served(observed, decision.ending):
        ended = ", ".join(decision.ending.revisions)
        text = f"the license of {decision.ending.acceptance} has ended: no request is sent to {ended} any more"
        return Finding(kind, _FALSE, Reason.ACCEPTANCE_TERMINATED, text)
    if not endpoint.answers:
        own = nearest(observed, endpoint.revision, kind)
        reason = Reason.NO_ENDPOINT if own is None else own.reason
        return Finding(kind, _FALSE, reason, _silence(endpoint, observed, decision))
    if endpoint.zero:
        return Finding(
            kind, _TRUE, Reason.SCALED_TO_ZERO, "no replica runs; the next request starts one and waits for it"
        )
    if endpoint.degraded:
        return Finding(kind, _TRUE, Reason.DEGRADED, f"requests are answered, {endpoint.degraded}")
    lesser = _less_than_asked(endpoint, observed)
    return Finding(kind, _TRUE, Reason.ENDPOINT_SERVING, "requests are answered" + (lesser and f", but {lesser}"))


def _less_than_asked(endpoint: Endpoint, observed: Observed) -> str:
    """What the nodes do not do although the spec asks for it, as the replicas say; empty for nothing."""
    serving = observed.serving
    return "" if serving is None or serving.identity.revision != endpoint.revision else serving.haproxy_fault


def why_down(endpoint: Endpoint, decision: Decision) -> tuple[Reason, str]:
    """Reason and words for an endpoint that answered and does not any more."""
    facts = endpoint.facts
    if endpoint.cause is not None:
        failed = endpoint.cause.reason is Reason.ENGINE_FAILED
        said = f"Serve says {facts.application_status}: " if failed and facts is not None else ""
        return endpoint.cause.reason, f"{said}{told(endpoint.cause)}"
    if endpoint.lost:
        return Reason.NODES_LOST, "the nodes of all its pods are gone or not ready"
    if endpoint.revision is None:
        return Reason.NO_ENDPOINT, "its Service is gone"
    if facts is None:
        return _gone(endpoint.revision, decision)
    if facts.leaving:
        return Reason.NO_ENDPOINT, going(facts, decision)
    if endpoint.cold is not None:
        return Reason.NO_ENDPOINT, endpoint.cold[1]
    if endpoint.clusterless:
        return Reason.NO_ENDPOINT, f"the RayCluster of {endpoint.revision} is gone; KubeRay makes another"
    return Reason.NO_ENDPOINT, facts.message or unanswered(facts)


def unanswered(facts: RayServiceFacts) -> str:
    """Why a RayService answers nothing, where KubeRay says nothing about it: pods may be ready and Serve may not."""
    if facts.endpoints == 0:
        return _NO_POD
    said = f"says {facts.application_status} of the" if facts.application_status else "has no"
    return f"{facts.endpoints} pod(s) are ready, and Serve {said} application"


def going(facts: RayServiceFacts, decision: Decision) -> str:
    """That a RayService is being deleted: what KubeRay and Serve say of it is no word about the one that comes after it."""
    rollout = decision.rollout
    again = rollout is not None and facts.name in {rollout.wanted, rollout.target}
    text = f"RayService {facts.name} is being deleted{', and is made again when its pods have ended' if again else ''}"
    return f"{text}; `kubectl llama explain` has what is left of it"


def _gone(revision: str, decision: Decision) -> tuple[Reason, str]:
    text, problem = f"RayService {revision} is gone", decision.problem
    if problem is not None and not decision.may_start(revision):
        return problem.reason, f"{text}, and is not made again: {problem.text}"
    return Reason.NO_ENDPOINT, f"{text}; it is made again"


def _silence(endpoint: Endpoint, observed: Observed, decision: Decision) -> str:
    """Why nothing answers: of an outage since when, of a start what is waited for."""
    revision, facts = endpoint.revision, endpoint.facts
    if endpoint.down_since is not None:
        return f"{endpoint.served_until}: {why_down(endpoint, decision)[1]}"
    if revision is None:
        return f"there is no Service {observed.deployment.metadata.name} of ours"
    if revision and facts is None and revision != decision.traffic:
        return f"the Service selects {revision}, which is no revision"
    if facts is not None and facts.leaving:
        return going(facts, decision)
    if endpoint.cold is not None:
        return f"requests wait: {endpoint.cold[1]}"
    record = observed.pinned(revision)
    why = _NO_POD if facts is None else unanswered(facts)
    text = why + ("" if record is not None and record.served_at else " yet")
    return f"{text}: {told(endpoint.cause)}" if endpoint.cause is not None else text


def _selected(observed: Observed, decision: Decision, *, written: bool) -> str | None:
    """Revision that the Service selects; None if there is no Service of ours.

    One that somebody keeps changing is left alone for a while.
    """
    held = any(one.kind == _SERVICE and one.held for one in observed.contested)
    if written and not held and decision.traffic is not None:
        return decision.traffic
    return None if observed.traffic is None else observed.traffic.revision


def _down_since(observed: Observed, decision: Decision, revision: str | None, *, cold: bool) -> datetime | None:
    """When the endpoint stopped to answer; None for a start, and where nobody wants it to answer."""
    before = observed.deployment.status
    if decision.stopped or revision == NO_REVISION:
        return None
    if before is not None and before.down_since is not None:
        return before.down_since
    was, now = condition_of(before, ConditionType.ENDPOINT_READY), observed.now.replace(microsecond=0)
    if was is not None and was.status is _TRUE:
        # After a pause without load the next request starts an engine, as it should.
        starts = was.reason == Reason.SCALED_TO_ZERO and cold
        return None if starts else now
    served = None if cold else _served_in_its_life(observed, revision)
    if served is None:
        return None
    # Who wrote the status, an older operator say, did not keep the beginning. The condition has it, unless it is of before.
    since = was.last_transition_time if was is not None and was.status is _FALSE else now
    return since if since >= served else now


def _served_in_its_life(observed: Observed, revision: str | None) -> datetime | None:
    """When the RayService of a revision first answered; None where nobody knows that this one ever did.

    A revision that served before may be starting again, after a suspension say: its RayService is younger than its first
    answer then.
    """
    record, facts = observed.pinned(revision or ""), facts_of(observed, revision)
    served = None if record is None else readings.moment(record.served_at)
    created = None if facts is None or facts.leaving else facts.created
    return served if served is not None and created is not None and served > created else None


def condition_of(status: LlamaDeploymentStatus | None, kind: ConditionType) -> Condition | None:
    """A condition of a status; None if there is none."""
    found = () if status is None else status.conditions
    return next((condition for condition in found if condition.type == kind), None)


def _ended_what_served(observed: Observed, ending: Ending) -> bool:
    """Whether no revision but those that ended could answer."""
    return not any(facts.serves and facts.name not in ending.revisions for facts in observed.ray_services)
