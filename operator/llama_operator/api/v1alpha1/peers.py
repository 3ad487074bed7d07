"""`spec.access.from`: who reaches the endpoint from elsewhere. Part of `AccessSpec`."""

from typing import Annotated, Final

from pydantic import Field

from llama_operator.api.meta import ApiModel
from llama_operator.api.v1alpha1.pods import Labels

MOST_PEERS: Final = 32
_BYTE = r"(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"({_BYTE}[.]){{3}}{_BYTE}/(3[0-2]|[12]?[0-9])"
_IPV6 = r"(::|([0-9A-Fa-f]{1,4}:){1,7}:|([0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4})/(12[0-8]|1[01][0-9]|[1-9]?[0-9])"
CIDR: Final = rf"^({_IPV4}|{_IPV6})$"
"""A network as Kubernetes takes it in a NetworkPolicy: refused here, for it would refuse the whole policy. Of IPv6 the ends that
are zero are left out as `::`, or nothing is."""


class AccessPeer(ApiModel):
    """Pods of another namespace, or addresses that are no pods."""

    namespace: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")] | None = (
        None
    )
    """Name of a namespace whose pods may send requests."""
    pod_labels: Labels = Field(default_factory=dict)
    """Labels that these pods have. Default: all pods of the namespace."""
    cidr: Annotated[str, Field(min_length=4, max_length=49, pattern=CIDR)] | None = None
    """Addresses in place of a namespace, as `10.0.0.0/8`: of machines outside the cluster, or of nodes whose own network a client
    uses."""


AccessPeers = Annotated[tuple[AccessPeer, ...], Field(max_length=MOST_PEERS, strict=False)]
