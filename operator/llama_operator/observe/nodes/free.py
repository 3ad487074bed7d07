"""What no pod holds of nodes that take new pods, or would give up at once. Called by `observe.gather` and `cli.explain`.

Asked only when a rollout has to choose between a second copy and downtime, or when pods wait for a node; pods are not watched
for it.
"""

from collections.abc import Iterable

from llama_operator.api.readings import mapping, text
from llama_operator.decide.observed import NodeFacts
from llama_operator.decide.placement.fit import takes
from llama_operator.decide.placement.pod_spec import AmountError, asked
from llama_operator.decide.placement.shape import Amounts, PodShape, Room
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, Object
from llama_operator.observe.unreadable import Unreadable, UnreadableError

_ENDED = frozenset({"Succeeded", "Failed"})
_CPU = "CPU"
_MOST_OTHERS = 128
"""Nodes without accelerators that are looked at."""


async def free_rooms(
    cluster: Cluster, nodes: Iterable[NodeFacts], head: PodShape, unreadable: Unreadable, *, on_cpu: bool = False
) -> tuple[Room, ...]:
    """Read what is left of nodes: of all with accelerators, and of others until one takes the head.

    Of others many are read if workers go there too.

    Of a node with a pod that cannot be read nothing counts as free.

    Args:
        cluster: Where to read.
        nodes: Nodes that take new pods.
        head: The head that looks for a node.
        unreadable: Takes pods that cannot be read.
        on_cpu: Whether workers go to nodes without accelerators.
    """
    known = [(node, node.room) for node in nodes if node.room is not None]
    # Node by node: a cluster has many more pods than those on such nodes, which need not all be in memory.
    found = [await _left(cluster, room, unreadable) for node, room in known if node.accelerator != _CPU]
    others = [room for node, room in known if node.accelerator == _CPU]
    for room in others[:_MOST_OTHERS]:
        found.append(await _left(cluster, room, unreadable))
        if not on_cpu and takes(head, found[-1]):
            break
    return tuple(found)


async def _left(cluster: Cluster, room: Room, unreadable: Unreadable) -> Room:
    pods = (await cluster.list(kinds.POD, fields={"spec.nodeName": room.node})).items
    running = [pod for pod in pods if not ended(pod) and not gives_way(pod)]
    amounts = [unreadable.one(pod, held) for pod in running]
    known = [each for each in amounts if each is not None]
    if len(known) < len(running):
        return Room(room.node, Amounts(), 0, room.labels, room.taints)
    return room.less(sum(known, Amounts()), len(running))


def held(pod: Object) -> Amounts:
    """What a pod holds of its node; nothing if it has ended.

    Raises:
        UnreadableError: If it says an amount that is none.
    """
    if ended(pod):
        return Amounts()
    try:
        return asked(mapping(pod.get("spec")))
    except AmountError as error:
        raise UnreadableError(str(error)) from error


def ended(pod: Object) -> bool:
    """Whether a pod has ended, so that it holds nothing of its node any more."""
    return text(mapping(pod.get("status")).get("phase")) in _ENDED


def gives_way(pod: Object) -> bool:
    """Whether a pod only holds a place, as those of `manifests/autoscaling/placeholder.yaml`: a replica takes it at once.

    Its priority is below 0, which all pods without a class have.
    """
    priority = mapping(pod.get("spec")).get("priority")
    return isinstance(priority, int) and priority < 0
