"""Replicas that are wanted and do not count: a start from zero, one that does not come up, those that were lost, old engines.

Called by `status.endpoint`, `status.revision` and `status.sums`. What the pods check of a model's folder rests on how vLLM
loads it, so an older vLLM is not trusted to hold it. Traffic is left alone: the condition says what is wrong, and `Ready`
follows it.
"""

from llama_operator.api.meta import ConditionStatus
from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.decide.bounds import least_replicas
from llama_operator.decide.observed import Observed
from llama_operator.decide.starts.deadline import progress_deadline
from llama_serving.config import LEAST_ENGINE_VERSION
from llama_serving.contract.status import ServingStatus, version_key

_WORKER = "worker"


def none_runs(observed: Observed, revision: str) -> tuple[Reason, str] | None:
    """Return why `revision` answers nothing although Serve counts on it; None if a replica runs, or none is wanted.

    What no pod says is not known: then it is None as well.
    """
    serving = _answer(observed, revision)
    if serving is None or serving.replicas > 0 or serving.target_replicas == 0:
        return None
    text = f"0 of {serving.target_replicas} wanted replicas run"
    deadline = progress_deadline(observed, revision)
    if _seconds_left(observed, deadline) > 0:
        return Reason.STARTING, f"{text}: an engine is being started"
    ask = f"`kubectl llama explain {observed.deployment.metadata.name}`"
    return (
        Reason.SCALE_UP_STUCK,
        f"{text}, for more than {deadline} s: see CapacityFound, and {ask} for what pods wait for",
    )


def scaled_to_zero(observed: Observed, revision: str) -> bool:
    """Whether no replica of `revision` runs because there is no load.

    Its pods say so. Where they cannot be asked: the spec allows it, and no pod runs an engine, or no node could.
    """
    serving = _answer(observed, revision)
    if serving is not None:
        return serving.replicas == 0 and serving.target_replicas == 0
    if least_replicas(observed.deployment.spec, observed.dated) > 0:
        return False
    roles = [pod.role for pod in observed.pods or () if pod.revision == revision]
    return _WORKER not in roles if roles else _no_node(observed, revision)


def lost(observed: Observed, revision: str) -> str:
    """Say how many of the wanted replicas of `revision` run after some were lost; empty if none was.

    Replicas that are added are no loss: until they run, Serve goes on with those that it has.
    """
    serving, before = _answer(observed, revision), observed.deployment.status
    if serving is None or before is None or serving.replicas >= serving.target_replicas:
        return ""
    if before.revisions is None or before.revisions.active != revision:
        return ""
    fewer = serving.target_replicas <= before.replicas and serving.replicas < before.ready_replicas
    known = any(
        each.type == ConditionType.ENDPOINT_READY and each.reason == Reason.DEGRADED for each in before.conditions
    )
    return f"{serving.replicas} of {serving.target_replicas} wanted replicas run" if fewer or known else ""


def _answer(observed: Observed, revision: str) -> ServingStatus | None:
    serving = observed.serving
    return serving if serving is not None and serving.identity.revision == revision else None


def _no_node(observed: Observed, revision: str) -> bool:
    """Whether no node has the accelerator of `revision`, not even one that takes no pods now."""
    record = observed.pinned(revision)
    chosen = None if record is None else record.plan.chosen
    if chosen is None or observed.nodes is None:
        return False
    known = {node.accelerator for node in observed.nodes} | {node.accelerator for node in observed.away}
    return chosen.accelerator not in known


def _seconds_left(observed: Observed, deadline: float) -> float:
    """Seconds that are left until the start counts as stuck: it began when the condition ModelLoaded became False."""
    status = observed.deployment.status
    before = (
        next((one for one in status.conditions if one.type == ConditionType.MODEL_LOADED), None) if status else None
    )
    if before is None or before.status is not ConditionStatus.FALSE:
        return deadline
    return observed.age(before.last_transition_time).left(deadline)


def too_old(observed: Observed, revision: str) -> str | None:
    """Return why the engines of `revision` do not count; None if they do, or if no pod has ever told its version."""
    serving = observed.serving
    told = serving.engine_version if serving is not None and serving.identity.revision == revision else None
    if told is None:
        # No pod answers at this moment: what is known of this revision stays.
        return _told_before(observed, revision)
    if version_key(told) >= version_key(LEAST_ENGINE_VERSION):
        return None
    return (
        f"the pods of revision {revision} run vLLM {told}, and {LEAST_ENGINE_VERSION} or newer is needed: take a newer image "
        "(spec.image, or leave it out for the operator's own)"
    )


def _told_before(observed: Observed, revision: str) -> str | None:
    status = observed.deployment.status
    if status is None or not revision:
        return None
    return next(
        (
            condition.message
            for condition in status.conditions
            if condition.type == ConditionType.MODEL_LOADED
            and condition.reason == Reason.ENGINE_TOO_OLD
            and f"revision {revision} " in condition.message
        ),
        None,
    )
