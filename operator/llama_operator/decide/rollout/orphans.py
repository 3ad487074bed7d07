"""What becomes of RayServices whose LlamaDeployment is gone and that nothing owns: they end. Pure; called by `reconcile.orphans`.

`kubectl delete --cascade=orphan` leaves them behind. Admission refuses that; where it could not, they would serve without
anybody who judges their license. They end as a license does: no new request, time to finish, then no hardware. A deployment
of the same name that comes back in that time takes them over.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from llama_operator.decide.observed import Age, RayServiceFacts, TrafficFacts
from llama_operator.decide.rollout.ending import NO_REVISION

DRAIN_SECONDS = 300
"""As `spec.rollout.drainSeconds` by default: the spec that said otherwise is gone."""


@dataclass(frozen=True, slots=True)
class OrphansEnd:
    """The next step of the end.

    Attributes:
        cut: Whether the Service has to stop sending requests now.
        remove: RayServices to delete now.
        next_check: Seconds until the drain is over; None when nothing drains.
    """

    cut: bool
    remove: tuple[RayServiceFacts, ...]
    next_check: float | None


def orphans_end(services: Iterable[RayServiceFacts], traffic: TrafficFacts | None, cut_ago: Age | None) -> OrphansEnd:
    """Decide the next step.

    Args:
        services: RayServices without an owner.
        traffic: Where the Service that they left points; None if there is none.
        cut_ago: How long ago the Service stopped sending requests; None if it has not, or does not tell.
    """
    here = tuple(service for service in services if not service.leaving)
    cut = traffic is not None and traffic.revision != NO_REVISION
    left = DRAIN_SECONDS if cut or cut_ago is None else cut_ago.left(DRAIN_SECONDS)
    drains = traffic is not None and left > 0 and any(service.serves for service in here)
    return OrphansEnd(
        cut=cut,
        remove=() if drains else here,
        next_check=left if drains else None,
    )
