"""The number of replicas in modes Manual and External, where the spec alone does not say it. Called by `observe.gather`.

Nothing is written into the spec: the number is that of the observation.
"""

from dataclasses import replace

from llama_operator.api.v1alpha1.scaling import ScalingMode
from llama_operator.decide.decision.hardware import gpus_of_guard
from llama_operator.decide.observed import Observed, RevisionFacts


def with_number(observed: Observed, revision: str) -> Observed:
    """Return what is known, with the number that is meant.

    Where nobody has written a number yet, it is what was wanted last, so that another mode moves nothing, and `minReplicas` at least. What an
    autoscaler writes beyond `hardware.maxGPUs` is bounded by it: to refuse it would give a peak nothing, and hold up every other change.

    Args:
        observed: What is known.
        revision: The revision that the spec asks for; its plan says what a replica takes.
    """
    deployment = observed.deployment
    spec, status = deployment.spec, deployment.status
    if spec.scaling.mode is ScalingMode.QUEUE_DEPTH:
        return observed
    wanted = 0 if status is None else status.replicas
    asked = max(spec.scaling.min_replicas, wanted) if spec.replicas is None else spec.replicas
    number = asked
    if spec.scaling.mode is ScalingMode.EXTERNAL:
        number = min(_within_max_gpus(observed, observed.pinned(revision), asked), _together(observed, asked, wanted))
    if number == spec.replicas:
        return observed
    meant = deployment.model_copy(update={"spec": spec.model_copy(update={"replicas": number})})
    return replace(observed, deployment=meant, asked_replicas=asked if number < asked else None)


def _within_max_gpus(observed: Observed, pinned: RevisionFacts | None, asked: int) -> int:
    """Return what of `asked` the GPUs suffice for; all of it where not even one replica has a place, which is a problem of its own."""
    spec, chosen = observed.deployment.spec, None if pinned is None else pinned.plan.chosen
    limit, guard = spec.hardware.max_gpus, None if pinned is None else pinned.plan.guard
    if limit is None or chosen is None:
        return asked
    beside = gpus_of_guard(observed, guard)
    held = (limit - beside) // max(1, chosen.gpus_per_replica)
    return min(asked, held) if held > 0 else asked


def _together(observed: Observed, asked: int, now: int) -> int:
    """Return what of `asked` the GPUs suffice for while several revisions run, each with that number; never less than there is now.

    A rollout began with room for both, or because the user wants it so. That an autoscaler asks for more meanwhile makes no room.
    """
    limit = observed.deployment.spec.hardware.max_gpus
    records = [observed.pinned(service.name) for service in observed.ray_services]
    plans = [record.plan for record in records if record is not None and record.plan.chosen is not None]
    if limit is None or len(plans) <= 1:
        return asked
    each = sum(plan.chosen.gpus_per_replica for plan in plans if plan.chosen is not None)
    beside = sum(gpus_of_guard(observed, plan.guard) for plan in plans)
    return min(asked, max(now, (limit - beside) // max(1, each)))
