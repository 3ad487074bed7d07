"""How many pods of a revision find a node, and what is short first. Called by `placement.count`.

It asks what kube-scheduler asks, one pod after the other: taints, node selector and node affinity, pods, cpu, memory, ephemeral
storage and devices. KubeRay makes the head first; where it lands is the scheduler's choice, so both the worst and the best
of its choices are counted. Workers are alike, so their order does not matter. Pure; knows neither planner nor Kubernetes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from llama_operator.decide.placement.shape import PodShape, Requirement, Room, Taint, Toleration

_REPEL = frozenset({"NoSchedule", "NoExecute"})
CPU, MEMORY, STORAGE, PODS = "cpu", "memory", "ephemeral-storage", "pods"
_MANY = 1 << 40
"""Pods that ask for nothing that is counted."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a node takes no more pods of a shape."""

    node: str
    what: str
    """A resource by its name in Kubernetes, a taint, or an expression over labels."""
    needed: int = 0
    """Of a resource, in its unit: millicores, bytes, or a number."""
    has: int = 0
    """What of it the node has left."""
    taint: bool = False
    label: bool = False

    @property
    def nearness(self) -> tuple[int, float]:
        """How near the node is to taking the pod: the right node that lacks something is nearer than a wrong one."""
        stage = 0 if self.label else 1 if self.taint else 2
        return stage, self.has / self.needed if self.needed else 0.0


@dataclass(frozen=True, slots=True)
class Fit:
    """How many of the pods find a node."""

    head: bool
    """Whether the head finds one."""
    certain: int
    """Workers that find one wherever the scheduler puts the head."""
    possible: int
    """Workers that find one if it puts the head where that costs least."""

    def holds(self, workers: int) -> bool:
        """Whether the head and so many workers find a node in any case."""
        return self.head and self.certain >= workers

    def may_hold(self, workers: int) -> bool:
        """Whether the head and so many workers can find a node, if all goes well."""
        return self.head and self.possible >= workers


def fit(head: PodShape | None, worker: PodShape, rooms: Iterable[Room]) -> Fit:
    """Count what finds a node.

    Args:
        head: The head; None if it has a node already.
        worker: One of the workers.
        rooms: Nodes that take pods.
    """
    rooms = tuple(rooms)
    total = sum(most(worker, room) for room in rooms)
    by_order = worker.needs_other_pods or (head is not None and head.needs_other_pods)
    if head is None:
        return Fit(head=True, certain=0 if by_order else total, possible=total)
    taken = [costs(head, worker, room) for room in rooms if takes(head, room)]
    if not taken:
        return Fit(head=False, certain=total, possible=total)
    return Fit(head=True, certain=0 if by_order else total - max(taken), possible=total - min(taken))


def takes(shape: PodShape, room: Room) -> bool:
    """Whether a node takes one pod."""
    return obstacle(shape, room) is None


