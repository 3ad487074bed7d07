"""What Kubernetes warned of lately: a volume that is not mounted, a probe that fails, an object that KubeRay may not make.

Only events have these words, and the operator has no right to read them; whoever asks mostly has. Read by `cli.explain.gather`,
told by `cli.explain.chain` while something does not run.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from llama_operator.api import readings
from llama_operator.api.readings import mapping, moment, text
from llama_operator.cli.shared.checks import Check, State
from llama_operator.cli.shared.output import age
from llama_operator.kube.port import Object

_OF: Final = frozenset({"Pod", "RayCluster", "RayService"})
_RECENT: Final = timedelta(minutes=15)
_MOST: Final = 3
_LONGEST: Final = 300
"""Characters of what an event says."""
_PASSES: Final = "the object has been modified; please apply your changes to the latest version"
"""Of a write that another one came before: whoever it was tries again at once."""
_FINE: Final = frozenset({State.PASSED, State.SKIPPED})


@dataclass(frozen=True, slots=True)
class WarningFacts:
    """A Warning event."""

    kind: str
    name: str
    reason: str
    note: str
    last: datetime
    """When it was seen last."""


def warning_facts(obj: Object) -> WarningFacts | None:
    """What an event says; None for one that is no Warning about a pod, or about something of KubeRay, or that passes."""
    regarding = mapping(obj.get("regarding"))
    times = (
        mapping(obj.get("series")).get("lastObservedTime"),
        obj.get("deprecatedLastTimestamp"),
        obj.get("eventTime"),
        readings.mapping(obj.get("metadata")).get("creationTimestamp"),
    )
    last = next((read for written in times if (read := moment(written)) is not None), None)
    if obj.get("type") != "Warning" or text(regarding.get("kind")) not in _OF or last is None:
        return None
    note = " ".join(text(obj.get("note")).split())
    if _PASSES in note:
        return None
    note = note[:_LONGEST]
    return WarningFacts(text(regarding.get("kind")), text(regarding.get("name")), text(obj.get("reason")), note, last)


def told(warnings: Iterable[WarningFacts], revision: str, steps: Iterable[Check], now: datetime) -> Iterator[Check]:
    """Yield a step with the latest warnings about a revision, each once, while a step before it is not fine.

    Args:
        warnings: All that were read.
        revision: The revision whose pods matter; what is of it has names that begin with its own.
        steps: The steps about its pods.
        now: Time of the look, in UTC.
    """
    if not revision or all(step.state in _FINE for step in steps):
        return
    recent = sorted(
        (one for one in warnings if one.name.startswith(revision) and now - one.last <= _RECENT),
        key=lambda one: one.last,
        reverse=True,
    )
    latest = {(one.kind, one.reason): one for one in reversed(recent)}
    if latest:
        newest = sorted(latest.values(), key=lambda one: one.last, reverse=True)[:_MOST]
        said = "; ".join(
            f"{one.reason}: {one.note} ({one.kind} {one.name}, {age(one.last, now)} ago)" for one in newest
        )
        yield Check("events", State.WARNING, said)
