"""What would make a request fit that does not: the smallest change of every kind, each tried by planning it.

Called by `decide.plan.request`, only where nothing fits. A rejection says what its own candidate lacks; the nearest one is seldom
the one that a person would rather change.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from llama_operator.api.reasons import Reason
from llama_operator.catalog.accelerators import Accelerator
from llama_operator.catalog.figures import prices
from llama_operator.catalog.models import Variant
from llama_operator.decide.plan.candidate import Candidate, Change, Plan, PlanRequest, sizes
from llama_operator.decide.plan.checks import larger_share
from llama_operator.decide.plan.planner import plan
from llama_operator.decide.plan.shardings import Candidates

_SHORT_OF_MEMORY = frozenset({Reason.KV_CACHE_TOO_SMALL, Reason.WEIGHTS_DO_NOT_FIT})
_LEAST_LENGTH = 16
"""Tokens; the API allows no shorter context."""


def changes(
    request: PlanRequest,
    result: Plan,
    *,
    variants: Iterable[Variant],
    accelerators: Iterable[Accelerator],
    length_named: bool,
    precision_field: tuple[str, str] = ("model.precision", "{}"),
) -> tuple[Change, ...]:
    """Return the smallest change of every kind after which something fits, the least costly kinds first.

    Args:
        request: What does not fit.
        result: Its plan, without a chosen candidate.
        variants: All weights of the model that the engine can load, best quality first.
        accelerators: All cards that could be asked for.
        precision_field: The field that says which precisions are allowed, and how another one is written there.
        length_named: Whether the spec names the length; a default one is as short as is useful already.
    """
    reasons = {rejection.reason for rejection in result.rejected}
    if not reasons & (_SHORT_OF_MEMORY | {Reason.MAX_GPUS_EXCEEDED, Reason.PRECISION_NOT_SUPPORTED}):
        return ()
    held = list(_affordable(request))
    return (
        *(_shorter(request, held) if length_named else ()),
        *_fewer_sequences(request, held),
        *_larger_share(request, held),
        *_without_graphs(request),
        *_other_precision(request, variants, *precision_field),
        *_more_gpus(request),
        *_free_sizes(request),
        *_own_card_for_the_guard(request),
        *_other_card(request, accelerators),
    )


def _affordable(request: PlanRequest) -> Iterator[Candidate]:
    """Candidates within maxGPUs."""
    candidates = Candidates(request)
    for candidate in (*candidates.allowed(), *candidates.staged()):
        if request.max_gpus is None or candidate.sharding.ranks * request.max_replicas <= request.max_gpus:
            yield candidate


def _tried(request: PlanRequest, field: str, value: str | int, *, say: bool = False) -> Iterator[Change]:
    """The change if it makes something fit."""
    chosen = plan(request).chosen
    if chosen is not None:
        yield Change(f"spec.{field}", value, chosen.label if say else "")


def _shorter(request: PlanRequest, held: list[Candidate]) -> Iterator[Change]:
    lengths = {candidate.memory.longest_context(request.concurrent_sequences) for candidate in held}
    for length in sorted(
        (length for length in lengths if _LEAST_LENGTH <= length < request.max_model_length), reverse=True
    ):
        found = list(_tried(replace(request, max_model_length=length), "context.maxModelLength", length))
        if found:
            yield from found
            return


def _fewer_sequences(request: PlanRequest, held: list[Candidate]) -> Iterator[Change]:
    low, high = 0, request.concurrent_sequences
    if high == 1 or not held:
        return
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if plan(replace(request, concurrent_sequences=middle)).chosen else (low, middle)
    if low:
        yield Change("spec.context.concurrentSequences", low)


def _larger_share(request: PlanRequest, held: list[Candidate]) -> Iterator[Change]:
    shares = {share for candidate in held if (share := larger_share(request, candidate)) is not None}
    for share in sorted(share for share in shares if share > request.utilization_percent):
        field = "engine.gpuMemoryUtilizationPercent"
        found = list(_tried(replace(request, utilization_percent=share), field, share))
        if found:
            yield from found
            return


def _without_graphs(request: PlanRequest) -> Iterator[Change]:
    if request.graphs:
        yield from _tried(replace(request, graphs=False), "engine.arguments.graphs", "Eager")


def _other_precision(request: PlanRequest, variants: Iterable[Variant], field: str, written: str) -> Iterator[Change]:
    asked = {variant.precision for variant in request.variants}
    for variant in variants:
        if variant.precision not in asked:
            found = list(_tried(replace(request, variants=(variant,)), field, written.format(variant.precision)))
            if found:
                yield from found
                return


def _more_gpus(request: PlanRequest) -> Iterator[Change]:
    if request.max_gpus is None:
        return
    chosen = plan(replace(request, max_gpus=None)).chosen
    if chosen is not None:
        yield Change("spec.hardware.maxGPUs", chosen.sharding.ranks * request.max_replicas, chosen.label)


def _free_sizes(request: PlanRequest) -> Iterator[Change]:
    if request.tensor is None:
        return
    chosen = plan(replace(request, tensor=None, pipeline=None)).chosen
    if chosen is not None:
        yield Change("spec.parallelism.mode", "Auto", sizes(chosen.sharding))


def _own_card_for_the_guard(request: PlanRequest) -> Iterator[Change]:
    if request.guard is not None:
        yield from _tried(replace(request, guard=None), "guard.placement", "Own", say=True)


def _other_card(request: PlanRequest, accelerators: Iterable[Accelerator]) -> Iterator[Change]:
    """The card with the least memory that holds it, the cheaper one of two that have as much."""
    asked = {card.name for card in request.accelerators}
    images = {card.image for card in request.accelerators}
    listed = prices.load()
    others = [card for card in accelerators if card.device == "GPU" and card.name not in asked]
    # A card for another image may need one that has to be built, and one without a price is seldom rented: these are the last resort.
    price = {card.name: listed.of(card.name) or 0 for card in others}
    others.sort(
        key=lambda card: (
            card.image not in images,
            not price[card.name],
            card.usable_memory_bytes,
            price[card.name],
        )
    )
    for card in others:
        found = list(_tried(replace(request, accelerators=(card,)), "hardware.accelerator", card.name, say=True))
        if found:
            yield from found
            return
