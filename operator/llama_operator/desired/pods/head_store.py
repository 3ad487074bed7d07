"""Fault tolerance of Ray's head, in KubeRay's own words. Called by `desired.rayservice`.

Without it the end of the head is the end of the cluster. With it the workers go on, and wait ten minutes for a head that starts
again with what it had kept.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from llama_operator.api.v1alpha1.stores import AuthorityFile, HeadStoreSpec
from llama_operator.desired.pods.parts import PodParts

_FIELD = "gcsFaultToleranceOptions"
_FOLDER: Final = "/etc/llama/head-store"
_AUTHORITY: Final = f"{_FOLDER}/authority"
_CLIENT: Final = f"{_FOLDER}/client"
_CA: Final = "ca.crt"
_READABLE: Final = 0o444
"""For any user: pods run as one that the files do not belong to."""
_NAME: Final = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9.-]+")
"""What is no address of IPv4, which the schema takes beside names."""


def fault_tolerance(store: HeadStoreSpec | None) -> dict[str, Any]:
    """Fields of the Ray cluster; none without a store.

    KubeRay puts the Secret into the head's environment, and into that of the Job that empties the store when the cluster goes.
    """
    if store is None:
        return {}
    options: dict[str, Any] = {"redisAddress": store.address if store.tls is None else f"rediss://{store.address}"}
    if store.username is not None:
        options["redisUsername"] = {"value": store.username}
    if store.password_secret is not None:
        reference = {"name": store.password_secret.name, "key": store.password_secret.key}
        options["redisPassword"] = {"valueFrom": {"secretKeyRef": reference}}
    return {_FIELD: options}


def certificates(store: HeadStoreSpec | None) -> PodParts:
    """What the head needs for an encrypted connection: files, and where Ray finds them.

    The objects have to be there: without them the head waits and Kubernetes says why, instead of going on in the open. The Job of KubeRay
    that empties the store is made of the head's container, and has them too.
    """
    if store is None or store.tls is None:
        return PodParts()
    host = store.address.rpartition(":")[0]
    parts = PodParts(
        # For servers behind one address that are told apart by name. Ray checks who signed, and no name.
        environment={"RAY_REDIS_CA_CERT": f"{_AUTHORITY}/{_CA}"}
        | ({"RAY_REDIS_SERVER_NAME": host} if _NAME.fullmatch(host) else {}),
        mounts={_AUTHORITY: {"name": "head-store-authority", "readOnly": True}},
        volumes={"head-store-authority": _source(store.tls.authority)},
    )
    if store.tls.client_secret is None:
        return parts
    client = {"secretName": store.tls.client_secret, "defaultMode": _READABLE}
    return parts + PodParts(
        environment={"RAY_REDIS_CLIENT_CERT": f"{_CLIENT}/tls.crt", "RAY_REDIS_CLIENT_KEY": f"{_CLIENT}/tls.key"},
        mounts={_CLIENT: {"name": "head-store-client", "readOnly": True}},
        volumes={"head-store-client": {"secret": client}},
    )


def _source(authority: AuthorityFile) -> dict[str, Any]:
    only = {"items": [{"key": authority.key, "path": _CA}], "defaultMode": _READABLE}
    if authority.secret is not None:
        return {"secret": {"secretName": authority.secret, **only}}
    return {"configMap": {"name": authority.config_map, **only}}


def outlives_the_head(cluster: Mapping[str, Any]) -> bool:
    """Whether the workers of a pinned cluster go on when its head ends."""
    return _FIELD in cluster
