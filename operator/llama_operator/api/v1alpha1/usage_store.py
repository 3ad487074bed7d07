"""`spec.usageStore`: where several deployments count what tenants use, together. Part of the `LlamaDeployment` resource.

The operator puts the address into the arguments of a revision and mounts the Secret by name; it asks neither. The serving pods do
(`llama_serving.contract.store`).
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llama_operator.api.meta import ApiModel
from llama_operator.api.v1alpha1.pods import ObjectName
from llama_serving.contract.store import ADDRESS_PATTERN


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
