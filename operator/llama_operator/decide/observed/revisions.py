"""What is pinned of revisions, and the ends of their licenses. Part of `decide.observed`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llama_operator.api.v1alpha1.llamadeployment import LicenseSpec, RolloutStrategy
from llama_operator.api.v1alpha1.llamadeployment_status import PlanStatus
from llama_operator.decide.copies.source import Copy
from llama_serving.config import LiveSettings

RECORD_FORMAT = 1
"""Format in which revisions are pinned, as `data.format` of their ControllerRevision; one without it has format 1."""
FORMAT_OF_HOSTS = 2
"""Format of those with `numOfHosts` in a worker group: its bounds count replicas. An operator that takes them for pods would ask for
so many times the hardware."""
RECORD_FORMATS = (RECORD_FORMAT, FORMAT_OF_HOSTS)


@dataclass(frozen=True, slots=True)
class LicenseEnd:
    """The end of the right to a revision's model, remembered with the revision.

    It outlives the record that it came from: what has begun to end goes on to end, and a license that has ended is not
    revived by an older acceptance.
    """

    acceptance: str
    """Name of the LicenseAcceptance that was terminated."""
    entity: str
    """Legal entity whose license ended."""
    families: tuple[str, ...]
    """License families that ended."""
    on: str
    """Day on which it ended, `YYYY-MM-DD`."""
    at: datetime | None
    """When the engines began to end, in UTC; None once a newer acceptance has taken over."""
    grant: str = ""
    """Reference of the grant of Meta that ran out; empty for a license that was terminated."""
    drain_seconds: int | None = None
    """Most seconds that its engines may take to finish, as the spec had it when the end began; None if that was not
    remembered."""


@dataclass(frozen=True, slots=True)
class RevisionFacts:
    """A revision as its ControllerRevision pins it.

    What runs is built from here and never planned again: a new version of the operator, a new node or a changed
    estimate must not restart a running model.
    """

    name: str
    number: int
    """Position in the history; the highest is the one asked for last."""
    plan: PlanStatus
    inputs: Mapping[str, Any]
    """Restart fields of the spec as the user wrote them."""
    serve_config: Mapping[str, Any]
    """Serve config of the revision; its live part is replaced by what the spec says now."""
    cluster: Mapping[str, Any]
    """`rayClusterConfig` without the bounds of the worker groups."""
    served_at: str = ""
    """When it first served (RFC 3339); empty if it never did."""
    failed_at: str = ""
    """When it was given up; empty if it was not."""
    failure: str = ""
    """Why it was given up, or did not serve before it was removed: the nearest cause, in the words of the one who knows."""
    strategy: RolloutStrategy | None = None
    """What strategy `Auto` came to for this revision."""
    strategy_reason: str = ""
    admitted_at: str = ""
    """When Kueue had let its pods start (RFC 3339); empty where it holds them back, or none waits for it."""
    takes_over: int = 0
    """Replicas with which it begins under a load that others served before; 0 where it does not, or has done so."""
    weights_checked_at: str = ""
    """When the Hub let its weights be read, before it was made; empty if it was not asked."""
    copies: tuple[Copy, ...] = ()
    """Copies of weights that its pods read from claims."""
    created: datetime | None = None
    """When it was pinned."""
    license: LicenseSpec | None = None
    """What the spec declared about the license while it asked for this revision; None for one of an older operator."""
    license_end: LicenseEnd | None = None
    """Whether the right to its model has ended, and when."""
    families: tuple[str, ...] = ()
    """License families under which it was allowed last; empty where nothing had to be accepted, and for one of an older
    operator."""
    copy_of: str = ""
    """Revision of which it is a second copy on other nodes, and by whose name the spec asks for it; empty if it is none."""
    data: Mapping[str, Any] | None = None
    """What its ControllerRevision holds, every field of it; None before it is written. The API server lets nobody change it."""

    @property
    def model(self) -> str:
        """Name of the model that it pins; empty for a record without one."""
        model = self.inputs.get("model")
        return str(model.get("name", "")) if isinstance(model, Mapping) else ""

    live: LiveSettings | None = None
    """Live settings that it last got from a spec without a problem; None while it shall not run, and for a record of an
    older operator."""


@dataclass(frozen=True, slots=True)
class UnreadRevision:
    """A revision whose ControllerRevision this version cannot read. Nothing is built from it, and nothing is planned over it."""

    name: str
    number: int
    """Position in the history; 0 if not even that can be read."""
    why: str
    """What cannot be read, for people."""
