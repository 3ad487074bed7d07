"""What a pass needs from outside. Made by `process`, `local` and tests; used by every pass."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from llama_operator.catalog import Catalog
from llama_operator.decide.observed import Settings
from llama_operator.evidence.log import DecisionLog, NoDecisionLog
from llama_operator.kube.port import (
    Cluster,
    Object,
)
from llama_operator.observe.gather import ServingReader
from llama_operator.status.events import EventFacts


class EventSink(Protocol):
    """Takes the events of a pass; never raises, never holds a pass up."""

    async def record(self, regarding: Object, facts: EventFacts) -> None:
        """Tell `facts` about the object `regarding` (its apiVersion, kind and metadata)."""
        ...


class NoEvents:
    """Tells nobody."""

    async def record(self, regarding: Object, facts: EventFacts) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What a reconcile needs from outside."""

    cluster: Cluster
    """Writes under field manager `llama-operator`."""
    serving: ServingReader
    catalog: Catalog
    settings: Settings
    now: Callable[[], datetime]
    events: EventSink = field(default_factory=NoEvents)
    evidence: DecisionLog = field(default_factory=NoDecisionLog)
    """Where license decisions are recorded before they take effect."""
    stage: Callable[[str], contextlib.AbstractContextManager[object]] = contextlib.nullcontext
    """Entered around each part of a pass, for whoever measures: observe, decide, apply, report."""
