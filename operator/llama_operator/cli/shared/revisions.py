"""The history of a deployment, as its ControllerRevisions record it. Read by `history`, `rollback` and `explain`."""

from dataclasses import dataclass
from datetime import datetime

from llama_operator.api.meta import LABEL_DEPLOYMENT
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus
from llama_operator.cli.shared.output import moment
from llama_operator.decide.observed import RevisionFacts
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, Object
from llama_operator.observe import children


@dataclass(frozen=True, slots=True)
class Record:
    """One revision of a deployment."""

    facts: RevisionFacts
    created: datetime | None = None

    @property
    def name(self) -> str:
        """Name of the revision, of its RayService and of its ControllerRevision."""
        return self.facts.name

    @property
    def number(self) -> int:
        """Place in the history; 1 is the oldest."""
        return self.facts.number


async def read(cluster: Cluster, namespace: str, deployment: str) -> tuple[Record, ...]:
    """Read all revisions of a deployment, newest first; what this version cannot read is left out."""
    listing = await cluster.list(kinds.CONTROLLER_REVISION, namespace=namespace, labels={LABEL_DEPLOYMENT: deployment})
    found = [record for item in listing.items if (record := parse(item)) is not None]
    return tuple(sorted(found, key=lambda record: record.number, reverse=True))


def parse(obj: Object) -> Record | None:
    """What a ControllerRevision says; None for one that was not written by this operator."""
    facts = children.revision_facts(obj)
    return None if facts is None else Record(facts, moment(obj["metadata"].get("creationTimestamp")))


def state_of(record: Record, status: LlamaDeploymentStatus) -> str:
    """Where a revision stands: `active`, `pending`, `failed` or `old`."""
    revisions = status.revisions
    if revisions is not None and record.name == revisions.active:
        return "active"
    if revisions is not None and record.name == revisions.pending:
        return "pending"
    return "failed" if record.facts.failed_at else "old"
