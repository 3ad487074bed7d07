"""The planner: which precision, tensor and pipeline parallel size hold the model and its context on the fewest GPUs.

Called by `decide.plan_request`. Every candidate passes the ordered list of named checks (`decide.checks`); the first that
fails rejects it with its numbers and the nearest change that would make it fit. Order of those that fit: GPUs, cost per
hour, quality, speed. docs/planning.md has the rules.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from llama_operator.api.reasons import Reason
from llama_operator.catalog import prices
from llama_operator.catalog.accelerators import Accelerator
from llama_operator.catalog.models import Model
from llama_operator.decide.candidate import Candidate, Objectives, Plan, PlanRequest, Rejection, sizes
from llama_operator.decide.checks import CHECKS, Failure, meets_objectives, valid_tensor_sizes, within_max_gpus
from llama_operator.decide.cost import usd_micros_per_hour
from llama_operator.decide.memory import TYPICAL_MAX_NUM_SEQS, Sharding, Step, estimate, weights_of
from llama_operator.decide.performance import Limits, Performance, Workload, predict, replicas_needed

__all__ = ["Candidate", "Objectives", "Plan", "PlanRequest", "Rejection", "plan", "valid_tensor_sizes"]

MAX_REPLICA_NODES = 8
"""Pipelines over more nodes are not searched: no Llama needs them."""

TYPICAL_LOAD = Workload(prompt_tokens=1155, output_tokens=211, requests_per_minute=0)
"""Load by which speed is told where no objectives are given: the averages of Azure's 2023 conversation trace."""

_TYPICAL_TOKENS = 1024
"""Prompt and answer of a usual chat request, about; the default of max_num_seqs assumes it, so that a replica takes as
many requests as its KV cache is likely to hold."""

_NO_LIMITS = Limits()

_UNPRICED = 1 << 60
"""A card without a price comes after those that have one."""


def plan(request: PlanRequest) -> Plan:
    """Search all candidates that the request allows."""
    search = _Search(request)
    fitting: list[Candidate] = []
    rejected: list[Rejection] = []
    for memory_only in sorted(search.candidates(), key=lambda found: found.sharding.ranks):
        candidate, failure = memory_only, search.failure(memory_only) or within_max_gpus(request, memory_only)
        if failure is None and request.objectives is not None:
            candidate = with_speed(request, memory_only)
            failure = meets_objectives(request, candidate)
        if failure is None:
            fitting.append(candidate)
        else:
            rejected.append(search.rejection(candidate, failure))
    if not fitting:
        return Plan(None, (), tuple(rejected))
    chosen, *others = _ordered(request, fitting)
    return Plan(chosen, tuple(others), tuple(rejected), max_num_seqs=_max_num_seqs(request, chosen))


def with_speed(request: PlanRequest, candidate: Candidate) -> Candidate:
    """`candidate` with its estimated speed, and the replicas that the objectives' rate needs."""
    workload = request.objectives.workload if request.objectives else TYPICAL_LOAD
    speed = _speed(request, candidate, workload)
    counted = workload.requests_per_minute > 0 and speed is not None
    needed = replicas_needed(speed, workload) if counted and speed is not None else 1
    return replace(candidate, performance=speed, replicas=needed, replicas_counted=counted)


def _speed(request: PlanRequest, candidate: Candidate, workload: Workload) -> Performance | None:
    return predict(
        request.model,
        candidate.variant,
        candidate.accelerator,
        candidate.sharding,
        candidate.gpus_per_node,
        candidate.memory.kv_tokens,
        workload,
        max_num_seqs=request.max_num_seqs or TYPICAL_MAX_NUM_SEQS,
        kv_element_bytes=request.kv_element_bytes,
        limits=request.objectives.limits if request.objectives else _NO_LIMITS,
    )


def _ordered(request: PlanRequest, fitting: list[Candidate]) -> list[Candidate]:
    """Best first: GPUs, cost per hour, quality, the user's order of accelerators, links, speed."""
    quality = {id(variant): rank for rank, variant in enumerate(request.variants)}
    preferred = {accelerator.name: rank for rank, accelerator in enumerate(request.accelerators)}

    def key(candidate: Candidate) -> tuple[int, ...]:
        # Where the cards of a node are linked by PCIe alone, stages talk less than shards of a layer.
        tensor = 0 if candidate.accelerator.tensor_friendly else candidate.sharding.tensor
        return (
            candidate.gpus,
            candidate.usd_micros_per_hour * candidate.replicas or _UNPRICED,
            quality[id(candidate.variant)],
            tensor,
        )

    ordered = sorted(fitting, key=key)
    best = key(ordered[0])
    alike = [candidate for candidate in ordered if key(candidate) == best]
    # Only the best are told by speed: to estimate it for all would cost more than the search.
    timed = [found if found.performance else with_speed(request, found) for found in alike]
    timed.sort(key=lambda found: (-_tokens_per_second(found), preferred[found.accelerator.name]))
    return [*timed, *ordered[len(alike) :]]


def _tokens_per_second(candidate: Candidate) -> int:
    return candidate.performance.output_tokens_per_second if candidate.performance else 0


