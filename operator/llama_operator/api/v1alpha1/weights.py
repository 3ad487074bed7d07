"""`spec.weights`: how pods get the weights, and the copy of them in a claim. Part of the `LlamaDeployment` resource."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llama_operator.api.meta import ApiModel
from llama_operator.api.v1alpha1.pods import ObjectName


class SecretKey(ApiModel):
    """A key of a Secret in the deployment's own namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
    """Name of the Secret."""
    key: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9._-]+$")] = "token"
    """Key in the Secret."""


class StoreSecret(ApiModel):
    """A Secret in the deployment's own namespace, with keys that are named as the libraries of the stores read them."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
    """Name of the Secret. Keys: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` for S3; `AZURE_TENANT_ID`,
    `AZURE_CLIENT_ID` and `AZURE_CLIENT_SECRET` for Azure; `credentials.json`, the key file of a service account, for Google Cloud."""


class CacheMode(StrEnum):
    """Where pods read the weights from."""

    NONE = "None"
    CLAIM = "Claim"
    IMAGE = "Image"


class ClaimAccess(StrEnum):
    """Who may mount the claim at the same time, in the words of Kubernetes."""

    MANY = "ReadWriteMany"
    ONCE = "ReadWriteOnce"


class Retention(StrEnum):
    """What becomes of a claim that no deployment uses any more."""

    DELETE = "Delete"
    RETAIN = "Retain"


class EngineCache(StrEnum):
    """Whether what the engine compiles is kept in the claim."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"


class WeightsCacheSpec(ApiModel):
    """A verified copy of the weights, made before any GPU is asked for."""

    mode: CacheMode = CacheMode.NONE
    """`Claim`: a Job copies the weights into a PersistentVolumeClaim and checks every file; pods read the copy, need no token and ask
    no other server. All deployments of the namespace with the same source share it. `None`: each node downloads the weights for
    itself, at every start of a replica. `Image`: pods mount the image that `image` names; each node pulls it once. It needs Kubernetes
    1.35 and a runtime of the nodes that mounts images (containerd 2.1, CRI-O 1.31)."""
    image: (
        Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[a-z0-9]([A-Za-z0-9._/:@-]*[A-Za-z0-9])?$")]
        | None
    ) = None
    """Image with the weights of the model, for mode `Image`: its reference with a digest, `registry/name@sha256:...`. Whoever made it
    vouches for its files: no publisher is asked for digests. Engines compare config.json, sizes and license texts."""
    image_folder: Annotated[str, Field(max_length=256, pattern=r"^[A-Za-z0-9._-]*(/[A-Za-z0-9._-]+)*$")] = ""
    """Folder of the image that has config.json, without leading slash. Default: its root."""
    storage_class_name: ObjectName | None = None
    """StorageClass of the claim that the operator makes. Default: that of the cluster."""
    access_mode: ClaimAccess = ClaimAccess.MANY
    """`ReadWriteOnce` fits only one node: it needs at most one replica, the strategy `Recreate` and no guard."""
    claim_name: ObjectName | None = None
    """A claim of yours that takes the copy. The operator never resizes, owns or deletes it. Default: the operator makes a claim that is
    large enough."""
    retention: Retention = Retention.DELETE
    """What becomes of the operator's claim when no deployment uses it any more. `Retain` keeps it until you delete it. One deployment
    that says `Retain` keeps the claim for all. A change takes effect at once, without a restart."""


class WeightsSpec(ApiModel):
    """How pods get the weights."""

    token_secret: SecretKey | None = None
    """Secret with the Hugging Face token that may download the model. The operator never reads it; it only names it to
    pods of this namespace. To change the token, write the new one into the same Secret: nothing restarts, and new pods
    use it. Another Secret is a new revision."""
    store_secret: StoreSecret | None = None
    """Secret with the credentials of the object store that a LlamaModel names. The operator never reads it. Default: pods use
    the identity of their service account."""
    cache: WeightsCacheSpec = WeightsCacheSpec()
    """A copy of the weights that all pods read. Default: none, each node downloads."""
    engine_cache: EngineCache = EngineCache.ENABLED
    """Whether pods keep what the engine compiles and measures in the claim of the copy, for the next start. It means nothing without a
    claim. What is compiled is code: deployments of one namespace share it, and no other namespace sees it."""
