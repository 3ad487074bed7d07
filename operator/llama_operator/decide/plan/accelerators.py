"""Finds the accelerators that a spec allows: the one that it names, or with `Auto` those that the nodes have.

Called by `decide.plan.request`. A node with accelerators is never a CPU. What nothing is planned on is refused with the node, its
resource, its product and the label that is missing; the CPU is planned on if the manifest names it, or for the generated model
where no node has anything else.
"""

from collections.abc import Iterable
from typing import Final

from llama_operator.api.reasons import ConditionType, Reason
from llama_operator.catalog import Catalog, UnknownAcceleratorError
from llama_operator.catalog.accelerators import Accelerator
from llama_operator.catalog.declared import with_declared
from llama_operator.catalog.models import Model
from llama_operator.decide.observed import NodeFacts, Observed
from llama_operator.decide.placement.cards import tolerations_for
from llama_operator.decide.placement.fit import repels
from llama_operator.decide.placement.images import lacks_image
from llama_operator.decide.placement.shape import Taint, Toleration
from llama_operator.decide.problem import Problem

_FIELD: Final = "spec.hardware.accelerator"
_AUTO: Final = "Auto"
_CPU: Final = "CPU"
_MOST_TOLD: Final = 3
"""Nodes whose accelerators are told one by one."""


def find_accelerators(observed: Observed, model: Model, catalog: Catalog) -> Problem | tuple[Accelerator, ...]:
    """Return the accelerators to plan with, by name; a Problem if the spec names an unknown one, or nothing can be planned on.

    Args:
        observed: The deployment and the nodes of the cluster.
        model: The model that the spec names.
        catalog: Accelerators; those that the cluster declares are added.
    """
    catalog = with_declared(catalog, observed.accelerators)
    taking, repelled = _by_taints(observed, catalog)
    named, seen = observed.deployment.spec.hardware.accelerator, _seen(taking, catalog)
    if named != _AUTO:
        found = _named(named, seen, catalog)
        return found if isinstance(found, Problem) else with_image(observed, found)
    if seen:
        return with_image(observed, tuple(seen[name] for name in sorted(seen)))
    in_sight = [node for node in taking if node.accelerator != _CPU]
    away = [node for node in observed.away if node.accelerator != _CPU]
    if taking and model.generated and not in_sight and not away and not repelled:
        return (catalog.accelerator(_CPU),)
    told = [f"node {node.name} {node.device_problem}" for node in in_sight if node.device_problem]
    told += [
        f"node {node.name} with {node.gpus} {node.accelerator} has the taint {taint}, which pods do not tolerate (spec.pods.tolerations)"
        for node, taint in repelled
    ]
    told += [f"node {node.name} with {node.accelerators} {node.accelerator} {node.why}" for node in away]
    return Problem(ConditionType.PLANNED, Reason.ACCELERATOR_UNDECIDED, _undecided(told, catalog), _FIELD)


def unknown_accelerator(observed: Observed, catalog: Catalog) -> Problem | None:
    """Return the problem of a spec that names an accelerator which nobody knows; None for a known one, and for `Auto`."""
    catalog = with_declared(catalog, observed.accelerators)
    named = observed.deployment.spec.hardware.accelerator
    found = () if named == _AUTO else _named(named, _seen(observed.nodes or (), catalog), catalog)
    return found if isinstance(found, Problem) else None


def with_image(observed: Observed, cards: tuple[Accelerator, ...]) -> Problem | tuple[Accelerator, ...]:
    """The cards on which a serving image runs; where the operator's images are not known, all of them."""
    asked, images = observed.deployment.spec.image, observed.images
    if images is None:
        return cards
    lacking = {card.name: lacks_image(card, asked=asked, others=images) for card in cards}
    usable = tuple(card for card in cards if not lacking[card.name])
    return usable or Problem(ConditionType.PLANNED, Reason.IMAGE_MISSING, "; ".join(lacking.values()), "spec.image")


def _named(name: str, seen: dict[str, Accelerator], catalog: Catalog) -> Problem | tuple[Accelerator, ...]:
    try:
        return (catalog.accelerator(name),)
    except UnknownAcceleratorError as error:
        # A card that only the labels of nodes describe has the name of its product.
        if name in seen:
            return (seen[name],)
        return Problem(ConditionType.PLANNED, Reason.ACCELERATOR_UNKNOWN, str(error), _FIELD)


def _by_taints(
    observed: Observed, catalog: Catalog
) -> tuple[tuple[NodeFacts, ...], tuple[tuple[NodeFacts, Taint], ...]]:
    """Nodes that take the workers that would be for their accelerators, and those with accelerators whose taint keeps them off."""
    wanted = observed.pod_settings(None).workers.tolerations
    taking: list[NodeFacts] = []
    repelled: list[tuple[NodeFacts, Taint]] = []
    for node in observed.nodes or ():
        taints = () if node.room is None else node.room.taints
        taint = repels(taints, (*_tolerations(node, catalog), *wanted))
        if taint is None or node.device_problem:
            taking.append(node)
        elif node.accelerator != _CPU:
            repelled.append((node, taint))
    return tuple(taking), tuple(repelled)


def _tolerations(node: NodeFacts, catalog: Catalog) -> tuple[Toleration, ...]:
    if node.card is None and node.accelerator not in catalog.accelerator_names:
        return ()
    return tolerations_for(node.card or catalog.accelerator(node.accelerator))


def _seen(nodes: Iterable[NodeFacts], catalog: Catalog) -> dict[str, Accelerator]:
    """The cards of the nodes by name, with the number that a node has, not that of a commonly rented one.

    Of those that only labels describe, the one with the least memory counts: drivers differ by some MiB.
    """
    cards: dict[str, Accelerator] = {}
    for node in nodes:
        if node.accelerator == _CPU or not node.gpus or node.device_problem:
            continue
        card = node.card or catalog.accelerator(node.accelerator)
        before = cards.get(card.name, card)
        least = min(card, before, key=lambda one: one.usable_memory_bytes)
        most = max(node.gpus, before.gpus_per_node if card.name in cards else 0)
        cards[card.name] = least.model_copy(update={"gpus_per_node": most})
    return cards


def _undecided(told: list[str], catalog: Catalog) -> str:
    names = ", ".join(name for name in catalog.accelerator_names if name != _CPU)
    if told:
        more = f"; and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""
        return (
            f"is Auto, and no accelerator of the nodes can be planned on: {'; '.join(told[:_MOST_TOLD])}{more}. Do what is said "
            f"there, or name the accelerator: one of {names}, or CPU to compute on processors"
        )
    return (
        "is Auto, and the cluster has no node with a known accelerator: none offers GPUs, and no label names one. Nothing is "
        "planned on GPUs that DRA gives out (ResourceSlices): install the device plugin there. "
        f"Or name one of {names}, or CPU to compute on processors"
    )
