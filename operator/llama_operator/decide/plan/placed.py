"""Of the candidates that hold the model, takes the first whose pods find nodes: what `Auto` means. Called by `decide.decision`.

A named accelerator is planned as it is, because nodes may be added for it. `Auto` takes what is there: a candidate whose pods no
node takes, for want of memory say, is passed over while another one finds room.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from llama_operator.api.reasons import Reason
from llama_operator.decide.placement.count import Demand
from llama_operator.decide.placement.shape import PodShapes, Room
from llama_operator.decide.plan.candidate import Candidate, Plan, PlanRequest, Rejection
from llama_operator.decide.plan.planner import max_num_seqs, with_speed

_MOST_TRIED = 16
"""Candidates; those after them take more GPUs than anybody would give."""


def first_placed(
    request: PlanRequest, plan: Plan, shapes: Callable[[Candidate], PodShapes], rooms: Sequence[Room], replicas: int
) -> Plan:
    """Return the plan with the first candidate whose pods find nodes; as it is if those of none do.

    Args:
        request: What was planned.
        plan: Its plan.
        shapes: Tells the pods of a candidate.
        rooms: Nodes that take pods.
        replicas: Replicas that have to find nodes.
    """
    if plan.chosen is None:
        return plan
    passed: list[Rejection] = []
    for candidate in (plan.chosen, *plan.alternatives[:_MOST_TRIED]):
        pods = shapes(candidate)
        short = Demand(pods, pods.per_replica * replicas).short(rooms)
        if not short:
            return _with(request, plan, candidate, passed) if passed else plan
        passed.append(Rejection(candidate, Reason.NODES_MISSING, short))
    return plan


def _with(request: PlanRequest, plan: Plan, candidate: Candidate, passed: list[Rejection]) -> Plan:
    chosen = candidate if candidate.performance is not None else with_speed(request, candidate)
    over = {id(rejection.candidate) for rejection in passed} | {id(candidate)}
    others = tuple(other for other in plan.alternatives if id(other) not in over)
    return replace(
        plan,
        chosen=chosen,
        alternatives=others,
        rejected=(*passed, *plan.rejected),
        max_num_seqs=max_num_seqs(request, chosen),
    )
