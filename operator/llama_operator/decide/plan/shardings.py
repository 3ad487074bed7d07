"""Lists every way to shard one replica that is worth trying, and its memory. Called by `decide.plan.planner`.

Nothing here depends on the context: a search for another length looks at the same candidates.
"""

from collections.abc import Callable

from llama_operator.catalog.accelerators import Accelerator
from llama_operator.catalog.figures import prices
from llama_operator.catalog.models import Model
from llama_operator.decide.plan.candidate import Candidate, PlanRequest
from llama_operator.decide.plan.checks import valid_tensor_sizes
from llama_operator.decide.plan.memory import TYPICAL_MAX_NUM_SEQS, Sharding, Step, estimate, weights_of

MAX_REPLICA_NODES = 8
"""Pipelines on more nodes are not searched: no Llama needs them."""

Sizes = Callable[[Model, Accelerator, int], list[Sharding]]
"""Which tensor and pipeline sizes to try for a model, on a card, with so many of them in a node."""

_MAX_STAGES_IN_NODE = 16
"""No node without a fast link has more cards than this."""


def shardings(model: Model, accelerator: Accelerator, per_node: int) -> list[Sharding]:
    """Return the tensor and pipeline sizes worth trying on nodes of `per_node` cards, fewest GPUs first.

    Inside a node: only tensor parallel if the cards have a fast link, else every product of both sizes that the node
    holds. Across nodes: tensor parallel inside each node, one pipeline stage a node. `staged_shardings` has the rest.
    """
    if accelerator.alone:
        return [Sharding(1, 1)]
    tensors = sorted({*_powers_of_two(per_node), *valid_tensor_sizes(model, per_node)})
    if accelerator.device == "CPU":
        return [Sharding(tensor, 1) for tensor in tensors]
    layers = model.architecture.num_hidden_layers
    stages = 1 if accelerator.tensor_friendly else min(layers, _MAX_STAGES_IN_NODE)
    inside = [
        Sharding(tensor, pipeline) for tensor in tensors for pipeline in range(1, min(stages, per_node // tensor) + 1)
    ]
    across = [Sharding(per_node, nodes) for nodes in range(2, min(layers, MAX_REPLICA_NODES) + 1)]
    return sorted([*inside, *across], key=lambda sharding: sharding.ranks)


def staged_shardings(model: Model, accelerator: Accelerator, per_node: int) -> list[Sharding]:
    """Return the sizes for cards that tensor parallelism cannot fill: three of a node, or six, or heads that divide by no eight.

    Stages inside a node although its cards have a fast link, and several stages a node across nodes. A plan takes them only
    where none of `shardings` fits: at the same number of GPUs shards of a layer answer faster.
    """
    if accelerator.device == "CPU" or accelerator.alone:
        return []
    layers = model.architecture.num_hidden_layers
    tensors = valid_tensor_sizes(model, per_node)
    inside = [
        Sharding(tensor, pipeline)
        for tensor in tensors
        for pipeline in range(2, min(layers, per_node // tensor) + 1)
        if accelerator.tensor_friendly
    ]
    # The widest shards that fill a node; with these the stages are the fewest.
    widest = max((tensor for tensor in tensors if per_node % tensor == 0), default=per_node)
    across = [
        Sharding(widest, nodes * per_node // widest)
        for nodes in range(2, MAX_REPLICA_NODES + 1)
        if widest < per_node and nodes * per_node // widest <= layers
    ]
    return sorted([*inside, *across], key=lambda sharding: sharding.ranks)


class Candidates:
    """The candidates of one request; each is estimated once."""

    def __init__(self, request: PlanRequest) -> None:
        self._request = request
        self._step = Step(
            batched_tokens=request.max_num_batched_tokens,
            max_num_seqs=request.max_num_seqs or max(TYPICAL_MAX_NUM_SEQS, request.concurrent_sequences),
            graphs=request.graphs,
        )
        self._prices = {card.name: prices.load().of(card.name) or 0 for card in request.accelerators}
        self._weights = [weights_of(request.model.architecture, variant) for variant in request.variants]
        self._made: dict[tuple[int, str, Sharding], Candidate] = {}

    def allowed(self) -> list[Candidate]:
        """Return all candidates that the request allows, fewest GPUs first, whether they fit or not."""
        request = self._request
        if request.tensor is None:
            return self._all(shardings)
        named = Sharding(request.tensor, request.pipeline or 1)
        return self._all(lambda *_: [named])

    def staged(self) -> list[Candidate]:
        """Return those that are tried only if none of `allowed` fits; none if the user named the sizes."""
        return self._all(staged_shardings) if self._request.tensor is None else []

    def like(self, candidate: Candidate) -> list[Candidate]:
        """Return all candidates with the weights and the card of `candidate`, of any size, in the order in which they are tried."""
        number = next(n for n, variant in enumerate(self._request.variants) if variant is candidate.variant)
        card = candidate.accelerator
        return [*self._free(number, card, shardings), *self._free(number, card, staged_shardings)]

    def _all(self, sizes: Sizes) -> list[Candidate]:
        request, most = self._request, self._request.max_nodes
        candidates = [
            candidate
            for number in range(len(request.variants))
            for accelerator in request.accelerators
            for candidate in self._free(number, accelerator, sizes)
            if most is None or candidate.nodes <= most
        ]
        return sorted(candidates, key=lambda candidate: candidate.sharding.ranks)

    def _free(self, number: int, accelerator: Accelerator, sizes: Sizes) -> list[Candidate]:
        per_node = self._request.gpus_per_node or accelerator.gpus_per_node
        possible = sizes(self._request.model, accelerator, per_node)
        return [self._one(number, accelerator, sharding) for sharding in possible]

    def _one(self, number: int, accelerator: Accelerator, sharding: Sharding) -> Candidate:
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
                adapters=request.adapters,
                guard=0 if request.guard is None else request.guard.bytes_of(accelerator),
            )
            per_node = request.gpus_per_node or accelerator.gpus_per_node
            price = self._prices[accelerator.name] * sharding.ranks
            self._made[key] = Candidate(variant, accelerator, sharding, per_node, memory, usd_micros_per_hour=price)
        return self._made[key]


def _powers_of_two(largest: int) -> list[int]:
    return [1 << power for power in range(largest.bit_length())]
