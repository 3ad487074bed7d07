"""Whether replicas are wanted and none runs: a start from zero, and one that does not come up. Called by `status.conditions`."""

from llama_operator.api.meta import ConditionStatus
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.decide.observed import Observed

_COLD = frozenset({Reason.STARTING, Reason.SCALE_UP_STUCK})


def none_runs(observed: Observed, revision: str) -> tuple[Reason, str] | None:
    """Return why `revision` answers nothing although Serve counts on it; None if a replica runs, or none is wanted.

    What no pod says is not known: then it is None as well.
    """
    serving = observed.serving
    if serving is None or serving.identity.revision != revision:
        return None
    if serving.replicas > 0 or serving.target_replicas == 0:
        return None
    text = f"0 of {serving.target_replicas} wanted replicas run"
    deadline = observed.deployment.spec.rollout.progress_deadline_seconds
    if _seconds_left(observed, deadline) > 0:
        return Reason.STARTING, f"{text}: an engine is being started"
    ask = f"`kubectl llama explain {observed.deployment.metadata.name}`"
    return (
        Reason.SCALE_UP_STUCK,
        f"{text}, for more than {deadline} s: see CapacityFound, and {ask} for what pods wait for",
    )


def _seconds_left(observed: Observed, deadline: float) -> float:
    """Seconds that are left until the start counts as stuck: it began when the condition ModelLoaded became False."""
    status = observed.deployment.status
    before = (
        next((one for one in status.conditions if one.type == ConditionType.MODEL_LOADED), None) if status else None
    )
    if before is None or before.status is not ConditionStatus.FALSE or before.reason not in _COLD:
        return deadline
    return observed.age(before.last_transition_time).left(deadline)
