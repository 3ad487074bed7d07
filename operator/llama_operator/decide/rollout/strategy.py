"""How a new revision replaces the old one: beside it, or after it. Called by `decide.decision`.

What `Auto` comes to is pinned with the revision: free accelerators change while a rollout goes on.
"""

from dataclasses import dataclass

from llama_operator.api.v1alpha1.llamadeployment import RolloutStrategy
from llama_operator.api.v1alpha1.llamadeployment_status import ChosenPlan
from llama_operator.decide.bounds import least_replicas, most_replicas
from llama_operator.decide.diagnosis.leaving_nodes import head_that_leaves
from llama_operator.decide.observed import Observed, RevisionFacts
from llama_operator.decide.placement.count import Demand
from llama_operator.decide.placement.shape import PodShapes


@dataclass(frozen=True, slots=True)
class Strategy:
    """A strategy and why; never `Auto`."""

    kind: RolloutStrategy
    reason: str
    pinned: bool = False
    """Whether it is to be remembered with the revision: the user left the choice to us."""
    lasting: str = ""
    """The reason without what changes with every pod on the nodes; empty where it is the same."""


def choose_strategy(
    observed: Observed,
    wanted: str,
    chosen: ChosenPlan | None,
    record: RevisionFacts | None,
    shapes: PodShapes | None = None,
    beside: int = 0,
) -> Strategy:
    """Choose for the revision `wanted`.

    Args:
        observed: What this pass knows.
        wanted: Name of the revision.
        chosen: Its plan.
        record: Its record, if it has one.
        shapes: Its pods; None where they are not known.
        beside: GPUs of its guard, all replicas together.
    """
    asked = observed.deployment.spec.rollout.strategy
    if asked is not RolloutStrategy.AUTO:
        return Strategy(asked, "spec.rollout.strategy says so")
    if record is not None and record.strategy is not None:
        return Strategy(record.strategy, record.strategy_reason, pinned=True)
    if chosen is None or all(service.name == wanted for service in observed.ray_services):
        return Strategy(RolloutStrategy.BLUE_GREEN, "there is nothing to replace")
    return _by_capacity(observed, chosen, shapes, beside)


def needs_count(observed: Observed, wanted: str) -> bool:
    """Whether the choice for `wanted`, or for a second copy of it, will rest on how many accelerators are free, so that they are counted."""
    if observed.deployment.spec.rollout.strategy is not RolloutStrategy.AUTO:
        return False
    if head_that_leaves(observed, wanted) is not None:
        return True
    known = any(record.name == wanted and record.strategy is not None for record in observed.revisions)
    return not known and any(service.name != wanted for service in observed.ray_services)


def _by_capacity(observed: Observed, chosen: ChosenPlan, shapes: PodShapes | None, beside: int) -> Strategy:
    spec = observed.deployment.spec
    most = most_replicas(spec) * chosen.gpus_per_replica + beside
    limit = spec.hardware.max_gpus
    if limit is not None and 2 * most > limit:
        return Strategy(
            RolloutStrategy.RECREATE, f"maxGPUs {limit} does not hold a second copy of up to {most} GPUs", pinned=True
        )
    if observed.free is None or shapes is None or chosen.accelerator == "CPU":
        return Strategy(RolloutStrategy.BLUE_GREEN, "free hardware was not counted", pinned=True)
    # Counted by pods: four free GPUs on two nodes hold no replica that needs four on one.
    demand = Demand(shapes, max(1, least_replicas(spec, observed.dated)) * shapes.per_replica)
    short = demand.short(observed.free)
    pods = f"a head pod and {demand.workers} worker pod(s) with {_held(chosen)} each"
    if short:
        lasting = f"a second copy needs {pods}, and there is no room for it"
        return Strategy(RolloutStrategy.RECREATE, f"a second copy needs {pods}; {short}", pinned=True, lasting=lasting)
    return Strategy(RolloutStrategy.BLUE_GREEN, f"a second copy needs {pods}, and there is room for it", pinned=True)


def _held(chosen: ChosenPlan) -> str:
    return f"{-(-chosen.gpus_per_replica // chosen.nodes_per_replica)} {chosen.accelerator}"
