"""The context of a deployment that names none: the trained length of the model, or the part of it that few nodes hold.

Called by `decide.plan.request`. A default context must not buy hardware, and must not prevent a plan:
Llama 4 Scout was trained for ten million tokens, which would take five nodes of H100.
"""

from llama_operator.api.reasons import Reason
from llama_operator.decide.plan.candidate import Plan, PlanRequest
from llama_operator.decide.plan.planner import planner_of_lengths

_USEFUL = 32_768
"""Tokens; enough for most requests. The default shrinks to this length before it takes another node."""

_LEAST = 2048
"""Tokens; a shorter context is useful only if a user asks for it."""


def plan_default_context(request: PlanRequest) -> tuple[PlanRequest, Plan]:
    """Plan `request` with a length that fits.

    It is the trained length, if the fewest nodes that hold `_USEFUL` tokens hold it too. Else it is what the smallest
    candidate with `_USEFUL` tokens holds, else the most that any candidate holds. If no candidate holds `_LEAST` tokens,
    the rejections are those of `_LEAST`.

    Args:
        request: Its `max_model_length` is the length that the model was trained for, in tokens.

    Returns:
        The request with the length that was planned, and its plan.
    """
    planned, sequences = planner_of_lengths(request), request.concurrent_sequences
    trained = planned(request.max_model_length)
    fitting = trained[1].chosen
    if fitting is not None and (fitting.nodes == 1 or request.max_model_length <= _USEFUL):
        return trained
    _, useful = planned(min(_USEFUL, request.max_model_length))
    if useful.chosen is not None:
        if fitting is not None and fitting.nodes <= useful.chosen.nodes:
            return trained
        return planned(min(request.max_model_length, useful.chosen.memory.longest_context(sequences)))
    lacking = (rejection.candidate for rejection in useful.rejected if rejection.reason is Reason.KV_CACHE_TOO_SMALL)
    held = max((candidate.memory.longest_context(sequences) for candidate in lacking), default=0)
    return planned(max(held, min(_LEAST, request.max_model_length)))
