"""The volume with LoRA adapters: workers load them from there while they run. Called by `desired.rayservice`."""

from llama_operator.api.v1alpha1.adapters import AdapterSlotsSpec
from llama_operator.desired.pods.parts import PodParts
from llama_operator.desired.pods.weights import WEIGHTS_FOLDER

ADAPTERS_FOLDER = "/adapters"
"""Where the volume of a claim with adapters is mounted in workers."""

_VOLUME = "adapters"


def volume(slots: AdapterSlotsSpec | None) -> PodParts:
    """The volume that the spec names, read-only: many pods of several deployments may share it.

    It is mounted whole, without `subPath`: folders that come later have to be seen.
    """
    if slots is None or slots.volume_claim is None:
        return PodParts()
    claim = {"claimName": slots.volume_claim, "readOnly": True}
    return PodParts(
        mounts={ADAPTERS_FOLDER: {"name": _VOLUME, "readOnly": True}},
        volumes={_VOLUME: {"persistentVolumeClaim": claim}},
    )


def folder(slots: AdapterSlotsSpec, model_claim: str | None, local: str) -> str | None:
    """Return the folder below which adapters are; None if no volume has any.

    Args:
        slots: What the spec asks for.
        model_claim: Claim that has the weights at their source, and may have adapters too; None for another source.
        local: Folder of the weights on a machine without Kubernetes; empty in a cluster.
    """
    if local:
        return local
    if slots.volume_claim is not None:
        return ADAPTERS_FOLDER
    return WEIGHTS_FOLDER if model_claim is not None else None
