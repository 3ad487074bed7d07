"""The planner: finds the precision, tensor and pipeline size that hold the model and its context on the fewest GPUs.

Called by `decide.plan.request`. Every candidate passes the ordered list of named checks (`decide.plan.checks`); the first one that
fails rejects the candidate, with its numbers and the nearest change that would make it fit. The candidates that fit are
ordered by GPUs, cost per hour, quality, nodes of a replica, links, speed. docs/planning.md has the rules.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

from llama_operator.api.reasons import Reason
from llama_operator.decide.plan.candidate import Candidate, Objectives, Plan, PlanRequest, Rejection, sizes
from llama_operator.decide.plan.checks import CHECKS, Failure, meets_objectives, within_max_gpus
from llama_operator.decide.plan.memory import TYPICAL_MAX_NUM_SEQS
from llama_operator.decide.plan.performance import Limits, Workload, replica_model, replicas_needed
from llama_operator.decide.plan.shardings import MAX_REPLICA_NODES, Candidates

TYPICAL_LOAD = Workload(prompt_tokens=1155, output_tokens=211, requests_per_minute=0)
"""Load for the estimate of speed if there are no objectives: the averages of Azure's 2023 conversation trace."""

_TYPICAL_TOKENS = 1024
"""Tokens of a usual chat request, prompt and answer together. The default of max_num_seqs assumes it: a replica then takes
as many requests as its KV cache is likely to hold."""

_TYPICAL = Objectives(TYPICAL_LOAD, Limits())

_UNPRICED = 1 << 60
"""Price that orders a card without a price after all others."""


def plan(request: PlanRequest) -> Plan:
    """Search all candidates that the request allows.

    Returns:
        The best candidate, if one fits, the others that fit, and why the rest does not.
    """
    return _plan(request, Candidates(request))


def planner_of_lengths(request: PlanRequest) -> Callable[[int], tuple[PlanRequest, Plan]]:
    """Return a function that plans `request` for a context length in tokens; what does not depend on it is estimated once."""
    candidates = Candidates(request)

    def planned(max_model_length: int) -> tuple[PlanRequest, Plan]:
        with_length = replace(request, max_model_length=max_model_length)
        return with_length, _plan(with_length, candidates)

    return planned


def _plan(request: PlanRequest, candidates: Candidates) -> Plan:
    verdicts = _Verdicts(request, candidates)
    fitting, rejected = _sorted_out(request, candidates.allowed(), verdicts)
    if not fitting:
        fitting, _ = _sorted_out(request, candidates.staged(), verdicts)
    if not fitting:
        return Plan(None, (), tuple(_nearest_first(rejected, largest=_first_over_budget(rejected))))
    chosen, *others = _ordered(request, fitting)
    nearest = _nearest_first(rejected, largest=chosen.sharding.ranks)
    return Plan(chosen, tuple(others), tuple(nearest), max_num_seqs=max_num_seqs(request, chosen))


def _sorted_out(
    request: PlanRequest, tried: list[Candidate], verdicts: "_Verdicts"
) -> tuple[list[Candidate], list[Rejection]]:
    """Return the candidates that fit, and why the others do not."""
    fitting: list[Candidate] = []
    rejected: list[Rejection] = []
    for memory_only in tried:
        candidate, failure = memory_only, verdicts.failure(memory_only) or within_max_gpus(request, memory_only)
        if failure is None and request.objectives is not None:
            candidate = with_speed(request, memory_only)
            failure = meets_objectives(request, candidate)
        if failure is None:
            fitting.append(candidate)
        else:
            rejected.append(verdicts.rejection(candidate, failure))
    return fitting, rejected


def with_speed(request: PlanRequest, candidate: Candidate) -> Candidate:
    """Return `candidate` with its estimated speed, and with the replicas that the rate of the objectives needs."""
    objectives = request.objectives or _TYPICAL
    workload = objectives.workload
    replica = replica_model(
        request.model,
        candidate.variant,
        candidate.accelerator,
        candidate.sharding,
        candidate.gpus_per_node,
        kv_element_bytes=request.kv_element_bytes,
    )
    batch = request.max_num_seqs or max(TYPICAL_MAX_NUM_SEQS, request.concurrent_sequences)
    held, limits = candidate.memory.kv_tokens, objectives.limits
    speed = replica.best(held, workload, max_num_seqs=batch, limits=limits) if replica is not None else None
    counted = speed is not None and workload.requests_per_minute > 0
    needed = replicas_needed(speed, workload) if speed is not None and counted else 1
    return replace(candidate, performance=speed, replicas=needed, replicas_counted=counted)


def _ordered(request: PlanRequest, fitting: list[Candidate]) -> list[Candidate]:
    """Best first: GPUs, cost per hour, quality, nodes of a replica, links, speed, the user's order of accelerators."""
    quality = {id(variant): rank for rank, variant in enumerate(request.variants)}
    preferred = {accelerator.name: rank for rank, accelerator in enumerate(request.accelerators)}

    def key(candidate: Candidate) -> tuple[int, ...]:
        # If only PCIe links the cards of a node, stages need less communication than shards of a layer.
        tensor = 0 if candidate.accelerator.tensor_friendly else candidate.sharding.tensor
        return (
            candidate.gpus,
            candidate.usd_micros_per_hour * candidate.replicas or _UNPRICED,
            quality[id(candidate.variant)],
            # With the same GPUs in smaller replicas, a replica that is lost or added is a smaller part of the whole.
            candidate.nodes,
            tensor,
        )

    ordered = sorted(fitting, key=key)
    best = key(ordered[0])
    alike = [candidate for candidate in ordered if key(candidate) == best]
    # Speed decides only among the best: an estimate for all would cost more than the search.
    timed = [candidate if candidate.performance else with_speed(request, candidate) for candidate in alike]
    timed.sort(key=lambda candidate: (-_tokens_per_second(candidate), preferred[candidate.accelerator.name]))
    return [*timed, *ordered[len(alike) :]]