def most(shape: PodShape, room: Room) -> int:
    """How many pods of a shape a node takes."""
    if not _may_run_on(shape, room):
        return 0
    left = [max(0, has) // needed for _, needed, has in _amounts(shape, room) if needed > 0]
    return min(left, default=_MANY)


def obstacle(shape: PodShape, room: Room) -> Obstacle | None:
    """The first thing that keeps a pod off a node; None if it takes the pod."""
    amounts = _amounts(shape, room)
    short = (Obstacle(room.node, what, needed, max(0, has)) for what, needed, has in amounts if needed > has)
    return next(chain(_constraints(shape, room), short), None)


def nearest(shape: PodShape, rooms: Iterable[Room]) -> Obstacle | None:
    """What keeps the next pod off the node that comes nearest to taking it; None if one takes it, or there is none."""
    found = [obstacle(shape, room) for room in rooms]
    if None in found:
        return None
    return max(filter(None, found), key=lambda one: one.nearness, default=None)


def filled(head: PodShape | None, worker: PodShape, rooms: Iterable[Room]) -> Sequence[Room]:
    """The nodes after they took all workers that they take, and the head where it costs least."""
    left = list(rooms)
    if head is not None:
        places = [number for number, room in enumerate(left) if takes(head, room)]
        # Of nodes where it costs nothing, rather one that no worker may run on.
        cheapest = min(
            places, key=lambda one: (costs(head, worker, left[one]), _may_run_on(worker, left[one])), default=None
        )
        if cheapest is not None:
            left[cheapest] = left[cheapest].less(head.asked)
    return [room.less(worker.asked * count, count) if (count := most(worker, room)) else room for room in left]


def costs(head: PodShape, worker: PodShape, room: Room) -> int:
    """How many workers fewer a node takes that takes the head."""
    return most(worker, room) - most(worker, room.less(head.asked))


def repels(taints: Iterable[Taint], tolerations: Iterable[Toleration]) -> Taint | None:
    """The first taint that keeps a pod off; None if it tolerates all that do."""
    known = tuple(tolerations)
    return next(
        (one for one in taints if one.effect in _REPEL and not any(_tolerates(each, one) for each in known)), None
    )


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.value == taint.value


def _may_run_on(shape: PodShape, room: Room) -> bool:
    return next(_constraints(shape, room), None) is None


def _constraints(shape: PodShape, room: Room) -> Iterator[Obstacle]:
    """Nodes that the pod may not run on, whatever they have left."""
    for key, value in shape.node_selector.items():
        if room.labels.get(key) != value:
            yield Obstacle(room.node, f"{key}={value}", label=True)
    for one in shape.requirements:
        if not _holds(one, room.labels):
            yield Obstacle(room.node, _written(one), label=True)
    if shape.alternatives and not any(all(_holds(one, room.labels) for one in each) for each in shape.alternatives):
        more = ", or another label of the same" if len(shape.alternatives) > 1 else ""
        yield Obstacle(room.node, f"{_written(shape.alternatives[0][0])}{more}", label=True)
    taint = repels(room.taints, shape.tolerations)
    if taint is not None:
        yield Obstacle(room.node, str(taint), taint=True)


def _amounts(shape: PodShape, room: Room) -> Iterator[tuple[str, int, int]]:
    """Name, what the pod needs and what the node has, of everything that is counted; of devices first."""
    needed, has = shape.asked, room.amounts
    for name, count in needed.devices.items():
        if count:
            yield name, count, has.devices.get(name, 0)
    yield PODS, 1, room.pods
    for name, asked, left in (
        (CPU, needed.cpu_millicores, has.cpu_millicores),
        (MEMORY, needed.memory_bytes, has.memory_bytes),
        (STORAGE, needed.ephemeral_storage_bytes, has.ephemeral_storage_bytes),
    ):
        if asked:
            yield name, asked, left


def _holds(requirement: Requirement, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(requirement.key), requirement.values
    match requirement.operator:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return _compared(requirement, value)


def _compared(requirement: Requirement, value: str | None) -> bool:
    """Whether a label is a whole number above or below the one that is asked for, as Kubernetes compares."""
    if value is None or len(requirement.values) != 1:
        return False
    try:
        has, bound = int(value), int(requirement.values[0])
    except ValueError:
        return False
    return has > bound if requirement.operator == "Gt" else has < bound


def _written(requirement: Requirement) -> str:
    """An expression as kubectl writes it in a selector."""
    key, values = requirement.key, ",".join(requirement.values)
    match requirement.operator:
        case "In":
            return f"{key}={values}" if len(requirement.values) == 1 else f"{key} in ({values})"
        case "NotIn":
            return f"{key} not in ({values})"
        case "Exists":
            return key
        case "DoesNotExist":
            return f"!{key}"
        case "Gt":
            return f"{key}>{values}"
        case "Lt":
            return f"{key}<{values}"
