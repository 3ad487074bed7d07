"""The way in from outside that the spec asks for, and whether the cluster can have it. Pure.

Called by `decide.decision`; `desired.route` builds from it and `status.exposure` tells of it. It changes nothing about what
serves, and no rule of a license rests on an address: requests from outside meet the same engines.
"""

from dataclasses import dataclass

from llama_operator.api.v1alpha1.endpoint import ExposeSpec
from llama_operator.decide.access import Door
from llama_operator.decide.observed import Observed
from llama_operator.decide.platform import Platform
from llama_operator.decide.routes import HTTP_ROUTE, INGRESS, RouteFacts, RouteKind
from llama_serving.contract.door import Access


@dataclass(frozen=True, slots=True)
class Exposure:
    """What shall be of routes.

    Attributes:
        spec: What the spec asks for; None if it asks for no way in.
        kind: Kind of the route that it takes; None for no way in.
        lacks: Why the cluster cannot have that kind, for people; empty if it can, or if that is not known.
        obsolete: Routes that nobody asks for any more.
    """

    spec: ExposeSpec | None = None
    kind: RouteKind | None = None
    lacks: str = ""
    obsolete: tuple[RouteFacts, ...] = ()


def exposure(observed: Observed, *, understood: bool) -> Exposure:
    """Decide about routes.

    Args:
        observed: What is known.
        understood: Whether all of the spec could be read; if not, a field that is missing is no wish to have none.
    """
    if observed.deployment.metadata.deletion_timestamp is not None:
        return Exposure()
    spec = observed.deployment.spec.endpoint.expose
    kind = None if spec is None else HTTP_ROUTE if spec.gateway is not None else INGRESS
    obsolete = tuple(route for route in observed.routes if route.kind != kind and not route.leaving)
    return Exposure(
        spec,
        kind,
        "" if kind is None else lacks(observed.platform, kind),
        obsolete if understood else (),
    )


def open_to_everyone(spec: ExposeSpec, door: Door | None) -> str:
    """Words for a way in to an endpoint that asks for no key; empty if it asks for one, or if that is not known.

    Args:
        spec: The way in.
        door: Who may send requests to the revision that it leads to.
    """
    if door is None or door.access is not Access.OPEN:
        return ""
    return f"open to everyone who reaches {', '.join(spec.hosts)}: requests need no key"


def lacks(platform: Platform, kind: RouteKind) -> str:
    """Why the cluster cannot have routes of a kind, for people; empty if it can, or if that is not known."""
    served = None if platform.kinds is None else platform.kinds.get(kind.resource, ())
    if served is None or kind.version in served:
        return ""
    if not served:
        return f"the cluster does not serve {kind.resource}"
    return f"the cluster serves {kind.resource} as {', '.join(served)}, and not as {kind.version}"
