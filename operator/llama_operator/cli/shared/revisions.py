"""The history of a deployment, as its ControllerRevisions record it. Read by `history` and `rollback`."""

from llama_operator.api.meta import LABEL_DEPLOYMENT
from llama_operator.api.v1alpha1.llamadeployment_status import LlamaDeploymentStatus
from llama_operator.decide.observed import RevisionFacts
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster
from llama_operator.observe import children
from llama_operator.observe.unreadable import Unreadable


async def read(cluster: Cluster, namespace: str, deployment: str) -> tuple[RevisionFacts, ...]:
    """Read all revisions of a deployment, newest first; what this version cannot read is left out."""
    listing = await cluster.list(kinds.CONTROLLER_REVISION, namespace=namespace, labels={LABEL_DEPLOYMENT: deployment})
    entries = Unreadable().all(listing.items, children.revision_facts)
    return tuple(sorted(entries, key=lambda entry: entry.number, reverse=True))


def state_of(entry: RevisionFacts, status: LlamaDeploymentStatus) -> str:
    """Where a revision stands: `active`, `pending`, `failed` or `old`."""
    revisions = status.revisions
    if revisions is not None and entry.name == revisions.active:
        return "active"
    if revisions is not None and entry.name == revisions.pending:
        return "pending"
    return "failed" if entry.failed_at else "old"
