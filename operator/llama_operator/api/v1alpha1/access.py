"""`spec.access`: who may send requests, and how large they may be. Part of the `LlamaDeployment` resource.

`decide.access` says what `Auto` means for a revision that is about to be made; the serving pods enforce it
(`llama_serving.contract.door`).
"""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from llama_operator.api.meta import ApiModel
from llama_operator.api.v1alpha1.pods import Labels, ObjectName
from llama_serving.contract.keys import KEY_ID_PATTERN
from llama_serving.contract.media import MOST_MEDIA_DOMAINS, MediaDomain
from llama_serving.contract.tenants import MOST_REVOKED_KEYS

KeyId = Annotated[str, Field(min_length=16, max_length=16, pattern=KEY_ID_PATTERN)]
"""Id of a key: the part after `llm_`."""


class AccessMode(StrEnum):
    """Who may send requests."""

    AUTO = "Auto"
    OPEN = "Open"
    KEYS = "Keys"


class KeysSource(ApiModel):
    """The object with the API keys, in the deployment's own namespace: it holds hashes, one entry for each key."""

    config_map: ObjectName | None = None
    """Name of a ConfigMap."""
    secret: ObjectName | None = None
    """Name of a Secret, where the names of tenants and the hashes of keys shall not be read by everybody in the namespace. The
    operator never reads it."""


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


class AccessSpec(ApiModel):
    """Who may send requests, and how large they may be."""

    mode: AccessMode = AccessMode.AUTO
    """`Keys` answers only requests with an API key. `Open` answers everybody who reaches the Service. `Auto` is `Keys` for
    purpose `Production`, or where a LicensePolicy requires keys, and `Open` otherwise. It is decided when a revision is made: a
    later change of the purpose closes no endpoint that serves, the next revision does."""
    keys: KeysSource | None = None
    """Where the keys are; `kubectl llama key` writes them. Default: the ConfigMap `<name of the deployment>-keys`. New and
    revoked keys take effect within two minutes, without a restart; another object is a new revision."""
    revoked_keys: Annotated[tuple[KeyId, ...], Field(max_length=MOST_REVOKED_KEYS, strict=False)] = ()
    """Ids of keys that were revoked just now: replicas refuse them within seconds, before the kubelets have brought the changed
    object with the keys. `kubectl llama key revoke` writes it. An id is needed here for two minutes, and does no harm later. Only
    on the path `Direct`."""
    from_: AccessPeers = ()
    """Who reaches port 8000 beside the pods of the deployment's own namespace: other namespaces, and addresses that are no pods. A
    Gateway or an Ingress controller needs no entry if the platform names its namespace. Changes take effect at once, without a
    restart. It says who gets as far as the door; `mode` says what that asks for."""
    max_body_mib: Annotated[int, Field(ge=1, le=1024)] = 20
    """Longest body of a request, in MiB; a longer one is refused with 413."""
    media_domains: Annotated[tuple[MediaDomain, ...], Field(max_length=MOST_MEDIA_DOMAINS, strict=False)] = ()
    """Hosts from which images are fetched that requests name by their address, each as its whole name. What a host answers
    must be the image: it may not send the engine on. Default: nothing is fetched, images come within requests."""
