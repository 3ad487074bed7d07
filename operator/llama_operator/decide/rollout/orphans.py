"""What becomes of RayServices whose LlamaDeployment is gone and that nothing owns: they end. Pure; called by `reconcile.orphans`.

`kubectl delete --cascade=orphan` leaves them behind. Admission refuses that; where it could not, they would serve without
anybody who judges their license. They end as a license does: no new request, time to finish, then no hardware. A deployment
of the same name that comes back in that time takes them over.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from llama_operator.decide.observed import RayServiceFacts, TrafficFacts
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


def orphans_end(services: Iterable[RayServiceFacts], traffic: TrafficFacts | None, now: datetime) -> OrphansEnd:
    """Decide the next step.

    Args:
        services: RayServices without an owner.
        traffic: Where the Service that they left points; None if there is none.
        now: Time of the pass, in UTC.
    """
    here = tuple(service for service in services if not service.leaving)
    cut = traffic is not None and traffic.revision != NO_REVISION
    since = now if cut or traffic is None or traffic.since is None else traffic.since
    until = since + timedelta(seconds=DRAIN_SECONDS)
    drains = traffic is not None and now < until and any(service.serves for service in here)
    return OrphansEnd(
        cut=cut,
        remove=() if drains else here,
        next_check=(until - now).total_seconds() if drains else None,
    )
