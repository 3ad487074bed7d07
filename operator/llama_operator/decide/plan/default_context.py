"""The context of a deployment that names none: the trained length of the model, or the part of it that fits without more hardware.

Called by `decide.plan.request`. A default context must not buy hardware, and must not prevent a plan:
Llama 4 Scout was trained for ten million tokens, which would take five nodes of H100.
"""

from dataclasses import replace

from llama_operator.decide.plan.candidate import Candidate, Plan, PlanRequest
from llama_operator.decide.plan.planner import planner_of_lengths

_USEFUL = 16_384
"""Tokens; enough for most requests. The default shrinks to this length before it takes another GPU, and below it before it
takes another node."""

_LEAST = 2048
"""Tokens; a shorter context is useful only if a user asks for it."""


def plan_default_context(request: PlanRequest) -> tuple[PlanRequest, Plan]:
    """Plan `request` with a length that fits.

    The fewest nodes that hold `_LEAST` tokens are all that a replica gets, and in them the fewest GPUs that hold `_USEFUL`
    tokens, or the most if none do. The length is the trained one if these hold it, else what they hold. If nothing holds
    `_LEAST` tokens, the rejections are those of `_LEAST`.

    Args:
        request: Its `max_model_length` is the length that the model was trained for, in tokens.

    Returns:
        The request with the length that was planned, and its plan.
    """
    trained, sequences = request.max_model_length, request.concurrent_sequences
    planned = planner_of_lengths(request)
    _, useful = planned(min(_USEFUL, trained))
    if useful.chosen is None or useful.chosen.nodes > 1:
        least = planned(min(_LEAST, trained))
        if least[1].chosen is None:
            return least
        fewest = min(candidate.nodes for candidate in _fitting(least[1]))
        planned = planner_of_lengths(replace(request, max_nodes=fewest))
        _, useful = planned(min(_USEFUL, trained))
    if useful.chosen is None:
        _, least_here = planned(min(_LEAST, trained))
        return planned(max(candidate.memory.longest_context(sequences) for candidate in _fitting(least_here)))
    whole = planned(trained)
    if whole[1].chosen is not None and _hardware(whole[1].chosen) <= _hardware(useful.chosen):
        return whole
    return planned(min(trained, useful.chosen.memory.longest_context(sequences)))


def _fitting(plan: Plan) -> tuple[Candidate, ...]:
    return () if plan.chosen is None else (plan.chosen, *plan.alternatives)


def _hardware(candidate: Candidate) -> tuple[int, int]:
    """GPUs of the deployment, and their price in millionths of a US dollar an hour."""
    return candidate.gpus, candidate.usd_micros_per_hour * candidate.replicas