_NEAREST = (
    Reason.OBJECTIVES_NOT_MET,
    Reason.MAX_GPUS_EXCEEDED,
    Reason.KV_CACHE_TOO_SMALL,
    Reason.WEIGHTS_DO_NOT_FIT,
)
"""Reasons of rejection, the nearest to fitting first; any other reason excludes a candidate on any hardware."""


def _nearest_first(rejected: list[Rejection], *, largest: int) -> list[Rejection]:
    """Nearest to fitting first; those with more GPUs than `largest` come last, because they would only cost more."""
    return sorted(rejected, key=lambda rejection: (rejection.candidate.sharding.ranks > largest, _distance(rejection)))


def _first_over_budget(rejected: list[Rejection]) -> int:
    """GPUs of the smallest candidate that only maxGPUs rejects; more than any has if there is none."""
    over = (other.candidate.sharding.ranks for other in rejected if other.reason is Reason.MAX_GPUS_EXCEEDED)
    return min(over, default=sys.maxsize)


def _distance(rejection: Rejection) -> tuple[int, int, int]:
    """How far a candidate is from fitting: the check that it fails, then what it misses, then its GPUs."""
    candidate, reason = rejection.candidate, rejection.reason
    missing = -candidate.memory.left_for_kv
    if reason is Reason.OBJECTIVES_NOT_MET and candidate.performance is not None:
        missing = candidate.performance.time_per_output_token_us
    elif reason is Reason.MAX_GPUS_EXCEEDED or reason not in _NEAREST:
        # What no memory cures is said of the smallest.
        missing = 0
    reached = _NEAREST.index(reason) if reason in _NEAREST else len(_NEAREST)
    return reached, missing, candidate.sharding.ranks


def _tokens_per_second(candidate: Candidate) -> int:
    return candidate.performance.output_tokens_per_second if candidate.performance else 0


_TOO_LARGE = f"no sharding on up to {MAX_REPLICA_NODES} nodes holds it: use a lower precision, or a larger GPU"


class _Verdicts:
    """Results of the checks for the candidates of one request, and the smallest candidate that has enough memory."""

    def __init__(self, request: PlanRequest, candidates: Candidates) -> None:
        self._request = request
        self.candidates = candidates
        self._failures: dict[int, Failure | None] = {}
        self._enough: dict[tuple[int, str], Candidate | None] = {}
        self._usual: dict[str, _Verdicts] = {}

    def failure(self, candidate: Candidate) -> Failure | None:
        """Return the first check that `candidate` fails; None if it passes all of them."""
        # `candidates` keeps every candidate: no id is used twice.
        if id(candidate) not in self._failures:
            failures = (check(self._request, candidate) for check in CHECKS)
            self._failures[id(candidate)] = next((failure for failure in failures if failure is not None), None)
        return self._failures[id(candidate)]

    def rejection(self, candidate: Candidate, failure: Failure) -> Rejection:
        """Say why `candidate` does not fit, and what would."""
        nearest = failure.nearest
        if failure.reason in {Reason.WEIGHTS_DO_NOT_FIT, Reason.KV_CACHE_TOO_SMALL}:
            # First: an engine as usual costs nothing.
            cures = (*self._without_arguments(candidate), self._with_more_gpus(candidate, failure))
            nearest = ", or ".join(filter(None, cures)) or _TOO_LARGE
        return Rejection(candidate, failure.reason, f"{failure.numbers}; {nearest}", nearest)

    def _with_more_gpus(self, candidate: Candidate, failure: Failure) -> str:
        enough = self._smallest(candidate)
        if enough is None:
            return failure.nearest
        needed = f"{enough.sharding.ranks} GPUs ({sizes(enough.sharding)})"
        return f"{failure.nearest}, or needs {needed}" if failure.nearest else f"needs {needed}"

    def _without_arguments(self, candidate: Candidate) -> Iterator[str]:
        """Say which arguments of the engine take the memory that is missing: its reserve is for a whole step."""
        asked = self._request
        larger = (
            ("maxNumSeqs", asked.max_num_seqs, replace(asked, max_num_seqs=None)),
            ("maxNumBatchedTokens", asked.max_num_batched_tokens, replace(asked, max_num_batched_tokens=None)),
        )
        for name, value, without in larger:
            if value is None:
                continue
            if name not in self._usual:
                self._usual[name] = _Verdicts(without, Candidates(without))
            usual = self._usual[name]
            alike = (other for other in usual.candidates.like(candidate) if other.sharding == candidate.sharding)
            if any(usual.failure(other) is None for other in alike):
                yield f"fits without engine.arguments.{name} ({value:,})"

    def _smallest(self, candidate: Candidate) -> Candidate | None:
        key = (id(candidate.variant), candidate.accelerator.name)
        if key not in self._enough:
            alike = self.candidates.like(candidate)
            self._enough[key] = next((other for other in alike if self.failure(other) is None), None)
        return self._enough[key]


def max_num_seqs(request: PlanRequest, chosen: Candidate) -> int:
    """Return how many sequences a replica of `chosen` computes at once."""
    if request.max_num_seqs is not None:
        return request.max_num_seqs
    likely = chosen.memory.kv_tokens // min(_TYPICAL_TOKENS, request.max_model_length)
    if request.objectives is not None and chosen.performance is not None:
        # A larger batch would answer more requests at once, but each of them slower than the objectives allow.
        likely = min(likely, chosen.performance.concurrency)
    return max(request.concurrent_sequences, min(TYPICAL_MAX_NUM_SEQS, likely))
