"""Which revision gets the traffic and which RayServices may go. Called by `decide.decision`.

A new revision starts beside the one that serves; traffic moves when the new one serves; then the old one goes. With
strategy `Recreate` the old one goes at once, and the new one's pods take the hardware as it gets free.
"""

from dataclasses import dataclass

from llama_operator.api.v1alpha1.llamadeployment import RolloutStrategy
from llama_operator.decide.observed import RayServiceFacts
from llama_operator.decide.revision import Revision


@dataclass(frozen=True, slots=True)
class Rollout:
    """What to run and where to send requests."""

    wanted: str
    """Revision that the spec asks for."""
    traffic: str
    """Revision that the Service selects."""
    obsolete: tuple[str, ...]
    """RayServices to delete now."""

    @property
    def complete(self) -> bool:
        """Whether traffic goes to the wanted revision alone."""
        return self.traffic == self.wanted and not self.obsolete


def roll_out(wanted: Revision, existing: tuple[RayServiceFacts, ...], strategy: RolloutStrategy) -> Rollout:
    """Choose the revision for the traffic: the wanted one, unless only another one serves and may go on meanwhile."""
    others = tuple(service for service in existing if service.name != wanted.name)
    wanted_serves = any(service.serves for service in existing if service.name == wanted.name)
    serving = next((service.name for service in others if service.serves), None)
    if wanted_serves or serving is None or strategy is RolloutStrategy.RECREATE:
        # An old revision that does not serve holds hardware for nothing, and may hold just what the new one needs.
        return Rollout(wanted.name, wanted.name, tuple(service.name for service in others))
    return Rollout(wanted.name, serving, tuple(service.name for service in others if service.name != serving))
