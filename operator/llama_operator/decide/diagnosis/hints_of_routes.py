"""Hints for what Gateways say of routes. Facts, no logic; read by `hints`."""

from typing import Final

from llama_operator.api.reasons import Reason
from llama_operator.decide.diagnosis.hint import Hint

_ROUTE: Final = "kubectl get httproute {name} -n {namespace} -o yaml has the Gateway's words in its status"

ROUTES: Final[tuple[Hint, ...]] = (
    Hint(
        "route-not-admitted",
        Reason.ROUTE_NOT_ACCEPTED,
        ("notallowedbylisteners",),
        "ask the owner of the Gateway to admit routes of namespace {namespace} (spec.listeners[].allowedRoutes)",
    ),
    Hint(
        "route-host-not-listened-to",
        Reason.ROUTE_NOT_ACCEPTED,
        ("nomatchinglistenerhostname",),
        "spec.endpoint.expose.hosts: take names that a listener of the Gateway has, or ask its owner for a listener",
    ),
    Hint(
        "route-listener-unknown",
        Reason.ROUTE_NOT_ACCEPTED,
        ("nomatchingparent",),
        "spec.endpoint.expose.gateway.sectionName: name a listener of the Gateway, or leave it out",
    ),
    Hint(
        "route-field-unsupported",
        Reason.ROUTE_NOT_ACCEPTED,
        ("unsupported",),
        "if it is about timeouts: spec.endpoint.expose.gateway.timeouts GatewayDefault, and have the Gateway's own raised",
    ),
    Hint("route-not-accepted", Reason.ROUTE_NOT_ACCEPTED, (), _ROUTE),
    Hint("route-not-resolved", Reason.ROUTE_NOT_RESOLVED, (), _ROUTE),
    Hint(
        "gateway-api-missing",
        Reason.ROUTE_KIND_MISSING,
        ("httproutes",),
        "have Gateway API 1.2 or newer installed, or take spec.endpoint.expose.ingress",
    ),
    Hint(
        "ingress-missing", Reason.ROUTE_KIND_MISSING, (), "take spec.endpoint.expose.gateway where there is Gateway API"
    ),
    Hint(
        "way-in-pending",
        Reason.WAY_PENDING,
        ("httproute",),
        "kubectl get gateway,gatewayclass -A: see that the Gateway exists and that a controller runs for its class",
    ),
    Hint(
        "way-in-pending-at-an-ingress",
        Reason.WAY_PENDING,
        (),
        "kubectl get ingressclass: see that a controller runs for the class of the Ingress",
    ),
    Hint(
        "open-to-everyone",
        Reason.OPEN_TO_EVERYONE,
        (),
        "leave spec.endpoint.expose out, or let only who may use the model reach the Gateway or the Ingress controller",
    ),
)
"""Of a reason, the first that fits; its last one fits all."""
