"""Whether hardware is wanted, and what a guard takes of it. Called by the other modules of `decide.decision`."""

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.api.v1alpha1.guard import GuardPlacement
from llama_operator.api.v1alpha1.llamadeployment import Activation
from llama_operator.api.v1alpha1.llamadeployment_status import ChosenPlan
from llama_operator.decide.bounds import most_from, most_replicas, wanted_replicas
from llama_operator.decide.copies.needed import caches
from llama_operator.decide.license.gather import gpus_of
from llama_operator.decide.observed import Observed
from llama_operator.decide.problem import Problem


def stopped(observed: Observed) -> bool:
    """Whether no hardware is wanted: suspended, prefetched only, or zero replicas by hand."""
    spec = observed.deployment.spec
    return spec.activation is not Activation.ACTIVE or wanted_replicas(spec) == 0


def idle(observed: Observed) -> bool:
    """Whether nothing is to be asked or copied: no hardware is wanted, and no copy ahead of it."""
    ahead = observed.deployment.spec.activation is Activation.PREFETCH and caches(observed.deployment)
    return stopped(observed) and not ahead


def gpus_of_guard(observed: Observed, guard: ChosenPlan | None) -> int:
    """GPUs that all replicas of a guard take beside the model's; none of its own where it is on the model's cards."""
    spec = observed.deployment.spec.guard
    if guard is None or guard.placement is GuardPlacement.SHARED:
        return 0
    return gpus_of(guard.gpus_per_replica, guard.accelerator) * (1 if spec is None else spec.replicas)


def beyond_max_gpus(observed: Observed, chosen: ChosenPlan | None, beside: int) -> Problem | None:
    """Return the problem of bounds, which are live, and a pinned plan that together ask for more than the user allows; None without one."""
    spec = observed.deployment.spec
    limit, most = spec.hardware.max_gpus, most_replicas(spec)
    if limit is None or chosen is None or chosen.gpus_per_replica * most + beside <= limit:
        return None
    each = chosen.gpus_per_replica
    of_guard = f" and {beside} of its guard" if beside else ""
    return Problem(
        ConditionType.PLANNED,
        Reason.MAX_GPUS_EXCEEDED,
        f"{most} × {each} GPUs of the running plan{of_guard} exceed maxGPUs {limit}; raise it to {each * most + beside}, "
        f"or lower {most_from(spec)}",
        "spec.hardware.maxGPUs",
    )
