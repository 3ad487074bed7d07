"""What a pod needs to get at the weights: the address of the Hub, a token for it, a volume. Called by `desired`."""

from llama_operator.api.v1alpha1.llamadeployment import SecretKey
from llama_operator.desired.pods.parts import PodParts
from llama_serving.config import HUB_ENDPOINT, TOKEN_VARIABLE

WEIGHTS_FOLDER = "/models"
"""Where the volume of a claim with weights is mounted in workers."""

_WEIGHTS_VOLUME = "weights"
_TOKEN_VOLUME = "hub-token"  # noqa: S105 - a name
_TOKEN_FOLDER = "/var/run/llama-operator/hub"  # noqa: S105 - a path
_TOKEN_FILE = "token"  # noqa: S105 - a name


def hub(endpoint: str) -> PodParts:
    """The address of the Hub, where it is not the usual one."""
    return PodParts(environment={} if endpoint == HUB_ENDPOINT else {"HF_ENDPOINT": endpoint})


def token_file(token: SecretKey | None) -> PodParts:
    """The Hub token as a file that huggingface_hub finds by `HF_TOKEN_PATH`.

    A file and no variable: a new token in the Secret reaches pods that run, and Ray copies `HF_TOKEN` into the runtime
    environment of its actors, which everybody can read who may look at the state of the cluster.
    """
    if token is None:
        return PodParts()
    source = {
        "secretName": token.name,
        # An engine that has loaded its weights goes on serving without it.
        "optional": True,
        "items": [{"key": token.key, "path": _TOKEN_FILE}],
    }
    return PodParts(
        environment={"HF_TOKEN_PATH": f"{_TOKEN_FOLDER}/{_TOKEN_FILE}"},
        mounts={_TOKEN_FOLDER: {"name": _TOKEN_VOLUME, "readOnly": True}},
        volumes={_TOKEN_VOLUME: {"secret": source}},
    )


def token_variable(token: SecretKey | None) -> PodParts:
    """The Hub token as a variable, for a pod without Ray that reads it once."""
    if token is None:
        return PodParts()
    # Optional: without the Secret the pod shall start and say so, instead of never starting.
    source = {"name": token.name, "key": token.key, "optional": True}
    return PodParts(environment={TOKEN_VARIABLE: {"secretKeyRef": source}})


def claim(name: str | None) -> PodParts:
    """The volume with the weights, read-only: many pods of several deployments may share it."""
    if name is None:
        return PodParts()
    return PodParts(
        mounts={WEIGHTS_FOLDER: {"name": _WEIGHTS_VOLUME, "readOnly": True}},
        volumes={_WEIGHTS_VOLUME: {"persistentVolumeClaim": {"claimName": name, "readOnly": True}}},
    )
