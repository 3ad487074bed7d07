"""Whether replicas find nodes, and what is short first, in words. Called by `status`, `decide.rollout`, `decide.plan` and the CLI.

One count for all of them: what `CapacityFound` says, a rollout and `Auto` rest on too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llama_operator.decide.placement.fit import (
    CPU,
    MEMORY,
    PODS,
    STORAGE,
    Fit,
    Obstacle,
    costs,
    filled,
    fit,
    nearest,
    takes,
)
from llama_operator.decide.placement.shape import PodShape, PodShapes, Room

_GIB = 1 << 30
_CORE = 1000
_MOST_DECIMALS = 3


@dataclass(frozen=True, slots=True)
class Demand:
    """Pods that look for a node.

    Attributes:
        shapes: Their shapes.
        workers: How many workers.
        head: Whether the head looks for one too.
    """

    shapes: PodShapes
    workers: int
    head: bool = True

    def fit(self, rooms: Iterable[Room]) -> Fit:
        """Count what finds a node."""
        return fit(self.shapes.head if self.head else None, self.shapes.worker, rooms)

    def holds(self, rooms: Iterable[Room]) -> bool:
        """Whether all of them find a node, wherever the scheduler puts the head."""
        return self.fit(rooms).holds(self.workers)

    def short(self, rooms: Sequence[Room]) -> str:
        """The first thing that is short, with its number; empty if all of them find a node."""
        found = self.fit(rooms)
        if found.holds(self.workers):
            return ""
        head, worker = self.shapes.head, self.shapes.worker
        if not found.head:
            return f"the head pod finds no node: it {why_not(head, rooms)}"
        if not found.may_hold(self.workers):
            left = filled(head if self.head else None, worker, rooms)
            obstacle = nearest(worker, left) or nearest(worker, rooms)
            text = f"{_some(found.possible, self.workers)}: the next one {_why(worker, obstacle)}"
            return text + self._head_in_the_way(rooms)
        if worker.needs_other_pods or head.needs_other_pods:
            return (
                "the nodes have enough, but whether the pods find a place depends on other pods (pod affinity that is required, or "
                "a spread that must hold), which is not counted"
            )
        places = (room for room in rooms if takes(head, room))
        costly = max(places, key=lambda room: costs(head, worker, room))
        return f"{_some(found.certain, self.workers)} if the head pod comes to {costly.node}, which nobody can rule out"

    def _head_in_the_way(self, rooms: Sequence[Room]) -> str:
        """That the workers would find a node if the head were on another one; empty if that is not so."""
        if not self.head or fit(None, self.shapes.worker, rooms).certain < self.workers:
            return ""
        return f"; the head pod, which asks for {asks(self.shapes.head)}, takes their place: add a node for it, which needs no GPU"


def asks(shape: PodShape) -> str:
    """What a pod asks for, for people: `3 cpu, 12 GiB of memory, 1 nvidia.com/gpu`."""
    asked = shape.asked
    amounts = ((CPU, asked.cpu_millicores), (MEMORY, asked.memory_bytes), (STORAGE, asked.ephemeral_storage_bytes))
    written = [_amount(what, amount) for what, amount in (*amounts, *asked.devices.items()) if amount]
    return ", ".join(written)


def why_not(shape: PodShape, rooms: Iterable[Room]) -> str:
    """What keeps a pod off the node that comes nearest to taking it, as the end of a sentence about the pod."""
    return _why(shape, nearest(shape, rooms))


def _some(count: int, of: int) -> str:
    return f"{count} of {of} worker pods find a node"


def _why(shape: PodShape, obstacle: Obstacle | None) -> str:
    """What keeps a pod off the nearest node, as the end of a sentence about the pod."""
    if obstacle is None:
        return f"needs {asks(shape)}, and there is no node"
    if obstacle.label:
        return f"needs a node with {obstacle.what}"
    if obstacle.taint:
        return f"does not tolerate the taint {obstacle.what} of {obstacle.node}"
    if obstacle.what == PODS:
        return f"finds no place on {obstacle.node}, which comes nearest: the node takes no more pods"
    needed, has = _both(obstacle)
    return f"needs {needed}, and {obstacle.node}, which comes nearest, has {has} left"


def _both(obstacle: Obstacle) -> tuple[str, str]:
    """What is needed and what is there, with as many decimals as tell them apart."""
    for decimals in range(1, _MOST_DECIMALS + 1):
        needed = _amount(obstacle.what, obstacle.needed, decimals)
        has = _amount(obstacle.what, obstacle.has, decimals)
        if needed != has:
            break
    return needed, has.partition(" ")[0]


def _amount(what: str, amount: int, decimals: int = 1) -> str:
    if what == CPU:
        return f"{_number(amount / _CORE, decimals)} cpu"
    if what == MEMORY:
        return f"{_number(amount / _GIB, decimals)} GiB of memory"
    if what == STORAGE:
        return f"{_number(amount / _GIB, decimals)} GiB of node disk (ephemeral-storage)"
    return f"{amount} {what}"


def _number(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}".rstrip("0").rstrip(".")
