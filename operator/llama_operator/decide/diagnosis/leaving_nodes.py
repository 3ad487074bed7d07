"""Nodes of a deployment that are about to be emptied, and what goes with them. Called by `status.capacity`.

A cordoned node, or one that an autoscaler has marked, keeps its pods until somebody evicts them. What that costs depends on the pod:
the head has no budget, since a drain could never end otherwise, and pods of a replica over nodes go together.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from llama_operator.api.v1alpha1.guard import GuardPlacement
from llama_operator.decide.observed import Observed
from llama_operator.decide.pods import PodFacts

_MARKS: Final = frozenset(
    {"karpenter.sh/disrupted", "ToBeDeletedByClusterAutoscaler", "node.kubernetes.io/out-of-service"}
)
"""Taints of nodes that an autoscaler, or a person, is about to take away: Karpenter's, Cluster Autoscaler's, Kubernetes' own."""
_SHOWN: Final = 4
"""Names of nodes in a message."""
_STORE: Final = "gcsFaultToleranceOptions"
"""Field of a pinned cluster whose head finds what it knew when it starts again."""
_HEAD, _WORKER, _GUARD = "head", "worker", "guard"


def head_that_leaves(observed: Observed, revision: str) -> PodFacts | None:
    """The head of the revision that a drain is about to end, and with it the cluster; None if there is none.

    One that is being deleted is past help, and one with a store may go.
    """
    going, record = dict(_nodes(observed)), observed.pinned(revision)
    if not going or record is None or _STORE in record.cluster:
        return None
    heads = (pod for pod in observed.pods or () if pod.revision == revision and pod.role == _HEAD and not pod.leaving)
    return next((pod for pod in heads if pod.node in going), None)


def leaving(observed: Observed, revision: str, moves: str = "") -> str:
    """What is about to move, for people; empty if nothing of the revision is on such a node.

    Args:
        observed: What this pass knows.
        revision: The revision that has the traffic.
        moves: What is done about its head, or why nothing is.
    """
    going = dict(_nodes(observed))
    pods = [pod for pod in observed.pods or () if pod.revision == revision and pod.node in going]
    if not pods:
        return ""
    names = sorted({pod.node for pod in pods})
    where = ", ".join(f"{name} {going[name]}" for name in names[:_SHOWN]) + (" and others" if names[_SHOWN:] else "")
    return f"{where}, with {_what(observed, revision, pods, moves)}"


def _nodes(observed: Observed) -> Iterator[tuple[str, str]]:
    for away in observed.away:
        if away.cordoned:
            yield away.name, "is cordoned"
    for node in observed.nodes or ():
        marks = () if node.room is None else tuple(taint for taint in node.room.taints if taint.key in _MARKS)
        if marks:
            yield node.name, f"has the taint {marks[0]}"


def _what(observed: Observed, revision: str, pods: Iterable[PodFacts], moves: str) -> str:
    roles = [pod.role for pod in pods]
    parts = [
        *([f"the head: {_end_of_head(observed, revision, moves)}"] if _HEAD in roles else []),
        *([_workers(observed, revision, roles.count(_WORKER))] if _WORKER in roles else []),
        *(["the guard, which starts anew elsewhere"] if _GUARD in roles else []),
        *(_shared_guard(observed, revision) if _WORKER in roles else []),
    ]
    return "; ".join(parts)


def _shared_guard(observed: Observed, revision: str) -> list[str]:
    """A guard on the model's cards has no pods that would tell of it."""
    record = observed.pinned(revision)
    guard = None if record is None else record.plan.guard
    if guard is None or guard.placement is not GuardPlacement.SHARED:
        return []
    return ["the guard, if its replica is there, which starts anew beside another one"]


def _end_of_head(observed: Observed, revision: str, moves: str) -> str:
    record = observed.pinned(revision)
    if record is not None and _STORE in record.cluster:
        return "replicas go on while another one starts"
    return f"if it is drained now, all replicas load again; {moves or 'spec.headStore would let them go on'}"


def _workers(observed: Observed, revision: str, count: int) -> str:
    record = observed.pinned(revision)
    chosen = None if record is None else record.plan.chosen
    many = f"{count} worker{'s' if count > 1 else ''}"
    if chosen is not None and chosen.nodes_per_replica > 1:
        return f"{many}: all pods of the same replica go with {'them' if count > 1 else 'it'}, and finish what they have begun"
    return f"{many}, which finish{'' if count > 1 else 'es'} what {'they have' if count > 1 else 'it has'} begun"
