"""With how many replicas a revision begins that takes over from one with traffic. Pure; called by `decide.decision`.

A revision that began with `minReplicas` would take the load of the whole old fleet with them, and all requests of one start would be late.
So it begins with as many as serve, and Serve calls it running when all of them do. What finds no node in time is not waited for: fewer
replicas are better than no upgrade. A revision that loses all replicas at once, with the head of its cluster, begins again with as many.
"""

from dataclasses import dataclass

from llama_operator.decide.bounds import replica_bounds, wanted_replicas
from llama_operator.decide.observed import Observed, RevisionFacts
from llama_operator.decide.plan.cold_start import Stage
from llama_operator.decide.rollout.rollout import Rollout
from llama_operator.decide.starts.claim import node_deadline, overdue


@dataclass(frozen=True, slots=True)
class Handover:
    """Bounds of a revision that takes over, until it serves and the one before it has ended."""

    revision: str
    least: int
    """Replicas with which it begins, and which it keeps until the other one has ended."""
    most: int | None = None
    """Replicas that have a place, where others found none in time; None where only the spec bounds them."""


def handover(observed: Observed, rollout: Rollout, expected: tuple[Stage, ...]) -> Handover | None:
    """Decide the bounds of the revision that takes over; None where none does, or where the spec says as much.

    Kueue admits a revision for the replicas that it asks for at first: one in a queue begins with those of the spec.

    Args:
        observed: What this pass knows.
        rollout: Which revisions run, and which one has the traffic.
        expected: What a start is predicted to take.
    """
    target, spec = rollout.target, observed.deployment.spec
    service = next((one for one in observed.ray_services if one.name == target), None)
    record = observed.pinned(target)
    others = bool(rollout.waiting_for) or any(name != target for name in rollout.run)
    serves = service is not None and service.serves
    # By `Recreate` the others have gone before it starts.
    remembered = 0 if record is None else max(record.takes_over, _lost(observed, rollout, record, serves=serves))
    if wanted_replicas(spec) is not None or not (others or (remembered and not serves)):
        return None
    if service is not None and service.queue is not None:
        return None
    bounds = replica_bounds(spec, observed.dated)
    # It begins with the most that served meanwhile: what the old one gives up may be asked for again.
    replaced = 0 if serves else max((_serving(observed, name) for name in _replaced(rollout)), default=0)
    least = min(bounds.most, max(bounds.least, replaced, remembered))
    if least == bounds.least:
        # The spec says it already.
        return None
    if serves:
        return Handover(target, least)
    before = None if record is None else record.live
    if before is not None and before.min_replicas == before.max_replicas < bounds.most:
        # Some found no place before. Asked for again they would wait again.
        kept = max(bounds.least, before.max_replicas)
        return Handover(target, kept, kept)
    if missing := _without_place(observed, target, expected):
        kept = max(1, bounds.least, least - missing)
        return Handover(target, kept, kept) if kept < least else Handover(target, least)
    return Handover(target, least)


def _lost(observed: Observed, rollout: Rollout, record: RevisionFacts, *, serves: bool) -> int:
    """Replicas that a revision lost together, as with the head of its cluster: its load is still there when it starts again."""
    status = observed.deployment.status
    if serves or status is None or rollout.traffic != record.name or not record.served_at:
        return 0
    return status.ready_replicas


def _replaced(rollout: Rollout) -> tuple[str, ...]:
    """Revisions whose load the target takes."""
    return tuple(name for name in (rollout.traffic, *rollout.waiting_for) if name != rollout.target)


def _serving(observed: Observed, revision: str) -> int:
    """Replicas of a revision that serve: as it says itself, or else as many as its pods hold a place for."""
    serving = observed.serving
    if serving is not None and serving.identity.revision == revision:
        return serving.replicas
    ready = sum(pod.revision == revision and pod.role == "worker" and pod.ready for pod in observed.pods or ())
    return ready // _nodes(observed, revision)


def _without_place(observed: Observed, revision: str, expected: tuple[Stage, ...]) -> int:
    deadline = node_deadline(observed, expected)
    waiting = sum(overdue(observed, pod, revision, deadline) for pod in observed.pods or ())
    return -(-waiting // _nodes(observed, revision))


def _nodes(observed: Observed, revision: str) -> int:
    """Pods of one replica of a revision."""
    record = observed.pinned(revision)
    chosen = None if record is None else record.plan.chosen
    return 1 if chosen is None else max(1, chosen.nodes_per_replica)
