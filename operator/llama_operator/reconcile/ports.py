"""What a reconcile needs from outside. Wired in by `process`, the local mode and tests."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from llama_operator.catalog import Catalog
from llama_operator.decide.observed import Settings
from llama_operator.decide.platform import Platform
from llama_operator.evidence.log import DecisionLog, NoDecisionLog
from llama_operator.kube.port import Cluster, Object
from llama_operator.observe.ages import Ages
from llama_operator.observe.endings import Endings
from llama_operator.observe.rights import Rights
from llama_operator.observe.serving import ServingReader
from llama_operator.observe.unreadable import Unreadable
from llama_operator.reconcile.failing import Failing
from llama_operator.reconcile.repairs import Repairs
from llama_operator.status.events import EventFacts


class EventSink(Protocol):
    """Takes the events of a pass; never raises, never holds a pass up."""

    async def record(self, regarding: Object, facts: EventFacts) -> None:
        """Publish an event.

        Args:
            regarding: The object that it is about: its apiVersion, kind and metadata.
            facts: What happened.
        """
        ...


class NoEvents:
    """Publishes nothing."""

    async def record(self, regarding: Object, facts: EventFacts) -> None:
        """Do nothing."""


def _not_counted(stage: str, error: Exception) -> None:
    del stage, error


@dataclass(frozen=True, slots=True)
class Ports:
    """The outside, as a reconcile sees it."""

    cluster: Cluster
    """Writes under field manager `llama-operator`."""
    serving: ServingReader
    catalog: Catalog
    settings: Settings
    now: Callable[[], datetime]
    platform: Callable[[], Platform] = Platform
    """What the cluster can do, as far as the process knows now."""
    events: EventSink = field(default_factory=NoEvents)
    evidence: DecisionLog = field(default_factory=NoDecisionLog)
    """Records license decisions before they take effect."""
    pass_seconds: float = 120.0
    """How long a pass may take before it is ended."""
    repairs: Repairs = field(default_factory=lambda: Repairs(time.monotonic))
    """What somebody else changed, and how often."""
    failing: Failing = field(default_factory=lambda: Failing(time.monotonic))
    """Since when passes fail."""
    ages: Ages = field(default_factory=Ages)
    """How long ago things happened; one that only goes forward keeps deadlines from a clock that is set."""
    endings: Endings = field(default_factory=lambda: Endings(time.monotonic))
    """How pods ended that are gone."""
    stage: Callable[[str], contextlib.AbstractContextManager[object]] = contextlib.nullcontext
    """Entered around each part of a pass, for measurements: observe, decide, apply, report."""
    rights: Rights = field(default_factory=Rights)
    """What happens where a right to read is missing."""
    unreadable: Unreadable = field(default_factory=Unreadable)
    """Takes what cannot be read, and is left out."""
    failed: Callable[[str, Exception], None] = _not_counted
    """Called with the part and the error when a pass failed."""
