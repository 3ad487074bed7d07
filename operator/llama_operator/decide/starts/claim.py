"""When replicas that find no node are given up, and for how long. Called by `decide.decision`.

A pod that waits for a GPU holds nothing, and is in the way all the same: quotas count it, node autoscalers keep nodes for it and do not
tidy up, and Serve calls its application unfinished. Ray waits for ever. So after a deadline the upper bound is what found a place, and Ray's
autoscaler takes back what is beyond. Later it is tried again.
"""

from datetime import timedelta
from typing import Final

from llama_operator.api.v1alpha1.llamadeployment_status import ChosenPlan, GivenUpStatus
from llama_operator.decide.bounds import replica_bounds, wanted_replicas
from llama_operator.decide.observed import Observed
from llama_operator.decide.plan.cold_start import Stage
from llama_operator.decide.pods import PodFacts

_LEAST_SECONDS: Final = 600.0
_NODES: Final = 2
"""A node may take twice as long as nodes usually do."""
_FIRST_WAIT_SECONDS: Final = 600.0
_LONGEST_WAIT_SECONDS: Final = 3600.0
_TEXT_LIMIT: Final = 512


def given_up(
    observed: Observed, revision: str | None, chosen: ChosenPlan | None, expected: tuple[Stage, ...]
) -> GivenUpStatus | None:
    """Return what is given up, or was a while ago; None if nothing is.

    Replicas that the lower bound asks for are waited for without end, and so is the first one: a person wants them. So are those of modes
    Manual and External, where somebody else writes the number.

    Args:
        observed: Its pods say what waits, and its status what was given up before.
        revision: The revision with the traffic.
        chosen: Its plan.
        expected: What a start is predicted to take.
    """
    deployment, serving = observed.deployment, observed.serving
    before = _before(observed, revision)
    if revision is None or chosen is None or wanted_replicas(deployment.spec) is not None:
        return None
    if serving is None or serving.identity.revision != revision:
        # Nobody says how many run.
        return before
    least = max(1, replica_bounds(deployment.spec, observed.dated).least)
    if before is not None and least > before.replicas:
        # Bounds of another hour ask for more than was kept, and are not given up.
        before = None
    if before is not None and in_force(before, observed):
        more = max(before.replicas, serving.replicas)
        return before if more == before.replicas else before.model_copy(update={"replicas": more})
    if before is not None and serving.replicas > before.replicas:
        return None
    waiting = [
        pod for pod in observed.pods or () if overdue(observed, pod, revision, node_deadline(observed, expected))
    ]
    missing = min(-(-len(waiting) // max(1, chosen.nodes_per_replica)), serving.target_replicas - serving.replicas)
    kept = max(least, serving.replicas, serving.target_replicas - missing)
    if missing <= 0 or kept >= serving.target_replicas:
        return before
    tries = 1 if before is None else before.tries + 1
    wait = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0 ** (min(tries, 10) - 1))
    return GivenUpStatus(
        revision=revision,
        generation=max(0, deployment.metadata.generation),
        replicas=kept,
        missing=serving.target_replicas - kept,
        at=observed.now,
        retry_at=observed.now + timedelta(seconds=wait),
        tries=tries,
        message=waiting[0].unschedulable[:_TEXT_LIMIT],
    )


def in_force(given: GivenUpStatus, observed: Observed) -> bool:
    """Whether what was given up is not asked for now."""
    return given.at <= observed.now < given.retry_at


def most_now(given: GivenUpStatus | None, observed: Observed) -> int | None:
    """Return the most replicas that may be asked for; None where only the spec bounds them."""
    return given.replicas if given is not None and in_force(given, observed) else None


def node_deadline(observed: Observed, expected: tuple[Stage, ...]) -> float:
    """Return the seconds in which a pod has to get a node.

    Args:
        observed: Its status has what nodes took before.
        expected: What a start is predicted to take.
    """
    cold_start = None if observed.deployment.status is None else observed.deployment.status.cold_start
    measured = [
        stage.measured_seconds or 0 for stage in (cold_start.stages if cold_start else ()) if stage.name == "Node"
    ]
    predicted = [stage.seconds for stage in expected if stage.name == "Node"]
    return max(_LEAST_SECONDS, _NODES * max((*measured, *predicted), default=0))


def _before(observed: Observed, revision: str | None) -> GivenUpStatus | None:
    """What was given up, as far as it still says something."""
    status = observed.deployment.status
    before = None if status is None else status.given_up
    if before is None or before.revision != revision or before.generation != observed.deployment.metadata.generation:
        return None
    # Tried again, and nobody has asked for more since: then it begins anew.
    remembered = (before.retry_at - before.at) + timedelta(seconds=_LEAST_SECONDS)
    return before if observed.now - before.retry_at < remembered else None


def overdue(observed: Observed, pod: PodFacts, revision: str, deadline: float) -> bool:
    """Whether a worker pod of a revision has waited for a node for longer than `deadline` seconds."""
    if pod.revision != revision or pod.role != "worker" or pod.node or pod.leaving or not pod.unschedulable:
        return False
    return pod.created is not None and observed.age(pod.created).left(deadline) <= 0
