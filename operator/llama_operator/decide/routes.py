"""Routes: the kinds of objects that let requests in from outside, and what their controllers say of them. Part of `Observed`.

Written by `desired.route`, read by `observe.routes`. A kind of route is one row here, one builder there and one reader there.
"""

from dataclasses import dataclass
from typing import Final

from llama_operator.decide.conditions import ConditionFacts


@dataclass(frozen=True, slots=True)
class RouteKind:
    """A kind of route."""

    api_version: str
    kind: str
    plural: str

    @property
    def resource(self) -> str:
        """Name among the kinds that a server serves: `ingresses.networking.k8s.io`."""
        return f"{self.plural}.{self.api_version.partition('/')[0]}"

    @property
    def version(self) -> str:
        """Version in which it is written."""
        return self.api_version.partition("/")[2]


HTTP_ROUTE: Final = RouteKind("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes")
INGRESS: Final = RouteKind("networking.k8s.io/v1", "Ingress", "ingresses")
ROUTE_KINDS: Final = (HTTP_ROUTE, INGRESS)


@dataclass(frozen=True, slots=True)
class ParentFacts:
    """What a controller says of a route to one Gateway, about the route as it is now."""

    name: str
    namespace: str
    section_name: str
    conditions: tuple[ConditionFacts, ...] = ()
    """Without those that are about an older state of the route."""


@dataclass(frozen=True, slots=True)
class RouteFacts:
    """A route of the deployment, as it was read."""

    kind: RouteKind
    name: str
    uid: str = ""
    parents: tuple[ParentFacts, ...] = ()
    """What is said of an HTTPRoute."""
    addresses: tuple[str, ...] = ()
    """Where the controller of an Ingress takes requests: IP addresses and host names."""
    leaving: bool = False
    """Being deleted."""


@dataclass(frozen=True, slots=True)
class RefusedWrite:
    """An object that could not be written, while everything else goes on."""

    kind: str
    name: str
    why: str
    """The API server's words."""

    @property
    def is_route(self) -> bool:
        """Whether it is a route."""
        return any(self.kind == one.kind for one in ROUTE_KINDS)
