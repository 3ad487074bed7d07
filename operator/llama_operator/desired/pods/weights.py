"""What a pod needs to get at the weights: the address of the Hub or a store, credentials for it, a volume. Called by `desired`."""

from collections.abc import Iterable
from typing import Any

from llama_operator.api.v1alpha1.weights import SecretKey, StoreSecret
from llama_operator.catalog.models import Variant
from llama_operator.decide.copies.source import Copy
from llama_operator.desired.pods.parts import PodParts
from llama_serving.contract.hub import HUB_ENDPOINT, TOKEN_VARIABLE
from llama_serving.contract.weights import MODELS_FOLDER

WEIGHTS_FOLDER = MODELS_FOLDER
"""Where the volume of a claim with weights is mounted in workers."""

_WEIGHTS_VOLUME = "weights"
_STORE_VOLUME = "store-key"
_STORE_FOLDER = "/var/run/llama-operator/store"
_GOOGLE_KEY = "credentials.json"
_S3_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_AZURE_CREDENTIALS = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
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


def store_of(variant: Variant, secret: StoreSecret | None) -> PodParts:
    """What is read from the environment for the weights of a variant that are in an object store; see `store`."""
    if variant.uri is None:
        return PodParts()
    return store(variant.uri, variant.store_endpoint or "", variant.store_region or "", secret)


def store(uri: str, endpoint: str, region: str, secret: StoreSecret | None) -> PodParts:
    """What the libraries of an object store read from the environment: its address, and credentials if a Secret has some.

    Variables, as all of these libraries know them; Ray copies none of them into its own records.

    Args:
        uri: Folder in the store.
        endpoint: Address of an S3 store that is not Amazon's; empty for others.
        region: Its region; empty if none is named.
        secret: Secret with the credentials.
    """
    scheme = uri.partition("://")[0]
    parts = PodParts(environment=_s3_address(endpoint, region))
    if secret is None:
        return parts
    if scheme == "gs":
        items = [{"key": _GOOGLE_KEY, "path": _GOOGLE_KEY}]
        return parts + PodParts(
            environment={"GOOGLE_APPLICATION_CREDENTIALS": f"{_STORE_FOLDER}/{_GOOGLE_KEY}"},
            mounts={_STORE_FOLDER: {"name": _STORE_VOLUME, "readOnly": True}},
            volumes={_STORE_VOLUME: {"secret": {"secretName": secret.name, "optional": True, "items": items}}},
        )
    names = _S3_CREDENTIALS if scheme == "s3" else _AZURE_CREDENTIALS
    # Optional: without the Secret the pod shall start and say so, instead of never starting.
    return parts + PodParts(
        environment={name: {"secretKeyRef": {"name": secret.name, "key": name, "optional": True}} for name in names}
    )


def _s3_address(endpoint: str, region: str) -> dict[str, Any]:
    environment = {}
    if endpoint:
        # Not AWS_ENDPOINT_URL: it would also send the questions for credentials to that store.
        environment["AWS_ENDPOINT_URL_S3"] = endpoint
        environment["RUNAI_STREAMER_S3_ENDPOINT"] = endpoint
        # Few stores answer by a host name for each bucket, and none but Amazon's gives credentials by the address of its nodes.
        environment["RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING"] = "0"
        environment["AWS_EC2_METADATA_DISABLED"] = "true"
    if region:
        environment |= dict.fromkeys(("AWS_DEFAULT_REGION", "AWS_REGION"), region)
    return environment


def copies(mounted: Iterable[Copy]) -> PodParts:
    """The copies that a pod reads, each in a folder of its own: read-only, and nothing else of their claims. Images are mounted whole."""
    parts = PodParts()
    for copy in mounted:
        volume = volume_of(copy)
        if copy.is_image:
            # By its digest: what a node has pulled is the same.
            image = {"reference": copy.source.location, "pullPolicy": "IfNotPresent"}
            parts += PodParts(
                mounts={folder_of(copy): {"name": volume, "readOnly": True}}, volumes={volume: {"image": image}}
            )
            continue
        parts += PodParts(
            mounts={folder_of(copy): {"name": volume, "subPath": copy.id, "readOnly": True}},
            volumes={volume: {"persistentVolumeClaim": {"claimName": copy.claim}}},
        )
    return parts


def volume_of(copy: Copy) -> str:
    """Name of the volume of a copy in the pods that read it."""
    return f"{_WEIGHTS_VOLUME}-{copy.id}"


def folder_of(copy: Copy) -> str:
    """Folder of a copy in the pods that read it."""
    return f"{WEIGHTS_FOLDER}/{copy.id}"


def claim(name: str | None) -> PodParts:
    """The volume with the weights, read-only: many pods of several deployments may share it."""
    if name is None:
        return PodParts()
    return PodParts(
        mounts={WEIGHTS_FOLDER: {"name": _WEIGHTS_VOLUME, "readOnly": True}},
        volumes={_WEIGHTS_VOLUME: {"persistentVolumeClaim": {"claimName": name, "readOnly": True}}},
    )
