"""The route of a deployment, which lets requests in from outside: an HTTPRoute or an Ingress. Called by `desired.objects`.

TLS ends at the Gateway or the Ingress controller; HTTP goes on to the stable Service, whatever revision has the traffic.
Only the API and the pages that licenses ask for are reached through it: status, metrics and all else stay inside.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from llama_operator.api.v1alpha1.endpoint import ExposeSpec, GatewayReference, IngressSettings, RouteTimeouts
from llama_operator.api.v1alpha1.llamadeployment import LlamaDeployment
from llama_operator.decide.exposure import Exposure
from llama_operator.decide.routes import HTTP_ROUTE, INGRESS, RouteKind
from llama_operator.desired import naming
from llama_serving.config import ABOUT_PATH, HTTP_PORT, LICENSES_PATH

PATHS: Final = ("/v1", ABOUT_PATH, LICENSES_PATH)
"""Paths, with all below them, that clients outside reach."""
NO_LIMIT: Final = "0s"
"""Gateway API's word for a request that may take any time: a stream is one request."""


def build(deployment: LlamaDeployment, exposure: Exposure) -> tuple[dict[str, Any], ...]:
    """Build the route; none where none is asked for, or where the cluster cannot have it.

    Args:
        deployment: Whose route: it has its name.
        exposure: What was decided.
    """
    if exposure.spec is None or exposure.kind is None or exposure.lacks:
        return ()
    built = _BUILDERS[exposure.kind](deployment, exposure.spec)
    return ({"apiVersion": exposure.kind.api_version, "kind": exposure.kind.kind} | built,)


def _http_route(deployment: LlamaDeployment, expose: ExposeSpec) -> dict[str, Any]:
    gateway = expose.gateway or GatewayReference(name="")
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": gateway.name}
    parent |= {"namespace": gateway.namespace} if gateway.namespace else {}
    parent |= {"sectionName": gateway.section_name} if gateway.section_name else {}
    rule: dict[str, Any] = {
        "matches": [{"path": {"type": "PathPrefix", "value": path}} for path in PATHS],
        "backendRefs": [{"kind": "Service", "name": deployment.metadata.name, "port": HTTP_PORT}],
    }
    if gateway.timeouts is RouteTimeouts.UNLIMITED:
        rule["timeouts"] = {"request": NO_LIMIT, "backendRequest": NO_LIMIT}
    return {
        "metadata": naming.metadata(deployment, deployment.metadata.name),
        "spec": {"parentRefs": [parent], "hostnames": list(expose.hosts), "rules": [rule]},
    }


def _ingress(deployment: LlamaDeployment, expose: ExposeSpec) -> dict[str, Any]:
    ingress = expose.ingress or IngressSettings()
    metadata = naming.metadata(deployment, deployment.metadata.name)
    metadata |= {"annotations": dict(ingress.annotations)} if ingress.annotations else {}
    backend = {"service": {"name": deployment.metadata.name, "port": {"number": HTTP_PORT}}}
    paths = [{"path": path, "pathType": "Prefix", "backend": backend} for path in PATHS]
    # Without a Secret, too: the controller has a certificate of its own, and keys do not go over plain HTTP.
    tls = {"hosts": list(expose.hosts)} | ({"secretName": ingress.tls_secret} if ingress.tls_secret else {})
    return {
        "metadata": metadata,
        "spec": {
            **({"ingressClassName": ingress.class_name} if ingress.class_name else {}),
            "tls": [tls],
            "rules": [{"host": host, "http": {"paths": paths}} for host in expose.hosts],
        },
    }


_BUILDERS: Final[Mapping[RouteKind, Callable[[LlamaDeployment, ExposeSpec], dict[str, Any]]]] = {
    HTTP_ROUTE: _http_route,
    INGRESS: _ingress,
}
