"""How many replicas there are, and how that changed: only changes that Serve made. Called by `status.summary`.

Pods tell which changes Serve made, when and why, as the autoscaling policy in them wrote it down; these are taken as they are. Older pods
tell only numbers:

Serve decides on replicas, and only its answer says how many it wants. While the status endpoint is silent, the last number
is kept, and the next answer is compared with it. A new run of Serve begins with the fewest replicas that the spec allows,
so its first answer is compared with that number.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from llama_operator.api.readings import moment
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeploymentSpec
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus, ScalingEvent
from llama_operator.api.v1alpha1.scaling import ScalingMode
from llama_operator.decide.bounds import least_replicas, replica_bounds
from llama_operator.decide.decision import Decision
from llama_operator.decide.observed import Observed, RayServiceFacts
from llama_operator.decide.scaling.schedule import ReplicaBounds
from llama_operator.decide.starts.claim import most_now
from llama_operator.desired import naming
from llama_serving.contract.status import BOUNDS_CHANGED, ServingStatus

_HISTORY = 10


@dataclass(frozen=True, slots=True)
class Scaling:
    """Replicas for the status.

    Attributes:
        wanted: Replicas that Serve wants, as far as it is known.
        ready: Replicas that serve.
        history: Changes of `wanted` that Serve made, newest first.
    """

    wanted: int
    ready: int
    history: tuple[ScalingEvent, ...]


def answer(observed: Observed, decision: Decision) -> ServingStatus | None:
    """What Serve says about the revision that has the traffic; None if it is silent, or pods of another one answered."""
    serving, revision = observed.serving, decision.traffic
    return serving if serving is not None and revision in {None, serving.identity.revision} else None


def scaling(observed: Observed, decision: Decision, previous: LlamaDeploymentStatus, now: datetime) -> Scaling:
    """Count the replicas, and remember a change that Serve made.

    Args:
        observed: What this pass knows.
        decision: What it decided.
        previous: The status that the pass before wrote; a default one if there is none.
        now: Time of the pass, in UTC.
    """
    if decision.stopped:
        return Scaling(0, 0, previous.scaling_history)
    told, before, whose = answer(observed, decision), _before(observed, decision, previous), _words(observed, decision)
    silence = previous.queue_depth is None or previous.serving_silent_since is not None
    if told is not None:
        history = _recorded(told, previous.scaling_history, whose, _since(observed, told))
        after = Scaling(told.target_replicas, told.replicas, history)
        comparable = told.scaling is None and not (silence and _went_back(observed))
    else:
        after = _unsaid(observed, decision, previous, before)
        # Serve runs and follows its bounds, also if it cannot be asked.
        comparable = after.ready > 0
    if after.wanted == before or not comparable or previous.observed_generation == 0:
        return after
    bounds = replica_bounds(observed.deployment.spec, observed.dated)
    reason = _reason(observed.deployment.spec, bounds, whose, told, before, after.wanted, silence=silence)
    event = ScalingEvent(time=now.replace(microsecond=0), from_replicas=before, to_replicas=after.wanted, reason=reason)
    return replace(after, history=(event, *previous.scaling_history)[:_HISTORY])


@dataclass(frozen=True, slots=True)
class _Words:
    """Whose bounds hold now, for people."""

    spec: str
    """Those of the spec."""
    most: int | None
    """The most that found a place, while more were given up."""

    def __call__(self, before: int, after: int) -> str:
        """Whose bounds made a change: a bound on what finds no node is not one of the spec."""
        fewer = self.most is not None and after < before and self.most < before
        return f"what found no node in time is given up, {self.most} are kept" if fewer else self.spec


def _words(observed: Observed, decision: Decision) -> _Words:
    spec = observed.deployment.spec
    return _Words(_of_spec(observed, spec), most_now(decision.given_up, observed))


def _of_spec(observed: Observed, spec: LlamaDeploymentSpec) -> str:
    if observed.asked_replicas is not None:
        return f"maxGPUs {spec.hardware.max_gpus} bounds the {observed.asked_replicas} replicas of mode {spec.scaling.mode}"
    if spec.scaling.mode is not ScalingMode.QUEUE_DEPTH:
        return f"spec.replicas, mode {spec.scaling.mode}"
    window = replica_bounds(spec, observed.dated).window
    return f"bounds of window {window} of the schedule" if window else "bounds of the spec"


def _since(observed: Observed, told: ServingStatus) -> datetime | None:
    """When the revision that answers got the traffic; None if that is not known."""
    traffic = observed.traffic
    return traffic.since if traffic is not None and traffic.revision == told.identity.revision else None


def _recorded(
    told: ServingStatus, known: tuple[ScalingEvent, ...], whose: _Words, since: datetime | None
) -> tuple[ScalingEvent, ...]:
    """The history with the changes that the pods tell; they know best what happened since the oldest of them.

    Pods do not know whose bounds theirs are. Who sees such a change first names them. What a revision changed while another one had the
    traffic is not of the deployment, and must not take the place of what the other one changed.
    """
    named = {(one.time, one.from_replicas, one.to_replicas): one.reason for one in known}
    dated = [(datetime.fromtimestamp(int(one.at), UTC), one) for one in (told.scaling.changes if told.scaling else ())]
    changes = tuple(
        ScalingEvent(
            time=time,
            from_replicas=one.before,
            to_replicas=one.after,
            reason=named.get(
                (time, one.before, one.after), one.reason.replace(BOUNDS_CHANGED, whose(one.before, one.after))
            ),
        )
        for time, one in dated
        if since is None or time >= since
    )
    if not changes:
        return known
    oldest = min(one.time for one in changes)
    return (*changes, *(one for one in known if one.time < oldest))[:_HISTORY]


def _before(observed: Observed, decision: Decision, previous: LlamaDeploymentStatus) -> int:
    """Replicas that hold until Serve says another number."""
    if decision.rollout is None:
        return previous.replicas
    traffic = decision.rollout.traffic
    moved = previous.selector not in {"", selector(observed, decision)}
    moved |= observed.traffic is not None and observed.traffic.revision != traffic
    runs = _service(observed, traffic) is not None and not moved and not _held_nothing(previous)
    return previous.replicas if runs else least_replicas(observed.deployment.spec, observed.dated)


def _held_nothing(previous: LlamaDeploymentStatus) -> bool:
    """Whether the pass before had taken all hardware away: its 0 replicas are of no Serve, and what runs now has started."""
    return any(one.type == ConditionType.READY and one.reason == Reason.SUSPENDED for one in previous.conditions)


def _unsaid(observed: Observed, decision: Decision, previous: LlamaDeploymentStatus, before: int) -> Scaling:
    """What holds while Serve is silent: the last number, as far as the bounds allow it."""
    serves, history = any(facts.serves for facts in observed.ray_services), previous.scaling_history
    ready = previous.ready_replicas if serves else 0
    if decision.rollout is None:
        # With a problem nothing moves; but a license that has ended takes the replicas away.
        remain = serves or (observed.ray_services and decision.ending is None)
        return Scaling(before if remain else 0, ready, history)
    service = _service(observed, decision.rollout.traffic)
    if not serves and service is not None and service.holds_replicas:
        # It stumbles: whether Serve has followed new bounds is known when it answers again.
        return Scaling(before, ready, history)
    bounds = replica_bounds(observed.deployment.spec, observed.dated)
    least, most = bounds.least, bounds.most
    return Scaling(min(max(before, least), most), min(max(ready, least), most) if serves else 0, history)


def _service(observed: Observed, revision: str) -> RayServiceFacts | None:
    return next((facts for facts in observed.ray_services if facts.name == revision and not facts.leaving), None)


def _went_back(observed: Observed) -> bool:
    """Whether the traffic came back to a revision that had served before: how many replicas it kept is not known."""
    traffic = observed.traffic
    if traffic is None or traffic.since is None:
        return False
    record = observed.pinned(traffic.revision)
    served = None if record is None else moment(record.served_at)
    return served is not None and served < traffic.since


def _reason(
    spec: LlamaDeploymentSpec,
    bounds: ReplicaBounds,
    whose: _Words,
    told: ServingStatus | None,
    before: int,
    after: int,
    *,
    silence: bool,
) -> str:
    most = bounds.most if whose.most is None else min(bounds.most, whose.most)
    if told is None or not bounds.least <= before <= most:
        return whose(before, after)
    waiting, target = f"{told.queue_depth} requests wait", spec.scaling.target_queue_depth
    if silence:
        return f"while the status endpoint did not answer; now {waiting}, {target} per replica is the target"
    if after > before:
        return f"{waiting}, {target} per replica is the target"
    return f"{waiting}: fewer replicas hold the target of {target}"


def selector(observed: Observed, decision: Decision) -> str:
    """Label selector of the pods that get the traffic, for the scale subresource; empty if it is not known."""
    if decision.traffic is None:
        return ""
    labels = naming.serving_selector(observed.deployment, decision.traffic)
    return ",".join(f"{name}={value}" for name, value in labels.items())
