"""The folder with the hashes of the API keys: every HTTP server of Serve checks them, on the head too. Called by `desired.rayservice`."""

from llama_operator.decide.access import KeysObject
from llama_operator.desired.pods.parts import PodParts
from llama_serving.contract.door import KEYS_FOLDER

_VOLUME = "api-keys"
_READABLE = 0o444
"""For any user: pods run as one that the files do not belong to, and what is in them are hashes."""


def folder(keys: KeysObject | None) -> PodParts:
    """The keys as files, one for each. They change while pods run, so there is no `subPath`, which would keep them as they were.

    Args:
        keys: The object that has them; None where no key is asked for.
    """
    if keys is None:
        return PodParts()
    name = "secretName" if keys.kind == "Secret" else "name"
    # Optional: without the object the pod shall start, refuse every key and say so, instead of never starting.
    source = {name: keys.name, "optional": True, "defaultMode": _READABLE}
    return PodParts(
        mounts={KEYS_FOLDER: {"name": _VOLUME, "readOnly": True}},
        volumes={_VOLUME: {"secret" if keys.kind == "Secret" else "configMap": source}},
    )
