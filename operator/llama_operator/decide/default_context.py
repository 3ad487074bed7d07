"""The context of a deployment that names none: what the model was trained for, as far as few nodes hold it.

Called by `decide.plan_request`. A context that nobody asked for must not buy hardware, nor stand in the way of a plan:
Llama 4 Scout was trained for ten million tokens, which would take five nodes of H100.
"""

from dataclasses import replace

from llama_operator.api.reasons import Reason
from llama_operator.decide.candidate import Plan, PlanRequest
from llama_operator.decide.memory import longest_context
from llama_operator.decide.planner import plan

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
    trained = plan(request)
    if request.max_model_length <= _USEFUL and trained.chosen is not None:
        return request, trained
    useful = plan(replace(request, max_model_length=min(_USEFUL, request.max_model_length)))
    if useful.chosen is not None:
        if trained.chosen is not None and trained.chosen.nodes <= useful.chosen.nodes:
            return request, trained
        held = useful.chosen.memory.kv_tokens_beside(request.concurrent_sequences)
        length = min(request.max_model_length, longest_context(held, request.concurrent_sequences))
        return _planned(request, length)
    held = max(
        (
            rejection.candidate.memory.kv_tokens_beside(request.concurrent_sequences)
            for rejection in useful.rejected
            if rejection.reason is Reason.KV_CACHE_TOO_SMALL
        ),
        default=0,
    )
    length = longest_context(held, request.concurrent_sequences)
    return _planned(request, max(length, min(_LEAST, request.max_model_length)))


def _planned(request: PlanRequest, length: int) -> tuple[PlanRequest, Plan]:
    shorter = replace(request, max_model_length=length)
    return shorter, plan(shorter)
