"""Fault tolerance of Ray's head, in KubeRay's own words. Called by `desired.rayservice`.

Without it the end of the head is the end of the cluster. With it the workers go on, and wait ten minutes for a head that starts
again with what it had kept.
"""

from collections.abc import Mapping
from typing import Any

from llama_operator.api.v1alpha1.stores import HeadStoreSpec

_FIELD = "gcsFaultToleranceOptions"


def fault_tolerance(store: HeadStoreSpec | None) -> dict[str, Any]:
    """Fields of the Ray cluster; none without a store.

    KubeRay puts the Secret into the head's environment, and into that of the Job that empties the store when the cluster goes.
    """
    if store is None:
        return {}
    options: dict[str, Any] = {"redisAddress": store.address}
    if store.username is not None:
        options["redisUsername"] = {"value": store.username}
    if store.password_secret is not None:
        reference = {"name": store.password_secret.name, "key": store.password_secret.key}
        options["redisPassword"] = {"valueFrom": {"secretKeyRef": reference}}
    return {_FIELD: options}


def outlives_the_head(cluster: Mapping[str, Any]) -> bool:
    """Whether the workers of a pinned cluster go on when its head ends."""
    return _FIELD in cluster