class _Search:
    """The candidates of one request, and for a candidate that lacks memory the smallest one that does not.

    Everything is worked out once: a candidate is looked at again for each one that needs more GPUs.
    """

    def __init__(self, request: PlanRequest) -> None:
        self._request = request
        self._step = Step(
            batched_tokens=request.max_num_batched_tokens,
            max_num_seqs=request.max_num_seqs or max(TYPICAL_MAX_NUM_SEQS, request.concurrent_sequences),
            graphs=request.graphs,
        )
        table = request.prices or prices.load()
        self._prices = {found.name: usd_micros_per_hour(table, found.name, 1) or 0 for found in request.accelerators}
        self._weights = [weights_of(request.model.architecture, variant) for variant in request.variants]
        self._made: dict[tuple[int, str, Sharding], Candidate] = {}
        self._failures: dict[int, Failure | None] = {}
        self._enough: dict[tuple[int, str], Candidate | None] = {}

    def failure(self, candidate: Candidate) -> Failure | None:
        """The first check that `candidate` fails; None when it holds what is asked for."""
        if id(candidate) not in self._failures:
            found = (check(self._request, candidate) for check in CHECKS)
            self._failures[id(candidate)] = next((failure for failure in found if failure is not None), None)
        return self._failures[id(candidate)]

    def candidates(self) -> Iterator[Candidate]:
        """All candidates that the request allows, whether they fit or not."""
        request = self._request
        for number in range(len(request.variants)):
            for accelerator in request.accelerators:
                if request.tensor is not None:
                    yield self._candidate(number, accelerator, Sharding(request.tensor, request.pipeline or 1))
                else:
                    yield from self._all(number, accelerator)

    def rejection(self, candidate: Candidate, failure: Failure) -> Rejection:
        """Tell why `candidate` does not fit, and what would."""
        nearest = failure.nearest
        if failure.reason in {Reason.WEIGHTS_DO_NOT_FIT, Reason.KV_CACHE_TOO_SMALL}:
            nearest = self._with_more_gpus(candidate, failure)
        return Rejection(candidate, failure.reason, f"{failure.numbers}; {nearest}", nearest)

    def _with_more_gpus(self, candidate: Candidate, failure: Failure) -> str:
        enough = self._smallest(candidate)
        if enough is None:
            return failure.nearest or (
                f"no sharding over up to {MAX_REPLICA_NODES} nodes holds it: use a lower precision, or a larger GPU"
            )
        needed = f"{enough.sharding.ranks} GPUs ({sizes(enough.sharding)})"
        return f"{failure.nearest}, or with {needed}" if failure.nearest else f"needs {needed}"

    def _smallest(self, candidate: Candidate) -> Candidate | None:
        """The smallest sharding that holds the same on the same card, whatever maxGPUs and the manifest say."""
        number = next(n for n, variant in enumerate(self._request.variants) if variant is candidate.variant)
        key = (number, candidate.accelerator.name)
        if key not in self._enough:
            found = sorted(self._all(number, candidate.accelerator), key=lambda other: other.sharding.ranks)
            self._enough[key] = next((other for other in found if self.failure(other) is None), None)
        return self._enough[key]

    def _all(self, number: int, accelerator: Accelerator) -> list[Candidate]:
        per_node = self._request.gpus_per_node or accelerator.gpus_per_node
        found = shardings(self._request.model, accelerator, per_node)
        return [self._candidate(number, accelerator, sharding) for sharding in found]

    def _candidate(self, number: int, accelerator: Accelerator, sharding: Sharding) -> Candidate:
        key = (number, accelerator.name, sharding)
        if key not in self._made:
            request, variant = self._request, self._request.variants[number]
            memory = estimate(
                request.model,
                variant,
                accelerator,
                sharding,
                utilization_percent=request.utilization_percent,
                kv_element_bytes=request.kv_element_bytes,
                step=self._step,
                weights=self._weights[number],
            )
            per_node = request.gpus_per_node or accelerator.gpus_per_node
            price = self._prices[accelerator.name] * sharding.ranks
            self._made[key] = Candidate(variant, accelerator, sharding, per_node, memory, usd_micros_per_hour=price)
        return self._made[key]


def shardings(model: Model, accelerator: Accelerator, per_node: int) -> Iterable[Sharding]:
    """Tensor and pipeline sizes worth trying on nodes of `per_node` cards.

    Inside a node: tensor alone where the cards have a fast link, else every product of both that the node holds. Across
    nodes: tensor inside each, one pipeline stage per node.
    """
    tensors = sorted({*_powers_of_two(per_node), *valid_tensor_sizes(model, per_node)})
    if accelerator.device == "CPU":
        return [Sharding(tensor, 1) for tensor in tensors]
    layers = model.architecture.num_hidden_layers
    stages = 1 if accelerator.tensor_friendly else min(layers, per_node)
    inside = [
        Sharding(tensor, pipeline) for tensor in tensors for pipeline in range(1, min(stages, per_node // tensor) + 1)
    ]
    across = [Sharding(per_node, nodes) for nodes in range(2, min(layers, MAX_REPLICA_NODES) + 1)]
    return [*inside, *across]


def _powers_of_two(largest: int) -> list[int]:
    found = [1]
    while found[-1] * 2 <= largest:
        found.append(found[-1] * 2)
    return found


def _max_num_seqs(request: PlanRequest, chosen: Candidate) -> int:
    if request.max_num_seqs is not None:
        return request.max_num_seqs
    likely = chosen.memory.kv_tokens // min(_TYPICAL_TOKENS, request.max_model_length)
    if request.objectives is not None and chosen.performance is not None:
        # A larger batch would answer more at once, each slower than was asked for.
        likely = min(likely, chosen.performance.concurrency)
    return max(request.concurrent_sequences, min(TYPICAL_MAX_NUM_SEQS, likely))
