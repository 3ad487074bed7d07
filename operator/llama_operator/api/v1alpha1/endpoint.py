"""`spec.endpoint`: how requests reach the engines, also from outside the cluster. Part of the `LlamaDeployment` resource."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from llama_operator.api.meta import ApiModel
from llama_serving.config import RequestPath
from llama_serving.contract.adapters import MOST_ALIASES, Alias
from llama_serving.contract.routing import Routing

DEFAULT_PATH: Final = RequestPath.DIRECT
"""Path of a revision whose spec names none."""
MAX_HOSTS: Final = 8
_DNS = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"

HOST: Final = r"^([*][.])?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?[.])*[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"
"""A DNS name in lower case, without a port; the first label may be `*`. No address: its last label begins with a letter."""
Host = Annotated[str, Field(min_length=1, max_length=253, pattern=HOST)]
"""A name by which clients reach an endpoint."""

SAFE_ANNOTATIONS: Final = (
    "alb.ingress.kubernetes.io/certificate-arn",
    "alb.ingress.kubernetes.io/target-type",
    "appgw.ingress.kubernetes.io/request-timeout",
    "cert-manager.io/cluster-issuer",
    "cert-manager.io/issuer",
    "haproxy-ingress.github.io/timeout-client",
    "haproxy-ingress.github.io/timeout-server",
    "haproxy.org/timeout-client",
    "haproxy.org/timeout-server",
    "haproxy.router.openshift.io/timeout",
    "networking.gke.io/managed-certificates",
    "nginx.ingress.kubernetes.io/force-ssl-redirect",
    "nginx.ingress.kubernetes.io/proxy-body-size",
    "nginx.ingress.kubernetes.io/proxy-buffering",
    "nginx.ingress.kubernetes.io/proxy-read-timeout",
    "nginx.ingress.kubernetes.io/proxy-request-buffering",
    "nginx.ingress.kubernetes.io/proxy-send-timeout",
    "nginx.org/client-max-body-size",
    "nginx.org/proxy-buffering",
    "nginx.org/proxy-read-timeout",
    "nginx.org/proxy-send-timeout",
    "route.openshift.io/termination",
    "traefik.ingress.kubernetes.io/router.entrypoints",
)
"""Annotations that may be set through a deployment: times, sizes, TLS.

The operator writes them with its own rights. Others (snippets of configuration, addresses that are asked whether a request may
pass, Secrets of other namespaces) would let somebody do with the Ingress controller what Kubernetes does not allow them.
"""

AnnotationText = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[A-Za-z0-9._:/=, -]+$")]
"""Value of such an annotation: nothing that ends a word of a controller's configuration."""


class RouteTimeouts(StrEnum):
    """Whether the HTTPRoute says how long a request may take."""

    UNLIMITED = "Unlimited"
    GATEWAY_DEFAULT = "GatewayDefault"


class GatewayReference(ApiModel):
    """A Gateway of Gateway API that takes the requests."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=_DNS)]
    """Name of the Gateway."""
    namespace: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")] | None = (
        None
    )
    """Namespace of the Gateway. Its owner says which namespaces may send routes there. Default: the deployment's own."""
    section_name: Annotated[str, Field(min_length=1, max_length=253, pattern=_DNS)] | None = None
    """Name of the listener that takes the requests: that for HTTPS. Default: every listener of the Gateway that admits the
    route, one for plain HTTP too."""
    timeouts: RouteTimeouts = RouteTimeouts.UNLIMITED
    """`Unlimited` tells the Gateway that a request may take any time: a long answer is one request. `GatewayDefault` leaves
    that to the Gateway; take it for one that refuses timeouts in a route, and for Gateway API before 1.2."""


class IngressSettings(ApiModel):
    """An Ingress, and the controller that takes the requests."""

    class_name: Annotated[str, Field(min_length=1, max_length=253, pattern=_DNS)] | None = None
    """Name of the IngressClass. Default: the cluster's default class."""
    tls_secret: Annotated[str, Field(min_length=1, max_length=253, pattern=_DNS)] | None = None
    """Secret (kubernetes.io/tls) in the deployment's own namespace with the certificate of the hosts. The operator only names
    it. Default: the certificate that the controller has for the hosts."""
    annotations: Annotated[dict[str, AnnotationText], Field(max_length=16)] = Field(default_factory=dict)
    """Settings of the controller that Ingress has no field for, above all how long an answer may take. Only times,
    sizes and TLS are allowed; the operator leaves other annotations of the Ingress as they are."""


class ExposeSpec(ApiModel):
    """A way in from outside the cluster: exactly one of gateway and ingress."""

    hosts: Annotated[tuple[Host, ...], Field(min_length=1, max_length=MAX_HOSTS, strict=False)]
    """DNS names by which clients reach the endpoint, in lower case; `*.example.com` stands for each name of one more label."""
    gateway: GatewayReference | None = None
    """Gateway of Gateway API: the operator makes an HTTPRoute."""
    ingress: IngressSettings | None = None
    """Ingress controller: the operator makes an Ingress."""


class EndpointSpec(ApiModel):
    """How requests reach the engines."""

    path: RequestPath = DEFAULT_PATH
    """`Direct`: HAProxy hands each connection to the replica with the fewest, and the replica runs vLLM's own HTTP server.
    Limits of tenants need it. `Ingress`: requests pass Ray Serve's proxy and a process that reads and writes every message
    again, at half the rate."""
    routing: Routing = Routing.LEAST_CONNECTIONS
    """By what a request is sent to one of several replicas. `LeastConnections`: the fewest open requests. `ConsistentHash`:
    requests of one tenant and conversation go to one replica, which has the KV cache of their earlier turns; clients name the
    conversation. `PrefixAware`: to the replica that has answered the longest common beginning. A replica with too many requests
    is passed over. `kubectl llama plan` advises."""
    aliases: Annotated[tuple[Alias, ...], Field(max_length=MOST_ALIASES, strict=False)] = ()
    """Further names under which clients may ask for the model, for example one that stays when the model changes. The name rule
    of the license counts for each. Changes take effect within seconds, without a restart."""
    expose: ExposeSpec | None = None
    """The way in from outside the cluster: host names, and the Gateway or the Ingress controller that takes their requests.
    TLS ends there. Default: only clients inside the cluster reach the endpoint."""
