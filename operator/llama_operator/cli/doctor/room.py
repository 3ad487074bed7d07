"""Whether nodes take the pods that models need, before what runs there: a head, and a worker with one card. Called by `checks`."""

from collections.abc import Iterable

from llama_operator import catalog
from llama_operator.catalog.accelerators import Accelerator
from llama_operator.cli.doctor.facts import DoctorFacts, NodeSummary
from llama_operator.cli.shared.checks import Check, State
from llama_operator.cli.shared.connection import Unknown
from llama_operator.decide.placement.count import asks, why_not
from llama_operator.decide.placement.fit import takes
from llama_operator.decide.placement.pod_settings import PodSettings, PodSettingsByRole
from llama_operator.decide.placement.requests import Held, head_shape, shapes
from llama_operator.decide.placement.shape import PodShape, Room

_MODEL, _PRECISION = "llama-3.1-8b", "BF16"
"""What people try first; larger models ask for more."""


def check(facts: DoctorFacts) -> Check:
    """Judge the nodes by what is asked of them."""
    name = "room-for-pods"
    if isinstance(facts.nodes, Unknown):
        return Check(name, State.UNKNOWN, facts.nodes.why)
    usable = [node for node in facts.nodes if node.room is not None]
    head = head_shape(PodSettings())
    heads = [node for node in usable if _takes(head, node)]
    if not heads:
        text = f"no node takes a head pod: it {why_not(head, _rooms(usable))}"
        return Check(name, State.WARNING, text, "add a node for it, which needs no GPU")
    said, short = [f"a head pod ({asks(head)}) fits {len(heads)} node(s)"], []
    cards = {node.accelerator: node.card for node in usable if node.card is not None}
    for card, made in sorted(cards.items()):
        worker, having = _worker(made), [node for node in usable if node.accelerator == card]
        fits = sum(_takes(worker, node) for node in having)
        said.append(f"a worker of {_MODEL} with one {card} ({asks(worker)}) fits {fits} of {len(having)}")
        if fits < len(having):
            lacking = [node for node in having if not _takes(worker, node)]
            short.append(f"with {card} on {lacking[0].name} a worker {why_not(worker, _rooms(lacking[:1]))}")
    text = "; ".join((*said, *short))
    if not short:
        return Check(name, State.PASSED, text)
    hint = "let pods tolerate the taint, ask for less, or take larger nodes: `kubectl llama plan --cluster` tells for each model"
    return Check(name, State.WARNING, text, hint)


def _worker(card: Accelerator) -> PodShape:
    model = catalog.load().model(_MODEL)
    variant = next(variant for variant in model.variants if variant.precision == _PRECISION)
    return shapes(Held(model, variant, card, 1), PodSettingsByRole()).worker


def _takes(shape: PodShape, node: NodeSummary) -> bool:
    return node.room is not None and takes(shape, node.room)


def _rooms(nodes: Iterable[NodeSummary]) -> tuple[Room, ...]:
    return tuple(node.room for node in nodes if node.room is not None)
