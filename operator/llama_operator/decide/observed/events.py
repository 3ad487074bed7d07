"""What happened to a deployment, and what could not be read. Part of `decide.observed`."""

from dataclasses import dataclass
from datetime import datetime

from llama_serving.contract.hub import AccessVerdict


@dataclass(frozen=True, slots=True)
class UnreadRecord:
    """A record of an administrator that this version does not understand."""

    kind: str
    """`LicenseAcceptance`, `LicensePolicy`, `LlamaModel` or `Accelerator`."""
    name: str
    why: str
    """Field and value, for people."""


@dataclass(frozen=True, slots=True)
class AccessCheckFacts:
    """A Job that asks the Hub for access to weights, with what came of it."""

    name: str
    subject: str
    """Digest of what it asks; see `decide.access_check.Subject`."""
    attempt: int
    """1 for the first Job of its subject."""
    finished: datetime | None = None
    """When it ended; None while it runs."""
    succeeded: bool = False
    """Whether it ended well: the probe does so only for an accessible repository."""
    verdict: AccessVerdict | None = None
    """What the probe wrote; None while there is nothing, or where the pod is gone or wrote something else."""
    detail: str = ""
    """Why its pod waits, or how it ended without a verdict."""
    uid: str = ""
    leaving: bool = False
    """Being deleted."""


@dataclass(frozen=True, slots=True)
class TrafficFacts:
    """Where the Service sends requests."""

    revision: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class RepairFacts:
    """An object of ours that somebody changed or deleted, and that the operator sets right."""

    kind: str
    name: str
    fields: tuple[str, ...]
    """Paths of the fields that were changed; empty if the object was deleted."""
    writer: str = ""
    """Field manager that wrote last; empty if the object does not tell."""
    held: bool = False
    """Whether it is left as it is for now, because somebody keeps changing it."""

    @property
    def words(self) -> str:
        """What was done, for people: `Service chat was changed (spec.selector) by kubectl-edit`."""
        what = f"changed ({', '.join(self.fields)})" if self.fields else "deleted"
        return f"{self.kind} {self.name} was {what}" + (f" by {self.writer}" if self.writer and self.fields else "")


@dataclass(frozen=True, slots=True)
class Requester:
    """Who last wrote the spec, as far as the object itself tells."""

    user: str = ""
    """What the annotation `llama-operator.io/requested-by` says; empty if there is none."""
    manager: str = ""
    """Field manager that wrote the spec last, for example `kubectl-client-side-apply`: a program, not a person."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A kind that was not read, or not fully, because a right is missing."""

    kind: str
    """Its plural, as in `nodes`."""
    why: str
    """Who lacks which right."""
