"""Writes what several deployments share: claims with weights, and the Jobs that fill them. Called by `reconcile.writes`.

Each deployment writes under a field manager of its own, so that what one takes back the others keep. Nothing here is set right when
somebody else changes it: only what this pass found different is written, and a race that is lost is looked at again.
"""

import contextlib

from llama_operator.desired.shared import Shared
from llama_operator.kube import kinds
from llama_operator.kube.port import Cluster, ConflictError, NotFoundError, Preconditions, Propagation, Ref
from llama_operator.reconcile.owners import Owners
from llama_operator.reconcile.repairs import Ledger


async def write_shared(cluster: Cluster, namespace: str, shared: Shared, repairs: Ledger, owners: Owners) -> None:
    """Write entries into claims, what these remember, and Jobs; take Jobs away that nobody needs.

    Args:
        cluster: Where to write.
        namespace: Namespace of the deployment.
        shared: What to write.
        repairs: Learns what was written.
        owners: Says whether the deployment is still there: with an owner that is gone, the claim would go.

    Raises:
        ConflictError: If the deployment is gone or going.
        KubeError: If a write failed otherwise than by a race.
    """
    for obj in (*shared.entries, *shared.jobs):
        # Asked anew for each pass that writes: that is seldom.
        await owners.are_there(kinds.address_to_write(obj), obj, None)
    for obj in shared.entries:
        # Of a claim that is another one by now, the next pass thinks anew.
        with contextlib.suppress(ConflictError):
            await cluster.apply(obj, force=True, manager=shared.manager)
    for obj in shared.memories:
        with contextlib.suppress(ConflictError):
            await cluster.apply(obj, force=True)
    for job in shared.jobs:
        # Without force: of two deployments that start the same copy at once, one has the Job, and the other waits for it.
        with contextlib.suppress(ConflictError):
            await cluster.apply(job, force=False, manager=shared.manager)
            repairs.did(kinds.address_to_write(job))
    for done in shared.done:
        ref = Ref(kinds.JOB, namespace, done.name)
        with contextlib.suppress(ConflictError, NotFoundError):
            await cluster.delete(
                ref, preconditions=Preconditions(uid=done.uid or None), propagation=Propagation.FOREGROUND
            )


async def let_go(cluster: Cluster, namespace: str, shared: Shared, repairs: Ledger) -> None:
    """Take back entries in claims that the deployment no longer uses, and delete claims that nobody else does.

    Args:
        cluster: Where to write.
        namespace: Namespace of the deployment.
        shared: What to write.
        repairs: Learns what was written.

    Raises:
        KubeError: If a write failed otherwise than by a race.
    """
    for obj in shared.released:
        with contextlib.suppress(ConflictError):
            await cluster.apply(obj, force=True, manager=shared.manager)
    for claim in shared.removed:
        ref = Ref(kinds.PERSISTENT_VOLUME_CLAIM, namespace, claim.name)
        # Another deployment that has taken it up has changed its version.
        unchanged = Preconditions(uid=claim.uid or None, resource_version=claim.version or None)
        with contextlib.suppress(ConflictError, NotFoundError):
            await cluster.delete(ref, preconditions=unchanged)
            repairs.did(ref)
