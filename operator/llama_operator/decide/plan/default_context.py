"""The context of a deployment that names none: what the model was trained for, as far as few nodes hold it.

Called by `decide.plan.request`. A context that nobody asked for must not buy hardware, nor stand in the way of a plan:
Llama 4 Scout was trained for ten million tokens, which would take five nodes of H100.
"""

from llama_operator.api.reasons import Reason
from llama_operator.decide.plan.candidate import Plan, PlanRequest
from llama_operator.decide.plan.memory import longest_context
from llama_operator.decide.plan.planner import planner_of_lengths

_USEFUL = 32_768
"""A context that serves most requests: the default may shrink to it before it takes another node."""

_LEAST = 2048
"""Less than this is not worth serving unless somebody asks for it."""


def plan_default_context(request: PlanRequest) -> tuple[PlanRequest, Plan]:
    """Plan `request`, whose length is what the model was trained for, with a length that fits.

    The trained length, if the fewest nodes that hold `_USEFUL` tokens hold it as well; else as much as the smallest
    candidate with `_USEFUL` tokens holds; else as much as any candidate holds. Without a candidate for `_LEAST` the
    rejections are those of `_LEAST`.
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
        held = longest_context(useful.chosen.memory.kv_tokens_beside(sequences), sequences)
        return planned(min(request.max_model_length, held))
    lacking = (found.candidate for found in useful.rejected if found.reason is Reason.KV_CACHE_TOO_SMALL)
    held = max((longest_context(found.memory.kv_tokens_beside(sequences), sequences) for found in lacking), default=0)
    return planned(max(held, min(_LEAST, request.max_model_length)))
