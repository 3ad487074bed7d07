"""`spec.usageStore` and `spec.headStore`: servers of the team in which a deployment keeps something. Part of the `LlamaDeployment`.

The operator names addresses and Secrets, and asks neither. The serving pods count what tenants use in the first one
(`llama_serving.contract.tenants`); the head of the Ray cluster keeps what it knows in the second one.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llama_operator.api.meta import ApiModel
from llama_operator.api.v1alpha1.pods import ObjectName
from llama_serving.contract.tenants import ADDRESS_PATTERN


class Tls(StrEnum):
    """Whether a connection is encrypted."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


class UsageStoreSpec(ApiModel):
    """A Valkey or Redis server that keeps what tenants have used.

    All deployments of the namespace that name it have one account for each tenant; each of them enforces its own limits on the sum.
    """

    address: Annotated[str, Field(min_length=3, max_length=261, pattern=ADDRESS_PATTERN)]
    """Host and port, as `valkey.data.svc:6379`."""
    tls: Tls = Tls.ENABLED
    """Whether the connection is encrypted. With `ca.crt` in the Secret that authority has to have signed the server, else one that
    the image trusts."""
    secret: ObjectName | None = None
    """Name of a Secret of the namespace with the credentials: `password`, and `username` and `ca.crt` if they are needed. Pods mount
    it; the operator never reads it. Default: no credentials."""


class PasswordKey(ApiModel):
    """A key of a Secret in the deployment's own namespace."""

    name: ObjectName
    """Name of the Secret."""
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9._-]+$")] = "password"
    """Key in the Secret."""


class AuthorityFile(ApiModel):
    """Certificates of authorities, in PEM, in an object of the deployment's own namespace."""

    config_map: ObjectName | None = None
    """Name of a ConfigMap."""
    secret: ObjectName | None = None
    """Name of a Secret, as cert-manager makes them. Pods mount it; the operator never reads it."""
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9._-]+$")] = "ca.crt"
    """Key of the ConfigMap or of the Secret."""


class HeadStoreTls(ApiModel):
    """How the head knows the server, and the server the head."""

    authority: AuthorityFile
    """Who has to have signed the certificate of the server. Ray does not compare the name in the certificate with the address: take
    an authority that signs for this server, or for the team, and for nobody else."""
    client_secret: ObjectName | None = None
    """Name of a Secret with `tls.crt` and `tls.key`, for a server that asks for a certificate. Pods mount it; the operator never reads
    it. Default: no certificate."""


class HeadStoreSpec(ApiModel):
    """A Redis or Valkey server in which the head of the Ray cluster finds what it knew when it starts again.

    Each cluster has a part of its own in it, which goes with the cluster.
    """

    address: Annotated[str, Field(min_length=3, max_length=261, pattern=ADDRESS_PATTERN)]
    """Host and port, as `redis.team-a.svc:6379`."""
    tls: HeadStoreTls | None = None
    """An encrypted connection. Default: it is not encrypted; keep the server near the pods."""
    username: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._-]+$")] | None = None
    """Name of the user. Default: the server's own."""
    password_secret: PasswordKey | None = None
    """Secret with the password. The head gets it in its environment; the operator never reads it. Default: no password."""
