"""What is observed of copies of weights: claims, Jobs, and what they came to. Built by `observe.weights`; read by `decide.weights`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from llama_operator.decide.copies.source import Copy
from llama_serving.contract.weights import CopyVerdict


@dataclass(frozen=True, slots=True)
class CopiedFacts:
    """A copy that was verified, as its claim remembers it.

    Attributes:
        digest: Digest of its manifest.
        bytes: Its size.
        files: Its files.
        commit: Commit that was copied; empty for a source without commits.
        seconds: How long the Job took, until its last pod had ended.
        at: When the Job ended, in UTC.
    """

    digest: str
    bytes: int
    files: int
    commit: str
    seconds: int
    at: datetime


@dataclass(frozen=True, slots=True)
class ErasedFacts:
    """A copy that was erased, as its claim remembers it.

    Attributes:
        bytes: Bytes that were erased.
        files: Files that were erased.
        at: When the Job ended, in UTC.
    """

    bytes: int
    files: int
    at: datetime


@dataclass(frozen=True, slots=True)
class ClaimFacts:
    """A claim that the operator made for a copy.

    Attributes:
        name: Its name.
        id: The copy that it is for.
        uid: Its uid.
        version: Its resourceVersion.
        copy: What the copy is, as the claim says; None where that cannot be read.
        phase: `Pending`, `Bound` or `Lost`.
        storage_class: Its class; empty if it says none.
        access_modes: Its access modes.
        requested: Bytes that it asks for, as Kubernetes writes them.
        capacity: Bytes that it has, as Kubernetes writes them; empty while it is not bound.
        owners: Deployments in its ownerReferences, uid by name.
        strangers: Whether it has other owners too.
        users: Deployments that say that they use it and that exist, uid by name.
        retaining: Names of deployments, also of those that are gone, that say that it is to stay.
        copied: The verified copy in it; None while there is none.
        erased: What was erased from it; None if nothing was since the last copy.
        created: When it was made.
        leaving: Being deleted.
    """

    name: str
    id: str
    uid: str = ""
    version: str = ""
    copy: Copy | None = None
    phase: str = ""
    storage_class: str = ""
    access_modes: tuple[str, ...] = ()
    requested: str = ""
    capacity: str = ""
    owners: Mapping[str, str] = field(default_factory=dict)
    strangers: bool = False
    users: Mapping[str, str] = field(default_factory=dict)
    retaining: frozenset[str] = frozenset()
    copied: CopiedFacts | None = None
    erased: ErasedFacts | None = None
    created: datetime | None = None
    leaving: bool = False

    @property
    def retained(self) -> bool:
        """Whether it is to stay when no deployment uses it any more."""
        return bool(self.retaining)


@dataclass(frozen=True, slots=True)
class CopyJobFacts:
    """A Job that copies or erases.

    Attributes:
        name: Its name.
        id: The copy that it is about.
        erases: Whether it erases.
        subject: Digest of what it was asked with; see `decide.weights.copying`.
        deployment: Deployment that asked.
        attempt: 1 for the first Job about this copy.
        created: When it was made, in UTC.
        deadline: Seconds that it may take; 0 if it does not say.
        finished: When it ended; None while it runs.
        succeeded: Whether it ended well.
        verdict: What its last pod wrote; None where there is nothing that can be read.
        detail: Why its pod waits, or how it ended without a verdict.
        uid: Its uid.
        leaving: Being deleted.
        copy: The copy, as the Job says; None for one of an older version.
    """

    name: str
    id: str
    erases: bool = False
    subject: str = ""
    deployment: str = ""
    attempt: int = 1
    created: datetime | None = None
    deadline: int = 0
    finished: datetime | None = None
    succeeded: bool = False
    verdict: CopyVerdict | None = None
    detail: str = ""
    uid: str = ""
    leaving: bool = False
    copy: Copy | None = None


@dataclass(frozen=True, slots=True)
class WeightsFacts:
    """All that is known about copies in one namespace.

    Attributes:
        claims: Claims of ours.
        jobs: Jobs that copy and erase.
        refused: Whether claims may not be read: an operator may be newer than its roles.
        readers: Deployments whose status says that they read a copy, by the claim and the name of the copy.
        finished: Deployments whose status says that they do not read it any more, because their license has ended; by the same.
    """

    claims: tuple[ClaimFacts, ...] = ()
    jobs: tuple[CopyJobFacts, ...] = ()
    refused: bool = False
    readers: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    finished: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)

    def claim(self, name: str) -> ClaimFacts | None:
        """The claim of that name, unless it is being deleted."""
        return next((one for one in self.claims if one.name == name and not one.leaving), None)

    def is_leaving(self, name: str) -> bool:
        """Whether the claim of that name is being deleted: Kubernetes keeps it while a pod uses it."""
        return any(one.name == name and one.leaving for one in self.claims)
