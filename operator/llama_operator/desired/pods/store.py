"""The folder with the credentials of the store that counts what tenants use. Called by `desired.rayservice`."""

from llama_operator.desired.pods.parts import PodParts
from llama_serving.contract.tenants import STORE_FOLDER, StoreSettings

_VOLUME = "usage-store"
_READABLE = 0o444
"""For any user: pods run as one that the files do not belong to."""


def folder(store: StoreSettings | None, secret: str | None) -> PodParts:
    """The credentials as files. They may change while pods run, so there is no `subPath`.

    Args:
        store: What the pods are told; None where the ledger is in the cluster of the deployment.
        secret: Name of the Secret; None for a server that asks for none.
    """
    if store is None or secret is None:
        return PodParts()
    # Optional: without it pods start, serve what has no budget, and say so, instead of never starting.
    source = {"secretName": secret, "optional": True, "defaultMode": _READABLE}
    return PodParts(mounts={STORE_FOLDER: {"name": _VOLUME, "readOnly": True}}, volumes={_VOLUME: {"secret": source}})
