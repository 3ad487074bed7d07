"""`spec.endpoint`: how requests reach the engines. Part of the `LlamaDeployment` resource."""

from typing import Annotated, Final

from pydantic import Field

from llama_operator.api.meta import ApiModel
from llama_operator.api.v1alpha1.expose import ExposeSpec
from llama_serving.config import RequestPath
from llama_serving.contract.adapters import MOST_ALIASES, Alias
from llama_serving.contract.routing import Routing

DEFAULT_PATH: Final = RequestPath.DIRECT
"""Path of a revision whose spec names none."""


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
