"""A second copy of what serves, because the node of its head is about to be emptied. Pure.

Called by `decide.decision`; the reconcile lets the copy begin, and `status.capacity` says why none does. See docs/designs/0024-moves.md.

Without a store the end of a head ends its cluster, and all replicas load again. So the same revision is started once more, on nodes that
stay, as a rollout whose two sides are alike: the record is copied with another name, nothing is planned, and nothing is asked of anybody.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from llama_operator.api.v1alpha1.llamadeployment import RolloutStrategy
from llama_operator.api.v1alpha1.llamadeployment_status import ChosenPlan
from llama_operator.decide.diagnosis.leaving_nodes import head_that_leaves
from llama_operator.decide.observed import Observed, RevisionFacts
from llama_operator.decide.placement.shape import PodShapes
from llama_operator.decide.pods import PodFacts
from llama_operator.decide.rollout.revision import HASH_LENGTH
from llama_operator.decide.rollout.rollout import Rollout
from llama_operator.decide.rollout.strategy import choose_strategy


@dataclass(frozen=True, slots=True)
class Move:
    """A copy that shall begin, or why none does."""

    record: RevisionFacts | None
    """What the copy will be; None if none begins."""
    why: str
    """Why none begins, for people; empty if one does."""


def move(
    observed: Observed, rollout: Rollout, chosen: ChosenPlan | None, shapes: PodShapes | None, beside: int = 0
) -> Move | None:
    """Decide whether what serves is started a second time; None where nothing has to move, or something else goes on.

    Args:
        observed: What this pass knows.
        rollout: What was decided without a move, of a revision that may be given more hardware.
        chosen: The plan of what serves.
        shapes: Its pods; None where they are not known.
        beside: GPUs of its guard, all replicas together.
    """
    revision = rollout.wanted
    record, head = observed.pinned(revision), head_that_leaves(observed, revision)
    if record is None or head is None or not rollout.complete:
        return None
    here = observed.ray_services
    if any(service.name != revision or service.leaving or not service.serves for service in here) or not here:
        return None
    base = record.copy_of or revision
    name = _name(observed, base, head)
    tried = observed.pinned(name)
    if tried is not None:
        failed = tried.failure or "it was replaced before it served"
        return Move(None, f"a second copy of it did not take over: {failed}")
    strategy = choose_strategy(observed, name, chosen, None, shapes, beside)
    if strategy.kind is not RolloutStrategy.BLUE_GREEN:
        # It is told in an event whenever it changes: without numbers that do so by themselves.
        return Move(None, f"no second copy is started: {strategy.lasting or strategy.reason}")
    return Move(_copy(record, name, base, observed.newest(besides=name) + 1), "")


def begun(observed: Observed, moved: Move | None) -> Observed | None:
    """What a pass knows once a copy has begun: its record, which the pass then writes; None if none begins."""
    if moved is None or moved.record is None:
        return None
    return replace(observed, revisions=(*observed.revisions, moved.record))


def _name(observed: Observed, base: str, head: PodFacts) -> str:
    """The name of the copy: one for each head, so that a copy that failed is not tried again."""
    metadata = observed.deployment.metadata
    canonical = json.dumps([[metadata.namespace, metadata.name], base, head.node, head.name])
    return f"{metadata.name}-{hashlib.sha256(canonical.encode()).hexdigest()[:HASH_LENGTH]}"


def _copy(record: RevisionFacts, name: str, base: str, number: int) -> RevisionFacts:
    """The record under another name: it pins the same, and nothing has happened to it yet."""
    return replace(
        record,
        name=name,
        number=number,
        copy_of=base,
        serve_config=_renamed(record.serve_config, record.name, name),
        cluster=_renamed(record.cluster, record.name, name),
        data=None if record.data is None else _renamed(record.data, record.name, name),
        served_at="",
        failed_at="",
        failure="",
        strategy=None,
        strategy_reason="",
        admitted_at="",
        takes_over=0,
        created=None,
    )


def _renamed(value: Any, old: str, new: str) -> Any:
    """JSON with the name of a revision replaced wherever it stands in a text: labels, selectors, settings of pods."""
    if isinstance(value, str):
        return value.replace(old, new)
    if isinstance(value, Mapping):
        return {key: _renamed(entry, old, new) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(entry, old, new) for entry in value]
    return value
