"""`spec.headStore`: where Ray's head keeps what it knows. Part of the `LlamaDeployment` resource.

The operator names address and Secret to KubeRay, and asks neither; the head does.
"""

from typing import Annotated

from pydantic import Field

from llama_operator.api.meta import ApiModel
from llama_operator.api.v1alpha1.pods import ObjectName
from llama_serving.contract.store import ADDRESS_PATTERN


class PasswordKey(ApiModel):
    """A key of a Secret in the deployment's own namespace."""

    name: ObjectName
    """Name of the Secret."""
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9._-]+$")] = "password"
    """Key in the Secret."""


class HeadStoreSpec(ApiModel):
    """A Redis or Valkey server in which the head of the Ray cluster finds what it knew when it starts again.

    Each cluster has a part of its own in it, which goes with the cluster.
    """

    address: Annotated[str, Field(min_length=3, max_length=261, pattern=ADDRESS_PATTERN)]
    """Host and port, as `redis.team-a.svc:6379`. The connection is not encrypted: keep the server near the pods."""
    username: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._-]+$")] | None = None
    """Name of the user. Default: the server's own."""
    password_secret: PasswordKey | None = None
    """Secret with the password. The head gets it in its environment; the operator never reads it. Default: no password."""
